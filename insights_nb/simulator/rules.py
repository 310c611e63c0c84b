"""What the service accepts as a query, and what it says to the rest.

The order of checks: the body is an object with known attributes; ``timestamp`` and ``data`` are there
[U]; shapes [U]; dates; operators; event names; field names; values [U]. The first check that fails
decides the answer. Dates, operators, events and fields answer verbatim as the vendor's page prints them,
in the page's own order; all dates and all operators at fault are listed, but only the first name.

Choices where the page is silent [U]:

* ``timestamp`` takes any of the six operators, one or more of them, all of which must hold;
* a record fills only the columns that were asked of its own event, the rest of its row is empty;
* a field asked for twice is one column; an empty ``data`` or ``fields`` counts as missing;
* criteria on an event that ``data`` does not name are checked, and then have nothing to apply to;
* records of an event in ``data`` that ``filters`` does not name are all kept;
* a scope's ``filters`` names events, or ``SessionId`` itself; a session is picked when, for every name,
  at least one of its records in range meets all criteria of that name;
* a value is read by the type of its field: ``"7"`` is good for an INTEGER, ``"TRUE"`` for a BOOLEAN, both
  the query's and the file's way of writing a time for a TIMESTAMP, and a number for a STRING is its text;
* NULL never matches, except that ``$ne`` keeps it, as MongoDB does.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from . import answers
from .schema import Schema

OPERATORS = ("$gte", "$lte", "$gt", "$lt", "$ne", "$eq")
_ATTRIBUTES = ("timestamp", "data", "scope", "filters")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)
_FILE_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?)(?: UTC|Z)", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)

Value = str | int | bool | datetime


class RefusalError(Exception):
    """A query the service does not take.

    Parameters
    ----------
    body
        The body of the answer, whose status is 400.
    """

    def __init__(self, body: answers.Body) -> None:
        super().__init__(json.dumps(body))
        self.body = body


@dataclass(frozen=True)
class Criterion:
    """One comparison: a field, an operator, and a value of the field's type (times naive, in UTC)."""

    field: str
    operator: str
    value: Value


@dataclass(frozen=True)
class Plan:
    """A query that has been understood.

    Parameters
    ----------
    window
        Comparisons of ``TimeStamp`` that every record must meet, in every phase.
    columns
        Event name to the fields asked of it, in the order asked.
    scope
        Pairs of an event name (None: any event) and its criteria, or None without a scope.
    filters
        Event name to the criteria its records must meet.
    """

    window: tuple[Criterion, ...]
    columns: Mapping[str, tuple[str, ...]]
    scope: tuple[tuple[str | None, tuple[Criterion, ...]], ...] | None
    filters: Mapping[str, tuple[Criterion, ...]]

    def fields(self, event: str | None = None) -> tuple[str, ...]:
        """Return the columns of the result: the union over events in order of first mention, or one event's."""
        if event is not None:
            return self.columns[event]
        return tuple(dict.fromkeys(field for fields in self.columns.values() for field in fields))


def verdict(body: object, schema: Schema) -> Plan:
    """Return the plan a request body asks for.

    Parameters
    ----------
    body
        The parsed JSON of the request.
    schema
        What may be asked.

    Raises
    ------
    RefusalError
        The query is not valid; ``body`` holds the answer.
    """
    asked = _attributes(body)
    window = _object(asked["timestamp"], "timestamp")
    data = {event: _field_list(event, value) for event, value in _object(asked["data"], "data").items()}
    scope = _scope(asked["scope"]) if asked.get("scope") is not None else None
    filters = {} if asked.get("filters") in (None, {}) else _criteria_tree(asked["filters"], "filters")

    moments = _dates(window)
    trees = [tree for by_field in (scope or {}, filters) for tree in by_field.values()]
    _check_operators([window, *(operators for tree in trees for operators in tree.values())])
    # A scope may name SessionId where an event name would stand: such a branch has no event to check.
    scoped_events = [name for name in scope or {} if name != "SessionId"]
    for event in (*data, *scoped_events, *filters):
        if event not in schema.events:
            raise RefusalError(answers.bad_event(event))
    for event, fields in data.items():
        _check_fields(schema, event, fields)
    for tree_of in (scope or {}, filters):
        for name, tree in tree_of.items():
            if name != "SessionId" or tree_of is filters:
                _check_fields(schema, name, tree)

    return Plan(
        window=tuple(Criterion("TimeStamp", operator, moment) for operator, moment in moments.items()),
        columns={event: tuple(dict.fromkeys(fields)) for event, fields in data.items()},
        scope=None
        if scope is None
        else tuple((None if name == "SessionId" else name, _criteria(schema, tree)) for name, tree in scope.items()),
        filters={name: _criteria(schema, tree) for name, tree in filters.items()},
    )


Operators = dict[str, object]
Tree = dict[str, Operators]


def _attributes(body: object) -> dict[str, object]:
    if not isinstance(body, dict):
        raise RefusalError(answers.bad_request("The body must be a JSON object."))
    for name in body:
        if name not in _ATTRIBUTES:
            raise RefusalError(answers.bad_request(f"{name} is not a valid attribute."))
    for name in ("timestamp", "data"):
        if not body.get(name):
            raise RefusalError(answers.bad_request(f"{name} is a required attribute."))
    return body


def _object(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict) or not value:
        raise RefusalError(answers.bad_request(f"{name} must be a JSON object with at least one entry."))
    return value


def _field_list(event: str, value: object) -> list[str]:
    fields = value.get("fields") if isinstance(value, dict) else None
    if not isinstance(fields, list) or not fields or not all(isinstance(field, str) for field in fields):
        raise RefusalError(answers.bad_request(f"data of {event} must be an object with a list of fields."))
    return fields


def _scope(value: object) -> dict[str, Tree]:
    scope = _object(value, "scope")
    for child in ("filters", "scope"):
        if not scope.get(child):
            raise RefusalError(answers.bad_request(f"scope must have both filters and scope: {child} is missing."))
    if scope["scope"] not in ("SessionId", ["SessionId"]):
        raise RefusalError(answers.bad_request("scope is limited to the common field SessionId."))
    branches = dict(_object(scope["filters"], "scope filters"))
    direct: dict[str, Tree] = {}
    if "SessionId" in branches:
        direct["SessionId"] = {"SessionId": _object(branches.pop("SessionId"), "SessionId")}
    return {**direct, **(_criteria_tree(branches, "scope filters") if branches else {})}


def _criteria_tree(value: object, name: str) -> dict[str, Tree]:
    return {
        event: {field: _object(operators, field) for field, operators in _object(tree, event).items()}
        for event, tree in _object(value, name).items()
    }


def _date(text: str) -> datetime | None:
    if not _DATE.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
    except ValueError:
        return None


def _dates(window: Operators) -> dict[str, datetime]:
    """Return the moments of a range, or refuse all that are none."""
    read = {operator: _date(value) if isinstance(value, str) else None for operator, value in window.items()}
    wrong = [
        value if isinstance(value, str) else json.dumps(value)
        for operator, value in window.items()
        if read[operator] is None
    ]
    if wrong:
        raise RefusalError(answers.bad_dates(wrong))
    return {operator: moment for operator, moment in read.items() if moment is not None}


def _check_operators(groups: list[Operators]) -> None:
    wrong = [operator for group in groups for operator in group if operator not in OPERATORS]
    if wrong:
        raise RefusalError(answers.bad_operators(list(dict.fromkeys(wrong))))


def _check_fields(schema: Schema, event: str, fields: list[str] | Tree) -> None:
    for field in fields:
        if not schema.offers(event, field):
            raise RefusalError(answers.bad_field(field))


def _criteria(schema: Schema, tree: Tree) -> tuple[Criterion, ...]:
    types = schema.types
    return tuple(
        Criterion(field, operator, _typed(field, types[field], value))
        for field, operators in tree.items()
        for operator, value in operators.items()
    )


def _typed(field: str, kind: str, value: object) -> Value:
    """Read a value as its field's type, or refuse it."""
    found: Value | None = None
    if isinstance(value, bool | int | float | str):
        text = value if isinstance(value, str) else json.dumps(value)
        if kind == "STRING" and _encodable(text):
            found = text
        elif kind == "INTEGER" and not isinstance(value, bool) and _INTEGER.fullmatch(text):
            found = int(text)
        elif kind == "BOOLEAN" and text.lower() in ("true", "false"):
            found = text.lower() == "true"
        elif kind == "TIMESTAMP" and (match := _FILE_TIME.fullmatch(text)):
            found = _file_time(match)
    if found is None:
        raise RefusalError(answers.bad_request(f"{json.dumps(value)} is not a valid value for {field}."))
    return found


def _encodable(text: str) -> bool:
    """Return whether a text can be written at all: JSON can hold half of a surrogate pair, UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _file_time(match: re.Match[str]) -> datetime | None:
    try:
        return datetime.fromisoformat(f"{match[1]} {match[2]}")
    except ValueError:
        return None
