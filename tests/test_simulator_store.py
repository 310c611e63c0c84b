"""What a query answers: range, scope, filters, columns, and the form of the files, against plain Python."""

import gzip
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insights_nb.simulator import Simulator, shards
from insights_nb.simulator.foreign import read
from insights_nb.simulator.rules import verdict
from insights_nb.simulator.schema import documented
from insights_nb.simulator.store import Store
from tests.simulator_client import RANGE, UNTIL, Client, parsed, query

ALL = ("ApplicationExitEvent", "DtmfEvent", "CallEvent", "MsgEvent")
START = datetime(2026, 2, 10)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
NASTY = [
    "NA",
    "0012",
    " x ",
    "a,b",
    'say "hi"',
    "two\nlines",
    "cr\rhere",
    "crlf\r\n",
    '"',
    ",",
    "é",
    "田中",
    "😀",
    "null",
    "\t",
]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Simulator(size=3_000, until=UNTIL, shard_rows=400) as simulator, Client(simulator) as client:
        yield client


@pytest.fixture(scope="module")
def everything(client: Client) -> pd.DataFrame:
    """All events with their common fields, as text."""
    fields = list(documented().common)
    return client.frame({"timestamp": RANGE, "data": {event: {"fields": fields} for event in ALL}})


def store_of(rows: list[dict[str, Any]], columns: list[str]) -> Store:
    frame = pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=object) for name in columns})
    return Store(*read(frame, documented()))


def answered(store: Store, body: Any, event: str | None = None) -> list[list[str]]:
    plan = verdict(body, store.schema)
    text = b"".join(bytes(shards.lines_of(array)) for array in store.lines(plan, event))
    return parsed(text.decode())


def test_range_ends(client: Client, everything: pd.DataFrame) -> None:
    """Inclusive ends take the events that lie on them, exclusive ends leave them out."""
    whole = everything[~everything["TimeStamp"].str.contains(".", regex=False)]
    moment = str(whole["TimeStamp"].iloc[0])
    at = moment.replace(" UTC", "Z").replace(" ", "T")
    count = int((everything["TimeStamp"] == moment).sum())
    data = {event: {"fields": ["TimeStamp"]} for event in ALL}
    both = client.table({"timestamp": {"$gte": at, "$lte": at}, "data": data})[1:]
    assert both == [[moment]] * count
    guid = client.finish({"timestamp": {"$gt": at, "$lte": at}, "data": data})
    assert client.status(guid)["status"] == "Failed"


def test_scope_brings_whole_sessions(client: Client, everything: pd.DataFrame) -> None:
    """A scope picks sessions by one event's records and brings all their records in range, of the events asked for."""
    body = {
        "timestamp": RANGE,
        "data": {event: {"fields": ["SessionId", "TransactionId"]} for event in ALL[:2]},
        "scope": {"filters": {"CallEvent": {"ActionId": {"$eq": "TRANSFER_2"}}}, "scope": "SessionId"},
    }
    found = client.frame(body)
    chosen = everything.loc[
        (everything["EventName"] == "CallEvent") & (everything["ActionId"] == "TRANSFER_2"), "SessionId"
    ].unique()
    wanted = everything[everything["SessionId"].isin(chosen) & everything["EventName"].isin(ALL[:2])]
    assert len(chosen) > 5
    assert Counter(found["SessionId"]) == Counter(wanted["SessionId"])
    assert Counter(found["TransactionId"]) == Counter(wanted["TransactionId"])


def test_range_limits_the_scope_too(client: Client, everything: pd.DataFrame) -> None:
    """A session whose picking record lies outside the range is not picked."""
    session = str(everything["SessionId"].iloc[0])
    scope = {"scope": ["SessionId"], "filters": {"SessionId": {"$eq": session}}}
    assert len(client.table(query(scope=scope))) > 1
    guid = client.finish(query(scope=scope) | {"timestamp": {"$gte": "2026-03-01T11:59:00Z"}})
    assert client.status(guid)["status"] == "Failed"


def test_filters_touch_their_own_event_only(client: Client, everything: pd.DataFrame) -> None:
    """Criteria of one event leave the records of the other events in data alone."""
    body = {
        "timestamp": RANGE,
        "data": {event: {"fields": ["EventName", "ActionId"]} for event in ALL[:2]},
        "filters": {"DtmfEvent": {"ActionId": {"$eq": "MENU_1"}}},
    }
    found = client.frame(body)
    counts = everything["EventName"].value_counts()
    assert (found["EventName"] == "ApplicationExitEvent").sum() == counts["ApplicationExitEvent"]
    menus = ((everything["EventName"] == "DtmfEvent") & (everything["ActionId"] == "MENU_1")).sum()
    assert (found["EventName"] == "DtmfEvent").sum() == menus
    assert set(found.loc[found["EventName"] == "DtmfEvent", "ActionId"]) == {"MENU_1"}


def test_union_of_columns(client: Client) -> None:
    """One table has the columns of all events in the order asked, empty where an event was not asked for one."""
    body = {
        "timestamp": RANGE,
        "data": {
            "DtmfEvent": {"fields": ["EventName", "DtmfInput"]},
            "ApplicationExitEvent": {"fields": ["Path", "EventName", "FlowId"]},
        },
    }
    found = client.frame(body)
    assert list(found.columns) == ["EventName", "DtmfInput", "Path", "FlowId"]
    prompts = found[found["EventName"] == "DtmfEvent"]
    assert set(prompts["FlowId"]) == {""}
    assert set(found.loc[found["EventName"] == "ApplicationExitEvent", "DtmfInput"]) == {""}
    assert (prompts["DtmfInput"] != "").any()


def test_files_per_event() -> None:
    """Behind the switch, each event has its own files with its own columns."""
    body = {
        "timestamp": RANGE,
        "data": {"DtmfEvent": {"fields": ["DtmfInput", "EventName"]}, "CallEvent": {"fields": ["EventName"]}},
    }
    with Simulator(size=500, until=UNTIL, layout="per_event") as simulator, Client(simulator) as client:
        tables = [parsed(text) for text in client.shards(client.finish(body))]
    assert [table[0] for table in tables] == [["DtmfInput", "EventName"], ["EventName"]]
    assert {row[1] for row in tables[0][1:]} == {"DtmfEvent"}
    assert {row[0] for row in tables[1][1:]} == {"CallEvent"}


def test_form_of_the_files(client: Client) -> None:
    """Times end in UTC with a fraction only where there is one, booleans are small, NULL is empty, lines end in LF."""
    texts = client.shards(client.finish(query(["TimeStamp", "IsTriggerAction", "EventVersion", "EventSku", "Path"])))
    assert len(texts) > 3
    for text in texts:
        assert text.startswith("TimeStamp,IsTriggerAction,EventVersion,EventSku,Path\n")
        assert "\r" not in text
    rows = [line.split(",") for text in texts for line in text.splitlines()[1:]]
    frame = pd.DataFrame(rows, columns=["time", "trigger", "version", "sku", "path"])
    assert frame["time"].str.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{0,5}[1-9])? UTC").all()
    assert set(frame["trigger"]) == {"true", "false"}
    assert (set(frame["version"]), set(frame["sku"])) == ({"1"}, {""})


def test_shards_vary_but_not_between_runs() -> None:
    """Shards have unequal sizes of at most the set one, in an order and cut that the seed fixes."""
    sizes = []
    for _ in range(2):
        with Simulator(size=3_000, until=UNTIL, shard_rows=100) as simulator, Client(simulator) as client:
            sizes.append([text.count("\n") - 1 for text in client.shards(client.finish(query()))])
    assert sizes[0] == sizes[1]
    assert len(set(sizes[0])) > 5
    assert max(sizes[0]) <= 100


def test_a_shard_may_hold_only_its_header() -> None:
    """Some reports of several shards end in one without rows."""
    import pyarrow as pa

    lines = pa.array(["x\n"] * 10, type=pa.large_string())
    cuts = [[sum(map(len, part)) for part in shards.cut([lines], 3, random.Random(n))] for n in range(40)]
    assert any(cut[-1] == 0 for cut in cuts)
    assert all(sum(cut) == 10 for cut in cuts)


def test_sftp_root_is_in_front_of_the_locations() -> None:
    """With a root folder, locations stay as documented and the files lie below the root."""
    with Simulator(size=200, until=UNTIL, sftp_root="accounts/10001234") as simulator, Client(simulator) as client:
        guid = client.finish(query())
        assert client.paths(guid)[0].startswith("reports/")
        assert client.shards(guid)
        with client.sftp() as files:
            assert files.listdir("/") == ["accounts"]


def test_nasty_text_end_to_end() -> None:
    """Texts with quotes, commas, line ends, spaces and foreign letters come back as they were."""
    frame = pd.DataFrame(
        {
            "EventName": "MsgEvent",
            "TimeStamp": "2026-02-10 00:00:00 UTC",
            "SessionId": NASTY,
            'Odd, "name"\n': NASTY[::-1],
        }
    )
    with Simulator(events=frame) as simulator, Client(simulator) as client:
        found = client.frame(query(["SessionId", 'Odd, "name"\n'], "MsgEvent"))
    assert list(found["SessionId"]) == NASTY
    assert list(found['Odd, "name"\n']) == NASTY[::-1]


def test_a_row_of_one_null_is_an_empty_line() -> None:
    """A row whose only cell is NULL is still a row: an empty line, as BigQuery writes it."""
    rows = [{"EventName": "MsgEvent", "TimeStamp": START, "SessionId": value} for value in ("a", None, "b")]
    store = store_of(rows, ["EventName", "TimeStamp", "SessionId"])
    plan = verdict(query(["SessionId"], "MsgEvent"), store.schema)
    assert b"".join(bytes(shards.lines_of(array)) for array in store.lines(plan)) == b"a\n\nb\n"


@given(
    rows=st.lists(
        st.tuples(
            st.none() | TEXT | st.sampled_from(NASTY),
            st.none() | st.booleans(),
            st.none() | st.integers(-(2**63), 2**63 - 1),
        ),
        min_size=1,
        max_size=12,
    ),
    offset=st.integers(0, 10**12),
)
@settings(max_examples=60, deadline=None)
def test_any_table_comes_back(rows: list[tuple[str | None, bool | None, int | None]], offset: int) -> None:
    """Strings, booleans, integers and times go through gzip and CSV unchanged, NULL and "" both as empty."""
    moment = START + timedelta(microseconds=offset)
    table = [
        {
            "EventName": "MsgEvent",
            "TimeStamp": moment,
            "SessionId": "s",
            "Text": text,
            "IsTriggerAction": flag,
            "EventVersion": number,
        }
        for text, flag, number in rows
    ]
    store = store_of(table, ["EventName", "TimeStamp", "SessionId", "Text", "IsTriggerAction", "EventVersion"])
    body = query(["Text", "IsTriggerAction", "EventVersion", "TimeStamp"], "MsgEvent") | {
        "timestamp": {"$gte": "2026-01-01T00:00:00Z"}
    }
    stamp = moment.strftime("%Y-%m-%d %H:%M:%S") + (
        f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else ""
    )
    wanted = [
        [text or "", "" if flag is None else str(flag).lower(), "" if number is None else str(number), f"{stamp} UTC"]
        for text, flag, number in rows
    ]
    assert answered(store, body) == wanted


COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda cell, value: cell is not None and cell == value,
    "$gt": lambda cell, value: cell is not None and cell > value,
    "$gte": lambda cell, value: cell is not None and cell >= value,
    "$lt": lambda cell, value: cell is not None and cell < value,
    "$lte": lambda cell, value: cell is not None and cell <= value,
    "$ne": lambda cell, value: cell is None or cell != value,
}
WORDS = st.sampled_from(["", "a", "b", "B", "'; DROP TABLE events; --", '"', "é", "10", "9"])
RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "EventName": st.sampled_from(ALL),
            "TimeStamp": st.integers(0, 5).map(lambda n: START + timedelta(seconds=n)),
            "SessionId": st.none() | st.sampled_from(["s1", "s2", "s3"]),
            "FlowId": st.none() | WORDS,
            "EventVersion": st.none() | st.integers(-2, 12),
        }
    ),
    min_size=1,
    max_size=25,
)
OPERATORS = st.sampled_from(list(COMPARED))
CRITERIA = st.fixed_dictionaries(
    {},
    optional={
        "FlowId": st.dictionaries(OPERATORS, WORDS, min_size=1, max_size=2),
        "EventVersion": st.dictionaries(OPERATORS, st.integers(-2, 12), min_size=1, max_size=2),
        "SessionId": st.dictionaries(OPERATORS, st.sampled_from(["s1", "s2"]), min_size=1, max_size=2),
    },
).filter(bool)


def met(record: dict[str, Any], criteria: dict[str, dict[str, Any]]) -> bool:
    return all(COMPARED[op](record[field], value) for field, ops in criteria.items() for op, value in ops.items())


@given(
    records=RECORDS,
    events=st.lists(st.sampled_from(ALL), min_size=1, max_size=4, unique=True),
    filters=st.dictionaries(st.sampled_from(ALL), CRITERIA, max_size=3),
    scope=st.none() | st.dictionaries(st.sampled_from(ALL), CRITERIA, min_size=1, max_size=2),
    window=st.dictionaries(OPERATORS, st.integers(0, 5), min_size=1, max_size=2),
)
@settings(max_examples=150, deadline=None)
def test_any_query_against_plain_python(
    records: list[dict[str, Any]],
    events: list[str],
    filters: dict[str, Any],
    scope: dict[str, Any] | None,
    window: dict[str, int],
) -> None:
    """Range, scope and filters select exactly the rows that a dozen lines of Python select."""
    moments = {op: START + timedelta(seconds=n) for op, n in window.items()}
    body: dict[str, Any] = {
        "timestamp": {op: f"{moment:%Y-%m-%dT%H:%M:%S}Z" for op, moment in moments.items()},
        "data": {event: {"fields": ["EventName", "Row"]} for event in events},
        "filters": filters,
    }
    if scope is not None:
        body["scope"] = {"filters": scope, "scope": "SessionId"}
    numbered = [{**record, "Row": str(n)} for n, record in enumerate(records)]
    # Every event must offer Row, whether or not it has a record here.
    padding = [{"EventName": event, "TimeStamp": START - timedelta(days=99), "Row": "-"} for event in ALL]
    store = store_of([*numbered, *padding], ["EventName", "TimeStamp", "SessionId", "FlowId", "EventVersion", "Row"])

    ranged = [
        record
        for record in (*numbered, *padding)
        if all(COMPARED[op](record["TimeStamp"], moment) for op, moment in moments.items())
    ]
    ranged = [{"SessionId": None, "FlowId": None, "EventVersion": None, **record} for record in ranged]
    wanted = [r for r in ranged if r["EventName"] in events and met(r, filters.get(str(r["EventName"]), {}))]
    for event, criteria in (scope or {}).items():
        picked = {r["SessionId"] for r in ranged if r["EventName"] == event and met(r, criteria)} - {None}
        wanted = [r for r in wanted if r["SessionId"] in picked]
    assert Counter(row[1] for row in answered(store, body)) == Counter(str(r["Row"]) for r in wanted)


def test_files_are_whole_gzip(tmp_path: Path) -> None:
    """A written shard inflates with a good checksum, and an unfinished export leaves no thread behind."""
    import pyarrow as pa

    lines = pa.array(["x,1\n", "y,2\n"], type=pa.string())
    before = threading.active_count()
    counts = shards.write([[lines], []], b"a,b\n", tmp_path, "{}.gz".format, threading.Event())
    assert counts == [2, 0]
    assert gzip.decompress((tmp_path / "0.gz").read_bytes()) == b"a,b\nx,1\ny,2\n"
    assert gzip.decompress((tmp_path / "1.gz").read_bytes()) == b"a,b\n"
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(shards.StoppedError):
        shards.write([[lines]], b"", tmp_path, "{}.gz".format, stopped)
    assert threading.active_count() == before
