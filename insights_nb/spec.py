"""What is asked: a query as a value, in the API's own form, checked whole before anything is sent.

A :class:`Query` holds the exact JSON body of ``POST Q``. Two queries are the same question when their canonical
forms are equal: keys sorted, lists as they are (their order is the order of the columns).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from insights_nb.body import PARTS, Body, check_body, read_body
from insights_nb.catalog import Schema
from insights_nb.errors import QueryError
from insights_nb.window import Length, Moment, api_form, from_api_form, resolve_window

Events = str | Sequence[str] | Mapping[str, Sequence[str] | None]


@dataclass(frozen=True, slots=True)
class Query:
    """One question to the API.

    Parameters
    ----------
    text : str
        The JSON body, keys in the order asked.
    asked : str
        The words of a range relative to now, and the rest of the question, as canonical JSON; empty for an
        absolute range. The same words asked again while their report is still running mean that report.
    """

    text: str
    asked: str = field(default="", compare=False)

    @property
    def body(self) -> dict[str, Any]:
        """The JSON body of ``POST Q``, as fresh dicts and lists."""
        body: dict[str, Any] = json.loads(self.text)
        return body

    @property
    def digest(self) -> str:
        """64 hex digits that name the question, whoever asks it."""
        return hashlib.sha256(b"insights-query\0v1\0" + canonical(self.body).encode()).hexdigest()

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the report: the fields of every event, in the order asked, each once."""
        entries = self.body["data"].values()
        return tuple(dict.fromkeys(name for entry in entries for name in entry["fields"]))

    @property
    def window(self) -> tuple[datetime, datetime]:
        """First and last moment of the range, UTC."""
        bounds = self.body["timestamp"]
        start = from_api_form(bounds.get("$gte") or bounds["$gt"])
        end = from_api_form(bounds.get("$lte") or bounds["$lt"])
        assert start is not None  # noqa: S101 - checked when the query was made
        assert end is not None  # noqa: S101
        return start, end


def canonical(body: Any) -> str:
    """One text for all spellings of the same JSON: keys sorted, no spaces, lists untouched."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def build_query(
    source: Body | None,
    schema: Schema,
    *,
    events: Events | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    last: Length | None = None,
    where: Mapping[str, Any] | None = None,
    scope: Mapping[str, Any] | None = None,
    now: datetime,
) -> Query:
    """Make a query from the API's own JSON, from keywords, or from JSON without a range and a range in keywords.

    Parameters
    ----------
    source : mapping, str, Path or None
        The API's own JSON.
    schema : Schema
        What may be asked.
    events : str, sequence of str, or mapping of str to sequence of str
        Events to fetch; a name alone means every field of it.
    since, until, last : moment, length
        The range; see :mod:`insights_nb.window`.
    where : mapping
        Last-phase filters, ``{field: value}`` for every event asked or ``{event: {field: value}}`` for one;
        a value is a scalar (equal to) or an operator mapping.
    scope : mapping
        The same form; picks whole sessions. Or the API's own ``{"filters": …, "scope": "SessionId"}``.
    now : datetime
        The present moment.

    Raises
    ------
    QueryError
        With everything that is wrong, each with its JSON path and the nearest valid name.
    """
    problems: list[str] = []
    body = _plain_times(read_body(source)) if source is not None else {}
    keywords = {"events": events, "where": where, "scope": scope}
    if source is not None:
        problems += [
            f"{name}= and a JSON query are both given; put it into the JSON"
            for name, value in keywords.items()
            if value
        ]
    elif events is None:
        problems.append('nothing is asked for: give a JSON query, or events="ApplicationExitEvent"')
    else:
        body["data"] = _data(events, schema)
        if where:
            body["filters"] = _criteria(where, body["data"], schema, "where", problems)
        if scope:
            whole = set(scope) == {"filters", "scope"}
            filters = None if whole else _criteria(scope, body["data"], schema, "scope", problems)
            body["scope"] = dict(scope) if whole else {"filters": filters, "scope": "SessionId"}
    relative = _add_range(body, since, until, last, now, problems)
    problems += check_body(body, schema)
    if problems:
        raise QueryError(problems, "Nothing was sent. What may be asked: insights.schema()")
    # The range first, as on the API's own page: people read this text.
    body = {part: body[part] for part in PARTS if part in body}
    asked = ""
    if relative:
        words = [str(value) if value is not None else None for value in (since, until, last)]
        asked = canonical([words, {part: value for part, value in body.items() if part != "timestamp"}])
    return Query(json.dumps(body, ensure_ascii=False, allow_nan=False), asked)


def _add_range(
    body: dict[str, Any],
    since: Moment | None,
    until: Moment | None,
    last: Length | None,
    now: datetime,
    problems: list[str],
) -> bool:
    """Put the keywords' range into the body; whether it was said relative to now."""
    try:
        window = resolve_window(since, until, last, now)
    except ValueError as error:
        problems.append(str(error))
        body.setdefault("timestamp", {"$gte": api_form(now), "$lte": api_form(now)})
        return False
    if window is None:
        if "timestamp" not in body and "data" in body:
            problems.append('no range is given: say last="24h", or since= and until=, or "timestamp" in the JSON')
            body["timestamp"] = {"$gte": api_form(now), "$lte": api_form(now)}
        return False
    if "timestamp" in body:
        problems.append('timestamp: the range is given twice; leave out "timestamp" or last=/since=/until=')
        return False
    body["timestamp"] = {"$gte": api_form(window.start), "$lte": api_form(window.end)}
    return window.relative


def _data(events: Events, schema: Schema) -> dict[str, Any]:
    """The ``data`` part; an unknown event keeps an empty list, for the check to name."""
    wanted = {events: None} if isinstance(events, str) else events
    if not isinstance(wanted, Mapping):
        wanted = dict.fromkeys(wanted)
    every = {event: list(schema.fields(event)) for event in schema.events}
    return {
        event: {"fields": every.get(event, ["EventName"]) if names is None else _listed(names)}
        for event, names in wanted.items()
    }


def _listed(names: Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _criteria(
    given: Mapping[str, Any], data: Mapping[str, Any], schema: Schema, keyword: str, problems: list[str]
) -> dict[str, dict[str, Any]]:
    """Filters keyed by event, from ``{field: value}`` or ``{event: {field: value}}``."""
    filters: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        if name in schema.events and isinstance(value, Mapping):
            for inner, wanted in value.items():
                filters.setdefault(name, {})[inner] = _criterion(wanted)
            continue
        having = [event for event in data if event in schema.events and name in schema.fields(event)]
        lacking = [event for event in data if event in schema.events and event not in having]
        if having and lacking:
            problems.append(
                f"{keyword}.{name}: {' and '.join(lacking)} has no such field; to filter {having[0]} alone write "
                f'{keyword}={{"{having[0]}": {{"{name}": …}}}}'
            )
        elif keyword == "scope" and len(having) > 1:
            problems.append(
                f'scope.{name}: say which event a session must have, as scope={{"{having[0]}": {{"{name}": …}}}}'
            )
        # A field nobody has goes to every event asked, so that the check names it with its nearest valid name.
        for event in having or data:
            filters.setdefault(event, {})[name] = _criterion(value)
    return filters


def _criterion(value: Any) -> dict[str, Any]:
    found = value if isinstance(value, Mapping) else {"$eq": value}
    return {str(operator): _plain_times(operand) for operator, operand in found.items()}


def _plain_times(value: Any) -> Any:
    """The same tree with every datetime in the API's form, and mappings and lists as plain JSON ones."""
    if isinstance(value, datetime):
        return api_form(value if value.tzinfo else value.replace(tzinfo=UTC))
    if isinstance(value, Mapping):
        return {key: _plain_times(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_times(inner) for inner in value]
    # numpy scalars come from people's frames; JSON knows only Python's own
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value
