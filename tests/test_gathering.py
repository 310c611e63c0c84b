"""insights.gather: several reports at once, one POST each, in order, and what a failure or a Stop leaves."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insights_nb import connect, inventory, notebook
from insights_nb.errors import EmptyReportError, QueryError, ReportFailedError
from insights_nb.simulator import Fault, Simulator
from tests.kernel import RunningCell, running_kernel
from tests.service import BODY, RANGE, service, until

KEYS = {"timestamp": RANGE, "data": {"DtmfEvent": {"fields": ["SessionId", "TimeStamp", "ErrorReason"]}}}
CALLS = {"timestamp": RANGE, "data": {"CallEvent": {"fields": ["SessionId", "TimeStamp"]}}}
NOTHING = {**BODY, "filters": {"ApplicationExitEvent": {"ExitReason": {"$eq": "never said"}}}}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A service of this test's own, with this process pointed at it."""
    with service() as running:
        connect.configure(**running.settings)
        yield running


def posts(simulator: Simulator) -> int:
    return simulator.count("POST", r"/Q$")


def test_frames_come_in_the_order_asked(simulator: Simulator) -> None:
    """More queries than slots give the frames that query() gives, in order, for one POST each."""
    exits, keys, calls, again = notebook.gather(BODY, KEYS, json.dumps(CALLS), BODY, progress="none")
    assert exits.attrs["insights"]["query"] == BODY
    assert list(keys) == KEYS["data"]["DtmfEvent"]["fields"]  # type: ignore[index]
    assert calls.attrs["insights"]["query"] == CALLS
    pd.testing.assert_frame_equal(exits, again)
    assert posts(simulator) == 3
    assert list(inventory.jobs()["state"]) == ["done"] * 3
    before = posts(simulator)
    pd.testing.assert_frame_equal(notebook.query(KEYS, progress="none"), keys)
    assert posts(simulator) == before
    again["SessionId"] = "changed"
    assert exits["SessionId"].iloc[0] != "changed"


def test_two_slots_are_enough_for_three(simulator: Simulator) -> None:
    """While two of ours run the third is not even sent, and it is once one has ended."""
    simulator.hold()
    found: list[Any] = []
    worker = threading.Thread(target=lambda: found.extend(notebook.gather(BODY, KEYS, CALLS, progress="none")))
    worker.start()
    until(lambda: simulator.count("GET", "/status$") >= 4)
    assert posts(simulator) == 2
    simulator.release()
    worker.join(60)
    assert [len(frame) > 0 for frame in found] == [True] * 3
    assert posts(simulator) == 3


def test_handles_and_queries_mix(simulator: Simulator) -> None:
    """What submit() returned is gathered like a query, and keeps its own way of showing progress."""
    report = notebook.submit(BODY, progress="none")
    shown = report.show
    first, second = notebook.gather(report, CALLS, progress="none")
    assert first.attrs["insights"]["report_id"] == report.id
    assert second.attrs["insights"]["query"] == CALLS
    assert report.show is shown
    assert report.status() == "on disk"


def test_one_range_serves_all_without_their_own(simulator: Simulator) -> None:
    """since= and until= go to the queries that name no range, and leave the others alone."""
    bare = {"data": KEYS["data"]}
    exits, keys = notebook.gather(BODY, bare, since=RANGE["$gte"], until="2026-11-14T00:00:00Z", progress="none")
    assert exits.attrs["insights"]["window"] == [RANGE["$gte"], RANGE["$lte"]]
    assert keys.attrs["insights"]["window"] == [RANGE["$gte"], "2026-11-14T00:00:00Z"]


def test_a_slip_in_one_sends_none(simulator: Simulator) -> None:
    """Every query is checked first; the error says which of them it is about."""
    wrong = {**CALLS, "data": {"CallEvnt": {"fields": ["SessionId"]}}}
    with pytest.raises(QueryError, match='Did you mean "CallEvent"') as caught:
        notebook.gather(BODY, wrong, progress="none")
    assert caught.value.__notes__ == ["This was query 2 of 2."]
    with pytest.raises(QueryError, match="one by one"):
        notebook.gather([BODY, CALLS], progress="none")  # type: ignore[arg-type]
    assert posts(simulator) == 0


def test_one_failure_loses_nothing(simulator: Simulator) -> None:
    """The first error comes after all have ended, names the others, and what came through is in the cache."""
    simulator.faults.add(Fault("POST /Q", "fail", nth=2, messages=("no memory left",)))
    with pytest.raises(EmptyReportError) as caught:
        notebook.gather(NOTHING, KEYS, CALLS, progress="none")
    error: Any = caught.value
    assert error.__notes__[0] == "This was 1/3 ApplicationExitEvent."
    assert error.__notes__[1].startswith("2/3 DtmfEvent failed too: ReportFailedError: ")
    assert error.__notes__[2] == "The other one came through; asked again, it is read from the disk."
    assert error._render_traceback_()[0].endswith(error.__notes__[2])
    assert notebook.query(CALLS, progress="none").attrs["insights"]["cached"]


def test_a_query_that_is_refused_takes_none_with_it(simulator: Simulator) -> None:
    """An answer that keeps one from being submitted is its own error, after the others have come through."""
    simulator.faults.add(Fault("POST /Q", "answer", nth=1, status=400, body={"message": "not today"}))
    with pytest.raises(QueryError, match="not today") as caught:
        notebook.gather(BODY, CALLS, progress="none")
    assert caught.value.__notes__[0] == "This was 1/2 ApplicationExitEvent."
    assert notebook.query(CALLS, progress="none").attrs["insights"]["cached"]


def test_an_empty_answer_may_be_a_frame(simulator: Simulator) -> None:
    """on_empty holds for every query."""
    none, some = notebook.gather(NOTHING, CALLS, on_empty="frame", progress="none")
    assert (len(none), list(none)) == (0, BODY["data"]["ApplicationExitEvent"]["fields"])  # type: ignore[index]
    assert len(some)


def test_time_is_up_for_each(simulator: Simulator) -> None:
    """timeout= ends every wait, and the reports go on."""
    simulator.hold()
    with pytest.raises(TimeoutError) as caught:
        notebook.gather(BODY, CALLS, timeout=0.2, progress="none")
    assert len(caught.value.__notes__) == 2
    simulator.release()
    assert [len(frame) > 0 for frame in notebook.gather(BODY, CALLS, progress="none")] == [True, True]
    assert posts(simulator) == 2


def test_no_queries_are_no_frames(simulator: Simulator) -> None:
    """Gathering nothing asks nobody."""
    assert notebook.gather() == []
    assert simulator.calls == []


def test_a_report_that_failed_is_told_by_its_class(simulator: Simulator) -> None:
    """A single failing query raises as query() does, without a note about others."""
    simulator.faults.add(Fault("POST /Q", "fail", messages=("no memory left",)))
    with pytest.raises(ReportFailedError) as caught:
        notebook.gather(BODY, progress="none")
    assert not hasattr(caught.value, "__notes__")


CELL = f"""
import insights_nb as insights
exits, keys, calls = insights.gather({BODY!r}, {KEYS!r}, {CALLS!r})
len(exits) > 100, len(keys) > 0, len(calls) > 0
"""


def test_stop_keeps_all_and_the_cell_picks_them_up(tmp_path: Path) -> None:
    """In a real kernel Stop leaves a note a report; run again the frames come, and nothing was asked twice."""
    with service() as simulator:
        simulator.hold()
        settings = {f"INSIGHTS_{name.upper()}": value for name, value in simulator.settings.items()}
        with running_kernel(tmp_path, settings) as (manager, client):
            waiting = RunningCell(client, CELL)
            waiting.read_until(lambda: simulator.count("GET", "/status$") >= 4)
            manager.interrupt_kernel()
            reply = waiting.finish(10)
            assert reply["ename"] == "KeyboardInterrupt"
            assert "0 of 3 reports are here" in reply["evalue"]
            assert len(reply["traceback"][0].splitlines()) == 1
            note = waiting.shown("update_display_data")[-1]["data"]["text/plain"]
            assert note.count("■") == 3
            assert note.count("Run the cell again to pick it up") == 2
            simulator.release()
            again = RunningCell(client, CELL)
            assert again.finish()["status"] == "ok"
            assert again.shown("execute_result")[0]["data"]["text/plain"] == "(True, True, True)"
            last = (again.shown("update_display_data") or again.shown("display_data"))[-1]["data"]
            assert set(last) == {"text/html", "text/plain"}
            assert last["text/html"].count("<div>") == 3
            assert posts(simulator) == 3
