"""The circle closed through the demo service: fetch, see what was cut, fetch wider, and every cut session is whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import insights_nb as insights

FIELDS = ["SessionId", "TimeStamp", "ActionId", "FlowId", "EventName", "IsTriggerAction", "TransactionId"]
EVENTS = {name: list(FIELDS) for name in ("DtmfEvent", "CallEvent", "MsgEvent")} | {
    "ApplicationExitEvent": [*FIELDS, "StartTime", "EndTime", "Path", "ExitReason"]
}


@pytest.fixture
def service(clean_settings: Path) -> Iterator[Any]:
    """The demo service, with the settings and the cache of the test's own."""
    running = insights.demo(seed=7)
    yield running
    running.stop()


def test_the_suggested_window_makes_cut_sessions_whole(service: Any) -> None:
    """Fetched again with the suggested window, every session that was cut is complete or over without an exit."""
    until = pd.Timestamp.now("UTC").floor("D") - pd.Timedelta("1D")
    since = until - pd.Timedelta("3h")
    first = insights.session_log(insights.query(events=EVENTS, since=since, until=until, progress="none"))
    table = first.sessions()
    cut = table.index[table["completeness"].astype("str").str.startswith("cut")]
    assert len(cut)
    window = first.suggest_window()
    wide = insights.query(events=EVENTS, since=window["$gte"], until=window["$lte"], progress="none")
    again = insights.session_log(wide)
    assert again.sessions().loc[cut, "completeness"].isin(["complete", "no_exit"]).all()
    inside = again.starting_in(since, until).sessions()
    assert inside["completeness"].isin(["complete", "no_exit"]).all()
    assert set(inside.index) <= set(again.sessions().index)
