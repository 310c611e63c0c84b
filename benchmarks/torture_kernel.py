"""What a kernel does under torture: it asks queries while it is killed, its disk fails, or Stop is pressed.

Everything here runs in processes of their own, forked from one that has imported all of the package. The seams are
two: ``os`` and ``shutil`` as ``insights_nb.disk`` sees them, which is every operation on the cache and the journal,
and the trace hook of the main thread.
"""

# ruff: noqa: SLF001 - it checks by assert, plays dice without secrets, and looks inside on purpose

import errno
import hashlib
import json
import os
import random
import shutil
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paramiko  # noqa: F401 - here and now, so that no child has to
import pyarrow.csv  # noqa: F401
import requests  # noqa: F401

import insights_nb
from insights_nb import admission, copying, disk, journal, partial, report, waiting
from insights_nb.account import Account
from insights_nb.cache import Cache
from insights_nb.check import inspect_shard
from insights_nb.errors import InsightsError
from insights_nb.journal import Journal
from insights_nb.settings import resolve
from insights_nb.spec import Query
from insights_nb.watch import Clock

OPERATIONS = frozenset(
    {"open", "mkdir", "chmod", "fchmod", "read", "write", "lseek", "ftruncate", "fsync", "close", "replace", "link"}
    | {"unlink", "listdir", "lstat", "stat", "utime", "rmtree", "disk_usage"}
)
ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EROFS, errno.EMFILE, errno.ENOENT)
PACKAGE = str(Path(insights_nb.__file__).parent) + os.sep
KILLED = 77
BLOCK = 2048  # a write of more bytes is of a shard, not of a record
SETTLE = 1.0
copying.SMALLEST = 0  # small reports get their columnar copy as large ones do

Point = tuple[int, bool]


class Quick(Clock):
    """Time that passes when somebody sleeps: no wait takes long."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        """Unix seconds."""
        return super().now() + self.ahead

    def steady(self) -> float:
        """Steady seconds."""
        return super().steady() + self.ahead

    def sleep(self, seconds: float) -> None:
        """Move time on, and let others run."""
        self.ahead += seconds
        super().sleep(0.001)


def account_of(settings: dict[str, str], cache: Path, *, quick: bool = True) -> Account:
    """An account of the local service with its reports in ``cache``."""
    return Account(
        resolve({**settings, "cache_dir": cache}, environ={"INSIGHTS_CONFIG": ""}), Quick() if quick else None
    )


def print_of(rows: Sequence[Sequence[object]]) -> str:
    """A short name for a set of rows, whatever their order."""
    return hashlib.sha256("\n".join(sorted("\t".join(map(str, row)) for row in rows)).encode()).hexdigest()


def asked(account: Account, text: str) -> str:
    """Ask a query to its end; the print of its rows."""
    return print_of(report.submit(account, Query(text)).result().to_numpy().tolist())


def look(cache: Path) -> tuple[int, int]:
    """Entries a reader sees, and how many of them are not whole and as their manifest says."""
    seen = corrupt = 0
    for folder in (cache / "v1").glob("*/entries"):
        for entry in Cache(cache, folder.parent.name).entries():
            seen += 1
            try:
                found = [inspect_shard(path) for path in entry.paths]
                whole = [(facts.size, facts.sha256, facts.rows) for facts in found]
            except (InsightsError, OSError):
                whole = []
            corrupt += whole != [(shard.size, shard.sha256, shard.rows) for shard in entry.manifest.shards]
    return seen, corrupt


def look_at_shards(cache: Path) -> tuple[int, int]:
    """The same for the naive writer: what has a final name and is not whole."""
    seen = corrupt = 0
    for path in (cache / "v1").glob("*/entries/*/*/*/shard-*.csv.gz"):
        seen += 1
        try:
            inspect_shard(path)
        except (InsightsError, OSError):
            corrupt += 1
    return seen, corrupt


# The seams


class _Door:
    """A module as ``insights_nb.disk`` sees it: every operation passes ``strike`` first."""

    def __init__(self, module: Any, strike: Callable[[str, Callable[..., Any], tuple[Any, ...]], None]) -> None:
        self._module = module
        self._strike = strike

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._module, name)
        if name not in OPERATIONS:
            return real

        def operation(*given: Any, **named: Any) -> Any:
            self._strike(name, real, given)
            return real(*given, **named)

        return operation


@contextmanager
def at_operation(number: int, act: Callable[[str, Callable[..., Any], tuple[Any, ...]], None]) -> Iterator[list[str]]:
    """Act at the given operation of the disk and at every later one; yields the operations as they come by."""
    passed: list[str] = []
    counting = threading.Lock()

    def strike(name: str, real: Callable[..., Any], given: tuple[Any, ...]) -> None:
        with counting:
            passed.append("block" if name == "write" and len(given[1]) > BLOCK else name)
            due = len(passed) > number >= 0
        if due:
            act(name, real, given)

    disk.os, disk.shutil = _Door(os, strike), _Door(shutil, strike)  # type: ignore[assignment,attr-defined]
    try:
        yield passed
    finally:
        disk.os, disk.shutil = os, shutil  # type: ignore[attr-defined]


def _die(torn: bool) -> Callable[[str, Callable[..., Any], tuple[Any, ...]], None]:
    """Die on the spot; torn: with half a write on the disk."""

    def act(name: str, real: Callable[..., Any], given: tuple[Any, ...]) -> None:
        if torn and name == "write":
            real(given[0], bytes(given[1])[: max(1, len(given[1]) // 2)])
        os._exit(KILLED)

    return act


class _NoLock:
    """A file lock of a disk that grants every lock to everybody."""

    is_locked = True

    def __init__(self, path: Path, **_: Any) -> None:
        self.lock_file = str(path)

    def acquire(self, timeout: float = -1) -> None:
        """Say yes."""

    def release(self) -> None:
        """Do nothing."""


def _be_naive() -> None:
    """Write shards straight to their final place and name, as they arrive."""

    def final_place(cache: Cache, digest: str) -> Path:
        return disk.make_private_folder(cache._home(digest) / "naive")

    begin = partial.Part.__init__

    def straight(part: partial.Part, *given: Any) -> None:
        begin(part, *given)
        part.close()
        disk.remove(part._path)
        part._path = part._final
        part._fd = disk.os.open(part._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)

    Cache.staging = final_place  # type: ignore[method-assign]
    partial.Part.__init__ = straight  # type: ignore[method-assign,assignment]


def _be_forgetful() -> None:
    """Keep no journal."""
    Journal.load = lambda *_: None  # type: ignore[method-assign,assignment]
    Journal.save = lambda _, job, __: job  # type: ignore[method-assign]
    Journal.jobs = lambda *_: []  # type: ignore[method-assign,assignment]


def _note_intents(notes: Path) -> None:
    """Note each POST before and after: one without an after is one whose answer was lost."""
    send = admission._send

    def noted(*given: Any) -> Any:
        with notes.open("a") as file:
            file.write("intent\n")
        job = send(*given)
        with notes.open("a") as file:
            file.write("known\n")
        return job

    admission._send = noted


# What a process does


def kernel(
    settings: dict[str, str],
    cache: str,
    texts: Sequence[str],
    place: str,
    *,
    locks: bool = True,
    quick: bool = False,
    point: Point | None = None,
    kind: str = "ours",
) -> None:
    """Ask queries one after the other and write down what came; the parent kills it meanwhile."""
    warnings.simplefilter("ignore")
    journal.SETTLE_SECONDS = SETTLE
    waiting.SLOT_SECONDS = 20.0
    if not locks:
        journal.FileLock = _NoLock  # type: ignore[assignment,misc]
    if kind == "naive":
        _be_naive()
    if kind == "forgetful":
        _be_forgetful()
    _note_intents(Path(cache) / "notes")
    account = account_of(settings, Path(cache) / "cache", quick=quick)
    number, torn = point or (-1, False)
    found: dict[str, str] = {}
    with at_operation(number, _die(torn)) as passed:
        for text in texts:
            try:
                found[text] = asked(account, text)
            except InsightsError as error:
                found[text] = f"{type(error).__name__}: {error}"
    told = {"found": found, "operations": passed}
    Path(f"{place}.new").write_text(json.dumps(told))
    Path(f"{place}.new").rename(place)


def failing_disk(
    settings: dict[str, str], home: str, text: str, oracle: str, seconds: float, seed: int, out: str
) -> None:
    """Let every operation fail in every way, once or from then on, as far as time allows; write down the counts."""
    warnings.simplefilter("ignore")
    dice, until = random.Random(seed), time.monotonic() + seconds
    with at_operation(-1, _die(False)) as passed:
        asked(account_of(settings, Path(home) / "count"), text)
    cases = [(k, code, lasting) for k in range(len(passed)) for code in ERRNOS for lasting in (False, True)]
    dice.shuffle(cases)
    counts = {"operations": len(passed), "cases": len(cases), "tried": 0, "refused": 0, "right": 0}
    bad: dict[str, int] = dict.fromkeys(("uncaught", "wrong", "corrupt", "unrecovered"), 0)
    examples: list[str] = []
    for number, (k, code, lasting) in enumerate(cases):
        if time.monotonic() > until:
            break
        cache = Path(home) / f"case-{number}"
        outcome = _fail_once(account_of(settings, cache), text, oracle, k, code, lasting)
        counts["tried"] += 1
        name, _, words = outcome.partition(":")
        (counts if name in counts else bad)[name] += 1
        bad["corrupt"] += look(cache)[1]
        try:
            recovered = asked(account_of(settings, cache), text) == oracle
        except InsightsError as error:
            recovered, words = False, f"{words} / then {error}"
        bad["unrecovered"] += not recovered
        if name in bad or not recovered:
            examples.append(f"operation {k} {errno.errorcode[code]} {'lasting' if lasting else 'once'}: {name} {words}")
        shutil.rmtree(cache, ignore_errors=True)
    Path(out).write_text(json.dumps({**counts, **bad, "examples": examples[:5]}))


def _fail_once(account: Account, text: str, oracle: str, k: int, code: int, lasting: bool) -> str:
    """One run with one failure: ``right``, ``refused`` by an error of ours, ``wrong`` or ``uncaught``."""
    struck: list[str] = []

    def act(name: str, real: Callable[..., Any], given: tuple[Any, ...]) -> None:
        if lasting or not struck:
            struck.append(name)
            if name == "close":  # one that fails has closed all the same
                real(*given)
            raise OSError(code, os.strerror(code))

    try:
        with at_operation(k, act):
            return "right" if asked(account, text) == oracle else "wrong"
    except InsightsError:
        return "refused"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)
        ours = [f"{Path(frame.filename).stem}:{frame.lineno}" for frame in place if frame.filename.startswith(PACKAGE)]
        return f"uncaught:{type(error).__name__} in {' '.join(ours[-3:])}"
    finally:
        account.client.close()
