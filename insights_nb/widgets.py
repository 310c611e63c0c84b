"""Progress a person can watch: a bar in a notebook, one rewritten line in a terminal, one line that stays.

While a query runs the display is alive; at the end it is *replaced* by one static line a report, because a notebook
is saved with whatever its cells show last, and a saved widget is an empty box. Whatever goes wrong in here stays
in here: a display that fails goes silent, and the query goes on.

IPython and ipywidgets are imported when a bar is first drawn: scripts neither need them nor pay for them.
"""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from typing import Any, Protocol, TextIO

from insights_nb.progress import Display, Progress, Silence, Stage
from insights_nb.wording import TEXT_MIME, fraction, last_line, stage_line, static_bundle

MODES = ("auto", "widget", "text", "line", "none")
INTERVAL = 0.25
"""Seconds between two updates of the same stage: four a second is all an eye needs."""

VIEW_MIME = "application/vnd.jupyter.widget-view+json"


def display_for(mode: str) -> Display:
    """Choose how progress is shown.

    Parameters
    ----------
    mode : {"auto", "widget", "text", "line", "none"}
        ``auto``: a bar in a notebook, one rewritten line in a terminal, only the last line in a script's log.
        ``widget`` and ``text`` insist on one of these. ``line`` shows nothing until the last line; ``none``
        shows nothing at all.

    Raises
    ------
    ValueError
        For any other mode.
    """
    surface, live = _surface_for(mode)
    return Silence() if surface is None else _Single(surface, live=live)


def _surface_for(mode: str) -> tuple["_Surface | None", bool]:
    """Where a mode draws, and whether it draws before the end."""
    if mode not in MODES:
        raise ValueError(f'progress="{mode}" is unknown; the modes are: {", ".join(MODES)}')
    if mode == "none":
        return None, False
    if mode == "widget" or (mode in ("auto", "line") and _in_kernel()):
        return _Output(), mode != "line"
    return _Terminal(sys.stderr), mode == "text" or (mode == "auto" and _is_terminal(sys.stderr))


@dataclass(frozen=True, slots=True)
class _Line:
    """What a display shows of one report."""

    words: str
    share: float
    style: str = ""


class _Meter:
    """Keeps figures from ever falling, remembers what later observations leave out, and knows the rate."""

    def __init__(self) -> None:
        self.seen: Progress | None = None
        self.share = 0.0
        self._began: tuple[float, int] | None = None

    def take(self, progress: Progress) -> Progress:
        before = self.seen
        if before is not None:
            kept = {
                name: getattr(before, name)
                for name in ("report_id", "shards", "bytes_total", "rows", "columns", "age")
                if getattr(progress, name) is None
            }
            for name in ("elapsed", "shards_done", "bytes_done"):
                kept[name] = _highest(getattr(before, name), getattr(progress, name))
            progress = replace(progress, **kept)
        if progress.stage is Stage.DOWNLOADING and self._began is None:
            # Bytes an earlier attempt left on disk are no part of this one's rate.
            self._began = (progress.elapsed, progress.bytes_done or 0)
        self.share = max(self.share, fraction(progress))
        self.seen = progress
        return progress

    def line(self) -> _Line:
        progress = self.seen or Progress(Stage.SUBMITTING)
        queued = progress.stage in (Stage.SUBMITTING, Stage.WAITING, Stage.FOLLOWING)
        return _Line(stage_line(progress, self.rate), self.share, "info" if queued else "")

    @property
    def rate(self) -> float | None:
        if self._began is None or self.seen is None:
            return None
        seconds, count = self.seen.elapsed - self._began[0], (self.seen.bytes_done or 0) - self._began[1]
        return count / seconds if seconds > 0.2 and count > 0 else None


def _highest(old: float | None, new: float | None) -> float | None:
    return max((value for value in (old, new) if value is not None), default=None)


class _Surface(Protocol):
    """Where lines are drawn: a notebook's output, or a terminal."""

    def draw(self, lines: Sequence[_Line]) -> None:
        """Show where every report is."""

    def finish(self, lines: Sequence[str], *, failed: bool) -> None:
        """Leave one static line a report, and nothing that lives."""


class _Guarded:
    """Draws on a surface, and keeps the surface's failures to itself."""

    def __init__(self, surface: _Surface | None) -> None:
        self._surface = surface

    def draw(self, lines: Sequence[_Line]) -> None:
        if self._surface is not None:
            self._try(partial(self._surface.draw, lines))

    def finish(self, lines: Sequence[str], *, failed: bool) -> None:
        if self._surface is not None:
            self._try(partial(self._surface.finish, lines, failed=failed))
        self._surface = None

    def _try(self, draw: Callable[[], None]) -> None:
        try:
            draw()
        except Exception:  # whatever a front end does wrong, the query is worth more than its bar
            self._surface = None


class _Single:
    """The display of one report: measures, and holds back what comes too fast."""

    def __init__(self, surface: _Surface, *, live: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._surface = _Guarded(surface)
        self._live = live
        self._clock = clock
        self._lock = threading.Lock()
        self._meter = _Meter()
        self._shown: tuple[Stage, float] | None = None
        self._closed = False

    def __call__(self, progress: Progress, /) -> None:
        with self._lock:
            progress = self._meter.take(progress)
            # What comes from the disk is there at once: a bar would only flash.
            if not self._live or self._closed or progress.cached or progress.stage is Stage.DONE:
                return
            if self._shown is None and progress.stage is Stage.READING:
                return
            now = self._clock()
            if self._shown and self._shown[0] is progress.stage and now - self._shown[1] < INTERVAL:
                return
            self._shown = (progress.stage, now)
            self._surface.draw([self._meter.line()])

    def close(self, error: BaseException | None = None, note: str = "") -> None:
        with self._lock:
            self._closed = True
            self._surface.finish([last_line(self._meter.seen, error, note)], failed=error is not None)


class Panel:
    """Several reports in one display, a line for each.

    The threads that work only say where they are; the thread that waits draws, since a kernel's messages belong to
    the thread that runs the cell.

    Parameters
    ----------
    names : sequence of str
        What each report is called.
    mode : str
        As in :func:`display_for`.
    clock : callable
        Seconds that never jump.
    """

    def __init__(self, names: Sequence[str], mode: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        surface, self._live = _surface_for(mode)
        self._surface = _Guarded(surface)
        self._clock = clock
        self._drawn: float | None = None
        self._stopped = threading.Event()
        self._rows = [_Row(name, self._stopped) for name in names]

    def row(self, number: int) -> Display:
        """The display of one report, for a thread of its own."""
        return self._rows[number]

    def draw(self) -> None:
        """Show where every report is; at most four times a second, and not at all while all come from the disk."""
        now = self._clock()
        early = self._drawn is not None and now - self._drawn < INTERVAL
        if not self._live or early or not any(row.is_slow for row in self._rows):
            return
        self._drawn = now
        self._surface.draw([row.line() for row in self._rows])

    def stop(self) -> None:
        """Interrupt every report at its next word."""
        self._stopped.set()

    def close(self) -> None:
        """Leave the last line of every report behind."""
        last = [row.last or f"■ {row.name} · stopped" for row in self._rows]
        self._surface.finish(last, failed=any(row.failed for row in self._rows))


class _Row:
    """One report of a panel."""

    def __init__(self, name: str, stopped: threading.Event) -> None:
        self.name = name
        self.last = ""
        self.failed = False
        self.is_slow = False
        self._stopped = stopped
        self._lock = threading.Lock()
        self._meter = _Meter()

    def __call__(self, progress: Progress, /) -> None:
        if self._stopped.is_set():
            # The Stop button reaches the main thread only; this is how it goes on to the threads that work.
            raise KeyboardInterrupt
        with self._lock:
            self._meter.take(progress)
            self.is_slow |= not progress.cached and progress.stage not in (Stage.READING, Stage.DONE)

    def close(self, error: BaseException | None = None, note: str = "") -> None:
        with self._lock:
            self.failed = error is not None
            self.last = last_line(self._meter.seen, error, note, self.name)

    def line(self) -> _Line:
        with self._lock:
            if self.last:
                return _Line(self.last, self._meter.share, "danger" if self.failed else "success")
            line = self._meter.line()
            return _Line(f"{self.name} · {line.words}", line.share, line.style)


class _Output:
    """A bar a report in a notebook's output, replaced at the end through the same display id."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._box: Any = None
        self._bars: list[Any] = []
        self._words: list[Any] = []

    def draw(self, lines: Sequence[_Line]) -> None:
        if self._handle is None:
            self._open(lines)
        elif self._box is None:
            self._handle.update(static_bundle(*(line.words for line in lines)), raw=True)
        for line, bar, words in zip(lines, self._bars, self._words, strict=False):
            bar.value = line.share
            bar.bar_style = line.style
            # Words that need a second line keep close to the first; a widget's own lines stand far apart.
            words.value = f'<div style="line-height:1.3;padding:4px 0">{escape(line.words)}</div>'

    def finish(self, lines: Sequence[str], *, failed: bool) -> None:
        if failed and len(self._bars) == 1:
            self._bars[0].bar_style = "danger"
        bundle = static_bundle(*lines)
        if self._handle is not None:
            self._handle.update(bundle, raw=True)
        elif any(lines):
            _display(bundle)
        for widget in (self._box, *getattr(self._box, "children", ()), *self._bars, *self._words):
            if widget is not None:
                widget.close()

    def _open(self, lines: Sequence[_Line]) -> None:
        bundle = static_bundle(*(line.words for line in lines))
        try:
            self._build(len(lines))
            # A front end without widgets shows the words; the HTML stays away, or some would prefer it to the bar.
            bundle = {VIEW_MIME: self._box._repr_mimebundle_()[VIEW_MIME], TEXT_MIME: bundle[TEXT_MIME]}
        except Exception:  # no ipywidgets, or one that does not fit this front end: words do
            self._box = None
            self._bars, self._words = [], []
        self._handle = _display(bundle)

    def _build(self, count: int) -> None:
        import ipywidgets

        toolkit: Any = ipywidgets  # it comes without types
        room = toolkit.Layout(width="220px", flex="0 0 auto")
        self._bars = [toolkit.FloatProgress(value=0.0, min=0.0, max=1.0, layout=room) for _ in range(count)]
        self._words = [toolkit.HTML() for _ in range(count)]
        rows = [toolkit.HBox(pair) for pair in zip(self._bars, self._words, strict=True)]
        self._box = rows[0] if count == 1 else toolkit.VBox(rows)


class _Terminal:
    """One line, written over in a terminal; in a log only what stays."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._written = 0

    def draw(self, lines: Sequence[_Line]) -> None:
        width = shutil.get_terminal_size().columns - 1
        going = [line.words for line in lines if line.style not in ("danger", "success")]
        ended = f"{len(lines) - len(going)} of {len(lines)} done · " if len(lines) > 1 else ""
        text = f"insights {ended}{going[0] if going else ''}"
        text = text if len(text) <= width else text[: width - 1] + "…"
        self._stream.write("\r" + text.ljust(self._written))
        self._stream.flush()
        self._written = len(text)

    def finish(self, lines: Sequence[str], *, failed: bool) -> None:
        wipe = "\r" + " " * self._written + "\r" if self._written else ""
        self._stream.write(wipe + "".join(f"insights {line}\n" for line in lines if line))
        self._stream.flush()


def _display(bundle: dict[str, Any]) -> Any:
    """Show a bundle in the running cell; the handle can replace it, in the saved notebook too."""
    from IPython import display

    toolkit: Any = display  # it comes half typed
    return toolkit.display(bundle, raw=True, display_id=True)


def _in_kernel() -> bool:
    """Whether a kernel runs us. Looks at what is loaded already: where IPython is not, nobody has a notebook open."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # no stream at all (pythonw), or a closed one
        return False
