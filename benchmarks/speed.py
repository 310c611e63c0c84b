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
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from delay import Place, carried, distant, kernel, line, why_no_line
from rows import write_shards
from ways import FETCHES, FRAMES, WAYS, account_and_query, clear_copy

from insights_nb.cache import Manifest
from insights_nb.waiting import poll_pause
from tests.openssh import serve
from tests.parts import SSHD

Row = tuple[str, str, str, str]


def run(*arguments: str, enter: Sequence[str] = ()) -> dict[str, float]:
    """Measure one thing in a process of its own, which may enter a network namespace first."""
    done = subprocess.run(
        [*enter, sys.executable, str(HERE / "ways.py"), *arguments], capture_output=True, text=True, check=False
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
    code = "import time, pandas, insights_nb as i; t = time.perf_counter(); i.demo(); print(time.perf_counter() - t)"
    ran = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True) for _ in range(max(turns, 5))]
    up = statistics.median(float(done.stdout) for done in ran)
    yield "demo() with its 200,000 events is up", "≤ 0.5 s", f"{up:.2f} s", "seconds"


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


@dataclass(frozen=True)
class Case:
    """A transfer to measure.

    Parameters
    ----------
    where : str
        In words.
    round_trip : float
        Seconds; none is loopback.
    rate : float, optional
        Bits per second of the line.
    files : int, default 1
        How many files the same bytes are in.
    aim : str, default ""
        What OpenSSH's time is to be, in times of ours, unchecked.
    """

    where: str
    round_trip: float
    rate: float | None = None
    files: int = 1
    aim: str = ""


CASES = (
    Case("on loopback", 0.0, aim="≥ 0.8"),
    Case("10 ms away", 0.01),
    Case("40 ms away", 0.04, aim="≥ 2.5"),
    Case("120 ms away", 0.12),
    Case("40 ms away at 200 Mbit/s", 0.04, 2e8),
    Case("40 ms away", 0.04, files=4),
)


def transfer(folder: Path, megabytes: int, turns: int) -> Iterator[Row]:
    """Files from a real OpenSSH server, near and at distances."""
    if not SSHD.exists() or not shutil.which("sftp"):
        print("left out: transfer; there is no OpenSSH server and sftp here")
        return
    names = [name for name in FETCHES if name != "asyncssh" or importlib.util.find_spec("asyncssh")]
    if len(names) < len(FETCHES):
        print("left out: asyncssh is not installed")
    if reason := why_no_line():
        print(f"distances by a proxy in user space, which hides the kernel's windows; no line can be made: {reason}")
    else:
        print(f"distances between two network namespaces: {kernel()}")
    for case in CASES:
        if case.rate and reason:
            print(f"left out: {case.where}")
            continue
        root = served(folder, megabytes, case.files)
        files = sorted(os.listdir(root))
        size = sum((root / name).stat().st_size for name in files) / 1e6
        taken, carries = fetched(case, root, files, names, max(2, turns - 2), bool(reason))
        found = {name: statistics.median(values) for name, values in taken.items()}
        rates = ", ".join(f"{name} {size / seconds:.0f}" for name, seconds in found.items())
        what = f"transfer {case.where}, {size:.0f} MB in {len(files)} {'file' if len(files) == 1 else 'files'}"
        for name, aim in (("ours, unchecked", case.aim), ("ours", "")):
            ratio = f"{found['OpenSSH sftp'] / found[name]:.2f}"
            yield f"{what}: OpenSSH sftp / {name}", aim, ratio, f"MB/s: {carries}{rates}"


def to_a_frame(folder: Path, turns: int) -> Iterator[Row]:
    """A finished report, on a server far away, to its DataFrame, against fetching its files alone."""
    if not SSHD.exists() or not shutil.which("sftp") or why_no_line():
        print("left out: from the server to a frame")
        return
    root = folder / "shards"
    files = [path.name for path in sorted(root.glob("*.gz"))]
    for rate in (2e8, 1e9):
        case = Case("", 0.04, rate)
        taken, carries = fetched(case, root, files, list(FRAMES), max(3, turns), by_proxy=False)
        found = {name: statistics.median(values) for name, values in taken.items()}
        seconds = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
        ratio = f"{found['ours, to a frame'] / found['ours, unchecked']:.2f}"
        what = f"40 ms away at {rate / 1e6:.0f} Mbit/s: finished report to DataFrame / fetching its files"
        yield what, "≤ 1.15", ratio, f"s: {seconds}; MB/s: {carries.rstrip(', ')}"


def served(folder: Path, megabytes: int, count: int) -> Path:
    """Return a folder of so many files that hardly compress, made once."""
    root = folder / f"served-{megabytes}-{count}"
    root.mkdir(exist_ok=True)
    for index in range(count):
        path = root / f"shard-{index}.csv.gz"
        if path.exists():
            continue
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(b"A,B\n")
            for _ in range(megabytes // count):
                text = os.urandom(880_000).hex().encode()
                file.write(b"\n".join(text[at : at + 160] + b"," for at in range(0, len(text), 160)) + b"\n")
    return root


def fetched(
    case: Case, root: Path, files: Sequence[str], names: Sequence[str], turns: int, by_proxy: bool
) -> tuple[dict[str, list[float]], str]:
    """Fetch files by every client in turn; return the seconds, and what the line itself carries, in words."""
    with ExitStack() as stack:
        near = far = Place("127.0.0.1")
        if case.round_trip and not by_proxy:
            near, far = stack.enter_context(line(case.round_trip, case.rate))
        keys = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(serve(keys, address=far.address, enter=far.enter))
        port = server.port
        if case.round_trip and by_proxy:
            port = stack.enter_context(distant(port, case.round_trip))
        place = json.dumps(
            {
                "host": far.address,
                "port": port,
                "user": getpass.getuser(),
                "key": str(server.key),
                "host_keys": list(server.fingerprints.values()),
                "root": str(root),
                "files": files,
            }
        )
        taken: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(turns):
            for name in [*names[turn % len(names) :], *names[: turn % len(names)]]:
                with tempfile.TemporaryDirectory() as target:
                    taken[name].append(run(name, target, place, enter=near.enter)["seconds"])
        if not near.enter:
            return taken, ""
        return taken, f"one TCP connection {statistics.median(carried(near, far) for _ in range(3)):.0f}, "


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
    # Being told to end is an end like any other: servers and namespaces go too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    options.work.mkdir(mode=0o700, parents=True, exist_ok=True)
    began = time.strftime("%Y-%m-%d %H:%M")
    lines = [
        *start_up(options.turns),
        *reading(options.work, options.rows, options.turns),
        *to_a_frame(options.work, options.turns),
        *transfer(options.work, options.megabytes, options.turns),
        noticing(),
    ]
    print(f"\n{began}, {options.rows:,} rows, medians of {options.turns} turns; {machine()}\n")
    print("| what | aim | found | ours, theirs |\n|---|--:|--:|---|")
    for what, aim, found, shown in lines:
        print(f"| {what} | {aim} | {found} | {shown} |")


if __name__ == "__main__":
    main()
