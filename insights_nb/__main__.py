"""Command line: ``python -m insights_nb demo | simulator | config | cache``."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pandas as pd

import insights_nb as insights
from insights_nb import connect, upkeep
from insights_nb.settings import config_file


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it went well, 1 when it failed with a message, 2 for wrong usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["simulator"]:
        return _simulator(arguments[1:])
    parser = argparse.ArgumentParser(prog="python -m insights_nb", description="IntelePeer Insights in a notebook.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    demo = commands.add_parser("demo", help="run one query from start to finish against a local service")
    demo.add_argument("--size", type=int, default=200_000, help="events the service invents (default 200000)")
    demo.add_argument("--folder", type=Path, default=Path("demo"), help="where the pictures go (default demo)")
    commands.add_parser("simulator", help="run the local service in the foreground for other programs")
    commands.add_parser("config", help="print every setting and where it came from")
    cache = commands.add_parser("cache", help="check, repair or clear the reports on disk")
    cache.add_argument("action", choices=["verify", "repair", "clear"])
    cache.add_argument("--older-than", metavar="LENGTH", help="clear: only reports fetched longer ago, such as 7d")
    cache.add_argument("--everything", action="store_true", help="clear: every account's reports and records")
    options = parser.parse_args(arguments)
    try:
        if options.command == "cache":
            return _cache(options.action, options.older_than, options.everything)
        return _config() if options.command == "config" else _demo(options.size, options.folder)
    except insights.InsightsError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _demo(size: int, folder: Path) -> int:
    """The tour: POST to DataFrame to session table to chart, then the same again from the cache."""
    os.environ.setdefault("MPLBACKEND", "agg")  # pictures go to files; no window on a desktop
    print("Starting a local Insights service (invented callers, real HTTP and SFTP on this machine) …")
    insights.demo(size=size)
    fields = ["EventName", "TimeStamp", "SessionId", "FlowId", "FlowName", "ActionId", "ActionName", "IsTriggerAction"]
    events = {
        "ApplicationExitEvent": [*fields, "TransactionId", "StartTime", "EndTime", "Path", "ExitReason"],
        "DtmfEvent": [*fields, "TransactionId", "DtmfInput", "ErrorReason"],
    }
    # One fixed range for both calls: a range relative to now is another question a second later.
    until = datetime.now(UTC).replace(microsecond=0)
    ask = partial(insights.query, events=events, since=until - timedelta(days=7), until=until, progress="text")
    print("\ninsights.query(events={…}, since=…, until=…)")
    started = time.perf_counter()
    frame = ask()
    first = time.perf_counter() - started
    print(f"\n{frame.shape[0]:,} rows × {frame.shape[1]} columns\n\n{frame.dtypes.to_string()}\n")
    with pd.option_context("display.width", 140, "display.max_columns", 8, "display.max_colwidth", 24):
        print(frame.head(5))
    log = insights.session_log(frame)
    print(f"\nHow the sessions ended\n\n{log.exits().to_string()}\n")
    started = time.perf_counter()
    ask()
    second = time.perf_counter() - started
    print(f"first time {first:.2f} s · again, from the cache {second:.2f} s")
    folder.mkdir(parents=True, exist_ok=True)
    sessions = log.sessions()
    longest = sessions["n_steps"].idxmax()
    for name, axes in (("exits", log.plot.exits()), ("session", log.plot.timeline(longest))):
        path = folder / f"{name}.png"
        if figure := axes.get_figure(root=True):
            figure.savefig(path, dpi=120, bbox_inches="tight")
        print(f"wrote {path}")
    print("\nNext: make notebooks, and open 01_first_query.ipynb")
    return 0


def _simulator(argv: list[str]) -> int:
    """Hand over to the local service's own command line."""
    try:
        from insights_nb.simulator import main as serve
    except ImportError as error:
        print(f"the local service needs {error.name}: pip install 'insights_nb[demo]'", file=sys.stderr)
        return 1
    return serve(argv)


def _cache(action: str, older_than: str | None, everything: bool) -> int:
    """Check every entry, quarantine the unsound, or clear; 1 where an unsound one stays."""
    root = connect.settings().cache_dir
    if action == "clear":
        count = insights.clear_cache(older_than=older_than, everything=everything)
        print(f"removed {count} reports from {root}")
        return 0
    found = list(upkeep.verify(root) if action == "verify" else upkeep.repair(root, time.time()))
    unsound = [finding for finding in found if finding.trouble]
    for finding in unsound:
        print(f"report {finding.entry.manifest.report_id}: {finding.trouble}")
    print(f"{len(found)} reports in {root}: {len(found) - len(unsound)} sound, {len(unsound)} not", end="")
    print(" (moved to quarantine)" if unsound and action == "repair" else "")
    return 1 if unsound and action == "verify" else 0


def _config() -> int:
    """Every setting, its value (secrets as ***) and where it came from."""
    rows = connect.settings().table()
    wide = max(len(value) for _, value, _ in rows)
    for name, value, origin in rows:
        print(f"{name:<16}  {value:<{wide}}  {origin}")
    print(f"\nconfiguration file: {config_file(os.environ) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
