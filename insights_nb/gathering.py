"""Several reports at once: each waited for in a thread of its own, all shown in one panel.

The service takes two queries at a time; the others wait for their turn as they would in other kernels, by the
journal. One that fails takes none of the others with it, and a Stop keeps them all.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from insights_nb.errors import Stopped
from insights_nb.progress import Display
from insights_nb.report import Report
from insights_nb.widgets import Panel

SLICE_SECONDS = 0.1
PARTING_SECONDS = 2.0
"""How long a Stop waits for threads that are in the middle of a request."""


@dataclass(eq=False)
class Part:
    """One of the reports gathered, and what became of it.

    Parameters
    ----------
    name : str
        What it is called in the panel and in errors.
    report : Report or None
        None when it could not even be submitted; ``error`` says why.
    """

    name: str
    report: Report | None
    frame: pd.DataFrame | None = None
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def work(self, display: Display, read: Callable[[Report], pd.DataFrame]) -> None:
        """Wait for the report and read it; never raises."""
        try:
            if self.report is not None:
                shown, self.report.show = self.report.show, lambda: display
                try:
                    self.frame = read(self.report)
                finally:
                    self.report.show = shown
            else:
                display.close(self.error)
        except BaseException as error:  # told to the thread that waits
            self.error = error
        finally:
            self.done.set()


def gather_parts(parts: Sequence[Part], progress: str, **reading: Any) -> None:
    """See every report through, and leave frame or error in its part.

    Parameters
    ----------
    parts : sequence of Part
        What to wait for.
    progress : str
        As in ``query``.
    **reading
        Arguments of :meth:`Report.result`.

    Raises
    ------
    KeyboardInterrupt
        The Stop button; the reports go on on the service.
    InsightsError
        The first part's that failed, once all have ended; its notes name the parts that failed.
    """
    panel = Panel([part.name for part in parts], progress)
    for number, part in enumerate(parts):
        work = (panel.row(number), lambda report: report.result(**reading))
        threading.Thread(target=part.work, args=work, name=f"insights-gather-{number}", daemon=True).start()
    stopped = False
    try:
        _wait(parts, panel)
    except KeyboardInterrupt:
        stopped = True
        panel.stop()
        for part in parts:
            part.done.wait(PARTING_SECONDS)
    finally:
        panel.close()
    if stopped:
        # A fresh one: the frames of the old one hold the requests, and with them the token.
        raise Stopped(_stopped(parts))
    _raise_first(parts)


def _wait(parts: Sequence[Part], panel: Panel) -> None:
    for part in parts:
        # A lock's wait without an end is deaf to the Stop button on some systems.
        while not part.done.wait(SLICE_SECONDS):
            panel.draw()


def _stopped(parts: Sequence[Part]) -> str:
    """What an interrupted user needs to know."""
    here = sum(part.frame is not None for part in parts)
    taken = [part.report.id for part in parts if part.report is not None and part.report.id and part.frame is None]
    going = f"still on the service: {', '.join(taken)}" if taken else "none of them is on the service yet"
    return f"stopped waiting; {here} of {len(parts)} reports are here, {going}. Run the cell again to pick them up."


def _raise_first(parts: Sequence[Part]) -> None:
    failed = [part for part in parts if part.error is not None]
    if not failed:
        return
    first = failed[0].error
    assert first is not None  # noqa: S101 - that is what they were chosen by
    if len(parts) > 1:
        first.add_note(f"This was {failed[0].name}.")
        for part in failed[1:]:
            first.add_note(f"{part.name} failed too: {type(part.error).__name__}: {str(part.error).splitlines()[0]}")
        if kept := len(parts) - len(failed):
            which = "The other one came through; asked again, it is" if kept == 1 else f"{kept} came through; they are"
            first.add_note(f"{which} read from the disk.")
    raise first
