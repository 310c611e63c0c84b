"""What this machine has asked for and keeps."""

import pandas as pd
import pytest

from insights_nb import connect, inventory, notebook
from insights_nb.errors import FrameError
from tests.service import BODY, RANGE, UNTIL


def test_empty_tables_have_their_types() -> None:
    """Before the first query both tables are empty and typed."""
    connect.configure(username="a")
    for table in (inventory.jobs(), inventory.cache_info()):
        assert table.empty
        assert str(table["start"].dtype) == "datetime64[us, UTC]"
        assert str(table["digest"].dtype) == "str"


def test_a_finished_query_is_in_both_tables_until_cleared() -> None:
    """cache_info counts rows, shards and bytes; clear_cache says how many reports went."""
    connect.demo(size=1000, until=UNTIL)
    frame = notebook.query(BODY, progress="none")
    kept = inventory.cache_info()
    assert kept.loc[0, "rows"] == len(frame)
    files = [
        path for path in connect.account_in_use().cache.entries()[0].folder.iterdir() if path.name.startswith("shard")
    ]
    assert {path.suffix for path in files} == {".gz", ".arrow", ".json"}
    assert kept.loc[0, "bytes"] == sum(path.stat().st_size for path in files)
    assert kept.loc[0, "events"] == "ApplicationExitEvent"
    assert kept["expires"].isna().all()
    assert {str(kept[name].dtype) for name in ("rows", "shards", "bytes")} == {"Int64"}
    assert list(inventory.jobs()["state"]) == ["done"]
    assert inventory.clear_cache() == 1
    assert inventory.cache_info().empty
    assert inventory.clear_cache() == 0


def test_the_connection_tells_where_and_what() -> None:
    """API, user, file server, running reports and cache, as text and as escaped HTML."""
    service = connect.demo(size=500, until=UNTIL)
    text = repr(inventory.connection())
    assert f"{service.settings['api_url']}  (the local demo service)" in text
    assert "running       nothing" in text
    assert "user          demo  (configure())" in text
    assert "0 reports, 0.0 MB of 20 GB" in text
    connect.configure(username="<b>")
    assert "&lt;b&gt;" in inventory.connection()._repr_html_()


def test_a_running_report_shows_how_long_it_runs() -> None:
    """The connection names the reports that hold a slot."""
    service = connect.demo(size=500, until=UNTIL)
    service.hold()
    report = notebook.submit(BODY, progress="none")
    assert f"running       {report.id} for 0 min" in repr(inventory.connection())


def test_a_frame_says_where_it_came_from() -> None:
    """The exact query, the report, its range and files, and whether it was cached, as text and as escaped HTML."""
    connect.demo(size=1000, until=UNTIL)
    frame = notebook.query(BODY, progress="none")
    origin = inventory.info(frame)
    assert origin.query == BODY
    assert origin.report_id == frame.attrs["insights"]["report_id"]
    assert (origin.rows, origin.shards, origin.cached, origin.settled) == (len(frame), 1, False, True)
    text = repr(origin)
    assert f"range      {RANGE['$gte']} to {RANGE['$lte']}" in text
    assert f"{len(frame):,} rows in 1 file" in text
    assert "read from  the service" in text
    assert "read from  the cache" in repr(inventory.info(notebook.query(BODY, progress="none")))
    odd = {**BODY, "filters": {"ApplicationExitEvent": {"ExitReason": {"$ne": "<b>"}}}}
    html = inventory.info(notebook.query(odd, progress="none"))._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


def test_the_cell_of_a_frame_gets_it_again() -> None:
    """What info() shows is a cell whose JSON is the same question."""
    connect.demo(size=1000, until=UNTIL)
    scope = {"filters": {"DtmfEvent": {"DtmfInput": {"$ne": "1"}}}, "scope": "SessionId"}
    frame = notebook.query({**BODY, "scope": scope}, progress="none")
    line, body = inventory.info(frame).cell.split("\n", 1)
    assert line == "%%insights df"
    again = notebook.query(body, progress="none")
    assert again.attrs["insights"]["cached"]
    assert again.attrs["insights"]["digest"] == frame.attrs["insights"]["digest"]


def test_a_frame_that_was_changed_says_so() -> None:
    """A frame filtered since has its origin still, and not all of its rows."""
    connect.demo(size=1000, until=UNTIL)
    frame = notebook.query(BODY, progress="none")
    few = frame[frame["ExitReason"] == frame["ExitReason"].iloc[0]]
    assert f"changed since, it has {len(few):,} now" in repr(inventory.info(few))


def test_a_strangers_frame_is_refused() -> None:
    """A frame without our note is a FrameError that says what loses it."""
    with pytest.raises(FrameError, match="does not say where it came from") as caught:
        inventory.info(pd.DataFrame({"a": [1]}))
    assert "concat" in str(caught.value)
