"""Where the events live: an Arrow table that DuckDB queries in place."""

import threading
from collections.abc import Iterator

import duckdb
import pyarrow as pa

from .arrow import Array
from .rules import Plan
from .schema import Schema
from .translate import lines

_BATCH = 122_880  # DuckDB's own row group; smaller pieces let its threads share the table


class Store:
    """The events of one service.

    Parameters
    ----------
    table
        One column per field; times as ``timestamp[us]`` in UTC without a zone.
    schema
        The types of the fields.

    Notes
    -----
    Columns are renamed to ``c0``, ``c1``, … inside, so that no name of foreign data ever reaches SQL.
    """

    def __init__(self, table: pa.Table, schema: Schema) -> None:
        self.schema = schema
        self.rows = table.num_rows
        self._positions = {name: number for number, name in enumerate(table.column_names)}
        plain = table.rename_columns([f"c{number}" for number in range(table.num_columns)])
        self._table = pa.Table.from_batches(plain.to_batches(max_chunksize=_BATCH), schema=plain.schema)
        self._base = duckdb.connect(":memory:", config={"enable_external_access": "false"})
        self._lock = threading.Lock()
        self._cursors: set[duckdb.DuckDBPyConnection] = set()
        self._closed = False

    def lines(self, plan: Plan, event: str | None = None) -> Iterator[Array]:
        r"""Yield the answer to a plan as arrays of CSV lines, each line ending in ``\n``.

        Parameters
        ----------
        plan
            The query.
        event
            Only this event's records and columns, or None for all in one table.
        """
        sql, values = lines(plan, self.schema, self._positions, event)
        cursor = self._cursor()
        try:
            cursor.register("events", self._table)
            found = cursor.sql(sql, params=values)
            for batch in found.to_arrow_reader(_BATCH):
                yield batch.column(0)
        finally:
            with self._lock:
                self._cursors.discard(cursor)
            cursor.close()

    def interrupt(self) -> None:
        """Break off every running query and take no new one."""
        with self._lock:
            self._closed = True
            for cursor in self._cursors:
                cursor.interrupt()

    def close(self) -> None:
        """Let go of the data; nothing may be running any more."""
        self.interrupt()
        self._base.close()

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._closed:
                raise RuntimeError("the store is closed")
            cursor = self._base.cursor()
            self._cursors.add(cursor)
            return cursor
