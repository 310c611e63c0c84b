"""The local service as tests use it, and accounts that talk to it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from insights_nb.account import Account
from insights_nb.settings import Settings, resolve
from insights_nb.simulator import Simulator
from insights_nb.watch import Clock

UNTIL = "2026-11-20T00:00:00Z"
RANGE = {"$gte": "2026-11-13T00:00:00Z", "$lte": "2026-11-20T00:00:00Z"}
BODY = {
    "timestamp": RANGE,
    "data": {"ApplicationExitEvent": {"fields": ["SessionId", "TimeStamp", "ActionId", "ExitReason"]}},
}


def service(**options: Any) -> Simulator:
    """A small service over a fixed week, not yet started."""
    return Simulator(**{"size": 2000, "until": UNTIL, **options})


def settings_for(simulator: Simulator, **more: Any) -> Settings:
    """Settings that reach a service, and nothing of this machine's."""
    return resolve({**simulator.settings, **more}, environ={"INSIGHTS_CONFIG": ""})


def account_for(simulator: Simulator, cache: Path, clock: Clock | None = None, **more: Any) -> Account:
    """An account of the service with a cache of its own."""
    return Account(settings_for(simulator, cache_dir=cache, **more), clock)


class QuickClock(Clock):
    """Time that passes when somebody sleeps, and otherwise as it does."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        """Unix seconds, moved on by every sleep."""
        return super().now() + self.ahead

    def steady(self) -> float:
        """Steady seconds, moved on by every sleep."""
        return super().steady() + self.ahead

    def sleep(self, seconds: float) -> None:
        """Move time on; give other threads the moment they need."""
        self.slept.append(seconds)
        self.ahead += seconds
        super().sleep(0)


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something is so, and fail when it never is."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it never happened")
        pause.wait(0.01)


def environment(simulator: Simulator, cache: Path) -> dict[str, str]:
    """The environment of another process that talks to a service."""
    ours = {f"INSIGHTS_{name.upper()}": value for name, value in simulator.settings.items()}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INSIGHTS_")}
    return {**kept, **ours, "INSIGHTS_CONFIG": "", "INSIGHTS_CACHE_DIR": str(cache)}


ASKER = """
import json, sys
import pandas as pd
import insights_nb as insights
frame = insights.query(sys.argv[1], progress="none")
told = frame.attrs["insights"]
print(json.dumps({"rows": frame.astype(str).values.tolist(), "report": told["report_id"], "cached": told["cached"]}))
"""


def ask_elsewhere(simulator: Simulator, cache: Path, body: Mapping[str, Any] = BODY) -> "subprocess.Popen[str]":
    """Ask a query in a process of its own; it prints rows, report id and whether it was cached, as JSON."""
    return subprocess.Popen(
        [sys.executable, "-c", ASKER, json.dumps(body)],
        env=environment(simulator, cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """What such a process printed, once it is done."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def stop_pressed() -> None:
    """Do what the kernel's Stop button does: a real SIGINT for the main thread."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)
