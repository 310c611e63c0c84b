"""Sending a query: the work around the POST is done whole, whatever is pressed meanwhile."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insights_nb.admission import Verdict, decide, post
from insights_nb.errors import ApiError, CacheError, ConfigError
from insights_nb.journal import SETTLE_SECONDS, WORDS_SECONDS, Job, State
from insights_nb.simulator import Fault
from insights_nb.spec import Query
from tests.service import BODY, RANGE, QuickClock, account_for, service


def job(digest: str, state: State, submitted: float = 0.0) -> Job:
    return Job(digest, "{}", "", state, submitted, submitted, report_id="id" if state is State.RUNNING else "")


ME = job("m", State.WAITING, 50.0)
NOW = 1000.0


@pytest.mark.parametrize(
    ("own", "others", "verdict"),
    [
        (None, [], Verdict.SEND),
        (job("m", State.RUNNING), [], Verdict.PICK_UP),
        (job("m", State.READY), [], Verdict.PICK_UP),
        (job("m", State.DONE), [], Verdict.SEND),
        (job("m", State.FAILED), [], Verdict.SEND),
        (job("m", State.INTENT, NOW - 1), [], Verdict.SETTLE),
        (job("m", State.AMBIGUOUS, NOW - SETTLE_SECONDS + 1), [], Verdict.SETTLE),
        (job("m", State.AMBIGUOUS, NOW - SETTLE_SECONDS), [], Verdict.SEND),
        (None, [job("a", State.RUNNING)], Verdict.SEND),
        (None, [job("a", State.RUNNING), job("b", State.RUNNING)], Verdict.QUEUE),
        (None, [job("a", State.RUNNING), job("b", State.AMBIGUOUS, NOW - 1)], Verdict.QUEUE),
        (None, [job("a", State.RUNNING), job("b", State.AMBIGUOUS, NOW - SETTLE_SECONDS)], Verdict.SEND),
        (None, [job("a", State.RUNNING), job("b", State.READY)], Verdict.SEND),
        (None, [job("a", State.RUNNING), job("w", State.WAITING, 10)], Verdict.QUEUE),
        (None, [job("a", State.RUNNING), job("dead", State.WAITING, 10)], Verdict.SEND),
        (None, [job("a", State.RUNNING), job("w", State.WAITING, 60)], Verdict.SEND),
        (None, [job("w", State.WAITING, 10)], Verdict.SEND),
        (None, [job("w", State.WAITING, 10), job("x", State.WAITING, 20)], Verdict.QUEUE),
        (ME, [job("l", State.WAITING, 50), job("w", State.WAITING, 10)], Verdict.QUEUE),
        (ME, [job("n", State.WAITING, 50), job("w", State.WAITING, 10)], Verdict.SEND),
    ],
)
def test_who_may_send(own: Job | None, others: list[Job], verdict: Verdict) -> None:
    """Two slots, first come first served among the living, and no query twice."""
    assert decide(own, ME, others, lambda other: other.digest != "dead", NOW) is verdict


STATES = st.sampled_from(list(State))


@given(st.lists(st.tuples(STATES, st.floats(0, NOW), st.booleans()), max_size=6))
def test_slots_are_never_overfilled(states: list[tuple[State, float, bool]]) -> None:
    """Law: as long as two of ours may be running, nobody sends; a free slot is never left to the dead."""
    others = [job(str(number), state, at) for number, (state, at, _) in enumerate(states)]
    alive = {str(number) for number, (_, _, lives) in enumerate(states) if lives}
    verdict = decide(None, ME, others, lambda other: other.digest in alive, NOW)
    busy = sum(other.occupies(NOW) for other in others)
    if busy >= 2:
        assert verdict is Verdict.QUEUE
    if busy < 2 and not alive:
        assert verdict is Verdict.SEND


def test_a_refusal_for_want_of_a_slot_keeps_the_place_in_the_queue(tmp_path: Path) -> None:
    """A 429 proves that no report runs for us: the query waits, with the service's words."""
    with service(size=200, faults=[Fault(on="POST /Q", do="busy")]) as simulator:
        account = account_for(simulator, tmp_path)
        query = Query(json.dumps({**BODY, "data": {"CallEvent": {"fields": ["SessionId"]}}}))
        waiting = post(account, query)
        assert waiting.state is State.WAITING
        assert "max concurrent queries per user (2) reached" in waiting.messages[0]
        running = post(account, query)
        assert running.state is State.RUNNING
        assert post(account, query) == running
        assert simulator.count("POST", "/Q$") == 2
        account.client.close()


QUERY = Query(json.dumps({**BODY, "data": {"CallEvent": {"fields": ["SessionId"]}}}))


@pytest.mark.parametrize("body", [{}, {"id": 7}, {"id": ""}, {"id": "../x"}, [], "gone"])
def test_a_query_taken_without_a_usable_id_is_not_sent_again(tmp_path: Path, body: object) -> None:
    """A 201 whose answer holds no id is an error at once; the report counts as running until it has settled."""
    with service(size=200, faults=[Fault(on="POST /Q", do="answer_after", status=201, body=body)]) as simulator:
        account = account_for(simulator, tmp_path)
        with pytest.raises(ApiError) as caught:
            post(account, QUERY)
        assert caught.value.sent
        left = account.journal.load(QUERY.digest)
        assert left is not None
        assert left.state is State.AMBIGUOUS
        assert left.occupies(account.clock.now())
        assert simulator.count("POST", "/Q$") == 1
        account.client.close()


def test_no_login_is_no_lost_answer(tmp_path: Path) -> None:
    """A setting that is missing proves that nothing was sent: no intent stays behind."""
    with service(size=200) as simulator:
        account = account_for(simulator, tmp_path, password="")
        with pytest.raises(ConfigError):
            post(account, QUERY)
        assert account.journal.jobs() == []


def test_an_id_that_cannot_be_written_down_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up between the intent and the id: said aloud, and the report is gone on with."""
    with service(size=200) as simulator:
        account = account_for(simulator, tmp_path)
        save = account.journal.save

        def full(job: Job, now: float) -> Job:
            if job.state is State.RUNNING:
                raise CacheError("the disk is full")
            return save(job, now)

        monkeypatch.setattr(account.journal, "save", full)
        with pytest.warns(UserWarning, match="is running, but could not be written down: the disk is full"):
            running = post(account, QUERY)
        assert running.report_id
        account.client.close()


def test_a_refused_resubmission_keeps_count_of_the_lost_answer(tmp_path: Path) -> None:
    """Lost, then refused for want of a slot, then lost again: that was the one resubmission there is."""
    faults = [Fault(on="POST /Q", do=do, nth=nth) for nth, do in enumerate(("reset", "busy", "reset"), 1)]
    with service(size=200, faults=faults) as simulator:
        account = account_for(simulator, tmp_path, QuickClock())
        assert post(account, QUERY).state is State.AMBIGUOUS
        account.clock.sleep(SETTLE_SECONDS)
        assert post(account, QUERY).state is State.WAITING
        with pytest.raises(ApiError) as caught:
            post(account, QUERY)
        assert caught.value.sent
        account.client.close()


def test_an_old_report_of_an_open_range_is_not_picked_up(tmp_path: Path) -> None:
    """What was sent twelve hours ago lacks the rows since; of a settled range it is as good as new."""
    body = {**BODY, "timestamp": {**RANGE, "$lte": "2100-01-01T00:00:00Z"}}
    open_range = Query(json.dumps({**body, "data": {"CallEvent": {"fields": ["SessionId"]}}}))
    with service(size=200) as simulator:
        account = account_for(simulator, tmp_path, QuickClock())
        first = {query.digest: post(account, query).report_id for query in (QUERY, open_range)}
        account.clock.sleep(WORDS_SECONDS - 60)
        assert {query.digest: post(account, query).report_id for query in (QUERY, open_range)} == first
        simulator.settle()
        account.clock.sleep(120)
        assert post(account, QUERY).report_id == first[QUERY.digest]
        assert post(account, open_range).report_id != first[open_range.digest]
        account.client.close()


def test_who_waits_in_line_is_written_down_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking again whether it is our turn writes nothing; only a refusal of the service that is over is forgotten."""
    monkeypatch.setattr("insights_nb.admission.SLOTS", 0)
    with service(size=200) as simulator:
        account = account_for(simulator, tmp_path)
        waiting = post(account, QUERY)
        assert waiting.state is State.WAITING
        assert post(account, QUERY) == waiting
        account.journal.save(replace(waiting, messages=("busy",)), account.clock.now())
        again = post(account, QUERY)
        assert (again.submitted, again.messages) == (waiting.submitted, ())
        assert simulator.count("POST", "/Q$") == 0
