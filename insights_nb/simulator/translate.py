"""A plan as SQL for DuckDB. Values are always bound, and stored columns go by number, never by name."""

from collections.abc import Iterable, Mapping

from .rules import Criterion, Plan
from .schema import Schema

_COMPARISONS = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<=", "$ne": "IS DISTINCT FROM"}
_NEEDS_QUOTES = """'[,"\\r\\n]'"""

Statement = tuple[str, list[object]]


def lines(plan: Plan, schema: Schema, positions: Mapping[str, int], event: str | None = None) -> Statement:
    r"""Return the statement whose one column holds the CSV lines of a plan's answer.

    Parameters
    ----------
    plan
        The query.
    schema
        The types of the fields.
    positions
        Field name to the number of the column that stores it (``c0``, ``c1``, …) in table ``events``;
        a field not stored is NULL everywhere.
    event
        Only this event's records and columns, or None for all in one table.

    Returns
    -------
    tuple of str and list
        The SQL, and the values to bind. Each line ends in ``\n``.
    """
    events = list(plan.columns) if event is None else [event]
    cells = [_cell(plan, schema, positions, field, events) for field in plan.fields(event)]
    line = ", ',', ".join(cells)
    ranged, values = _all(plan.window, positions)
    picked, more = _records(plan, positions, events)
    values += more
    sql = f"WITH ranged AS (SELECT * FROM events WHERE {ranged}) SELECT concat({line}, chr(10)) FROM ranged WHERE {picked}"  # noqa: S608, E501
    if plan.scope is not None:
        scoped, more = _sessions(plan.scope, positions)
        sql += f" AND {scoped}"
        values += more
    return sql, values


def _column(positions: Mapping[str, int], field: str) -> str:
    return f"c{positions[field]}" if field in positions else "NULL"


def _cell(plan: Plan, schema: Schema, positions: Mapping[str, int], field: str, events: list[str]) -> str:
    """Return the expression for one cell's text, empty where the value is NULL or was not asked of the event."""
    column = _column(positions, field)
    if column == "NULL":
        return "''"
    kind = schema.types[field]
    if kind == "TIMESTAMP":
        text = f"CAST({column} AS VARCHAR) || ' UTC'"
    elif kind == "STRING":
        quoted = f"""'"' || replace({column}, '"', '""') || '"'"""
        text = f"CASE WHEN regexp_matches({column}, {_NEEDS_QUOTES}) THEN {quoted} ELSE {column} END"
    else:
        text = f"CAST({column} AS VARCHAR)"
    wanting = [event for event in events if field in plan.columns[event]]
    if len(wanting) < len(events):
        names = ", ".join(_literal(event) for event in wanting)
        text = f"CASE WHEN {_column(positions, 'EventName')} IN ({names}) THEN {text} END"
    return f"coalesce({text}, '')"


def _literal(text: str) -> str:
    """Return a name of the schema as an SQL literal; names in a query have been checked against it."""
    return "'" + text.replace("'", "''") + "'"


def _comparison(criterion: Criterion, positions: Mapping[str, int]) -> str:
    return f"{_column(positions, criterion.field)} {_COMPARISONS[criterion.operator]} ?"


def _all(criteria: Iterable[Criterion], positions: Mapping[str, int]) -> Statement:
    criteria = list(criteria)
    text = " AND ".join(_comparison(criterion, positions) for criterion in criteria) or "true"
    return text, [criterion.value for criterion in criteria]


def _records(plan: Plan, positions: Mapping[str, int], events: list[str]) -> Statement:
    branches: list[str] = []
    values: list[object] = []
    for event in events:
        text, bound = _all(plan.filters.get(event, ()), positions)
        branches.append(f"({_column(positions, 'EventName')} = ? AND {text})")
        values += [event, *bound]
    return f"({' OR '.join(branches)})", values


def _sessions(scope: Iterable[tuple[str | None, tuple[Criterion, ...]]], positions: Mapping[str, int]) -> Statement:
    session = _column(positions, "SessionId")
    parts: list[str] = []
    values: list[object] = []
    for event, criteria in scope:
        text, bound = _all(criteria, positions)
        if event is not None:
            text = f"{_column(positions, 'EventName')} = ? AND {text}"
            values.append(event)
        values += bound
        parts.append(f"{session} IN (SELECT {session} FROM ranged WHERE {session} IS NOT NULL AND {text})")  # noqa: S608
    return " AND ".join(parts), values
