"""The JSON body of ``POST Q``: read as people write it, and everything that is wrong with it, at once.

Source: Overview page, "Submit Query" and "Related Errors". Stricter than the page in one point: a range needs
both ends.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from insights_nb.catalog import FieldType, Schema, nearest, nearest_name, type_of
from insights_nb.errors import QueryError
from insights_nb.window import api_form, from_api_form

OPERATORS = ("$eq", "$gt", "$gte", "$lt", "$lte", "$ne")
PARTS = ("timestamp", "data", "filters", "scope")
Body = Mapping[str, Any] | str | Path


def read_body(source: Body) -> dict[str, Any]:
    """The API's own JSON from a mapping, JSON text, or the path of a ``.json`` file.

    Raises
    ------
    QueryError
        When the file cannot be read, or the text is no JSON object; with line, column and the usual slip.
    """
    if isinstance(source, Mapping):
        return dict(source)
    text, origin = str(source), "the query"
    if isinstance(source, Path) or (text.strip().endswith(".json") and "{" not in text):
        path, trouble = Path(text.strip()).expanduser(), ""
        try:
            text, origin = path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            trouble = f"the file {path} cannot be read: {error}"
        if trouble:
            raise QueryError([trouble], "Give the query itself, or the path of a .json file that holds it.")
    return parse_json(text, origin)


def parse_json(text: str, origin: str = "the query") -> dict[str, Any]:
    """Parse a JSON object, refusing keys that occur twice.

    Raises
    ------
    QueryError
        With line, column, a caret under the place, and the usual slip by name.
    """
    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                twice.append(key)
            found[key] = value
        return found

    problem = ""
    try:
        body = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        problem = _slip(text, error, origin)
    except RecursionError:
        problem = f"{origin} is nested too deeply to be a query"
    if problem:
        raise QueryError([problem], 'A query looks like {"timestamp": {…}, "data": {"<Event>": {"fields": […]}}}.')
    if not isinstance(body, dict):
        raise QueryError([f"{origin} is a JSON {_kind(body)}, not an object"], "A query starts with { and ends with }.")
    if twice:
        raise QueryError(
            [f'{origin} says "{key}" twice; the second would silently win' for key in dict.fromkeys(twice)]
        )
    return body


def check_body(body: Mapping[str, Any], schema: Schema) -> list[str]:
    """Everything that keeps a body from being a query, in the order of its parts; empty when it is one."""
    problems = [
        f'"{part}" is no part of a query.{nearest(str(part), PARTS) or _listing(PARTS)}'
        for part in body
        if part not in PARTS
    ]
    problems += [f'"{part}" is missing' for part in ("timestamp", "data") if part not in body]
    if "timestamp" in body:
        problems += _check_range(body["timestamp"])
    if "data" in body:
        problems += _check_data(body["data"], schema)
    if body.get("filters", {}) != {}:  # no criteria at all filter nothing; the service takes them
        problems += _check_filters(body["filters"], schema, "filters")
    if "scope" in body:
        problems += _check_scope(body["scope"], schema)
    return problems


def _check_range(bounds: Any) -> Iterator[str]:
    if not isinstance(bounds, Mapping):
        yield f'timestamp: expected {{"$gte": "…", "$lte": "…"}}, found a {_kind(bounds)}'
        return
    ends: dict[str, datetime] = {}
    for operator, value in bounds.items():
        if operator not in ("$gte", "$gt", "$lte", "$lt"):
            near = nearest(str(operator), OPERATORS)
            yield f'timestamp: "{operator}" is no bound of a range; use $gte or $gt, and $lte or $lt.{near}'
            continue
        moment = from_api_form(value) if isinstance(value, str) else None
        if moment is None:
            yield f"timestamp.{operator}: {json.dumps(value, default=str)} is not of the form YYYY-MM-DDTHH:MM:SSZ"
        else:
            ends[operator] = moment
    for name, pair in (("start", ("$gte", "$gt")), ("end", ("$lte", "$lt"))):
        found = [operator for operator in pair if operator in bounds]
        if len(found) != 1:
            yield f"timestamp: the range needs one {name}, {pair[0]} or {pair[1]}; found {len(found)}"
    starts = [ends[operator] for operator in ("$gte", "$gt") if operator in ends]
    stops = [ends[operator] for operator in ("$lte", "$lt") if operator in ends]
    if starts and stops and starts[0] > stops[0]:
        yield f"timestamp: the range starts {api_form(starts[0])}, after its end {api_form(stops[0])}"


def _check_data(data: Any, schema: Schema) -> Iterator[str]:
    if not isinstance(data, Mapping) or not data:
        yield 'data: expected {"<Event>": {"fields": ["<Field>", …]}} with at least one event'
        return
    for event, entry in data.items():
        path = f"data.{event}"
        fields = entry.get("fields") if isinstance(entry, Mapping) else None
        if not isinstance(fields, list) or not fields:
            yield f'{path}: expected {{"fields": ["<Field>", …]}} with at least one field'
            fields = []
        elif len(entry) > 1:
            extra = ", ".join(f'"{key}"' for key in entry if key != "fields")
            yield f'{path}: only "fields" belongs here, found also {extra}'
        meant = event
        if event not in schema.events:
            meant = nearest_name(str(event), schema.events)
            yield f"{path}: {_no_event(event, schema)}"
        if not meant:
            continue
        for index, name in enumerate(fields):
            if name not in schema.fields(meant):
                yield f"{path}.fields[{index}]: {_no_field(name, meant, schema)}"
            elif fields.index(name) < index:
                yield f'{path}.fields[{index}]: "{name}" is asked for twice'


def _check_filters(filters: Any, schema: Schema, path: str) -> Iterator[str]:
    if not isinstance(filters, Mapping) or not filters:
        yield f'{path}: expected {{"<Event>": {{"<Field>": {{"<operator>": value}}}}}}'
        return
    for event, criteria in filters.items():
        meant = event
        if event not in schema.events:
            meant = nearest_name(str(event), schema.events)
            yield f"{path}.{event}: {_no_event(event, schema)}"
        if not isinstance(criteria, Mapping) or not criteria:
            yield f'{path}.{event}: expected {{"<Field>": {{"<operator>": value}}}}'
        elif meant:
            for name, criterion in criteria.items():
                if name not in schema.fields(meant):
                    yield f"{path}.{event}: {_no_field(name, meant, schema)}"
                else:
                    yield from _check_criterion(name, criterion, f"{path}.{event}.{name}")


def _check_criterion(name: str, criterion: Any, path: str) -> Iterator[str]:
    if not isinstance(criterion, Mapping) or not criterion:
        yield f'{path}: expected an operator, as {{"$eq": {json.dumps(criterion, default=str)}}}'
        return
    for operator, value in criterion.items():
        if operator not in OPERATORS:
            near = nearest(str(operator), OPERATORS)
            yield f'{path}: "{operator}" is no operator; use one of {", ".join(OPERATORS)}.{near}'
            continue
        wanted = type_of(name)
        fits = {
            FieldType.INTEGER: isinstance(value, int) and not isinstance(value, bool),
            FieldType.BOOLEAN: isinstance(value, bool),
        }.get(wanted, isinstance(value, str))
        if not fits:
            shown = json.dumps(value, default=str)
            quoted = wanted in (FieldType.STRING, FieldType.TIMESTAMP) and isinstance(value, int | float)
            mend = f'; write "{shown}"' if quoted and not isinstance(value, bool) else ""
            yield f"{path}.{operator}: {name} is {wanted.value}, {shown} is not{mend}"


def _check_scope(scope: Any, schema: Schema) -> Iterator[str]:
    if not isinstance(scope, Mapping):
        yield 'scope: expected {"filters": {…}, "scope": "SessionId"}'
        return
    for part in ("filters", "scope"):
        if part not in scope:
            yield f'scope: "{part}" is missing; a scope needs both "filters" and "scope"'
    for part in scope:
        if part not in ("filters", "scope"):
            yield f'scope: "{part}" does not belong here.{nearest(str(part), ("filters", "scope"))}'
    if "scope" in scope and scope["scope"] not in ("SessionId", ["SessionId"]):
        yield 'scope.scope: only "SessionId" can be expanded'
    filters = scope.get("filters")
    if isinstance(filters, Mapping) and "SessionId" in filters:
        yield from _check_criterion("SessionId", filters["SessionId"], "scope.filters.SessionId")
        filters = {event: criteria for event, criteria in filters.items() if event != "SessionId"}
        if not filters:
            return
    if "filters" in scope:
        yield from _check_filters(filters, schema, "scope.filters")


def _no_event(name: Any, schema: Schema) -> str:
    return f"no such event.{nearest(str(name), schema.events) or _listing(schema.events)}"


def _no_field(name: Any, event: str, schema: Schema) -> str:
    owners = [other for other in schema.events if name in schema.fields(other)]
    where = f" It belongs to {' and '.join(owners)}." if owners else nearest(str(name), schema.fields(event))
    return f"{event} has no field {json.dumps(name, default=str)}.{where}"


def _listing(names: Sequence[str]) -> str:
    return f" There are: {', '.join(names)}."


def _kind(value: Any) -> str:
    kinds = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")


def _slip(text: str, error: json.JSONDecodeError, origin: str) -> str:
    """Where JSON broke, with a caret under the place and the usual slip named."""
    line = text.splitlines()[error.lineno - 1] if text.splitlines()[error.lineno - 1 :] else ""
    rest = text[error.pos :].lstrip()
    before = text[: error.pos].rstrip()
    if not text.strip():
        return f"{origin} is empty"
    if rest.startswith("'"):
        slip = "JSON wants double quotes"
    elif before.endswith(",") and rest[:1] in ("}", "]"):
        slip = "JSON allows no comma before a closing bracket"
    elif rest.startswith(("True", "False", "None")):
        slip = "JSON writes true, false and null"
    elif rest.startswith(("#", "//")):
        slip = "JSON has no comments"
    else:
        slip = error.msg
    start = max(0, error.colno - 60)
    caret = " " * (error.colno - 1 - start) + "^"
    return f"{origin}, line {error.lineno}, column {error.colno}: {slip}\n    {line[start : start + 100]}\n    {caret}"
