"""What has been planted in the invented events is really there, and the same seed invents the same."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from insights_nb.simulator import Simulator, Truths
from insights_nb.simulator.callers import invent
from insights_nb.simulator.schema import documented
from tests.simulator_client import RANGE, UNTIL, Client

SCHEMA = documented()
TIMES = ("TimeStamp", "StartTime", "EndTime")


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(size=30_000, until=UNTIL) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def truths(simulator: Simulator) -> Truths:
    return simulator.truths


@pytest.fixture(scope="module")
def events(simulator: Simulator) -> pd.DataFrame:
    """Every event with every field, as a client gets them: times parsed, all else text, empty for NULL."""
    data = {event: {"fields": [*SCHEMA.common, *own]} for event, own in SCHEMA.events.items()}
    with Client(simulator) as client:
        frame = client.frame({"timestamp": RANGE, "data": data})
    for name in TIMES:
        text = frame[name].mask(frame[name].eq("")).str.replace(" UTC", "Z")
        frame[name] = pd.to_datetime(text, format="ISO8601", utc=True)
    return frame


@pytest.fixture(scope="module")
def exits(events: pd.DataFrame) -> pd.DataFrame:
    return events[events["EventName"] == "ApplicationExitEvent"]


def ids(found: Any) -> tuple[str, ...]:
    return tuple(sorted(set(found)))


def test_counts_and_days(events: pd.DataFrame, truths: Truths) -> None:
    """The events are about as many as asked, counted rightly, and lie in the seven days."""
    assert len(events) == truths.events == pytest.approx(30_000, rel=0.05)
    assert events["SessionId"].nunique() == truths.sessions
    assert truths.since is not None
    assert truths.until is not None
    assert (truths.until - truths.since).days == 7
    assert events["TimeStamp"].between(pd.Timestamp(truths.since), pd.Timestamp(truths.until)).all()


def test_forms_of_ids(events: pd.DataFrame) -> None:
    """Session, transaction and flow ids have the documented forms, and a session's begins with its start."""
    assert events["SessionId"].str.fullmatch(r"\d{10}-\d{7}-SR-000-0{13}-[0-9A-F]{8}").all()
    assert events["TransactionId"].str.fullmatch(r"CP1-\d{10}-[0-9A-Z]{15}-[0-9A-F]{9}").all()
    assert events["FlowId"].str.fullmatch(r"[0-9a-f]{24}").all()
    assert events["ActionId"].str.fullmatch(r"[A-Z_]+(_\d)?").all()
    first = events.groupby("SessionId")["TimeStamp"].min()
    begun = pd.to_datetime(first.index.str[:10].astype("int64"), unit="s", utc=True)
    assert ((first - begun).dt.total_seconds().between(0, 60)).mean() > 0.999
    one = events.groupby("TransactionId")
    assert (one["ActionId"].nunique() == 1).all()
    assert (one["SessionId"].nunique() == 1).all()


def test_triggers(events: pd.DataFrame, truths: Truths) -> None:
    """A session is triggered once, and once more where it jumps into another flow."""
    triggered = events[events["IsTriggerAction"] == "true"]
    assert set(triggered["ActionId"]) == {"INBOUND_CALL_1", "INBOUND_API_1", "INBOUND_TEXT_1", "JUMP_FROM_1"}
    per_session = triggered[triggered["EventName"] == "ApplicationExitEvent"].groupby("SessionId").size()
    assert set(per_session.index[per_session == 2]) <= set(truths.two_flow_sessions)
    assert per_session.max() == 2


def test_empty_fields(events: pd.DataFrame) -> None:
    """The fields that the dictionary calls empty are empty, and own fields belong to their own events."""
    for name in ("EventSku", "HostId", "CustomerName", "Originator", "OriginatorId"):
        assert set(events[name]) == {""}
    assert set(events["CustomerId"]) == {"10001234"}
    others = events[events["EventName"] != "DtmfEvent"]
    assert set(others["DtmfInput"]) == set(others["DtmfSource"]) == {""}
    assert events.loc[events["EventName"] != "ApplicationExitEvent", "StartTime"].isna().all()


def test_looping_menu(exits: pd.DataFrame, truths: Truths) -> None:
    """The planted menu is the action that sessions come back to most."""
    assert truths.looping_menu is not None
    visits = exits.groupby(["SessionId", "FlowId", "ActionId"]).size().groupby(["FlowId", "ActionId"]).mean()
    assert visits.idxmax() == (truths.looping_menu.flow_id, truths.looping_menu.action_id)
    assert visits.max() > 1.5
    assert visits.nlargest(2).iloc[1] < 1.2


def test_failing_region(exits: pd.DataFrame, truths: Truths) -> None:
    """Every transfer of the planted region fails from the planted moment on, few before it or elsewhere."""
    planted = truths.failing_region
    assert planted is not None
    transfers = exits[exits["ActionName"] == "Transfer"]
    failed = transfers["ExitReason"] == planted.exit_reason
    struck = (transfers["ApplicationRegion"] == planted.region) & (transfers["StartTime"] >= planted.since)
    assert struck.sum() > 10
    assert failed[struck].all()
    assert set(transfers.loc[struck, "Path"]) == {planted.path}
    assert failed[~struck].mean() < 0.04
    assert (planted.since.minute, planted.since.second) == (0, 0)


def test_slow_action(exits: pd.DataFrame, truths: Truths) -> None:
    """The planted action takes its planted time, many times that of other actions without the caller's part."""
    planted = truths.slow_action
    assert planted is not None
    spent = (exits["EndTime"] - exits["StartTime"]).dt.total_seconds()
    median = spent.groupby([exits["FlowId"], exits["ActionId"]]).median()
    assert median[planted.flow_id, planted.action_id] == pytest.approx(planted.seconds, rel=0.1)
    machine = exits["ActionName"].isin(["Condition", "Switch", "SMS", "JumpTo", "JumpFrom", "InboundCall", "EndCall"])
    assert median[planted.flow_id, planted.action_id] > 8 * spent[machine].median()


def test_silent_sessions(events: pd.DataFrame, truths: Truths) -> None:
    """The silent sessions are those prompted at least once whose every input is empty."""
    prompts = events[events["EventName"] == "DtmfEvent"]
    given = prompts["DtmfInput"].ne("").groupby(prompts["SessionId"]).any()
    assert truths.silent_sessions == ids(given.index[~given])
    assert len(truths.silent_sessions) > 0.02 * truths.sessions


def test_midnight_sessions(events: pd.DataFrame, truths: Truths) -> None:
    """The sessions said to cross midnight, and no others, have events on two days."""
    days = events["TimeStamp"].dt.floor("D").groupby(events["SessionId"]).nunique()
    assert truths.midnight_sessions == ids(days.index[days > 1])
    assert truths.midnight_sessions


def test_sessions_without_an_exit(events: pd.DataFrame, exits: pd.DataFrame, truths: Truths) -> None:
    """Apart from those still running, the sessions said to break off are those with an action never exited."""
    open_ended = set(events["TransactionId"]) - set(exits["TransactionId"])
    sessions = set(events.loc[events["TransactionId"].isin(open_ended), "SessionId"])
    running = set(truths.running_sessions)
    assert set(truths.no_exit_sessions) - running == sessions - running
    assert 0.005 < len(truths.no_exit_sessions) / truths.sessions < 0.03
    assert truths.until is not None
    last = events[events["SessionId"].isin(running)].groupby("SessionId")["TimeStamp"].max()
    assert (last > pd.Timestamp(truths.until) - pd.Timedelta("1h")).all()


def test_tied_sessions(events: pd.DataFrame, truths: Truths) -> None:
    """The sessions said to hold equal times, and no others, do."""
    tied = events.duplicated(["SessionId", "TimeStamp"], keep=False)
    assert truths.tied_sessions == ids(events.loc[tied, "SessionId"])
    assert 0.03 < len(truths.tied_sessions) / truths.sessions < 0.2


def test_sessions_over_two_flows(events: pd.DataFrame, truths: Truths) -> None:
    """The sessions said to span two flows, and no others, do."""
    flows = events.groupby("SessionId")["FlowId"].nunique()
    assert truths.two_flow_sessions == ids(flows.index[flows > 1])
    assert len(truths.two_flow_sessions) > 50
    assert events["FlowId"].nunique() == 3


def test_texts(events: pd.DataFrame, truths: Truths) -> None:
    """Inputs with leading zeros and names with commas, quotes and foreign letters are as told."""
    inputs = events["DtmfInput"]
    assert truths.leading_zero_inputs == ids(inputs[inputs.str.match(r"0\d")])
    assert len(truths.leading_zero_inputs) > 20
    assert truths.names == ids(set(events["FlowName"]) | set(events["Passthrough"]) - {""})
    together = "".join(truths.names)
    assert all(mark in together for mark in ",\"'")
    assert not together.isascii()


def test_daytime(events: pd.DataFrame) -> None:
    """Calls come by American day: the busiest hour has many times the sessions of the quietest."""
    hours = events.groupby("SessionId")["TimeStamp"].min().dt.hour.value_counts()
    assert hours.max() > 8 * hours.min()
    assert hours.idxmax() in range(14, 24)


def test_order_is_not_promised(simulator: Simulator) -> None:
    """Rows come nearly but not quite in order of time."""
    with Client(simulator) as client:
        frame = client.frame({"timestamp": RANGE, "data": {"CallEvent": {"fields": ["TimeStamp"]}}})
    assert not frame["TimeStamp"].is_monotonic_increasing


def test_same_seed_same_events() -> None:
    """Seed, size and end decide the events and the truths; another seed gives others."""
    one, told = invent(SCHEMA, seed=3, size=2_000, until=UNTIL)
    two, again = invent(SCHEMA, seed=3, size=2_000, until=UNTIL)
    assert one.equals(two)
    assert told == again
    other, _ = invent(SCHEMA, seed=4, size=2_000, until=UNTIL)
    assert not one.equals(other)


@pytest.mark.parametrize("size", [1, 5, 40])
def test_few_events(size: int) -> None:
    """Even a handful of events comes out whole."""
    table, truths = invent(SCHEMA, seed=1, size=size, until=UNTIL)
    assert table.num_rows == truths.events > 0


@pytest.mark.parametrize(
    "until", ["2026-03-01T12:00:00", "2026-03-01 13:00:00+01:00", pd.Timestamp(UNTIL).to_pydatetime()]
)
def test_ways_to_say_until(until: Any) -> None:
    """An end without a zone is UTC, another zone is turned into it, and no time at all is refused."""
    assert invent(SCHEMA, seed=1, size=10, until=until)[1].until == pd.Timestamp(UNTIL)
    with pytest.raises(ValueError, match="isoformat"):
        invent(SCHEMA, seed=1, size=10, until="noon")
    with pytest.raises(ValueError, match="size"):
        invent(SCHEMA, seed=1, size=0, until=until)
