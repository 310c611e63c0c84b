"""Events the service did not invent: frames and files, their types, and what is offered of them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insights_nb.simulator import Simulator, Truths
from insights_nb.simulator.foreign import read
from insights_nb.simulator.schema import documented
from tests.simulator_client import Client, query

FRAME = pd.DataFrame(
    {
        "EventName": ["CallEvent", "CallEvent", "OddEvent", "DtmfEvent"],
        "TimeStamp": [
            "2026-02-10 01:02:03 UTC",
            "2026-02-10T01:02:03.5Z",
            "2026-02-10 01:02:03.000007 UTC",
            "2026-02-10 02:02:03+01:00",
        ],
        "SessionId": ["s1", "s2", "s2", None],
        "DtmfInput": [None, None, None, "0012"],
        "Score": [1.5, None, None, None],
        "Count": pd.array([1, None, 3, None], dtype="Int64"),
        "Flag": pd.array([True, False, None, None], dtype="boolean"),
        "When": pd.Series(["2026-01-01", None, "2026-01-01T00:00:00.250", None], dtype="datetime64[ms]"),
        "Mixed": [1, "x", None, 2.5],
        "Void": [None, None, None, None],
        "flag": ["low", None, None, None],
    }
)
TIMES = [
    "2026-02-10 01:02:03 UTC",
    "2026-02-10 01:02:03.5 UTC",
    "2026-02-10 01:02:03.000007 UTC",
    "2026-02-10 01:02:03 UTC",
]


def offered(events: Any) -> dict[str, list[str]]:
    return {event: list(own) for event, own in read(events, documented())[1].events.items()}


def test_a_frame_is_served() -> None:
    """Rows, times and typed columns of a frame come back in the service's spelling; there are no truths."""
    with Simulator(events=FRAME) as simulator, Client(simulator) as client:
        assert simulator.truths == Truths()
        calls = client.frame(
            query(["SessionId", "TimeStamp", "Score", "Count", "Flag", "When", "Mixed", "flag"], "CallEvent")
        )
        odd = client.table(query(["TimeStamp", "When", "Count"], "OddEvent"))
        digits = client.table(query(["SessionId", "DtmfInput", "TimeStamp"], "DtmfEvent"))
    assert calls.values.tolist() == [
        ["s1", TIMES[0], "1.5", "1", "true", "2026-01-01 00:00:00 UTC", "1", "low"],
        ["s2", TIMES[1], "", "", "false", "", "x", ""],
    ]
    assert odd[1:] == [[TIMES[2], "2026-01-01 00:00:00.25 UTC", "3"]]
    assert digits[1:] == [["", "0012", TIMES[3]]]


def test_what_is_offered() -> None:
    """A column is offered by the events that have a value in it, an all-NULL one by every event in the data."""
    found = offered(FRAME)
    assert found["CallEvent"] == ["Score", "Count", "Flag", "When", "Mixed", "Void", "flag"]
    assert found["OddEvent"] == ["Count", "When", "Void"]
    assert found["DtmfEvent"] == ["DtmfInput", "DtmfSource", "ErrorReason", "Mixed", "Void"]
    assert found["MsgEvent"] == []
    assert list(found) == ["ApplicationExitEvent", "DtmfEvent", "CallEvent", "MsgEvent", "OddEvent"]


def test_typed_columns_are_compared_as_such() -> None:
    """Numbers compare as numbers and times as times, and two names may differ by case only."""
    with Simulator(events=FRAME) as simulator, Client(simulator) as client:
        for criteria in (
            {"Count": {"$lt": 10}},
            {"Flag": {"$eq": True}},
            {"When": {"$gte": "2026-01-01T00:00:00Z"}},
            {"flag": {"$eq": "low"}},
        ):
            assert client.table(query(["SessionId"], "CallEvent", filters={"CallEvent": criteria}))[1:] == [["s1"]]


@pytest.mark.parametrize("name", ["events.csv", "events.csv.gz", "events.parquet"])
def test_files(tmp_path: Path, name: str) -> None:
    """CSV, gzip CSV and Parquet serve the same; cells of a CSV stay the strings they are."""
    path = tmp_path / name
    frame = FRAME[["EventName", "TimeStamp", "SessionId", "DtmfInput"]].assign(Text=["NA", "0012", " x ", 'a"\n,b'])
    if name.endswith("parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    with Simulator(events=path) as simulator, Client(simulator) as client:
        texts = [
            client.table(query(["Text", "TimeStamp"], event))[1:] for event in ("CallEvent", "OddEvent", "DtmfEvent")
        ]
    assert texts == [[["NA", TIMES[0]], ["0012", TIMES[1]]], [[" x ", TIMES[2]]], [['a"\n,b', TIMES[3]]]]


def test_an_event_without_a_record_can_be_asked() -> None:
    """A documented event that the data lack is valid to ask for, and finds nothing."""
    with Simulator(events=FRAME) as simulator, Client(simulator) as client:
        guid = client.finish(query(["FlowId"], "MsgEvent"))
        assert client.status(guid)["status"] == "Failed"


def test_documented_columns_that_are_missing_are_empty() -> None:
    """A documented field that the data lack is valid to ask for and to compare, and NULL everywhere."""
    with Simulator(events=FRAME) as simulator, Client(simulator) as client:
        assert client.table(query(["SessionId", "FlowId", "IsTriggerAction"], "CallEvent"))[1:] == [
            ["s1", "", ""],
            ["s2", "", ""],
        ]
        guid = client.finish(query(filters={"CallEvent": {"FlowId": {"$eq": "x"}}}, event="CallEvent"))
        assert client.status(guid)["status"] == "Failed"
        assert len(client.table(query(filters={"CallEvent": {"EventVersion": {"$ne": 3}}}, event="CallEvent"))) == 3


def test_zones_categories_and_objects() -> None:
    """Times in another zone are turned into UTC, categories are their values, objects their text."""
    frame = pd.DataFrame(
        {
            "EventName": pd.Categorical(["MsgEvent", "MsgEvent"]),
            "TimeStamp": pd.to_datetime(
                ["2026-02-10 01:00:00.123456789", "2026-07-10 01:00"], format="ISO8601"
            ).tz_localize("America/New_York"),
            "SessionId": ["s", "s"],
            "Thing": [{"a": 1}, ["b"]],
        }
    )
    table, schema = read(frame, documented())
    assert [str(value) for value in table.column("TimeStamp").to_pylist()] == [
        "2026-02-10 06:00:00.123456",
        "2026-07-10 05:00:00",
    ]
    assert table.column("Thing").to_pylist() == ["{'a': 1}", "['b']"]
    assert schema.types["Thing"] == "STRING"


@pytest.mark.parametrize(
    ("events", "words"),
    [
        (FRAME.drop(columns=["SessionId", "TimeStamp"]), "lack TimeStamp, SessionId"),
        (pd.concat([FRAME, FRAME[["Score"]]], axis=1), "same name"),
        (FRAME.assign(TimeStamp="yesterday"), "TimeStamp does not hold TIMESTAMP"),
        (FRAME.assign(EventVersion="one"), "EventVersion does not hold INTEGER"),
        (FRAME.assign(IsTriggerAction="perhaps"), "IsTriggerAction does not hold BOOLEAN"),
        ("nowhere.csv", "no file of events"),
    ],
)
def test_what_cannot_be_served(events: Any, words: str) -> None:
    """Missing, doubled and misfitting columns are a ValueError that names them, before a socket is bound."""
    with pytest.raises(ValueError, match=words):
        Simulator(events=events)


def test_other_kinds_of_file_are_refused(tmp_path: Path) -> None:
    """A file that is neither CSV nor Parquet is refused by its name."""
    (tmp_path / "events.json").write_text("{}")
    with pytest.raises(ValueError, match=r"not as events\.json"):
        Simulator(events=tmp_path / "events.json")
