"""A report larger than the memory it may take: fetched, cached, aggregated by exit reason, all in bounded memory.

    python benchmarks/large.py [--rows 100000000] [--limit 2000] [--work FOLDER]

The shards come from a real OpenSSH server on loopback. Each step prints its seconds and the most memory the process
held of its own (sampled; pages of mapped files, which the system takes back when it needs them, are not in it). Exit
status 1 where a step went over the limit, in megabytes, or the ways of counting disagree.
"""

from __future__ import annotations

import argparse
import getpass
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import duckdb
from arriving import arriving
from rows import write_shards
from ways import account_and_query

from insights_nb.report import submit
from tests.openssh import serve

SHARD_ROWS = 1_000_000


class Sampler(threading.Thread):
    """Watches the memory this process holds of its own."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0.0

    def run(self) -> None:
        """Look fifty times a second."""
        while True:
            status = Path("/proc/self/status").read_text()
            held = next(line for line in status.splitlines() if line.startswith("RssAnon"))
            self.peak = max(self.peak, int(held.split()[1]) / 1e3)
            time.sleep(0.02)


def main() -> int:
    """Do it all and print a line a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / f"insights-large-{getpass.getuser()}"
    )
    options = parser.parse_args()
    options.work.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = options.work / "shards"
    count = max(1, options.rows // SHARD_ROWS)
    if len(list(source.glob("*.gz"))) < count:
        print("inventing the shards, once …", flush=True)
        write_shards(source, options.rows, count)
    root = options.work / "cache"
    shutil.rmtree(root, ignore_errors=True)
    sampler = Sampler()
    sampler.start()
    worst = 0.0

    def step(what: str, work: Callable[[], Any]) -> Any:
        nonlocal worst
        sampler.peak, began = 0.0, time.perf_counter()
        outcome = work()
        worst = max(worst, sampler.peak)
        print(f"{what:<58} {time.perf_counter() - began:7.1f} s {sampler.peak:8,.0f} MB", flush=True)
        return outcome

    step("the interpreter and the libraries", lambda: time.sleep(0.1))
    account, query = account_and_query(root)
    paths = [path.name for path in sorted(source.glob("*.gz"))][:count]
    duckdb.execute("SET memory_limit = '800MB'")
    with tempfile.TemporaryDirectory() as keys, serve(Path(keys)) as server:
        report = arriving(server.access(source), paths, root)
        scanned = step("scan(): fetch, verify, write the columns", report.scan)
    found = step("duckdb by exit reason", lambda: by_reason(scanned))
    again = step(
        "the same in another kernel: the copy's check, and duckdb", lambda: by_reason(submit(account, query).scan())
    )
    counted = step("iter_chunks(columns=['ExitReason']), counted in pandas", lambda: in_chunks(account, query))
    total = sum(n for _, n in found)
    size = sum(path.stat().st_size for path in root.rglob("*.columns.arrow"))
    inflated = account.cache.entries()[0].manifest.inflated
    print(f"{total:,} rows, {inflated / 1e9:.1f} GB of CSV, the copy {size / 1e9:.1f} GB")
    agree = found == again and Counter({reason: n for reason, n in found if reason}) == counted
    print(f"most memory {worst:,.0f} MB of {options.limit:,} MB; the ways agree: {agree}")
    return 0 if agree and worst <= options.limit and total == options.rows else 1


def by_reason(scanned: Any) -> list[Any]:
    """Rows by exit reason, by duckdb, which finds the dataset under its name."""
    return duckdb.sql(
        "SELECT ExitReason, count(*) AS n FROM scanned GROUP BY ALL ORDER BY n DESC, ExitReason"
    ).fetchall()


def in_chunks(account: Any, query: Any) -> Counter[str]:
    """The same count with frames of a million rows."""
    counted: Counter[str] = Counter()
    for chunk in submit(account, query).iter_chunks(1_000_000, columns=["ExitReason"]):
        counted.update(chunk["ExitReason"].value_counts().to_dict())
    return counted


if __name__ == "__main__":
    sys.exit(main())
