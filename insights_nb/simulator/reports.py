"""Reports from acceptance to their last state, and the slots they hold."""

import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from . import answers, shards
from .faults import Fault, FaultPlan
from .rules import Plan
from .store import Store


class SlotsTakenError(Exception):
    """Every slot is taken."""


class NoSuchReportError(Exception):
    """No report has this id."""


@dataclass
class _Report:
    guid: str
    ready_at: float
    word: str | None = None
    messages: Sequence[str] = ()
    paths: Sequence[str] = ()
    immune: bool = False  # had ended before ``hold`` was called
    worker: threading.Thread | None = field(default=None, repr=False)


class Reports:
    """All reports of one service.

    Parameters
    ----------
    store
        The events.
    workshop, tree
        Where reports are made, and where they are shown; both on one file system.
    root
        The folder inside ``tree`` that location paths are relative to.
    slots
        How many reports may run at once.
    pending
        Seconds for which a report stays ``Pending``, at least.
    shard_rows
        The most rows a shard may have.
    per_event
        One set of files per event instead of one table with the union of the columns.
    seed
        Makes the sizes of shards reproducible.
    clock
        Seconds, monotonic.
    faults
        What goes wrong with exports.
    """

    def __init__(
        self,
        store: Store,
        workshop: Path,
        tree: Path,
        *,
        root: str,
        slots: int,
        pending: float,
        shard_rows: int,
        per_event: bool,
        seed: int,
        clock: Callable[[], float],
        faults: FaultPlan,
    ) -> None:
        self._store = store
        self._workshop = workshop
        self._tree = tree / root if root else tree
        self.slots = slots
        self._pending = pending
        self._shard_rows = shard_rows
        self._per_event = per_event
        self._seed = seed
        self._clock = clock
        self._faults = faults
        self._lock = threading.Lock()
        self._held = False
        self._stopping = threading.Event()
        self._reports: dict[str, _Report] = {}

    def submit(self, plan: Plan, ending: Fault | None = None) -> str:
        """Take a query, begin its report, and return the report's id.

        Parameters
        ----------
        plan
            The query.
        ending
            A fault that decides how the report ends; nothing is exported then.

        Raises
        ------
        SlotsTakenError
            Every slot is taken.
        """
        with self._lock:
            running = sum(self._word(report) == "Pending" for report in self._reports.values())
            if running >= self.slots or self._stopping.is_set():
                raise SlotsTakenError
            # Never from the seed: two services must not give out the same id for different queries.
            report = _Report(secrets.token_hex(16), self._clock() + self._pending)
            number = len(self._reports)
            self._reports[report.guid] = report
            if ending is not None:
                report.word = "Failed" if ending.do == "fail" else "Canceled"
                report.messages = tuple(ending.messages)
            else:
                report.worker = threading.Thread(
                    target=self._work, args=(report, plan, number), name="simulator-report", daemon=True
                )
                report.worker.start()
        return report.guid

    def status(self, guid: str) -> answers.Body:
        """Return the answer to a status call; raises NoSuchReportError."""
        with self._lock:
            report = self._find(guid)
            word = self._word(report)
            return answers.status(word, guid, () if word == "Pending" else report.messages)

    def location(self, guid: str) -> answers.Body:
        """Return the answer to a location call; raises NoSuchReportError.

        A report that failed never gets a location: it goes on to say that it has not finished [U].
        """
        with self._lock:
            report = self._find(guid)
            if self._word(report) == "Completed":
                return answers.finished(guid, report.paths)
            return answers.not_finished(guid)

    def hold(self) -> None:
        """Keep every report that has not ended yet ``Pending`` until ``release``."""
        with self._lock:
            for report in self._reports.values():
                report.immune = self._word(report) != "Pending"
            self._held = True

    def release(self) -> None:
        """Let every report end as soon as its files are there, whatever its pending time."""
        with self._lock:
            self._held = False
            now = self._clock()
            for report in self._reports.values():
                report.ready_at = min(report.ready_at, now)

    def settle(self) -> None:
        """Wait until no report is being written."""
        with self._lock:
            workers = [report.worker for report in self._reports.values() if report.worker]
        for worker in workers:
            worker.join()

    def stop(self) -> None:
        """Give up whatever is being written, and wait for its threads."""
        with self._lock:
            self._stopping.set()
        self._store.interrupt()
        self.settle()

    def _find(self, guid: str) -> _Report:
        try:
            return self._reports[guid]
        except KeyError:
            raise NoSuchReportError(guid) from None

    def _word(self, report: _Report) -> str:
        # Decided when asked rather than by a timer: a test's clock then rules the waiting.
        held_back = self._clock() < report.ready_at or (self._held and not report.immune)
        return "Pending" if report.word is None or held_back else report.word

    def _work(self, report: _Report, plan: Plan, number: int) -> None:
        try:
            paths = self._export(report.guid, plan, number)
            word = "Completed" if paths else "Failed"
            messages: tuple[str, ...] = () if paths else answers.NO_ROWS
        except shards.StoppedError:
            return
        except Exception as error:  # a thread has nobody to raise to; the report says it
            if self._stopping.is_set():
                return
            paths, word, messages = [], "Canceled", (f"{type(error).__name__}: {error}",)
        with self._lock:
            report.word, report.messages, report.paths = word, messages, paths

    def _export(self, guid: str, plan: Plan, number: int) -> list[str]:
        """Write a report's files and return their paths, none if no row was found."""
        dice = random.Random(f"{self._seed}/{number}")  # noqa: S311 - sizes, not secrets
        folder = self._workshop / guid
        folder.mkdir(mode=0o700)
        names: list[str] = []
        rows = 0
        parts: list[str | None] = [*plan.columns] if self._per_event else [None]
        for event in parts:
            name = partial(shards.shard_name, secrets.token_hex(16), int(time.time() * 1000))
            pieces = shards.cut(self._store.lines(plan, event), self._shard_rows, dice)
            counts = shards.write(
                pieces,
                shards.header(plan.fields(event)),
                folder,
                name,
                self._stopping,
            )
            names += [name(number) for number in range(len(counts))]
            rows += sum(counts)
        if rows == 0:
            return []
        for listed in names:
            self._spoil(folder / listed)
        shown = self._tree / "reports" / guid
        shown.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.rename(shown)
        return [f"reports/{guid}/{listed}" for listed in names]

    def _spoil(self, path: Path) -> None:
        for fault in self._faults.strike("export", path.name):
            content = bytearray(path.read_bytes())
            if fault.do == "missing":
                path.unlink()
                return
            if fault.do == "short":
                content = content[: fault.at]
            elif fault.at < len(content):
                content[fault.at] ^= 1
            path.write_bytes(content)
