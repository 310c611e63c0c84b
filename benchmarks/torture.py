"""Torture: kills, crashes, failing disks and Stop, at every point, against a local service over real HTTP and SFTP.

``python benchmarks/torture.py [--short] [--seconds N] [--seed N]`` prints one table of counts. Every count that must
be zero is marked so, every control must find something, and the exit status is 1 where that does not hold.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])

import pandas as pd
import torture_kernel as inside
import torture_stop

from insights_nb.simulator import Fault, Simulator

RANGE = {"$gte": "2026-11-13T00:00:00Z", "$lte": "2026-11-20T00:00:00Z"}
QUERIES = 5
ROWS = 1500
ENOUGH = 20  # kills, for a control that only chance makes fail
COLUMNS = ["SessionId", "ActionId", "Passthrough"]
FORK = multiprocessing.get_context("forkserver")


class Table:
    """The counts, each printed as it comes."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.began = time.monotonic()

    def part(self, name: str) -> None:
        """Begin a part."""
        print(f"\n{name}", flush=True)

    def count(self, what: str, count: int, must: str = "") -> None:
        """Print a count that must be ``zero``, ``some``, or may be anything."""
        wrong = (must == "zero" and count != 0) or (must == "some" and count == 0)
        print(f"  {what:<64}{count:>8,}  {must and 'must be ' + must}{'  <-- FAILED' if wrong else ''}", flush=True)
        if wrong:
            self.failures.append(what)


class Yard:
    """A service, queries with rows known beforehand, and folders for caches."""

    def __init__(self, home: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.home = home
        self._number = 0
        self.oracle: dict[tuple[Simulator, str], str] = {}
        self.texts = [self._text(number) for number in range(QUERIES)]
        # Much to fetch, so that a kill may strike in the middle of it; and little, so that few operations fetch it.
        slowly = [
            Fault(on="SFTP open", do="delay", seconds=0.03, times=0),
            Fault(on="POST /Q", do="delay_after", seconds=0.03, times=0),
        ]
        events = self._events(ROWS * QUERIES)
        self.slow = self._service(events, shard_rows=150, pending=0.25, faults=slowly, seed=seed)
        self.fast = self._service(self._events(250), shard_rows=30, seed=seed)

    def _service(self, events: pd.DataFrame, **options: Any) -> Simulator:
        """A service of these events, whose answers are noted beforehand, straight from them."""
        service = Simulator(events=events, **options)
        for number, text in enumerate(self.texts):
            rows = events[events["FlowId"] == f"flow-{number}"][COLUMNS]
            self.oracle[service, text] = inside.print_of(rows.to_numpy().tolist())
        return service

    def _events(self, count: int) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "EventName": "ApplicationExitEvent",
                "TimeStamp": pd.Timestamp("2026-11-14", tz="UTC"),
                "SessionId": [f"1794614400-{number:06d}" for number in range(count)],
                "FlowId": [f"flow-{number % QUERIES}" for number in range(count)],
                "ActionId": [f"{number * 7919 % 10007:05d}" for number in range(count)],
                # Text that gzip cannot make small, so that there is something to fetch.
                "Passthrough": [self.dice.randbytes(120).hex() for _ in range(count)],
            }
        )

    def _text(self, number: int) -> str:
        wanted = {"ApplicationExitEvent": {"FlowId": {"$eq": f"flow-{number}"}}}
        return json.dumps(
            {"timestamp": RANGE, "data": {"ApplicationExitEvent": {"fields": COLUMNS}}, "filters": wanted}
        )

    def folder(self) -> Path:
        """A folder of its own for a cache and what its kernels tell."""
        self._number += 1
        folder = self.home / f"round-{self._number}"
        folder.mkdir(mode=0o700)
        return folder


class Round:
    """Kernels that share a cache, from their start until all their queries are answered."""

    def __init__(self, yard: Yard, service: Simulator, **options: Any) -> None:
        self.yard = yard
        self.service = service
        self.folder = yard.folder()
        self.options = options
        self.kills = 0
        self.seen = 0
        self.corrupt = 0
        self.wrong = 0
        self.asked: set[str] = set()
        self._began = len(service.calls)
        self._ended = 0
        self._kernels: dict[int, tuple[ForkServerProcess, Sequence[str], Path]] = {}
        self._started = 0

    def start(self, place: int, texts: Sequence[str], **more: Any) -> ForkServerProcess:
        """Start a kernel in a place; what was there before is gone."""
        self._started += 1
        told = self.folder / f"told-{self._started}.json"
        given = (self.service.settings, str(self.folder), texts, str(told))
        process = FORK.Process(target=inside.kernel, args=given, kwargs={**self.options, **more})
        process.start()
        self._kernels[place] = process, texts, told
        self.asked |= set(texts)
        return process

    def kill_one(self) -> bool:
        """Kill a living kernel, look, and start another in its place; False when none lives."""
        living = [place for place, (process, _, _) in self._kernels.items() if process.is_alive()]
        if not living:
            return False
        place = self.yard.dice.choice(living)
        process, texts, _ = self._kernels[place]
        process.kill()
        process.join()
        self.kills += 1
        self.look()
        self.start(place, texts)
        return True

    def look(self) -> None:
        """Be a reader."""
        naive = self.options.get("kind") == "naive"
        seen, corrupt = (inside.look_at_shards if naive else inside.look)(self.folder / "cache")
        self.seen += seen
        self.corrupt += corrupt

    def end(self) -> None:
        """Let every kernel end, and hold what they told against what is known."""
        for process, texts, told in self._kernels.values():
            process.join(60)
            if process.is_alive():
                process.kill()
                process.join()
            found = json.loads(told.read_text())["found"] if told.exists() else {}
            for text in texts:
                right = found.get(text) == self.yard.oracle[self.service, text]
                self.wrong += not right
                if not right and process.exitcode != inside.KILLED:
                    print(f"    wrong: {found.get(text, f'nothing, exit {process.exitcode}')}", flush=True)
        self.look()
        self._ended = len(self.service.calls)
        shutil.rmtree(self.folder / "cache", ignore_errors=True)

    def posts(self, status: int) -> int:
        """How many POSTs were answered so."""
        calls = self.service.calls[self._began : self._ended]
        return sum(call.method == "POST" and call.path.endswith("/Q") and call.status == status for call in calls)

    @property
    def ambiguous(self) -> int:
        """POSTs that were begun, and whose outcome no kernel ever knew."""
        notes = (self.folder / "notes").read_text().split()
        return notes.count("intent") - notes.count("known")

    @property
    def extra(self) -> int:
        """Accepted reports that neither a query nor a lost answer explains."""
        return max(0, self.posts(201) - len(self.asked) - self.ambiguous)


def sums(rounds: Sequence[Round], name: str) -> int:
    """A count over all rounds."""
    return sum(getattr(each, name) for each in rounds)


def kill_rounds(
    yard: Yard, seconds: float, kernels: Sequence[Sequence[int]], kills: int, **options: Any
) -> list[Round]:
    """Rounds of kernels that ask the queries of these numbers, killed at random, until the time is over."""
    rounds: list[Round] = []
    until = time.monotonic() + seconds
    while not rounds or time.monotonic() < until:
        this = Round(yard, yard.slow, **options)
        for place, numbers in enumerate(kernels):
            this.start(place, [yard.texts[number] for number in numbers])
        for _ in range(yard.dice.randint(1, kills)):
            time.sleep(yard.dice.uniform(0.02, 1.2))
            if not this.kill_one():
                break
        this.end()
        rounds.append(this)
    return rounds


def random_kills(yard: Yard, table: Table, seconds: float) -> None:
    """Kill one and three kernels at random, with file locks that work and that do not; then the controls."""
    shapes: list[tuple[str, list[list[int]]]] = [("1 kernel", [[0]]), ("3 kernels", [[0], [0], [1]])]
    for name, kernels in shapes:
        for locks in (True, False):
            table.part(f"Random SIGKILLs: {name}, locks {'on' if locks else 'off'}")
            told(table, kill_rounds(yard, seconds / 6, kernels, 4, locks=locks), locks=locks)
    table.part("Control: the naive writer under the same kills")
    rounds = kill_rounds(yard, seconds / 6, [[0]], 8, kind="naive")
    kills = sums(rounds, "kills")
    table.count("kills", kills)
    table.count("shards seen under their final name", sums(rounds, "seen"))
    table.count("of these not whole", sums(rounds, "corrupt"), "some" if kills >= ENOUGH else "")
    table.part("Control: a client without a journal under the same kills")
    rounds = kill_rounds(yard, seconds / 6, [[0], [1], [2]], 4, kind="forgetful")
    kills = sums(rounds, "kills")
    table.count("kills", kills)
    extra = sums(rounds, "extra")
    table.count("reports accepted beyond queries and lost answers", extra, "some" if kills >= ENOUGH else "")
    table.count("429s it brought upon itself", sum(each.posts(429) for each in rounds))


def told(table: Table, rounds: Sequence[Round], *, locks: bool) -> None:
    """Print what such rounds came to."""
    table.count("rounds", len(rounds))
    table.count("kills", sums(rounds, "kills"))
    table.count("entries seen by a reader", sums(rounds, "seen"))
    table.count("of these not whole", sums(rounds, "corrupt"), "zero")
    table.count("wrong or missing frames at the end", sums(rounds, "wrong"), "zero")
    table.count("queries", sum(len(each.asked) for each in rounds))
    table.count("POSTs accepted", sum(each.posts(201) for each in rounds))
    table.count("POSTs whose answer was lost by a kill", sums(rounds, "ambiguous"))
    table.count("accepted beyond queries and lost answers", sums(rounds, "extra"), "zero" if locks else "")
    table.count("429s we brought upon ourselves", sum(each.posts(429) for each in rounds), "zero" if locks else "")


def many_kernels(yard: Yard, table: Table, seconds: float) -> None:
    """More kernels than slots, each asking every query, killed at random; and the control."""
    turns = [[(start + step) % QUERIES for step in range(QUERIES)] for start in range(4)]
    table.part(f"{len(turns)} kernels, each asking {QUERIES} queries of {QUERIES}, killed at random; locks on")
    told(table, kill_rounds(yard, seconds * 0.7, turns, 12), locks=True)
    table.part("Control: the same without a journal")
    rounds = kill_rounds(yard, seconds * 0.3, turns, 12, kind="forgetful")
    table.count("kills", sums(rounds, "kills"))
    table.count("reports accepted beyond queries and lost answers", sums(rounds, "extra"), "some")
    table.count("429s it brought upon itself", sum(each.posts(429) for each in rounds), "some")


def crash_points(yard: Yard, table: Table, seconds: float) -> None:
    """Die at every operation of the disk, with and without half a write on it; then the naive writer."""
    operations = operations_of(yard, "ours")
    points = [(number, False) for number in range(len(operations))]
    points += [(number, True) for number, name in enumerate(operations) if name in {"write", "block"}]
    yard.dice.shuffle(points)
    table.part("Dying at every operation of the disk")
    counts = crash(yard, points, seconds, "ours")
    table.count("operations of one run", len(operations))
    table.count("crash points there are, clean and torn", len(points))
    table.count("crash points tried", counts["tried"])
    table.count("of these torn: half a write on the disk", counts["torn"])
    table.count("kernels that died", counts["died"])
    table.count("entries seen by a reader between", counts["seen"])
    table.count("of these not whole", counts["corrupt"], "zero")
    table.count("runs after it without the right frame", counts["unrecovered"], "zero")
    table.count("POSTs whose answer was lost by dying", counts["ambiguous"])
    table.count("accepted beyond queries and lost answers", counts["extra"], "zero")
    table.part("Control: the naive writer, dying while it writes a shard")
    places = [(number, True) for number, name in enumerate(operations_of(yard, "naive")) if name == "block"]
    counts = crash(yard, places, 60.0, "naive")
    for _ in range(10):
        # Two threads take turns with the disk, so the place that was a write once may be another operation now.
        if counts["corrupt"]:
            break
        again = crash(yard, places, 60.0, "naive")
        counts = {name: counts[name] + again[name] for name in counts}
    table.count("kernels that died", counts["died"])
    table.count("shards seen under their final name", counts["seen"])
    table.count("of these not whole", counts["corrupt"], "some")


def operations_of(yard: Yard, kind: str) -> list[str]:
    """The operations of one undisturbed run."""
    run = Round(yard, yard.fast, quick=True, kind=kind)
    run.start(0, [yard.texts[0]]).join()
    operations: list[str] = json.loads((run.folder / "told-1.json").read_text())["operations"]
    run.end()
    return operations


def crash(yard: Yard, points: Sequence[inside.Point], seconds: float, kind: str) -> dict[str, int]:
    """Die at each point, be a reader, and ask again; as far as time allows, but once at least."""
    counts = dict.fromkeys(("tried", "torn", "died", "seen", "corrupt", "unrecovered", "ambiguous", "extra"), 0)
    until = time.monotonic() + seconds
    for number, torn in points:
        if counts["tried"] and time.monotonic() > until:
            break
        run = Round(yard, yard.fast, quick=True, kind=kind)
        process = run.start(0, [yard.texts[0]], point=(number, torn))
        process.join()
        counts["tried"] += 1
        counts["torn"] += torn
        counts["died"] += process.exitcode == inside.KILLED
        run.look()
        if kind == "ours":
            run.start(0, [yard.texts[0]])
        run.end()
        counts["seen"] += run.seen
        counts["corrupt"] += run.corrupt
        counts["unrecovered"] += run.wrong
        counts["ambiguous"] += run.ambiguous
        counts["extra"] += run.extra
        shutil.rmtree(run.folder, ignore_errors=True)
    return counts


def in_a_kernel(yard: Yard, work: Any, seconds: float) -> dict[str, Any]:
    """Run a part that needs but one process; what it counted, with POSTs accepted meanwhile."""
    folder, text = yard.folder(), yard.texts[0]
    before = yard.fast.count("POST", r"/Q$")
    seed = yard.dice.randrange(2**32)
    given = (yard.fast.settings, str(folder), text, yard.oracle[yard.fast, text], seconds, seed, str(folder / "out"))
    process = FORK.Process(target=work, args=given)
    process.start()
    process.join()
    counts: dict[str, Any] = json.loads((folder / "out").read_text())
    return {**counts, "posts": yard.fast.count("POST", r"/Q$") - before}


def failing_disk(yard: Yard, table: Table, seconds: float) -> None:
    """Every way to fail, at every operation."""
    table.part("A disk that fails at every operation: " + ", ".join(map(str, inside.ERRNOS)))
    counts = in_a_kernel(yard, inside.failing_disk, seconds)
    table.count("operations of one run", counts["operations"])
    table.count("cases there are (operation, errno, once or lasting)", counts["cases"])
    table.count("cases tried", counts["tried"])
    table.count("refused with an error of ours", counts["refused"])
    table.count("the right frame all the same", counts["right"])
    table.count("another exception", counts["uncaught"], "zero")
    table.count("a wrong frame", counts["wrong"], "zero")
    table.count("entries not whole", counts["corrupt"], "zero")
    table.count("runs after it, on a sound disk, without the right frame", counts["unrecovered"], "zero")
    for example in counts["examples"]:
        print(f"    {example}")


def interrupts(yard: Yard, table: Table, seconds: float) -> None:
    """Stop at every event."""
    table.part("Stop (KeyboardInterrupt) at every line and call of the package in the main thread")
    counts = in_a_kernel(yard, torture_stop.interrupts, seconds)
    table.count("events of one run", counts["events"])
    table.count("pressed once, at an event", counts["pressed"])
    table.count("pressed twice, the second time a moment later", counts["twice"])
    table.count("pressed at a random moment, by a real signal", counts["anywhen"])
    for name, what in (
        ("swallowed", "swallowed"),
        ("threads", "calls that left a thread"),
        ("sockets", "calls that left a socket"),
        ("files", "calls, pressed once at an event, that left a file open"),
        ("locks", "calls that left a lock held"),
        ("corrupt", "entries not whole"),
        ("wrong", "calls after it without the right frame"),
    ):
        table.count(what, counts[name], "zero")
    table.count("pressed while an object was taken away, and dropped by Python", counts["dropped"])
    table.count("files left open by a signal within a system call (not held)", counts["files_by_chance"])
    table.count("reports accepted beyond one a case", max(0, counts["posts"] - counts["runs"]), "zero")
    for example in counts["examples"]:
        print(f"    {example}")


PARTS = {
    "kills": (random_kills, 0.35),
    "kernels": (many_kernels, 0.15),
    "crashes": (crash_points, 0.2),
    "errnos": (failing_disk, 0.15),
    "stop": (interrupts, 0.15),
}


@contextmanager
def yard_for(seed: int) -> Iterator[Yard]:
    """A yard, and nothing of it afterwards."""
    FORK.set_forkserver_preload(["torture_stop"])
    FORK.Process(target=int).start()  # starts the server that forks, before any thread of ours
    with tempfile.TemporaryDirectory(prefix="insights-torture-") as home:
        yard = Yard(Path(home), seed)
        with yard.slow, yard.fast:
            yield yard


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts and print the table; 1 where a count is not what it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="less than a minute: a sample of every part")
    parser.add_argument("--seconds", type=float, default=None, help="time for all parts (default 1800, short 36)")
    parser.add_argument("--seed", type=int, default=7, help="of the random moments (default 7)")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; may be repeated")
    options = parser.parse_args(argv)
    seconds = options.seconds or (36.0 if options.short else 1800.0)
    table = Table()
    print(f"torture: seed {options.seed}, {seconds:.0f} s, Python {sys.version.split()[0]}, {os.cpu_count()} cores")
    with yard_for(options.seed) as yard:
        for name in options.part or PARTS:
            work, share = PARTS[name]
            work(yard, table, seconds * (1.0 if options.part else share))
    print(f"\n{time.monotonic() - table.began:.0f} s; {len(table.failures)} counts are not what they must be")
    return 1 if table.failures else 0


if __name__ == "__main__":
    sys.exit(main())
