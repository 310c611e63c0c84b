"""Time ranges as people write them, made into the whole seconds UTC the API takes.

Forms of a moment: ISO text (``2026-11-24``, ``2026-11-24T14:00``, ``…Z``, ``…+02:00``), ``datetime``,
``pandas.Timestamp``, ``date``, ``"now"``, and relative text such as ``"-24h"`` or ``"-1d12h"``. A time without
an offset is UTC. Forms of a length: ``"24h"``, ``"7d"``, ``"1d12h"``, or a ``timedelta``.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

Moment = str | datetime | date
Length = str | timedelta

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LENGTH = re.compile(r"(?:\d+\s*[smhdw]\s*)+", re.IGNORECASE)
_API_FORM = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
FORMS = 'ISO text ("2026-11-24T14:00:00Z"), a datetime, "now", or a length back from now ("-24h")'


@dataclass(frozen=True, slots=True)
class Window:
    """A range of time, both ends inclusive.

    Parameters
    ----------
    start, end : datetime
        Whole seconds, UTC.
    relative : bool
        Whether either end was said relative to now: asked again later, the same words mean another range.
    """

    start: datetime
    end: datetime
    relative: bool


def resolve_window(since: Moment | None, until: Moment | None, last: Length | None, now: datetime) -> Window | None:
    """Make the range of the keywords absolute.

    Parameters
    ----------
    since, until : moment or None
        The ends; ``until`` defaults to now.
    last : length or None
        Range from that long ago until now; excludes the other two.
    now : datetime
        The present moment, with an offset.

    Returns
    -------
    Window or None
        None when no keyword was given. The start is rounded down and the end up to a whole second, so that
        nothing asked for is left out.

    Raises
    ------
    ValueError
        When the keywords contradict each other or one cannot be read; the text says which and why.
    """
    now = now.astimezone(UTC).replace(microsecond=0)
    if last is not None:
        if since is not None or until is not None:
            raise ValueError("last says the whole range; leave out since and until, or leave out last")
        return Window(now - parse_length(last), now, relative=True)
    if since is None:
        if until is None:
            return None
        raise ValueError("until needs a since (or say last instead of both)")
    start, start_relative = parse_moment(since, now)
    end, end_relative = (now, True) if until is None else parse_moment(until, now)
    end = end + timedelta(seconds=1) if end.microsecond else end
    window = Window(start.replace(microsecond=0), end.replace(microsecond=0), relative=start_relative or end_relative)
    if window.start > window.end:
        raise ValueError(f"the range starts {api_form(window.start)}, after its end {api_form(window.end)}")
    return window


def parse_moment(value: Moment, now: datetime) -> tuple[datetime, bool]:
    """One moment in UTC, and whether it was said relative to now.

    Raises
    ------
    ValueError
        When the value is none of the forms above.
    """
    if isinstance(value, datetime):  # pandas.Timestamp is one; NaT is too, and has no offset arithmetic
        if value != value:
            raise ValueError("a time is missing (NaT)")
        plain: datetime = value.to_pydatetime(warn=False) if hasattr(value, "to_pydatetime") else value
        return _utc(plain), False
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC), False
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no time; write {FORMS}")
    text = value.strip()
    if text.lower() == "now":
        return now, True
    if text.startswith("-") and _LENGTH.fullmatch(text[1:].strip()):
        return now - parse_length(text[1:]), True
    if _LENGTH.fullmatch(text):
        raise ValueError(f'"{value}" is a length, not a moment; for a time ago write "-{text}", or last="{text}"')
    try:
        return _utc(datetime.fromisoformat(text)), False
    except ValueError:
        pass
    raise ValueError(f'"{value}" is no time; write {FORMS}')


def parse_length(value: Length) -> timedelta:
    """A length of time above zero.

    Raises
    ------
    ValueError
        When the value cannot be read as one.
    """
    if isinstance(value, timedelta):
        length = value
    elif isinstance(value, str) and _LENGTH.fullmatch(value.strip()):
        parts = re.findall(r"(\d+)\s*([smhdw])", value.lower())
        length = timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts))
    else:
        raise ValueError(f'{value!r} is no length of time; write one such as "90m", "24h", "7d" or "1d12h"')
    if length <= timedelta(0):
        raise ValueError(f"{value!r} is no length of time above zero")
    return length


def api_form(moment: datetime) -> str:
    """``YYYY-MM-DDTHH:MM:SSZ``, the only form the API takes (Overview page, "Incorrect Date Format")."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_api_form(text: str) -> datetime | None:
    """The moment of a text in the API's form, or None when it has another form or is no real date."""
    if not _API_FORM.fullmatch(text):
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
