"""What the API can be asked for: events, their fields and the fields' types.

Source: the vendor's Overview page and data dictionary, as gathered in the contract (§4). The service
lists only each event's own fields; the common fields may be asked of every event. It names no types, so
types come from the table below, and a field that is not in it is a string.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from html import escape
from types import MappingProxyType
from typing import Any

from insights_nb.errors import ApiError


class FieldType(StrEnum):
    """Type of a field, in the service's own words."""

    STRING = "STRING"
    INTEGER = "INTEGER"
    BOOLEAN = "BOOLEAN"
    TIMESTAMP = "TIMESTAMP"


COMMON_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "EventName": "the record's event",
        "EventVersion": "version of the record's form",
        "EventSku": "empty for all events",
        "TimeStamp": "when the event happened, UTC",
        "HostId": "empty for all events",
        "CustomerId": "the customer's number",
        "CustomerName": "empty for all events",
        "Originator": "empty for all events",
        "OriginatorId": "empty for all events",
        "FlowId": "the SmartFlow, 24 hex digits",
        "FlowName": "the SmartFlow's name",
        "ActionId": "action and block number, such as TRANSFER_2",
        "ActionName": "kind of action, such as Transfer",
        "IsTriggerAction": "true when the action starts a new session",
        "SessionId": "one user's run of a flow; its first ten digits are the Unix time of its start",
        "TransactionId": "one execution of an action",
        "ApplicationRegion": "where the flow ran, such as US:US-CA",
        "PassthroughVersion": "version of the passed-through value",
        "Passthrough": "a value passed through",
    }
)
"""Fields every event has, in the vendor's order, each with what it means."""

OWN_FIELDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "ApplicationExitEvent": {
            "StartTime": "when the action was entered, UTC",
            "EndTime": "when the action was left, UTC",
            "Path": "the path taken",
            "ExitReason": "the reason for the exit",
        },
        "DtmfEvent": {
            "DtmfInput": "digits entered; personal",
            "DtmfSource": "where the digits came from",
            "ErrorReason": "what went wrong with the input",
        },
        "CallEvent": {},
        "MsgEvent": {},
    }
)
"""Documented events and their own fields; those of CallEvent and MsgEvent are not public."""

TYPES: Mapping[str, FieldType] = MappingProxyType(
    {
        "EventVersion": FieldType.INTEGER,
        "IsTriggerAction": FieldType.BOOLEAN,
        "TimeStamp": FieldType.TIMESTAMP,
        "StartTime": FieldType.TIMESTAMP,
        "EndTime": FieldType.TIMESTAMP,
    }
)
"""Every documented field that is not a string."""


@dataclass(frozen=True, slots=True)
class Schema:
    """Events and fields of one account.

    Parameters
    ----------
    own_fields : mapping of str to tuple of str
        Event name to the fields only that event has, as ``GET Q`` lists them.
    """

    own_fields: Mapping[str, tuple[str, ...]]

    @classmethod
    def from_answer(cls, answer: Any) -> "Schema":
        """Read the answer of ``GET Q``: ``{"<Event>": {"fields": ["<Field>", …]}, …}``.

        Raises
        ------
        ApiError
            When the answer has another form.
        """
        ours: dict[str, tuple[str, ...]] = {}
        if isinstance(answer, Mapping):
            for event, entry in answer.items():
                fields = entry.get("fields") if isinstance(entry, Mapping) else None
                if not isinstance(fields, list) or not all(map(_is_name, (event, *fields))):
                    break
                ours[str(event)] = tuple(fields)
            else:
                if ours:
                    return cls(ours)
        raise ApiError(
            "the list of events and fields has an unknown form.",
            'Expected {"<Event>": {"fields": ["<Field>", …]}, …}; is the API address right?',
        )

    def to_answer(self) -> dict[str, dict[str, list[str]]]:
        """The same schema in the form of ``GET Q``, for keeping on disk."""
        return {event: {"fields": list(fields)} for event, fields in self.own_fields.items()}

    @property
    def events(self) -> tuple[str, ...]:
        """Event names in the service's order."""
        return tuple(self.own_fields)

    def fields(self, event: str) -> tuple[str, ...]:
        """Every field that may be asked of an event: the common ones first, then its own."""
        own = tuple(field for field in self.own_fields[event] if field not in COMMON_FIELDS)
        return (*COMMON_FIELDS, *own)

    @property
    def all_fields(self) -> tuple[str, ...]:
        """Every field of any event, each once."""
        return tuple(dict.fromkeys(field for event in self.events for field in self.fields(event)))

    @property
    def types(self) -> dict[str, FieldType]:
        """Type of every field."""
        return {field: type_of(field) for field in self.all_fields}

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """(event, field, type, note), the common fields once under the event ``(every event)``."""
        for field, note in COMMON_FIELDS.items():
            yield "(every event)", field, type_of(field).value, note
        for event, fields in self.own_fields.items():
            notes = OWN_FIELDS.get(event, {})
            for field in fields:
                if field not in COMMON_FIELDS:
                    yield event, field, type_of(field).value, notes.get(field, "")

    def __repr__(self) -> str:
        width = max(len(field) for field in self.all_fields)
        lines = [f"Insights schema: {len(self.events)} events ({', '.join(self.events)})"]
        shown = ""
        for event, field, kind, note in self.rows():
            if event != shown:
                lines.append(event)
                shown = event
            lines.append(f"  {field:<{width}}  {kind:<9}  {note}".rstrip())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        left = 'style="text-align:left"'
        body = "".join(
            f"<tr><td {left}>{escape(event)}</td><td {left}><code>{escape(field)}</code></td>"
            f"<td {left}>{escape(kind)}</td><td {left}>{escape(note)}</td></tr>"
            for event, field, kind, note in self.rows()
        )
        head = "".join(f"<th {left}>{name}</th>" for name in ("event", "field", "type", "note"))
        return f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{_SEARCH}</div>"


_SEARCH = """\
<script>
(() => {
  const script = document.currentScript, box = script && script.parentElement;
  if (!box) return;
  const rows = [...box.querySelectorAll("tbody tr")], search = document.createElement("input");
  search.type = "search";
  search.placeholder = "search " + rows.length + " fields";
  search.setAttribute("aria-label", search.placeholder);
  search.style.cssText = "font:inherit; padding:2px 6px; margin:2px 0 6px; width:20em; max-width:100%";
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\\s+/);
    rows.forEach(row => {
      const text = row.textContent.toLowerCase();
      row.style.display = words.every(word => text.includes(word)) ? "" : "none";
    });
  });
  search.addEventListener("keydown", event => event.stopPropagation());
  box.prepend(search);
})();
</script>"""
"""The search box above the table, made by a script: where scripts do not run (a notebook that is not trusted, a page
that shows one) there is no dead box, only the table. Keys stay in it: notebooks take single letters for commands."""

DOCUMENTED = Schema({event: tuple(fields) for event, fields in OWN_FIELDS.items()})
"""The schema of the vendor's pages."""


def _is_name(name: Any) -> bool:
    """Whether something may be the name of an event or field: they go into messages, files and terminals."""
    return isinstance(name, str) and name.isprintable() and 0 < len(name) <= 200


def type_of(field: str) -> FieldType:
    """Type of a field by the documented table; a field that is not in it is a string."""
    return TYPES.get(field, FieldType.STRING)


def nearest_name(name: str, valid: tuple[str, ...]) -> str:
    """The nearest of some valid names, or an empty text when none is near."""
    folded = {candidate.casefold(): candidate for candidate in valid}
    wanted = name.casefold().replace(" ", "").replace("_", "").replace("$", "")
    plain = {key.replace("_", "").replace("$", ""): candidate for key, candidate in folded.items()}
    matches = get_close_matches(wanted, list(plain), n=1, cutoff=0.6)
    return plain[matches[0]] if matches else ""


def nearest(name: str, valid: tuple[str, ...]) -> str:
    """``' Did you mean "X"?'`` for the nearest valid name, or an empty text when none is near."""
    found = nearest_name(name, valid)
    return f' Did you mean "{found}"?' if found else ""
