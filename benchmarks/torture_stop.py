"""Stop pressed under torture: at every line of the package, twice, and at random moments; and what it leaves behind."""

# ruff: noqa: SLF001 - it checks by assert, and looks at frames on purpose

import dis
import faulthandler
import gc
import json
import linecache
import os
import random
import shutil
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from torture_kernel import PACKAGE, account_of, asked, look

from insights_nb.account import Account
from insights_nb.journal import Journal
from insights_nb.spec import Query

COTTAGE = PACKAGE + "simulator" + os.sep
GONE = 22.0  # the library's own timer of a handshake that was broken off runs for twenty seconds
HANGS = 90.0

Event = Callable[[FrameType, str, Any], Any]


class _Tracer:
    """Counts line and call events of the package in this thread, and presses Stop at one of them."""

    def __init__(self, at: int, resume: Callable[[], None]) -> None:
        self._at = at
        self._resume = resume
        self.events = 0
        self.where = ""

    def __call__(self, frame: FrameType, event: str, _: object) -> Event | None:
        """Be told of an event."""
        name = frame.f_code.co_filename
        # Nothing in Python can own a folder's descriptor: pressed just there, Stop would leave it open.
        if not name.startswith(PACKAGE) or name.startswith(COTTAGE) or frame.f_code.co_name == "fsync_dir":
            return None
        if event in {"call", "line"} and not _leaves_a_with(frame):
            if self.events == self._at:
                self.where = f"{Path(name).stem}:{frame.f_lineno} {event}"
                self._resume()
                raise KeyboardInterrupt
            self.events += 1
        return self


def _leaves_a_with(frame: FrameType) -> bool:
    """Whether a ``with`` is just left: its line comes by again, and no real Stop is heeded before its exit."""
    code = frame.f_code.co_code
    exits = dis.opname[code[max(0, frame.f_lasti)]] in {"LOAD_CONST", "SWAP"}
    return exits and linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with ")


def _press_later(seconds: float) -> None:
    """A real SIGINT for the main thread in a moment."""
    main = threading.main_thread().ident
    assert main is not None
    time.sleep(seconds)
    signal.pthread_kill(main, signal.SIGINT)


def _pressed(account: Account, text: str, at: int, delay: float | None) -> tuple[str, str]:
    """One run with Stop pressed at an event, or after a time; what came of it, and where it was."""
    finger: list[threading.Thread] = []
    dropped: list[bool] = []
    # Python itself drops what is raised while an object is taken away.
    sys.unraisablehook = lambda _: dropped.append(True)

    def second() -> None:
        if at >= 0 and delay is not None:
            finger.append(threading.Thread(target=_press_later, args=(delay,)))
            finger[0].start()

    tracer = _Tracer(at, second)
    outcome = "swallowed"
    try:
        try:
            if at < 0:
                finger.append(threading.Thread(target=_press_later, args=(delay,)))
                finger[0].start()
            else:
                sys.settrace(tracer)
            asked(account, text)
            outcome = "dropped" if dropped else "finished" if at < 0 or not tracer.where else "swallowed"
        except KeyboardInterrupt:
            outcome = "interrupted"
        finally:
            sys.settrace(None)
        for thread in finger:
            thread.join()
        time.sleep(0)  # a Stop that comes now is part of the game, too
    except KeyboardInterrupt:
        sys.settrace(None)
        outcome = "interrupted"
    for thread in finger:
        thread.join()
    return outcome, tracer.where


def _open_now() -> set[str]:
    """Threads and descriptors of this process, with where they are and what they lead to."""
    gc.collect()
    found = {f"thread {thread.ident}" for thread in threading.enumerate()}
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.add(f"descriptor {fd} {os.readlink(f'/proc/self/fd/{fd}').removesuffix(' (deleted)')}")
    return {name for name in found if not name.endswith("/fd")}


def _remains(before: set[str]) -> list[str]:
    """What outlives a call, though it may take a moment to go; told once."""
    began = time.monotonic()
    while left := _open_now() - before:
        patience = GONE if any(name.startswith("thread") for name in left) else 1.0
        if time.monotonic() - began > patience:
            break
        time.sleep(0.01)
    before |= left
    frames = {f"thread {number}": frame for number, frame in sys._current_frames().items()}
    stacks = {name: reversed(traceback.extract_stack(frames.get(name))[-6:]) for name in left}
    return [
        name + "".join(f" < {Path(at.filename).stem}:{at.lineno}" for at in stacks[name] if name in frames)
        for name in left
    ]


def interrupts(
    settings: dict[str, str], home: str, text: str, oracle: str, seconds: float, seed: int, out: str
) -> None:
    """Press Stop at every event, or at as many as time allows, then at random moments and twice."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    dice, until = random.Random(seed), time.monotonic() + seconds
    tracer = _Tracer(-1, lambda: None)
    account = account_of(settings, Path(home) / "count")
    sys.settrace(tracer)
    started = time.monotonic()
    asked(account, text)
    sys.settrace(None)
    took = time.monotonic() - started
    account.client.close()
    events = list(range(tracer.events))
    dice.shuffle(events)
    counts = {"events": tracer.events, "runs": 1, "pressed": 0, "twice": 0, "anywhen": 0, "dropped": 0}
    bad = dict.fromkeys(("swallowed", "threads", "sockets", "files", "files_by_chance", "locks", "corrupt", "wrong"), 0)
    examples: list[str] = []
    del account
    before = _open_now()
    number = 0
    while time.monotonic() < until and events:
        # A call that hangs ends this, with every thread's stack.
        faulthandler.dump_traceback_later(HANGS, exit=True)
        number += 1
        way = ("pressed", "pressed", "twice", "anywhen")[number % 4]
        cache = Path(home) / f"case-{number}"
        account = account_of(settings, cache)
        at = -1 if way == "anywhen" else events.pop()
        delay = None if way == "pressed" else dice.uniform(0, took if at < 0 else took / 4)
        outcome, where = _pressed(account, text, at, delay)
        account.client.close()
        del account
        counts["runs"] += 1
        counts[way] += outcome == "interrupted"
        counts["dropped"] += outcome == "dropped"
        left = _remains(before)
        locked = not _locks_are_free(cache, text)
        verdict = {
            "swallowed": outcome == "swallowed",
            "threads": any(name.startswith("thread") for name in left),
            "sockets": any("socket:" in name for name in left),
            # Between a system call and its result having a name, nothing in Python can keep a descriptor.
            "files" if way == "pressed" else "files_by_chance": any("/" in name for name in left),
            "locks": locked,
            "corrupt": look(cache)[1] > 0,
        }
        again = account_of(settings, cache)
        verdict["wrong"] = asked(again, text) != oracle
        again.client.close()
        for name, true in verdict.items():
            bad[name] += true
        if any(verdict.values()):
            examples.append(f"{way} {where}: {[name for name, true in verdict.items() if true]} {left}")
        shutil.rmtree(cache, ignore_errors=True)
    faulthandler.cancel_dump_traceback_later()
    Path(out).write_text(json.dumps({**counts, **bad, "examples": examples[:8]}))


def _locks_are_free(cache: Path, text: str) -> bool:
    """Whether neither the submissions nor the report are held by a call that is over."""
    for folder in (cache / "v1").glob("*/jobs"):
        for name in ("admission", Query(text).digest):
            driver = Journal(folder).driver(name)
            free = driver.try_acquire()
            driver.release()
            if not free:
                return False
    return True
