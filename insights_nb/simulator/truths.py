"""What has been planted in the invented events, so that tests and notebooks can check what a tool finds."""

from dataclasses import dataclass, fields
from datetime import datetime


@dataclass(frozen=True)
class Place:
    """An action of a flow."""

    flow_id: str
    action_id: str


@dataclass(frozen=True)
class FailingRegion:
    """A region in which every transfer fails from a moment on.

    Parameters
    ----------
    region
        Its ``ApplicationRegion``.
    since
        The first moment (UTC); a transfer whose ``StartTime`` is not before it fails.
    exit_reason, path
        What every such transfer's ``ApplicationExitEvent`` says.
    """

    region: str
    since: datetime
    exit_reason: str
    path: str


@dataclass(frozen=True)
class SlowAction:
    """An action that waits for a machine, and far too long: its place and its median time in seconds.

    Other actions without the caller's part take about a second.
    """

    flow_id: str
    action_id: str
    seconds: float


@dataclass(frozen=True)
class Truths:
    """Everything planted; all empty for data that were not invented.

    Parameters
    ----------
    looping_menu
        The menu that callers enter again and again (about every second visit leads back to it).
    failing_region
        The region whose transfers fail from a given hour on.
    slow_action
        The action that keeps callers waiting.
    silent_sessions
        Sessions that were prompted for keys and never pressed one.
    midnight_sessions
        Sessions whose first and last events lie on different days (UTC).
    no_exit_sessions
        Sessions that break off: their last action has a record, but no ``ApplicationExitEvent``, and it is
        not the end of the data that cuts them.
    running_sessions
        Sessions still under way at the end of the data.
    tied_sessions
        Sessions with two events of the same ``TimeStamp``.
    two_flow_sessions
        Sessions that span two flows, by way of Jump To.
    leading_zero_inputs
        The different ``DtmfInput`` values of several digits that begin with 0.
    names
        The different flow names and caller names (``Passthrough``), with commas, quotes, foreign letters.
    sessions, events
        How many of each there are.
    since, until
        The seven days (UTC): sessions begin at ``since`` or later, no event is later than ``until``.

    Notes
    -----
    Session lists are sorted.
    """

    looping_menu: Place | None = None
    failing_region: FailingRegion | None = None
    slow_action: SlowAction | None = None
    silent_sessions: tuple[str, ...] = ()
    midnight_sessions: tuple[str, ...] = ()
    no_exit_sessions: tuple[str, ...] = ()
    running_sessions: tuple[str, ...] = ()
    tied_sessions: tuple[str, ...] = ()
    two_flow_sessions: tuple[str, ...] = ()
    leading_zero_inputs: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    sessions: int = 0
    events: int = 0
    since: datetime | None = None
    until: datetime | None = None

    def __repr__(self) -> str:
        """Tell long lists by their length and first items: a notebook cell shows this."""
        lines = []
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple) and len(value) > 3:
                value = f"({', '.join(map(repr, value[:2]))}, … {len(value):,} in all)"
            lines.append(f"    {field.name}={value}")
        return "Truths(\n" + ",\n".join(lines) + "\n)"
