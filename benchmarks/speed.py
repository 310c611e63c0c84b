"""Every aim of speed beside its peers, measured in one run on the same rows, as one table.

    python benchmarks/speed.py [--rows 2000000] [--turns 5] [--megabytes 100] [--work FOLDER]

Each measurement is a process of its own; the ways take turns, so that a busy machine is busy for all of them, and the
table has medians. What is missing here (a peer that is not installed, an OpenSSH server) is said in a line and left
out.
"""

from __future__ import annotations

import argparse
import getpass
import gzip
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from delay import distant
from rows import write_shards
from ways import FETCHES, WAYS, account_and_query, clear_copy

from insights_nb.cache import Manifest
from insights_nb.waiting import poll_pause
from tests.openssh import serve
from tests.parts import SSHD

Row = tuple[str, str, str, str]


def run(*arguments: str) -> dict[str, float]:
    """Measure one thing in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(HERE / "ways.py"), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{arguments[0]}: {done.stderr[-600:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def medians(names: Sequence[str], turns: int, *arguments: str) -> dict[str, float]:
    """Measure several ways in rotation and return each one's median seconds."""
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(turns):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:  # type: ignore[operator]
            taken[name].append(run(name, *arguments)["seconds"])
    return {name: statistics.median(values) for name, values in taken.items()}


def start_up(turns: int) -> Iterator[Row]:
    """Importing ours against importing pandas."""
    taken: dict[str, list[float]] = {"pandas": [], "insights_nb": []}
    for _ in range(max(turns, 5)):
        for name, values in taken.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
            values.append(time.perf_counter() - began)
    theirs, mine = (statistics.median(values) for values in taken.values())
    yield "import insights_nb / import pandas", "≤ 1.15", f"{mine / theirs:.2f}", f"{mine:.2f} s, {theirs:.2f} s"


def reading(folder: Path, rows: int, turns: int) -> Iterator[Row]:
    """Warm and cold against every engine that reads gzip CSV."""
    cache = publish(folder, rows)
    names = [name for name in WAYS if name not in ("polars", "duckdb") or importlib.util.find_spec(name)]
    for name in {"polars", "duckdb"} - set(names):
        print(f"left out: {name} is not installed")
    clear_copy(cache)
    cold = [name for name in names if "warm" not in name]
    found = medians(cold, turns, str(cache))
    found |= medians([name for name in names if "warm" in name], turns, str(cache))
    pandas, best = (
        found["pandas"],
        min((found[name], name) for name in ("polars", "duckdb", "pyarrow") if name in found),
    )
    for name, aim in (("ours warm", "≥ 100"), ("ours warm, Arrow dtypes", ""), ("ours warm, two columns", "")):
        yield (
            f"{name}: pandas / ours",
            aim,
            f"{pandas / found[name]:.0f}",
            f"{found[name] * 1e3:.0f} ms, {pandas:.1f} s",
        )
    name = "every column touched"
    theirs, mine = found[f"pandas, {name}"], found[f"ours warm, {name}"]
    yield f"ours warm, {name}: pandas / ours", "≥ 12", f"{theirs / mine:.1f}", f"{mine:.2f} s, {theirs:.1f} s"
    mine = found["ours cold"]
    yield "ours cold: pandas / ours", "≥ 5", f"{pandas / mine:.1f}", f"{mine:.2f} s, {pandas:.1f} s"
    for name, aim in (("ours cold, Arrow dtypes", "≥ 1.3"), ("ours cold, copy written", "≥ 1")):
        shown = f"{found[name]:.2f} s, {best[0]:.2f} s"
        yield f"{name}: best of the others ({best[1]}) / ours", aim, f"{best[0] / found[name]:.2f}", shown
    others = ", ".join(f"{name} {found[name]:.2f} s" for name in ("polars", "duckdb", "pyarrow") if name in found)
    print(f"others, cold: {others}")


def publish(folder: Path, rows: int) -> Path:
    """Make a cache that holds the report, of shards that are made once."""
    facts = write_shards(folder / "shards", rows, 4)
    root = folder / "cache"
    shutil.rmtree(root, ignore_errors=True)
    account, query = account_and_query(root)
    staging = account.cache.staging(query.digest)
    for path in sorted((folder / "shards").glob("*.gz")):
        shutil.copy(path, staging / path.name)
    account.cache.publish(staging, Manifest(query.digest, query.text, "r", 1.0, 2.0, None, ()), facts)
    return root


def transfer(folder: Path, megabytes: int, turns: int) -> Iterator[Row]:
    """One file from a real OpenSSH server, near and at distances."""
    if not SSHD.exists() or not shutil.which("sftp"):
        print("left out: transfer; there is no OpenSSH server and sftp here")
        return
    names = [name for name in FETCHES if name != "asyncssh" or importlib.util.find_spec("asyncssh")]
    if len(names) < len(FETCHES):
        print("left out: asyncssh is not installed")
    root = folder / f"served-{megabytes}"
    root.mkdir(exist_ok=True)
    if not (root / "shard.csv.gz").exists():
        with gzip.open(root / "shard.csv.gz", "wb", compresslevel=1) as file:
            file.write(b"A,B\n")
            for _ in range(megabytes):
                text = os.urandom(880_000).hex().encode()
                file.write(b"\n".join(text[at : at + 160] + b"," for at in range(0, len(text), 160)) + b"\n")
    size = (root / "shard.csv.gz").stat().st_size / 1e6
    for distance, aim in ((0.0, "≥ 0.8"), (0.01, ""), (0.04, "≥ 2.5"), (0.12, "")):
        with ExitStack() as stack:
            server = stack.enter_context(serve(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
            target = stack.enter_context(tempfile.TemporaryDirectory())
            place = {
                "port": stack.enter_context(distant(server.port, distance)) if distance else server.port,
                "user": getpass.getuser(),
                "key": str(server.key),
                "host_keys": list(server.fingerprints.values()),
                "root": str(root),
                "file": "shard.csv.gz",
            }
            taken: dict[str, list[float]] = {name: [] for name in names}
            for _ in range(max(2, turns - 2)):
                for name, values in taken.items():
                    values.append(run(name, tempfile.mkdtemp(dir=target), json.dumps(place))["seconds"])
        found = {name: statistics.median(values) for name, values in taken.items()}
        rates = ", ".join(f"{name} {size / seconds:.0f}" for name, seconds in found.items())
        where = f"{distance * 1e3:.0f} ms away" if distance else "on loopback"
        for name, aimed in (("ours, unchecked", aim), ("ours", "")):
            ratio = f"{found['OpenSSH sftp'] / found[name]:.2f}"
            yield f"transfer {where}, {size:.0f} MB: OpenSSH sftp / {name}", aimed, ratio, f"MB/s: {rates}"


def noticing() -> Row:
    """How late a report's end is noticed at most, by the pauses themselves."""
    worst = max(poll_pause(ran, 1.0) / max(1.0, 0.1 * ran) for ran in range(1, 43_200))
    return (
        "noticing that a report is done: longest pause / max(1 s, 10 % of the run)",
        "≤ 1",
        f"{worst:.2f}",
        "computed",
    )


def machine() -> str:
    """The conditions, in a line."""
    names = ("pandas", "pyarrow", "polars", "duckdb", "paramiko", "asyncssh", "isal", "xxhash")
    there = ", ".join(f"{name} {version(name)}" for name in names if importlib.util.find_spec(name))
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr.split(",")[0]
    cores = f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}"
    return f"{cores}, Python {platform.python_version()}, {there}, {ssh}"


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / f"insights-bench-{getpass.getuser()}"
    )
    options = parser.parse_args()
    options.work.mkdir(mode=0o700, parents=True, exist_ok=True)
    began = time.strftime("%Y-%m-%d %H:%M")
    lines = [
        *start_up(options.turns),
        *reading(options.work, options.rows, options.turns),
        *transfer(options.work, options.megabytes, options.turns),
        noticing(),
    ]
    print(f"\n{began}, {options.rows:,} rows, medians of {options.turns} turns; {machine()}\n")
    print("| what | aim | found | ours, theirs |\n|---|--:|--:|---|")
    for what, aim, found, shown in lines:
        print(f"| {what} | {aim} | {found} | {shown} |")


if __name__ == "__main__":
    main()
