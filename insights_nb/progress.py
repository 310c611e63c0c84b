"""What the pipeline says about itself while it works: a value, and an observer that is any callable."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Stage(StrEnum):
    """Where a report is; declared in the order they happen."""

    SUBMITTING = "submitting"
    WAITING = "waiting for a slot"
    FOLLOWING = "another kernel is fetching this report"
    RUNNING = "running on the service"
    DOWNLOADING = "downloading"
    READING = "reading"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Progress:
    """One observation. Figures that are not known yet are None.

    Parameters
    ----------
    stage : Stage
        What is going on now.
    elapsed : float
        Seconds since the call began, never decreasing.
    report_id : str or None
        The service's id, once it gave one.
    note : str
        A clause a person reads beside the stage ("2 of 2 slots taken", "submitted 14:02, picked up").
    shards, shards_done : int or None
        Files the report lists, and those fetched and verified.
    bytes_total, bytes_done : int or None
        Compressed bytes of the report, and those on disk.
    rows, columns : int or None
        Shape of the frame, once read.
    cached : bool
        Whether the frame comes from the disk cache.
    age : float or None
        For a cached frame: seconds since the report was fetched.
    """

    stage: Stage
    elapsed: float = 0.0
    report_id: str | None = None
    note: str = ""
    shards: int | None = None
    shards_done: int | None = None
    bytes_total: int | None = None
    bytes_done: int | None = None
    rows: int | None = None
    columns: int | None = None
    cached: bool = False
    age: float | None = None


Observer = Callable[[Progress], None]


class Display(Protocol):
    """Shows progress to a person: an observer that is told when the call is over."""

    def __call__(self, progress: Progress, /) -> None:
        """Show where the report is."""

    def close(self, error: BaseException | None = None, note: str = "") -> None:
        """Leave one line behind: the result, the failure, or the note of an interrupted call."""


class Silence:
    """Shows nothing."""

    def __call__(self, progress: Progress, /) -> None:
        """Ignore it."""

    def close(self, error: BaseException | None = None, note: str = "") -> None:
        """Leave nothing behind."""
