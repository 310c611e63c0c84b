"""How fast the session tables are: each one's seconds and memory, beside one sort, plain pandas and pm4py.

    python benchmarks/sessions.py 1 3 10          # millions of rows; pm4py is measured where it is installed

Each measurement runs in a forked child on the demo's invented events, so that none warms the next and its peak memory
is its own. Seconds are of CPU, so that a busy machine does not count (the wall's are beside them); ``×sort`` is the CPU
time over that of one stable argsort of as many random int64.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib.util
import multiprocessing
import os
import platform
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from insights_nb.sessions import OutcomeRules, SessionLog, session_log
from insights_nb.simulator.callers import invent
from insights_nb.simulator.schema import documented

RULES = OutcomeRules({"abandoned": "User Abandon", "completed": ["Call Successful", "Normal"]})
EVENTS = ("ApplicationExitEvent", "DtmfEvent", "CallEvent", "MsgEvent")
FIELDS = """EventName TimeStamp FlowId FlowName ActionId ActionName IsTriggerAction SessionId TransactionId
    ApplicationRegion StartTime EndTime Path ExitReason DtmfInput ErrorReason"""


def events(millions: float, dtype: str) -> pd.DataFrame:
    """Invented events with the dtypes and notes of ``query()``."""
    table, truths = invent(documented(), seed=7, size=int(millions * 1e6), until="2026-03-08T00:00:00Z")
    plain: Any = {
        name: table[name].cast(pa.large_string()) if pa.types.is_dictionary(table[name].type) else table[name]
        for name in FIELDS.split()
    }
    frame = pa.table(plain).to_pandas()
    for name in ("TimeStamp", "StartTime", "EndTime"):
        if frame[name].dt.tz is None:
            frame[name] = frame[name].dt.tz_localize("UTC")
    if dtype == "category":
        for name in ("SessionId", "ActionId", "FlowId", "EventName"):
            frame[name] = frame[name].astype("category")
    frame.attrs["insights"] = {
        "query": {"data": {name: {} for name in EVENTS}},
        "window": [f"{edge:%Y-%m-%dT%H:%M:%SZ}" for edge in (truths.since, truths.until)],
        "rows": len(frame),
    }
    return frame


def first_release(frame: pd.DataFrame) -> None:
    """Everything of the first release, once, from the frame on."""
    log = session_log(frame, rules=RULES)
    for name in ("sessions", "steps", "exits", "actions", "transitions", "variants", "completeness", "quality"):
        getattr(log, name)()
    log.timeline(log.ledger.core.ids[0])
    log.suggest_window()
    log.select(outcome="abandoned")
    log.starting_in("2026-03-02", "2026-03-03")


def alike(frame: pd.DataFrame) -> None:
    """What pm4py's six calls tell, once, from the frame on: its rework is in actions(), its durations in sessions()."""
    log = session_log(frame, rules=RULES)
    for name in ("sessions", "actions", "transitions", "variants"):
        getattr(log, name)()


def ours(frame: pd.DataFrame, log: SessionLog, used: SessionLog) -> dict[str, Callable[[], Any]]:
    """Every table and question of a log that has answered none; ``used`` is its twin, to know what to ask."""
    top = [str(name) for name in used.actions().index[:3]]
    bad = used.sessions()["outcome"].eq("abandoned")
    return {
        "session_log (prepare)": lambda: session_log(frame, rules=RULES),
        "sessions()": log.sessions,
        "steps()": log.steps,
        "exits()": log.exits,
        'exits(freq="1h")': lambda: log.exits(freq="1h"),
        "actions()": log.actions,
        "transitions()": log.transitions,
        "variants()": log.variants,
        "quality()": log.quality,
        "select()": lambda: log.select(outcome="abandoned"),
        "loops()": log.loops,
        "funnel(3)": lambda: log.funnel(top),
        "before(n=5)": lambda: log.before(top[0]),
        "step_matrix(10)": log.step_matrix,
        "dtmf()": log.dtmf,
        "kpis()": log.kpis,
        "compare()": lambda: log.compare(bad),
        "what pm4py's six tell": lambda: alike(frame),
        "first release, all of it": lambda: first_release(frame),
    }


def naive(frame: pd.DataFrame) -> dict[str, Callable[[], Any]]:
    """What one writes in pandas at first, on rows and without any of the awkward cases."""
    keys = ["SessionId", "TimeStamp"]

    def sessions() -> Any:
        ordered = frame.sort_values(keys, kind="stable")
        return ordered.groupby("SessionId").agg(
            start=("TimeStamp", "min"),
            end=("TimeStamp", "max"),
            rows=("ActionId", "size"),
            last=("ActionId", "last"),
            actions=("ActionId", "nunique"),
        )

    def transitions() -> Any:
        ordered = frame.sort_values(keys, kind="stable")
        by = ordered.groupby("SessionId")
        steps = ordered.assign(target=by["ActionId"].shift(-1), took=by["TimeStamp"].diff(-1).abs())
        return steps.groupby(["ActionId", "target"], observed=True).agg(
            count=("SessionId", "size"), sessions=("SessionId", "nunique"), median=("took", "median")
        )

    def variants() -> Any:
        ordered = frame.sort_values(keys, kind="stable")
        return ordered.groupby("SessionId")["ActionId"].agg(tuple).value_counts()

    return {"pandas sessions": sessions, "pandas transitions": transitions, "pandas variants": variants}


def peer(frame: pd.DataFrame) -> dict[str, Callable[[], Any]]:
    """The same questions to pm4py, its own preparation first."""
    if importlib.util.find_spec("pm4py") is None:
        return {}
    import pm4py  # type: ignore[import-not-found]

    names = {"case_id": "SessionId", "activity_key": "ActionId", "timestamp_key": "TimeStamp"}
    plain = frame[["SessionId", "ActionId", "TimeStamp"]].astype({"SessionId": object, "ActionId": object})
    plain["TimeStamp"] = plain["TimeStamp"].astype("datetime64[ns, UTC]")
    ready = pm4py.format_dataframe(plain, **names)
    return {
        "pm4py format_dataframe": lambda: pm4py.format_dataframe(plain, **names),
        "pm4py transitions": lambda: pm4py.discover_dfg(ready),
        "pm4py times between": lambda: pm4py.discover_performance_dfg(ready),
        "pm4py variants": lambda: pm4py.get_variants_as_tuples(ready),
        "pm4py rework": lambda: pm4py.get_rework_cases_per_activity(ready),
        "pm4py durations": lambda: pm4py.get_all_case_durations(ready),
    }


def resident() -> float:
    """Memory this process holds now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measured(work: Callable[[], Any]) -> tuple[float, float, float]:
    """Seconds of CPU and of the wall, and megabytes above what was held before, of some work done in a child."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)

    def run() -> None:
        warnings.simplefilter("ignore")
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        # Held pages that the child only reads are shared: the peak is counted from what it starts with.
        Path("/proc/self/clear_refs").write_text("5")
        before, begin, busy = resident(), time.perf_counter(), time.process_time()
        work()
        seconds, wall = time.process_time() - busy, time.perf_counter() - begin
        peak = next(
            int(line.split()[1]) / 1e3
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )
        there.send((seconds, wall, max(peak - before, 0.0)))

    child = context.Process(target=run)
    child.start()
    found: tuple[float, float, float] = here.recv()
    child.join()
    return found


def report(millions: float, dtype: str) -> None:
    """Measure one size and print its table."""
    frame = events(millions, dtype)
    keys = np.random.default_rng(1).integers(0, 2**60, len(frame))
    log = session_log(frame, rules=RULES)
    held = frame.memory_usage(deep=True).sum() / 1e6
    print(f"\n## {len(frame):,} rows, {len(log):,} sessions, {len(log.ledger.visits):,} steps, {dtype} ids")
    print(f"frame {held:,.0f} MB; the log adds {added(log) / len(frame):.0f} bytes per row\n")
    sort, _, _ = measured(lambda: np.argsort(keys, kind="stable"))
    print(f"{'':28} {'CPU s':>9} {'×sort':>7} {'wall s':>9} {'peak MB':>9}")
    print(f"{'one stable argsort':28} {sort:9.2f} {1:7.1f}")
    fresh = session_log(frame, rules=RULES)
    took = {}
    for title, work in {**ours(frame, fresh, log), **naive(frame), **peer(frame)}.items():
        seconds, wall, memory = measured(work)
        took[title] = seconds
        print(f"{title:28} {seconds:9.2f} {seconds / sort:7.1f} {wall:9.2f} {memory:9,.0f}", flush=True)
    six = sum(seconds for title, seconds in took.items() if title.startswith("pm4py"))
    if six:
        print(f"{'pm4py, the six together':28} {six:9.2f} {six / sort:7.1f}")
        for title in ("what pm4py's six tell", "first release, all of it"):
            print(f"pm4py's six take {six / took[title]:.1f} times as long as ours, {title}")


def added(log: SessionLog) -> int:
    """Bytes a log holds besides the frame: the arrays of its core and its steps."""
    parts = [*vars(log.ledger.core).values(), *vars(log.ledger.visits).values()]
    codes = log.ledger.core.event
    parts += [codes[0]] if codes is not None else []
    return sum(part.nbytes for part in parts if isinstance(part, np.ndarray))


def main() -> None:
    """Measure the sizes asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("millions", nargs="*", type=float, default=[1.0])
    parser.add_argument("--dtype", choices=["str", "category"], default="str")
    options = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, pandas {pd.__version__}, numpy {np.__version__}; single runs"
    )
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for millions in options.millions:
        report(millions, options.dtype)


if __name__ == "__main__":
    main()
