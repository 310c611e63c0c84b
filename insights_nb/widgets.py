"""Progress a person can watch: a bar in a notebook, one rewritten line in a terminal, one line that stays.

While a query runs the display is alive; at the end it is *replaced* by one static line, because a notebook is
saved with whatever its cells show last, and a saved widget is an empty box. Whatever goes wrong in here stays
in here: a display that fails goes silent, and the query goes on.

IPython and ipywidgets are imported when a bar is first drawn: scripts neither need them nor pay for them.
"""

import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from html import escape
from typing import Any, TextIO

from insights_nb.errors import InsightsError
from insights_nb.progress import Display, Progress, Silence, Stage

MODES = ("auto", "widget", "text", "line", "none")
INTERVAL = 0.25
"""Seconds between two updates of the same stage: four a second is all an eye needs."""

VIEW_MIME = "application/vnd.jupyter.widget-view+json"
HTML_MIME = "text/html"
TEXT_MIME = "text/plain"


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
    if mode not in MODES:
        raise ValueError(f'progress="{mode}" is unknown; the modes are: {", ".join(MODES)}')
    if mode == "none":
        return Silence()
    if mode == "widget" or (mode in ("auto", "line") and _in_kernel()):
        return _Notebook(live=mode != "line")
    return _Terminal(sys.stderr, live=mode == "text" or (mode == "auto" and _is_terminal(sys.stderr)))


# --- What it says: pure text -------------------------------------------------------------------------------------


def human_bytes(count: float) -> str:
    """A size with a decimal unit and about three digits: ``"48.2 MB"``."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def human_seconds(seconds: float) -> str:
    """A length of time in at most two units: ``"0.4 s"``, ``"42 s"``, ``"3 min 05 s"``, ``"2 h 07 min"``."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    for small, big, size in (("s", "min", 60), ("min", "h", 60), ("h", "d", 24)):
        if whole < size and small == "s":
            return f"{whole} s"
        whole, rest = divmod(whole, size)
        if whole < {"min": 60, "h": 48, "d": sys.maxsize}[big]:
            return f"{whole} {big} {rest:02d} {small}"
    raise AssertionError("days have no limit")  # pragma: no cover


def short_id(report_id: str) -> str:
    """Enough of a report's id to recognise it by."""
    return report_id if len(report_id) <= 9 else f"{report_id[:8]}…"


def fraction(progress: Progress) -> float:
    """Share of the report's bytes that are here, 0 to 1; nothing else about a report can be foreseen."""
    if progress.stage in (Stage.READING, Stage.DONE):
        return 1.0
    if not progress.bytes_total or not progress.bytes_done:
        return 0.0
    return min(progress.bytes_done / progress.bytes_total, 1.0)


def stage_line(progress: Progress, rate: float | None = None) -> str:
    """What is going on, in one line.

    Parameters
    ----------
    progress : Progress
        The latest observation.
    rate : float or None
        Bytes a second of late; gives the time left.
    """
    parts = [str(progress.stage)]
    done, total = progress.bytes_done or 0, progress.bytes_total
    if progress.stage is not Stage.DOWNLOADING:
        parts.append(human_seconds(progress.elapsed))
        parts.append(f"report {short_id(progress.report_id)}" if progress.report_id else "")
    else:
        if total:
            parts.append(f"{int(100 * fraction(progress))} %")
        if progress.shards:
            parts.append(f"file {min((progress.shards_done or 0) + 1, progress.shards)} of {progress.shards}")
        if total:
            parts.append(f"{human_bytes(min(done, total))} of {human_bytes(total)}")
        elif done:
            parts.append(human_bytes(done))
        if rate:
            parts.append(f"{human_bytes(rate)}/s")
            if total and total > done:
                parts.append(f"{human_seconds((total - done) / rate)} left")
    parts.append(progress.note)
    return _joined(parts)


def summary_line(progress: Progress) -> str:
    """The line that stays: shape, size, time, report, and for a cached frame its age and how to refresh it."""
    parts = []
    if progress.rows is not None and progress.columns is not None:
        parts.append(f"{progress.rows:,} rows × {progress.columns} columns")
    if progress.bytes_total is not None:
        size = human_bytes(progress.bytes_total)
        if progress.shards is not None:
            got = progress.shards if progress.shards_done is None else progress.shards_done
            short = f"{got} of " if got != progress.shards else ""
            size += f" in {short}{progress.shards} file" + ("" if progress.shards == 1 else "s")
        parts.append(size)
    parts.append(human_seconds(progress.elapsed))
    if progress.cached:
        age = "" if progress.age is None else f", fetched {_ago(progress.age)}"
        parts.append(f"from the cache{age}; refresh=True fetches it anew")
    if progress.report_id:
        parts.append(f"report {short_id(progress.report_id)}")
    parts.append(progress.note)
    return _joined(parts)


def failure_line(error: BaseException) -> str:
    """``failed: <class>: <first line of the message>``."""
    text = error.message if isinstance(error, InsightsError) else str(error)
    first = text.strip().splitlines()[0] if text.strip() else ""
    return _printable(f"failed: {type(error).__name__}" + (f": {first}" if first else ""))


def last_line(progress: Progress | None, error: BaseException | None, note: str) -> str:
    """The static line of a display: a sign, then words that say the same; empty when there is nothing to tell."""
    if isinstance(error, KeyboardInterrupt):
        return _printable(f"■ {note or 'stopped'}")
    if error is not None:
        return f"✗ {failure_line(error)}"
    if progress is not None and progress.stage is Stage.DONE:
        return f"✓ {summary_line(progress)}"
    return _printable(f"· {note}") if note else ""


def static_bundle(line: str) -> dict[str, str]:
    """A line as HTML and as text. No colour and no size of its own: it reads on every theme and on paper."""
    return {HTML_MIME: f"<div><b>insights</b> {escape(line)}</div>" if line else "", TEXT_MIME: f"insights {line}"}


def _ago(age: float) -> str:
    return "just now" if age < 1 else f"{human_seconds(age)} ago"


def _joined(parts: list[str]) -> str:
    return _printable(" · ".join(part for part in parts if part))


def _printable(text: str) -> str:
    """One line without control characters: notes may carry the service's words, and terminals obey theirs."""
    return "".join(letter if letter.isprintable() else " " for letter in " ".join(text.split()))


# --- How it is shown ---------------------------------------------------------------------------------------------


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

    @property
    def rate(self) -> float | None:
        if self._began is None or self.seen is None:
            return None
        seconds, count = self.seen.elapsed - self._began[0], (self.seen.bytes_done or 0) - self._began[1]
        return count / seconds if seconds > 0.2 and count > 0 else None


def _highest(old: float | None, new: float | None) -> float | None:
    return max((value for value in (old, new) if value is not None), default=None)


class _Live:
    """What every display does: measure, hold back what comes too fast, and keep its own failures to itself."""

    def __init__(self, *, live: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._live = live
        self._clock = clock
        self._lock = threading.Lock()  # shards arrive on threads of their own
        self._meter = _Meter()
        self._shown: tuple[Stage, float] | None = None
        self._silent = False

    def __call__(self, progress: Progress, /) -> None:
        with self._lock:
            progress = self._meter.take(progress)
            # What comes from the disk is there at once: a bar would only flash.
            if not self._live or self._silent or progress.cached or progress.stage is Stage.DONE:
                return
            if self._shown is None and progress.stage is Stage.READING:
                return
            now = self._clock()
            if self._shown and self._shown[0] is progress.stage and now - self._shown[1] < INTERVAL:
                return
            self._shown = (progress.stage, now)
            self._guarded(lambda: self._draw(stage_line(progress, self._meter.rate), self._meter.share, progress.stage))

    def close(self, error: BaseException | None = None, note: str = "") -> None:
        with self._lock:
            line = last_line(self._meter.seen, error, note)
            self._guarded(lambda: self._finish(line, failed=error is not None))
            self._silent = True

    def _guarded(self, draw: Callable[[], None]) -> None:
        if self._silent:
            return
        try:
            draw()
        except Exception:  # whatever a front end does wrong, the query is worth more than its bar
            self._silent = True

    def _draw(self, line: str, share: float, stage: Stage) -> None:
        raise NotImplementedError

    def _finish(self, line: str, *, failed: bool) -> None:
        raise NotImplementedError


class _Notebook(_Live):
    """A bar in a notebook's output, replaced at the end through the same display id."""

    def __init__(self, *, live: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(live=live, clock=clock)
        self._handle: Any = None
        self._bar: Any = None
        self._words: Any = None
        self._box: Any = None

    def _draw(self, line: str, share: float, stage: Stage) -> None:
        if self._handle is None:
            self._open(line)
        elif self._box is None:
            self._handle.update(static_bundle(line), raw=True)
        if self._box is not None:
            self._bar.value = share
            self._bar.bar_style = "info" if stage in (Stage.SUBMITTING, Stage.WAITING, Stage.FOLLOWING) else ""
            self._words.value = escape(line)

    def _open(self, line: str) -> None:
        bundle = static_bundle(line)
        try:
            self._build()
            # A front end without widgets shows the words; the HTML stays away, or some would prefer it to the bar.
            bundle = {VIEW_MIME: self._box._repr_mimebundle_()[VIEW_MIME], TEXT_MIME: bundle[TEXT_MIME]}
        except Exception:  # no ipywidgets, or one that does not fit this front end: words do
            self._box = None
        self._handle = _display(bundle)

    def _build(self) -> None:
        import ipywidgets

        toolkit: Any = ipywidgets  # it comes without types
        room = toolkit.Layout(width="220px", flex="0 0 auto")
        self._bar = toolkit.FloatProgress(value=0.0, min=0.0, max=1.0, layout=room)
        self._words = toolkit.HTML()
        self._box = toolkit.HBox([self._bar, self._words])

    def _finish(self, line: str, *, failed: bool) -> None:
        if self._bar is not None and failed:
            self._bar.bar_style = "danger"
        if self._handle is not None:
            self._handle.update(static_bundle(line), raw=True)
        elif line:
            _display(static_bundle(line))
        for widget in (self._box, self._bar, self._words):
            if widget is not None:
                widget.close()


class _Terminal(_Live):
    """One line, written over in a terminal; in a log only its last state."""

    def __init__(self, stream: TextIO, *, live: bool, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(live=live, clock=clock)
        self._stream = stream
        self._written = 0

    def _draw(self, line: str, share: float, stage: Stage) -> None:
        width = shutil.get_terminal_size().columns - 1
        text = f"insights {line}"
        text = text if len(text) <= width else text[: width - 1] + "…"
        self._stream.write("\r" + text.ljust(self._written))
        self._stream.flush()
        self._written = len(text)

    def _finish(self, line: str, *, failed: bool) -> None:
        wipe = "\r" + " " * self._written + "\r" if self._written else ""
        self._stream.write(wipe + (f"insights {line}\n" if line else ""))
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
