"""The whole pipeline, from the question to the frame, over a line that breaks and with a clock that is wrong."""

import warnings
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest

from insights_nb.account import Account
from insights_nb.errors import InsightsError
from insights_nb.report import submit
from insights_nb.simulator import Simulator
from insights_nb.spec import build_query
from insights_nb.watch import Clock
from tests.proxy import Fault, proxy
from tests.service import BODY, QuickClock, account_for, service

CALLS = ("login", "schema", "submit", "status", "location")
ANSWER = 400  # bytes a raw answer has at most


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with service(size=300) as simulator:
        yield simulator


@pytest.fixture
def simulator(shared: Simulator) -> Iterator[Simulator]:
    yield shared
    shared.faults.clear()
    shared.release()
    shared.settle()


def asked(account: Account) -> pd.DataFrame:
    now = datetime.fromtimestamp(account.clock.now(), UTC)
    return submit(account, account.check(lambda schema: build_query(BODY, schema, now=now))).result()


def told(account: Account) -> list[list[str]]:
    rows: list[list[str]] = asked(account).astype(str).to_numpy().tolist()
    return sorted(rows)


def check(simulator: Simulator, folder: Path, wanted: list[list[str]], number: int, fault: Fault) -> None:
    """Ask with the n-th answer broken: the right rows come, or an error of ours and then the right rows."""
    before = simulator.count("POST", r"/Q$")
    with proxy(int(simulator.settings["api_url"].rpartition(":")[2]), [*[None] * number, fault]) as via:
        url = f"http://127.0.0.1:{via.port}"
        account = account_for(simulator, folder, QuickClock(), api_url=url, auth_url=url)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with suppress(InsightsError):
                assert told(account) == wanted
            assert told(account) == wanted
        lost = sum(
            "an answer was lost" in str(one.message) or "was lost, so it may" in str(one.message) for one in said
        )
    assert lost <= 1
    assert simulator.count("POST", r"/Q$") - before == 1 + lost
    assert lost == 0 or CALLS[number] == "submit"


@pytest.mark.parametrize("number", range(5), ids=CALLS)
def test_a_cut_answer_never_makes_another_outcome(simulator: Simulator, tmp_path: Path, number: int) -> None:
    """Each of the five answers cut at several places: right rows, and one POST, or two where its answer was lost."""
    wanted = told(account_for(simulator, tmp_path / "oracle", QuickClock()))
    for place in range(0, ANSWER, 80):
        check(simulator, tmp_path / str(place), wanted, number, Fault(place, "close"))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", ["close", "reset"])
@pytest.mark.parametrize("number", range(5), ids=CALLS)
def test_an_answer_cut_at_every_byte_never_makes_another_outcome(
    simulator: Simulator, tmp_path: Path, number: int, what: Literal["close", "reset"]
) -> None:
    """The long form: at every byte."""
    wanted = told(account_for(simulator, tmp_path / "oracle", QuickClock()))
    for place in range(ANSWER):
        check(simulator, tmp_path / str(place), wanted, number, Fault(place, what))


class SkewedClock(QuickClock):
    """A machine whose calendar is years off; its seconds are as long as everybody's."""

    def __init__(self, years: float) -> None:
        super().__init__()
        self._skew = years * 365 * 86400

    def now(self) -> float:
        """Unix seconds, wrong."""
        return super().now() + self._skew


@pytest.mark.parametrize("years", [-10, 10])
def test_a_wrong_calendar_changes_no_call(simulator: Simulator, tmp_path: Path, years: float) -> None:
    """Ten years off either way, the same calls are made and the same rows come, from the service and from the cache."""
    right = account_for(simulator, tmp_path / "right", QuickClock())
    wanted = told(right)
    begun = len(simulator.calls)
    simulator.settle()
    clock: Clock = SkewedClock(years)
    wrong = account_for(simulator, tmp_path / "wrong", clock)
    assert told(wrong) == wanted
    calls = [(call.method, call.path.rpartition("/")[2][:6], call.status) for call in simulator.calls[begun:]]
    assert [call for call in calls if call[0] == "POST"] == [("POST", "authen", 200), ("POST", "Q", 201)]
    assert {status for _, _, status in calls} <= {200, 201}
    assert told(wrong) == wanted
    assert len(simulator.calls) == begun + len(calls)
