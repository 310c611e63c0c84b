"""Invented callers on their way through the invented flows, one array operation per step for all of them.

The days: seven, ending at ``until``, busy in the American daytime, quieter at weekends. What is planted in
them is told by ``truths.Truths``. Records come out roughly, never strictly, in order of time, as they
would from several hosts.
"""

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from . import flows
from .flows import FLOWS, Action
from .records import table
from .schema import Schema
from .truths import FailingRegion, Place, SlowAction, Truths

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

DAYS = 7
EVENTS_PER_SESSION = 10.35  # measured; only the size of the result rests on it
SILENT_SHARE = 0.03
BROKEN_SHARE = 0.015
WHOLE_SECONDS_SHARE = 0.10
FAILING_FOR = timedelta(hours=50)
ACCOUNTS = 4_000
_LEAST_MS = 300
_HOURS = np.array([7, 6, 4, 3, 2, 1.2, 0.8, 0.5, 0.4, 0.4, 0.6, 1, 2, 4, 7, 9, 10, 10, 10, 10, 10, 10, 9, 8])


@dataclass(frozen=True)
class Callers:
    """What is fixed for each session before it begins; all arrays have one element per session.

    Parameters
    ----------
    start
        Its first millisecond (Unix).
    node
        The number of its first action.
    region, account
        Numbers of its region and its caller's account.
    silent
        Whether its caller presses no key.
    whole_seconds
        Whether its host stamps whole seconds only.
    breaks_at
        The step at which it breaks off, or a number never reached.
    """

    start: Ints
    node: Ints
    region: Ints
    account: Ints
    silent: Bools
    whole_seconds: Bools
    breaks_at: Ints


@dataclass(frozen=True)
class Visits:
    """All executions of actions; all arrays have one element per execution.

    Parameters
    ----------
    session, node, exit
        Numbers of the session, the action, and the exit taken.
    start, end
        Milliseconds (Unix).
    broken
        Whether the session broke off in it.
    """

    session: Ints
    node: Ints
    exit: Ints
    start: Ints
    end: Ints
    broken: Bools


class Graph:
    """All actions of all flows, numbered, with their exits in padded tables."""

    def __init__(self) -> None:
        self.places: list[tuple[str, Action]] = [(flow.key, action) for flow in FLOWS for action in flow.actions]
        number = {(key, action.action_id): n for n, (key, action) in enumerate(self.places)}
        self.number = number
        width = max(len(action.exits) for _, action in self.places)
        shape = (len(self.places), width)
        self.bound = np.ones(shape)
        self.next = np.full(shape, -1, dtype=np.int64)
        self.median = np.array([action.seconds * 1000 for _, action in self.places])
        self.silent_exit = np.full(len(self.places), -1, dtype=np.int64)
        self.failing_exit = np.full(len(self.places), -1, dtype=np.int64)
        for n, (key, action) in enumerate(self.places):
            shares = np.array([exit_.share for exit_ in action.exits])
            self.bound[n, : len(shares)] = np.cumsum(shares) / shares.sum()
            self.bound[n, len(shares) - 1 :] = 1.0
            for e, exit_ in enumerate(action.exits):
                if exit_.to is not None:
                    other, _, name = exit_.to.rpartition("/")
                    self.next[n, e] = number[other or key, name]
                if exit_.error == flows.NO_INPUT:
                    self.silent_exit[n] = e
                if exit_.reason == flows.UNAVAILABLE:
                    self.failing_exit[n] = e


def invent(schema: Schema, *, seed: int, size: int, until: str | datetime | None) -> tuple[pa.Table, Truths]:
    """Return invented events and what has been planted in them.

    Parameters
    ----------
    schema
        The types of the fields.
    seed, size, until
        As for ``Simulator``; the number of events comes out within a few per cent of ``size``.

    Raises
    ------
    ValueError
        ``size`` is below 1, or ``until`` is no time.
    """
    if size < 1:
        raise ValueError("size counts from 1")
    end = _moment(until)
    begin = end - timedelta(days=DAYS)
    failing_since = (end - FAILING_FOR).replace(minute=0, second=0, microsecond=0)
    graph = Graph()
    rng = np.random.default_rng(seed)
    callers = _callers(graph, rng, max(1, round(size / EVENTS_PER_SESSION)), begin)
    visits = _walk(graph, rng, callers, _ms(failing_since))
    events, planted = table(graph, rng, callers, visits, schema, seed=seed, until_ms=_ms(end))
    truths = Truths(
        looping_menu=Place(*_named(flows.LOOPING_MENU)),
        failing_region=FailingRegion(flows.FAILING_REGION, failing_since, flows.UNAVAILABLE, "No Answer"),
        slow_action=SlowAction(*_named(flows.SLOW_ACTION), float(graph.median[graph.number[flows.SLOW_ACTION]] / 1000)),
        since=begin,
        until=end,
        **planted,
    )
    return events, truths


def _named(place: tuple[str, str]) -> tuple[str, str]:
    flow_id = next(flow.flow_id for flow in FLOWS if flow.key == place[0])
    return flow_id, place[1]


def _moment(until: str | datetime | None) -> datetime:
    if until is None:
        return datetime.now(UTC).replace(microsecond=0)
    found = datetime.fromisoformat(until) if isinstance(until, str) else until
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    return found.replace(microsecond=0)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp()) * 1000


def _callers(graph: Graph, rng: np.random.Generator, sessions: int, begin: datetime) -> Callers:
    hours = [begin + timedelta(hours=n) for n in range(DAYS * 24)]
    weights = np.array([_HOURS[hour.hour] * (0.55 if hour.weekday() > 4 else 1.0) for hour in hours])
    hour = rng.choice(len(hours), sessions, p=weights / weights.sum())
    start = _ms(begin) + hour * 3_600_000 + rng.integers(0, 3_600_000, sessions)
    first = np.array([graph.number[flow.key, flow.start] for flow in FLOWS])
    flow = rng.choice(len(FLOWS), sessions, p=[flow.share for flow in FLOWS])
    breaks = np.where(rng.random(sessions) < BROKEN_SHARE, rng.integers(2, 5, sessions), 1_000_000)
    return Callers(
        start=np.sort(start),
        node=first[flow],
        region=rng.choice(len(flows.REGIONS), sessions, p=list(flows.REGIONS.values())),
        account=rng.integers(0, ACCOUNTS, sessions),
        silent=rng.random(sessions) < SILENT_SHARE,
        whole_seconds=rng.random(sessions) < WHOLE_SECONDS_SHARE,
        breaks_at=breaks,
    )


def _walk(graph: Graph, rng: np.random.Generator, callers: Callers, failing_ms: int) -> Visits:
    """Take every session from its first action to its last, one step of all sessions at a time."""
    failing_region = list(flows.REGIONS).index(flows.FAILING_REGION)
    session = np.arange(len(callers.start))
    node, start = callers.node, callers.start
    steps: list[tuple[npt.NDArray[np.generic], ...]] = []
    step = 1
    while len(session):
        spread = np.exp(rng.normal(0.0, 0.45, len(session)))
        end = start + np.maximum(_LEAST_MS, graph.median[node] * spread).astype(np.int64)
        taken = (graph.bound[node] <= rng.random(len(session))[:, None]).sum(axis=1)
        fails = (callers.region[session] == failing_region) & (start >= failing_ms)
        for forced, exits in ((callers.silent[session], graph.silent_exit), (fails, graph.failing_exit)):
            taken = np.where(forced & (exits[node] >= 0), exits[node], taken)
        broken = callers.breaks_at[session] == step
        steps.append((session, node, taken, start, end, broken))
        after = graph.next[node, taken]
        goes_on = (after >= 0) & ~broken
        session, node, start = session[goes_on], after[goes_on], end[goes_on]
        step += 1
    columns = [np.concatenate(parts) for parts in zip(*steps, strict=True)]
    return Visits(**dict(zip((field.name for field in fields(Visits)), columns, strict=True)))
