"""The local service as tests use it, and accounts that talk to it."""

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
        super().sleep(0.001)
