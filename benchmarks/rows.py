"""Invented reports of any size on the disk, in the form of the service: gzip CSV shards, 17 columns."""

from __future__ import annotations

import gzip
import shutil
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
from pyarrow import compute

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from insights_nb.check import ShardFacts, inspect_shard
from insights_nb.simulator.callers import invent
from insights_nb.simulator.schema import documented

FIELDS = """EventName TimeStamp FlowId FlowName ActionId ActionName IsTriggerAction SessionId TransactionId
    ApplicationRegion StartTime EndTime Path ExitReason DtmfInput ErrorReason EventVersion""".split()
UNTIL = "2026-03-08T00:00:00Z"
PORTION = 1_000_000


def write_shards(folder: Path, rows: int, shards: int) -> list[ShardFacts]:
    """Write a report's shards, the same for the same arguments; at most a million rows are in memory at once.

    Parameters
    ----------
    folder : Path
        Where; shards already there are kept.
    rows, shards : int
        How many.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = []
    for number in range(shards):
        path = folder / f"shard-{number:05d}.csv.gz"
        wanted = rows // shards + (number < rows % shards)
        if not path.exists():
            unfinished, text = path.with_suffix(".tmp"), path.with_suffix(".csv")
            with gzip.open(unfinished, "wb", compresslevel=6) as file:
                left, portion = wanted, 0
                while left:
                    rows_now = _rows(min(left, PORTION), seed=number * 1000 + portion)  # noqa: F841 - duckdb finds it
                    # By the engine of the local service: quotes only where they are needed.
                    duckdb.sql("FROM rows_now").write_csv(str(text), header=not portion)
                    with text.open("rb") as source:
                        shutil.copyfileobj(source, file, 1 << 20)
                    left, portion = left - min(left, PORTION), portion + 1
            text.unlink(missing_ok=True)
            unfinished.rename(path)
        facts.append(inspect_shard(path))
    return facts


def _rows(count: int, seed: int) -> pa.Table:
    """Invented records as text, the way the service writes them."""
    table, _ = invent(documented(), seed=seed, size=int(count * 1.1) + 2000, until=UNTIL)
    table = table.slice(0, count)
    columns = []
    for name in FIELDS:
        column = table.column(name)
        if pa.types.is_timestamp(column.type):
            text = compute.strftime(column.cast(pa.timestamp("ms")), format="%Y-%m-%d %H:%M:%S")
            column = compute.binary_join_element_wise(text, "UTC", " ")
        elif pa.types.is_boolean(column.type):
            column = compute.if_else(column, "true", "false")
        columns.append(column.cast(pa.large_string()))
    return pa.table(columns, names=FIELDS)
