"""Sending a query: the work around the POST is done whole, whatever is pressed meanwhile."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insights_nb.admission import Verdict, decide, post
from insights_nb.journal import SETTLE_SECONDS, Job, State
from insights_nb.simulator import Fault
from insights_nb.spec import Query
from tests.service import BODY, account_for, service


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
