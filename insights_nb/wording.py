"""What progress says, as pure text: sizes, lengths of time, the line of a stage, the line that stays."""

import sys
from html import escape

from insights_nb.errors import InsightsError
from insights_nb.progress import Progress, Stage

HTML_MIME = "text/html"
TEXT_MIME = "text/plain"


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
    return printable(f"failed: {type(error).__name__}" + (f": {first}" if first else ""))


def last_line(progress: Progress | None, error: BaseException | None, note: str, name: str = "") -> str:
    """The static line of a display: a sign, then words that say the same; empty when there is nothing to tell.

    Parameters
    ----------
    progress : Progress or None
        The last observation.
    error : exception or None
        What the call failed with.
    note : str
        What an interrupted user needs to know.
    name : str, default ""
        Which of several reports it is about.
    """
    lead = f"{name} · " if name else ""
    if isinstance(error, KeyboardInterrupt):
        return printable(f"■ {lead}{note or 'stopped'}")
    if error is not None:
        return printable(f"✗ {lead}{failure_line(error)}")
    if progress is not None and progress.stage is Stage.DONE:
        return printable(f"✓ {lead}{summary_line(progress)}")
    return printable(f"· {lead}{note}") if note else ""


def static_bundle(*lines: str) -> dict[str, str]:
    """Lines as HTML and as text. No colour and no size of their own: they read on every theme and on paper."""
    kept = [line for line in lines if line]
    return {
        HTML_MIME: "".join(f"<div><b>insights</b> {escape(line)}</div>" for line in kept),
        TEXT_MIME: "\n".join(f"insights {line}" for line in kept or [""]),
    }


def _ago(age: float) -> str:
    return "just now" if age < 1 else f"{human_seconds(age)} ago"


def _joined(parts: list[str]) -> str:
    return printable(" · ".join(part for part in parts if part))


def printable(text: str) -> str:
    """One line without control characters: notes may carry the service's words, and terminals obey theirs."""
    return "".join(letter if letter.isprintable() else " " for letter in " ".join(text.split()))
