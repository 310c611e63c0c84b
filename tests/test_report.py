"""A query from start to finish, over real HTTP and SFTP: answers, failures, resuming, sharing."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insights_nb import columns
from insights_nb.account import Account
from insights_nb.body import Body
from insights_nb.errors import (
    ApiError,
    BusyError,
    CacheError,
    EmptyReportError,
    IntegrityError,
    QueryError,
    ReportFailedError,
    ReportTimeoutError,
    ReportTooLargeError,
    UnknownReportError,
)
from insights_nb.journal import Job, State
from insights_nb.progress import Progress, Stage
from insights_nb.report import Report, submit
from insights_nb.simulator import Fault, Simulator
from insights_nb.spec import Query, build_query
from tests.service import (
    BODY,
    QuickClock,
    account_for,
    ask_elsewhere,
    service,
    stop_pressed,
    told,
    until,
)

NOW = datetime(2026, 11, 24, tzinfo=UTC)
EMPTY = {**BODY, "timestamp": {"$gte": "2020-01-01T00:00:00Z", "$lte": "2020-01-02T00:00:00Z"}}


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with service() as simulator:
        yield simulator


@pytest.fixture
def simulator(shared: Simulator) -> Iterator[Simulator]:
    """The shared service, without faults before and after."""
    shared.faults.clear()
    yield shared
    shared.faults.clear()
    shared.release()
    shared.settle()


@pytest.fixture
def account(simulator: Simulator, tmp_path: Path) -> Iterator[Account]:
    found = account_for(simulator, tmp_path / "cache", QuickClock())
    yield found
    found.client.close()


class Recorder:
    """Keeps every progress value, and how the display was closed."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []
        self.closed: list[tuple[BaseException | None, str]] = []

    def __call__(self, progress: Progress, /) -> None:
        """Keep it."""
        self.seen.append(progress)

    def close(self, error: BaseException | None = None, note: str = "") -> None:
        """Keep how it ended."""
        self.closed.append((error, note))


def asked(account: Account, body: Body = BODY, **words: Any) -> Query:
    return account.check(lambda schema: build_query(body, schema, now=NOW, **words))


def posts(simulator: Simulator) -> int:
    return simulator.count("POST", r"/Q$")


def test_a_query_becomes_a_frame_and_then_a_hit(account: Account, simulator: Simulator) -> None:
    """From POST to typed frame; the same query again is the same frame without a word to the service."""
    before = posts(simulator)
    first = submit(account, asked(account)).result()
    assert list(first.columns) == ["SessionId", "TimeStamp", "ActionId", "ExitReason"]
    assert [str(dtype) for dtype in first.dtypes] == ["str", "datetime64[us, UTC]", "str", "str"]
    assert len(first) > 500
    about = first.attrs["insights"]
    assert about["query"] == BODY
    assert about["window"] == ["2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z"]
    assert (about["rows"], about["cached"], about["settled"]) == (len(first), False, True)
    calls, visits = len(simulator.calls), len(simulator.visits)
    report = submit(account, asked(account))
    assert report.status() == "on disk"
    again = report.result()
    pd.testing.assert_frame_equal(first, again)
    assert again.attrs["insights"] == {**about, "cached": True}
    assert (len(simulator.calls), len(simulator.visits)) == (calls, visits)
    assert posts(simulator) == before + 1


def test_refresh_asks_anew_and_its_report_wins(account: Account, simulator: Simulator) -> None:
    """refresh=True submits although the cache has an answer; the new report then answers."""
    first = submit(account, asked(account)).result()
    fresh = submit(account, asked(account), refresh=True).result()
    assert fresh.attrs["insights"]["report_id"] != first.attrs["insights"]["report_id"]
    later = submit(account, asked(account)).result()
    assert later.attrs["insights"]["report_id"] == fresh.attrs["insights"]["report_id"]


def test_the_arrow_backend_gives_arrow_dtypes(account: Account) -> None:
    """dtype_backend works on the same entry, from network and cache alike."""
    one, two = (submit(account, asked(account)).result(dtype_backend="pyarrow") for _ in range(2))
    assert all(isinstance(dtype, pd.ArrowDtype) for dtype in one.dtypes)
    pd.testing.assert_frame_equal(one, two)


def test_progress_runs_through_its_stages(account: Account) -> None:
    """Running, downloading, reading, done; figures never fall and end at the whole."""
    recorder = Recorder()
    frame = submit(account, asked(account), show=lambda: recorder).result()
    order = list(Stage)
    stages = [progress.stage for progress in recorder.seen]
    assert stages == sorted(stages, key=order.index)
    assert set(stages) >= {Stage.RUNNING, Stage.DOWNLOADING, Stage.READING, Stage.DONE}
    elapsed = [progress.elapsed for progress in recorder.seen]
    assert elapsed == sorted(elapsed)
    received = [progress.bytes_done for progress in recorder.seen if progress.bytes_done is not None]
    assert received == sorted(received)
    last = recorder.seen[-1]
    assert (last.rows, last.columns, last.bytes_done) == (len(frame), 4, last.bytes_total)
    assert recorder.closed == [(None, "")]


def test_no_rows_is_an_error_of_its_own_or_an_empty_frame(account: Account, simulator: Simulator) -> None:
    """The documented Failed body raises EmptyReportError with the vendor's words, or gives typed columns."""
    with pytest.raises(EmptyReportError, match="All data fields have empty values") as caught:
        submit(account, asked(account, EMPTY)).result()
    assert caught.value.messages[0] == "Query range to wide"
    assert caught.value.report_id
    assert account.journal.jobs()[0].state is State.EMPTY
    frame = submit(account, asked(account, EMPTY)).result(on_empty="frame")
    full = submit(account, asked(account)).result()
    assert frame.empty
    assert frame.dtypes.equals(full.dtypes)
    assert frame.attrs["insights"]["rows"] == 0


@pytest.mark.parametrize(
    ("do", "messages", "said"),
    [("fail", ["Out of memory"], 'could not make report .*"Out of memory"'), ("cancel", [], "canceled report")],
)
def test_a_failed_report_says_why(
    account: Account, simulator: Simulator, do: str, messages: list[str], said: str
) -> None:
    """Failed and Canceled raise ReportFailedError; asked again, a new report is made."""
    simulator.faults.add(Fault(on="POST /Q", do=do, messages=messages))
    with pytest.raises(ReportFailedError, match=said) as caught:
        submit(account, asked(account)).result()
    assert caught.value.messages == messages
    assert len(submit(account, asked(account)).result()) > 500


def test_time_is_up_and_the_report_is_kept(account: Account, simulator: Simulator) -> None:
    """The user's deadline ends the wait, not the report: the same query picks it up."""
    simulator.hold()
    before = posts(simulator)
    report = submit(account, asked(account))
    with pytest.raises(ReportTimeoutError, match=f"report {report.id} goes on") as caught:
        report.result(timeout=5)
    assert isinstance(caught.value, TimeoutError)
    simulator.release()
    assert len(submit(account, asked(account)).result()) > 500
    assert posts(simulator) == before + 1


def test_slots_are_waited_for(account: Account, simulator: Simulator) -> None:
    """429 is no failure: the query waits, says so, and runs when a slot comes free."""
    simulator.faults.add(Fault(on="POST /Q", do="busy", times=3))
    recorder = Recorder()
    report = submit(account, asked(account), show=lambda: recorder)
    assert report.id == ""
    assert report.status() == "waiting for a slot"
    assert len(report.result()) > 500
    waits = [progress for progress in recorder.seen if progress.stage is Stage.WAITING]
    assert waits
    assert "2 at a time" in waits[0].note


def test_waiting_for_a_slot_has_an_end(account: Account, simulator: Simulator) -> None:
    """After an hour of 429 the error names both causes: slots, or the size limit."""
    simulator.faults.add(Fault(on="POST /Q", do="busy", times=0))
    with pytest.raises(BusyError, match="over the size limit of about 1 TB"):
        submit(account, asked(account)).result()
    with pytest.raises(ReportTimeoutError, match="not taken by the service"):
        submit(account, asked(account)).result(timeout=30)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(on="GET /Q/status", do="reset", times=5),
        Fault(on="GET /Q/status", do="answer", times=5, status=503, body="<html>"),
        Fault(on="GET /Q/status", do="amend", times=5, body={"status": "Paused for lunch"}),
        Fault(on="GET /Q/status", do="amend", times=5, body={"status": None}),
        Fault(
            on="GET /Q/status",
            do="answer",
            times=3,
            status=500,
            body=[{"message": "QueryRequest matching query does not exist.", "code": 500}],
        ),
        Fault(on="GET /Q/location", do="reset", times=5),
        Fault(on="GET /Q/location", do="amend", body={"status": "Process has not finish yet, please verify"}),
    ],
    ids=lambda fault: f"{fault.on}-{fault.do}-{fault.status}",
)
def test_waiting_survives_trouble_on_the_way(account: Account, simulator: Simulator, fault: Fault) -> None:
    """Lost answers, odd words and a short unknown id right after the POST do not fail the report."""
    struck = len(simulator.faults.struck)
    simulator.faults.add(fault)
    assert len(submit(account, asked(account)).result()) > 500
    assert len(simulator.faults.struck) > struck


def test_an_id_that_stays_unknown_is_lost(account: Account, simulator: Simulator) -> None:
    """After a minute's grace the unknown id is final, and the next asking submits anew."""
    body = [{"message": "QueryRequest matching query does not exist.", "code": 500}]
    simulator.faults.add(Fault(on="GET /Q/status", do="answer", times=0, status=500, body=body))
    with pytest.raises(UnknownReportError):
        submit(account, asked(account)).result()
    assert account.journal.jobs()[0].state is State.LOST
    simulator.faults.clear()
    assert len(submit(account, asked(account)).result()) > 500


def test_a_shard_that_stays_corrupt_publishes_nothing(account: Account, simulator: Simulator) -> None:
    """A bad CRC at every try is an IntegrityError; nothing is cached, the report is kept."""
    simulator.faults.add(Fault(on="export", do="flip", at=60, times=0))
    with pytest.raises(IntegrityError):
        submit(account, asked(account)).result()
    assert account.cache.entries() == []
    assert account.journal.jobs()[0].unfinished


def test_the_id_is_on_disk_before_anything_else(account: Account, simulator: Simulator) -> None:
    """After submit returns, the journal holds the id."""
    report = submit(account, asked(account))
    job = account.journal.load(report.query.digest)
    assert job is not None
    assert (job.state, job.report_id) == (State.RUNNING, report.id)


@pytest.mark.parametrize("do", ["reset_after", "reset", "answer_after"])
def test_a_lost_answer_is_resubmitted_once_after_a_settle_time(account: Account, simulator: Simulator, do: str) -> None:
    """One POST whose answer is lost, two minutes to settle, said aloud, one more POST."""
    simulator.faults.add(Fault(on="POST /Q", do=do, status=502, body=""))
    before = posts(simulator)
    report = submit(account, asked(account))
    assert report.id == ""
    lost = account.journal.load(report.query.digest)
    assert lost is not None
    assert (lost.state, lost.lost) == (State.AMBIGUOUS, 1)
    started = account.clock.steady()
    with pytest.warns(UserWarning, match=r"sent once more in 1[12]. s, and not again"):
        frame = report.result()
    assert len(frame) > 500
    assert account.clock.steady() - started >= 118
    assert posts(simulator) == before + 2


def test_an_answer_lost_twice_is_an_error(account: Account, simulator: Simulator) -> None:
    """Two lost answers end it; asked again by a person, it settles first and is sent again."""
    simulator.faults.add(Fault(on="POST /Q", do="reset_after", times=2))
    before = posts(simulator)
    warned = pytest.warns(UserWarning, match="sent once more")
    with warned, pytest.raises(ApiError, match="broke before its answer") as caught:
        submit(account, asked(account)).result()
    assert caught.value.sent
    assert posts(simulator) == before + 2
    with pytest.warns(UserWarning, match="sent once more"):
        assert len(submit(account, asked(account)).result()) > 500
    assert posts(simulator) == before + 3


def test_a_refused_query_leaves_no_trace(account: Account, simulator: Simulator) -> None:
    """A 400 proves that no report runs: the journal forgets the intent."""
    simulator.faults.add(Fault(on="POST /Q", do="answer", status=400, body={"code": 400, "message": "no"}))
    with pytest.raises(Exception, match="no"):
        submit(account, asked(account))
    assert account.journal.jobs() == []


def test_relative_words_pick_up_their_running_report(account: Account, simulator: Simulator) -> None:
    """last="8d" asked again while its report runs means that report, though the range has moved on."""
    simulator.hold()
    before = posts(simulator)
    body = {"data": BODY["data"]}
    first = submit(account, asked(account, body, last="21d"))
    later = account.check(lambda schema: build_query(body, schema, last="21d", now=NOW.replace(hour=1)))
    assert later.digest != first.query.digest
    second = submit(account, later)
    assert second.id == first.id
    assert second.query == first.query
    assert posts(simulator) == before + 1


def test_an_interrupt_during_the_post_keeps_the_id(account: Account, simulator: Simulator) -> None:
    """Stop pressed while the POST is on its way: the id is written before the interrupt is heeded."""
    gate = threading.Event()
    simulator.faults.add(Fault(on="POST /Q", do="delay_after", gate=gate))
    query = asked(account)
    struck = len(simulator.faults.struck)

    def press_stop() -> None:
        until(lambda: len(simulator.faults.struck) > struck)
        stop_pressed()
        threading.Event().wait(0.2)
        gate.set()

    finger = threading.Thread(target=press_stop)
    finger.start()
    with pytest.raises(KeyboardInterrupt):
        submit(account, query)
    finger.join()
    job = account.journal.load(query.digest)
    assert job is not None
    assert job.state is State.RUNNING


def test_an_interrupted_wait_says_how_to_go_on(account: Account, simulator: Simulator) -> None:
    """KeyboardInterrupt keeps its type, tells the id, holds no frame of a request, and resumes to one POST."""
    simulator.hold()
    before = posts(simulator)

    class Stopper(Recorder):
        def __call__(self, progress: Progress, /) -> None:
            super().__call__(progress)
            if len(self.seen) == 5:
                raise KeyboardInterrupt

    stopper = Stopper()
    report = submit(account, asked(account), show=lambda: stopper)
    with pytest.raises(
        KeyboardInterrupt, match=f"report {report.id} is still running on the service. Run the cell again"
    ):
        report.result()
    assert stopper.closed[0][1].startswith("stopped waiting")
    simulator.release()
    assert len(submit(account, asked(account)).result()) > 500
    assert posts(simulator) == before + 1


def test_an_entry_that_expired_is_fetched_again(simulator: Simulator, tmp_path: Path) -> None:
    """A range that was still open answers for 15 minutes, then the service is asked again."""
    clock = QuickClock()
    account = account_for(simulator, tmp_path, clock)
    body = {**BODY, "timestamp": {"$gte": "2026-11-13T00:00:00Z", "$lte": "2100-01-01T00:00:00Z"}}
    before = posts(simulator)
    frame = submit(account, asked(account, body)).result()
    assert frame.attrs["insights"]["settled"] is False
    clock.ahead += 14 * 60
    assert submit(account, asked(account, body)).result().attrs["insights"]["cached"]
    clock.ahead += 2 * 60
    assert not submit(account, asked(account, body)).result().attrs["insights"]["cached"]
    account.client.close()
    assert posts(simulator) == before + 2


def expected(account: Account) -> list[list[str]]:
    rows: list[list[str]] = submit(account, asked(account)).result().astype(str).to_numpy().tolist()
    return sorted(rows)


@pytest.mark.parametrize("moment", ["waiting", "downloading"])
def test_a_killed_kernel_loses_nothing(simulator: Simulator, tmp_path: Path, moment: str) -> None:
    """SIGKILL while waiting or downloading: the next process picks the report up; one POST, the right frame."""
    before = posts(simulator)
    gate = threading.Event()
    if moment == "waiting":
        simulator.hold()
    else:
        simulator.faults.add(Fault(on="SFTP read", do="stall", at=100, gate=gate))
    polls = simulator.count("GET", "status")
    struck = len(simulator.faults.struck)
    first = ask_elsewhere(simulator, tmp_path / "one")
    until(
        lambda: (
            len(simulator.faults.struck) > struck
            if moment == "downloading"
            else simulator.count("GET", "status") > polls
        )
    )
    first.send_signal(signal.SIGKILL)
    first.communicate()
    gate.set()
    simulator.release()
    second = told(ask_elsewhere(simulator, tmp_path / "one"))
    assert posts(simulator) == before + 1
    assert not second["cached"]
    oracle = account_for(simulator, tmp_path / "two")
    assert sorted(second["rows"]) == expected(oracle)
    oracle.client.close()


def test_two_processes_asking_at_once_share_one_report(simulator: Simulator, tmp_path: Path) -> None:
    """The same query from two kernels at the same moment: one POST, two equal frames."""
    before = posts(simulator)
    simulator.hold()
    both = [ask_elsewhere(simulator, tmp_path) for _ in range(2)]
    until(lambda: posts(simulator) > before)
    simulator.release()
    one, two = (told(process) for process in both)
    assert posts(simulator) == before + 1
    assert one["report"] == two["report"]
    assert one["rows"] == two["rows"]
    assert len(one["rows"]) > 500


def test_a_report_says_what_it_is(account: Account) -> None:
    """Its repr tells range, events and where it is."""
    report = submit(account, asked(account))
    assert repr(report) == (
        f"<insights report as {report.id}: 2026-11-13T00:00:00Z to 2026-11-20T00:00:00Z, ApplicationExitEvent>"
    )
    report.result()
    assert "on disk" in repr(report)
    waiting = Report(account, report.query)
    assert "waiting for a slot" in repr(waiting)


def harm(path: Path) -> None:
    """Flip a bit and hide it from a look at size and time."""
    content, times = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(content))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_rot_in_a_cached_file_is_fetched_anew(account: Account, simulator: Simulator) -> None:
    """The damaged entry goes to quarantine; its report is fetched again without a new POST."""
    first = submit(account, asked(account)).result()
    before = posts(simulator)
    harm(account.cache.entries()[0].paths[0])
    again = submit(account, asked(account)).result()
    pd.testing.assert_frame_equal(first, again)
    assert not again.attrs["insights"]["cached"]
    assert again.attrs["insights"]["report_id"] == first.attrs["insights"]["report_id"]
    assert posts(simulator) == before
    assert list((account.cache.folder / "quarantine").iterdir())
    assert submit(account, asked(account)).result().attrs["insights"]["cached"]


def test_rot_whose_report_is_gone_is_asked_for_again(account: Account, simulator: Simulator) -> None:
    """When the service no longer knows the report, the query is submitted once more."""
    submit(account, asked(account)).result()
    before = posts(simulator)
    harm(account.cache.entries()[0].paths[0])
    account.clock.sleep(3600)
    body = [{"message": "QueryRequest matching query does not exist.", "code": 500}]
    simulator.faults.add(Fault(on="GET /Q/location", do="answer", status=500, body=body))
    assert len(submit(account, asked(account)).result()) > 500
    assert posts(simulator) == before + 1


def test_an_entry_removed_while_we_hold_it_is_fetched_anew(account: Account, simulator: Simulator) -> None:
    """Another kernel cleared the cache between submit and result."""
    submit(account, asked(account)).result()
    report = submit(account, asked(account))
    account.cache.remove(account.cache.entries()[0])
    assert len(report.result()) > 500


def test_a_report_too_large_for_memory_is_not_read(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has its size, the memory there is and what to do; the entry stays."""
    submit(account, asked(account)).result()
    monkeypatch.setattr("insights_nb.memory.available", lambda: 1000)
    with pytest.raises(
        ReportTooLargeError, match=r"takes about 0\.0 GB of memory as a frame \(1,\d\d\d rows"
    ) as caught:
        submit(account, asked(account)).result()
    assert isinstance(caught.value, MemoryError)
    assert "columns=[…]" in str(caught.value)
    assert ".scan()" in str(caught.value)
    assert ".iter_chunks(" in str(caught.value)
    assert len(pd.concat(submit(account, asked(account)).iter_chunks(100))) > 500
    assert submit(account, asked(account)).scan().count_rows() > 500
    assert str(account.cache.entries()[0].folder) in str(caught.value)


def test_a_cached_report_is_read_from_its_copy(account: Account, simulator: Simulator) -> None:
    """The same frame with the same notes; of the shards not a byte is read."""
    first = submit(account, asked(account)).result()
    calls, entry = len(simulator.calls), account.cache.entries()[0]
    assert columns.lacking(entry) == []
    harm(entry.paths[0])
    again = submit(account, asked(account)).result()
    pd.testing.assert_frame_equal(first, again)
    assert again.attrs["insights"] == {**first.attrs["insights"], "cached": True}
    wanted = ["ExitReason", "TimeStamp"]
    pd.testing.assert_frame_equal(first[wanted], submit(account, asked(account)).result(columns=wanted))
    assert len(simulator.calls) == calls


def test_rot_in_copy_and_shards_is_fetched_anew(account: Account, simulator: Simulator) -> None:
    """With both damaged, the files are fetched again by their report; scan and chunks do the same."""
    first = submit(account, asked(account)).result()
    before = posts(simulator)
    ways: tuple[Callable[[], pd.DataFrame], ...] = (
        lambda: submit(account, asked(account)).result(),
        lambda: pd.concat(submit(account, asked(account)).iter_chunks(100)),
        lambda: submit(account, asked(account)).scan().to_table().to_pandas(),
    )
    for read in ways:
        submit(account, asked(account)).result()
        entry = account.cache.entries()[0]
        harm(entry.paths[0])
        harm(entry.folder / "shard-00000.columns.arrow")
        assert len(read()) == len(first)
    assert posts(simulator) == before


def test_larger_than_memory_ways_wait_like_any_other(account: Account, simulator: Simulator) -> None:
    """The first asking may be scan or iter_chunks: they wait, fetch, show progress, and fail as result does."""
    recorder = Recorder()
    scanned = submit(account, asked(account), show=lambda: recorder).scan()
    assert scanned.schema.names == ["SessionId", "TimeStamp", "ActionId", "ExitReason"]
    assert recorder.seen[-1].stage is Stage.DONE
    assert recorder.closed == [(None, "")]
    report = submit(account, asked(account), refresh=True)
    assert sum(len(chunk) for chunk in report.iter_chunks(100)) == scanned.count_rows()
    with pytest.raises(ValueError, match="at least 1"):
        report.iter_chunks(0)
    for empty in (submit(account, asked(account, EMPTY)) for _ in range(2)):
        with pytest.raises(EmptyReportError):
            empty.scan()


def test_wrong_columns_are_refused_before_waiting(account: Account) -> None:
    """A column the query does not ask for is told with the nearest that it does."""
    report = submit(account, asked(account))
    for read in (lambda: report.result(columns=["exitreason"]), lambda: report.iter_chunks(columns=["exitreason"])):
        with pytest.raises(QueryError, match=r'Did you mean "ExitReason"\?'):
            read()
    frame = submit(account, asked(account, EMPTY)).result(columns=["TimeStamp"], on_empty="frame")
    assert [str(dtype) for dtype in frame.dtypes] == ["datetime64[us, UTC]"]


def test_a_shard_that_shows_up_late_is_waited_for(account: Account, simulator: Simulator) -> None:
    """A listed file that is missing at first is looked for again, with the location asked anew."""
    simulator.faults.add(Fault(on="SFTP stat", do="missing", times=3))
    assert len(submit(account, asked(account)).result()) > 500
    simulator.faults.clear()
    simulator.faults.add(Fault(on="SFTP stat", do="missing", times=0))
    with pytest.raises(IntegrityError, match="is not on the file server") as caught:
        submit(account, asked(account), refresh=True).result()
    assert caught.value.missing


def test_a_planted_cache_is_refused_before_anything_is_sent(account: Account, simulator: Simulator) -> None:
    """A cache folder others can write to is neither read nor filled."""
    query = asked(account)
    before = posts(simulator)
    account.cache.folder.chmod(0o777)
    with pytest.raises(CacheError, match="lets other users in"):
        submit(account, query)
    assert posts(simulator) == before


def test_a_kernels_dead_report_frees_its_slot(simulator: Simulator, tmp_path: Path) -> None:
    """Two reports of killed kernels that have ended hold no slot once somebody looks: no 429 is provoked."""
    account = account_for(simulator, tmp_path, QuickClock())
    bodies = [{**BODY, "data": {"CallEvent": {"fields": [field]}}} for field in ("SessionId", "FlowId", "HostId")]
    before = len(simulator.calls)
    simulator.hold()
    for body in bodies[:2]:
        submit(account, asked(account, body))
    waiting = submit(account, asked(account, bodies[2]))
    assert waiting.id == ""
    simulator.release()
    simulator.settle()
    waiting.result(on_empty="frame")
    states = {job.query_fields: job.state for job in map(Described, account.journal.jobs())}
    assert states == {"SessionId": State.READY, "FlowId": State.READY, "HostId": State.DONE}
    assert not [call for call in simulator.calls[before:] if call.status == 429]
    account.client.close()


class Described:
    """A journal record with the field its query asked for."""

    def __init__(self, job: Job) -> None:
        self.state = job.state
        self.query_fields = Query(job.text).columns[0]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
TRICKY = st.sampled_from(
    ["0012", "+15555550123", "NA", "null", "1e5", 'a "b"', "x,y", "line\nline", "\r", " ", "é", "00:12"]
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "Passthrough": st.none() | TEXT | TRICKY,
            "Unlisted": st.none() | TEXT | TRICKY,
            "EventVersion": st.none() | st.integers(-(2**63), 2**63 - 1),
            "IsTriggerAction": st.none() | st.booleans(),
            "StartTime": st.none() | st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)),
        }
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS)
def test_any_table_comes_back_exactly(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    """Law: what the service holds is what query returns; only an empty text comes back as missing."""
    columns = ["Passthrough", "Unlisted", "EventVersion", "IsTriggerAction", "StartTime"]
    table = pd.DataFrame(
        {
            "EventName": "ApplicationExitEvent",
            "TimeStamp": pd.Timestamp("2026-11-14", tz="UTC"),
            "SessionId": [f"1794614400-{number:04d}" for number in range(len(rows))],
            "Passthrough": pd.array([row["Passthrough"] for row in rows], dtype="str"),
            "Unlisted": pd.array([row["Unlisted"] or "x" for row in rows], dtype="str"),
            "EventVersion": pd.array([row["EventVersion"] for row in rows], dtype="Int64"),
            "IsTriggerAction": pd.array([row["IsTriggerAction"] for row in rows], dtype="boolean"),
            "StartTime": pd.to_datetime(pd.Series([row["StartTime"] for row in rows]), utc=True).astype(
                "datetime64[us, UTC]"
            ),
        }
    )
    with service(events=table, shard_rows=5) as simulator:
        account = account_for(simulator, tmp_path_factory.mktemp("cache"))
        body = {**BODY, "data": {"ApplicationExitEvent": {"fields": ["SessionId", *columns]}}}
        frame = submit(account, asked(account, body)).result()
        account.client.close()
    found = frame.sort_values("SessionId", ignore_index=True)[columns]
    wanted = table[columns].copy()
    for name in ("Passthrough", "Unlisted"):
        wanted[name] = wanted[name].mask(wanted[name] == "")
    pd.testing.assert_frame_equal(found, wanted)
