"""Sending a query: the work around the POST is done whole, whatever is pressed meanwhile."""

import json
import threading
from pathlib import Path

import pytest

from insights_nb import admission
from insights_nb.admission import post
from insights_nb.errors import BusyError
from insights_nb.journal import State
from insights_nb.simulator import Fault
from insights_nb.spec import Query
from tests.service import BODY, account_for, service


def test_shielded_work_gives_its_value_or_its_error() -> None:
    """What the work returns or raises comes out unchanged."""
    assert admission._shielded(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        admission._shielded(lambda: 1 / 0)


def test_an_interrupt_waits_for_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first interrupt is heeded after the work is done; a second one does not wait."""
    gate, done = threading.Event(), []
    join = threading.Thread.join
    presses: list[int] = []

    def pressed(thread: threading.Thread, timeout: float | None = None) -> None:
        if thread.name != "insights-submit":
            join(thread, timeout)
        elif not presses:
            presses.append(1)
            gate.set()
            raise KeyboardInterrupt
        else:
            join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", pressed)

    def work() -> None:
        gate.wait(10)
        done.append(True)

    with pytest.raises(KeyboardInterrupt):
        admission._shielded(work)
    assert done == [True]


def test_a_busy_service_leaves_no_intent(tmp_path: Path) -> None:
    """A 429 proves that no report runs for us."""
    with service(size=200, faults=[Fault(on="POST /Q", do="busy")]) as simulator:
        account = account_for(simulator, tmp_path)
        query = Query(json.dumps({**BODY, "data": {"CallEvent": {"fields": ["SessionId"]}}}))
        with pytest.raises(BusyError):
            post(account, query)
        assert account.journal.jobs() == []
        job = post(account, query)
        assert job.state is State.RUNNING
        assert post(account, query) == job
        assert simulator.count("POST", "/Q$") == 2
        account.client.close()
