"""Time and progress of one call: how long it has run and may run, who is told, and what Stop does not cut short."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from insights_nb.progress import Observer, Progress, Stage

SLICE_SECONDS = 0.1

_T = TypeVar("_T")


class Clock:
    """Time as the pipeline sees it; a test brings its own."""

    def now(self) -> float:
        """Unix seconds: for records and ages."""
        return time.time()

    def steady(self) -> float:
        """Seconds that never jump: for waits and deadlines."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


class Watch:
    """Keeps the progress value and the time, and tells the observer."""

    def __init__(self, clock: Clock, observe: Observer, timeout: float) -> None:
        self._clock = clock
        self._observe = observe
        self._started = clock.steady()
        self._timeout = timeout
        self._progress = Progress(Stage.SUBMITTING)

    def elapsed(self) -> float:
        """Seconds since the call began."""
        return self._clock.steady() - self._started

    def left(self) -> float:
        """Seconds the user still waits."""
        return self._timeout - self.elapsed()

    def tell(self, *, note: str = "", **changes: Any) -> None:
        """Say what changed."""
        self._progress = replace(self._progress, elapsed=self.elapsed(), note=note, **changes)
        self._observe(self._progress)

    def tick(self) -> None:
        """Say that time has passed."""
        self._progress = replace(self._progress, elapsed=self.elapsed())
        self._observe(self._progress)

    def pause(self, seconds: float) -> bool:
        """Let time pass in slices short enough for the Stop button; False when the user's time is up first."""
        until = self.elapsed() + seconds
        while (rest := until - self.elapsed()) > 0:
            if self.left() <= 0:
                return False
            self._clock.sleep(min(rest, SLICE_SECONDS))
            self.tick()
        return True


def shielded(work: Callable[[], _T]) -> _T:
    """Run a piece of work to its end although the user may press Stop meanwhile; then heed the Stop.

    The work runs in a thread of its own, which no interrupt reaches. A second interrupt does not wait; the work
    goes on.
    """
    outcome: list[tuple[bool, Any]] = []
    begun, done = threading.Lock(), threading.Event()

    def run() -> None:
        if not begun.acquire(blocking=False):
            return
        try:
            outcome.append((True, work()))
        except BaseException as error:  # handed to the caller's thread whole
            outcome.append((False, error))
        finally:
            done.set()

    try:
        threading.Thread(target=run, name="insights-shielded", daemon=True).start()
        # Not by join(): interrupted once, it takes a running thread for one that has ended (before Python 3.13).
        done.wait()
    except KeyboardInterrupt:
        # Either the work has not begun, and now never will, or it is seen to its end.
        if not begun.acquire(blocking=False):
            done.wait()
        raise
    succeeded, value = outcome[0]
    if not succeeded:
        raise value
    result: _T = value
    return result
