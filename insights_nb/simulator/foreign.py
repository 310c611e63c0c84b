"""Data the service did not invent: a frame or a file, made to fit the schema."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .arrow import Chunks
from .arrow import compute as pc
from .schema import Schema

REQUIRED = ("EventName", "TimeStamp", "SessionId")
_ARROW = {"STRING": pa.string(), "INTEGER": pa.int64(), "BOOLEAN": pa.bool_(), "TIMESTAMP": pa.timestamp("us")}


def read(source: pd.DataFrame | str | Path, schema: Schema) -> tuple[pa.Table, Schema]:
    """Return foreign events as a table, and the schema that offers their columns.

    Parameters
    ----------
    source
        A DataFrame, or the path of a CSV, gzip CSV or Parquet file. Cells of a CSV are strings as they
        stand, and an empty cell is NULL.
    schema
        The documented schema.

    Returns
    -------
    tuple of pyarrow.Table and Schema
        Columns with a documented name have their documented type (text is read in the form the service
        writes, or ISO; times without a zone are UTC). Of the others, integer, boolean and time columns
        keep their kind and all else is text.

    Raises
    ------
    ValueError
        A required column is missing, a name is there twice, or a value does not fit its column's type.

    Notes
    -----
    The events offered are the documented ones and those in the data. A column with an undocumented name
    is offered by every event that has a value in it, and by every event in the data if it is all NULL. A
    record without EventName or TimeStamp is kept, but no query can ask for it.
    """
    columns = _columns(source)
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise ValueError(f"the events lack {', '.join(missing)}; needed: {', '.join(REQUIRED)}")
    known = schema.types
    typed = {name: _typed(name, column, known.get(name)) for name, column in columns.items()}
    table = pa.Table.from_arrays(list(typed.values()), names=list(typed))
    return table, _extended(schema, table)


def _columns(source: pd.DataFrame | str | Path) -> dict[str, Chunks]:
    if isinstance(source, pd.DataFrame):
        return _frame_columns(source)
    path = Path(source)
    if not path.is_file():
        raise ValueError(f"no file of events at {path}")
    if path.suffix.lower() in (".parquet", ".pq"):
        return _unique(pq.read_table(path))
    if not path.name.lower().endswith((".csv", ".csv.gz")):
        raise ValueError(f"events come as .csv, .csv.gz or .parquet, not as {path.name}")
    return _frame_columns(pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""]))


def _unique(table: pa.Table) -> dict[str, Chunks]:
    names = table.column_names
    if len(set(names)) < len(names):
        raise ValueError("two columns of the events have the same name")
    return {name: table.column(name) for name in names}


def _frame_columns(frame: pd.DataFrame) -> dict[str, Chunks]:
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        raise ValueError("two columns of the events have the same name")
    return {name: _array(frame.iloc[:, n]) for n, name in enumerate(names)}


def _array(series: Any) -> Chunks:
    found: Any
    try:
        found = pa.array(series, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        # A column of mixed kinds: each value's own text.
        texts = [None if missing else str(value) for value, missing in zip(series, series.isna(), strict=True)]
        found = pa.array(texts, type=pa.large_string())
    return pa.chunked_array([found]) if isinstance(found, pa.Array) else found


def _typed(name: str, column: Chunks, kind: str | None) -> Chunks:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kind is None:
        kind = _kind(column.type)
    try:
        if kind == "TIMESTAMP":
            return _times(column)
        if kind == "STRING":
            return _strings(column)
        if _is_text(column.type):
            column = pc.if_else(pc.equal(column, ""), None, column)
        return column.cast(_ARROW[kind])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"column {name} does not hold {kind} values: {error}") from error


def _kind(type_: pa.DataType) -> str:
    if pa.types.is_boolean(type_):
        return "BOOLEAN"
    if pa.types.is_integer(type_) and type_ != pa.uint64():
        return "INTEGER"
    return "TIMESTAMP" if pa.types.is_timestamp(type_) else "STRING"


def _is_text(type_: pa.DataType) -> bool:
    return pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)


def _strings(column: Chunks) -> Chunks:
    if pa.types.is_timestamp(column.type):
        return _joined(_times(column).cast(pa.large_string()), " UTC")
    try:
        return column.cast(pa.large_string())
    except pa.ArrowNotImplementedError:
        texts = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, type=pa.large_string())])


def _times(column: Chunks) -> Chunks:
    """Return times in UTC without a zone, to the microsecond; what is finer is cut off."""
    if _is_text(column.type):
        text = column.cast(pa.large_string())
        text = pc.if_else(pc.equal(text, ""), None, text)
        text = pc.replace_substring_regex(text, r"( UTC|Z)$", "")
        zoned = pc.match_substring_regex(text, r"[+-]\d{2}:?\d{2}$")
        column = pc.if_else(zoned, text, _joined(text, "Z")).cast(pa.timestamp("us", "UTC"))
    elif not pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us"))
    zoned_type = pa.timestamp("us", getattr(column.type, "tz", None))
    return column.cast(zoned_type, safe=False).cast(pa.timestamp("us"))


def _joined(column: Chunks, end: str) -> Chunks:
    wide = pa.large_string()
    joined: Chunks = pc.binary_join_element_wise(column, pa.scalar(end, wide), pa.scalar("", wide))
    return joined


def _extended(schema: Schema, table: pa.Table) -> Schema:
    known = schema.types
    names = [name for name in pc.unique(table.column("EventName")).to_pylist() if name]
    extra = [name for name in table.column_names if name not in known]
    own: dict[str, dict[str, str]] = {event: dict(schema.events.get(event, {})) for event in (*schema.events, *names)}
    for name in table.column_names:
        if name in schema.common:
            continue
        kind = known.get(name) or _kind(table.column(name).type)
        having = pc.unique(pc.filter(table.column("EventName"), pc.is_valid(table.column(name)))).to_pylist()
        if name in extra and table.column(name).null_count == table.num_rows:
            having = names
        for event in having:
            if event:
                own[event].setdefault(name, kind)
    types: Mapping[str, Mapping[str, str]] = own
    return Schema(schema.common, types)
