"""Ask, kill, restart, poll, complete, expire and lose answers in any order: nothing is asked twice."""

import json
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from insights_nb.account import Account
from insights_nb.cache import FRESH_SECONDS
from insights_nb.errors import ApiError, ReportTimeoutError
from insights_nb.journal import SETTLE_SECONDS, Journal, State
from insights_nb.progress import Progress
from insights_nb.report import Report, submit
from insights_nb.simulator import Fault, Simulator
from insights_nb.spec import Query
from tests.service import QuickClock, account_for

FLOWS = 4
COLUMNS = ["SessionId", "ActionId"]
TABLE = pd.DataFrame(
    {
        "EventName": "ApplicationExitEvent",
        "TimeStamp": pd.Timestamp("2026-11-14", tz="UTC"),
        "SessionId": [f"1794614400-{number:04d}" for number in range(80)],
        "FlowId": [f"flow-{number % FLOWS}" for number in range(80)],
        "ActionId": [f"{number * 37 % 101:03d}" for number in range(80)],
    }
)
KERNELS = st.integers(0, 2)
QUERIES = st.integers(0, FLOWS - 1)


class KilledError(BaseException):
    """The kernel is gone: nothing of ours catches it, and the system takes its locks back."""


class Mortal:
    """A display whose kernel is killed at the given word of progress."""

    def __init__(self, words: int) -> None:
        self._left = words

    def __call__(self, progress: Progress, /) -> None:
        """Count down."""
        self._left -= 1
        if self._left < 0:
            raise KilledError

    def close(self, error: BaseException | None = None, note: str = "") -> None:
        """Say nothing."""


def query_of(number: int) -> Query:
    # The last one's range is still open, so its answer goes stale.
    until = "2100-01-01T00:00:00Z" if number == FLOWS - 1 else "2026-11-20T00:00:00Z"
    data = {"ApplicationExitEvent": {"fields": COLUMNS}}
    wanted = {"ApplicationExitEvent": {"FlowId": {"$eq": f"flow-{number}"}}}
    return Query(
        json.dumps({"timestamp": {"$gte": "2026-11-13T00:00:00Z", "$lte": until}, "data": data, "filters": wanted})
    )


@contextmanager
def excusing() -> Iterator[None]:
    """Let pass what may happen here: the kernel's end, the end of patience, an answer lost for the second time."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (KilledError, ReportTimeoutError):
        pass
    except ApiError as error:
        if not error.sent:
            raise


class Lifecycle(RuleBasedStateMachine):
    """Three kernels of one machine and four questions, in whatever order things happen."""

    simulator: Simulator

    @initialize()
    def begin(self) -> None:
        """Start with an empty cache and a service that holds every report back."""
        self.simulator.faults.clear()
        self.simulator.release()
        self.simulator.settle()
        self.simulator.hold()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = QuickClock()
        self.kernels = [self._kernel() for _ in range(3)]
        self.reports: dict[tuple[int, int], Report] = {}
        self.began = len(self.simulator.calls)
        self.struck = len(self.simulator.faults.struck)
        self.open: set[int] = set()
        self.answered: dict[int, float] = {}
        self.explained = 0
        self.lost: dict[int, float] = {}
        self.ghosts = 0
        self.excused = 0

    def teardown(self) -> None:
        """Close what is open."""
        if hasattr(self, "folder"):
            for kernel in self.kernels:
                kernel.client.close()
            self.folder.cleanup()

    def _kernel(self) -> Account:
        return account_for(self.simulator, Path(self.folder.name) / "cache", self.clock)

    def _asked(self, number: int) -> None:
        """A question that nobody has asked, or whose answer is stale, explains one POST."""
        fetched = self.answered.get(number)
        if fetched is not None and number == FLOWS - 1 and self.clock.now() >= fetched + FRESH_SECONDS:
            self.open.discard(number)
            del self.answered[number]
        if number not in self.open:
            self.open.add(number)
            self.explained += 1

    def _account_for_faults(self) -> None:
        """A lost answer explains one more POST; the report behind it may hold a slot nobody knows of."""
        for fault, _ in self.simulator.faults.struck[self.struck :]:
            self.explained += 1
            self.ghosts += fault.do != "reset"
        self.struck = len(self.simulator.faults.struck)

    def _calls(self, refused: bool) -> int:
        calls = self.simulator.calls[self.began :]
        posts = [call for call in calls if call.method == "POST" and call.path.endswith("/Q")]
        return sum((call.status == 429) is refused for call in posts)

    @rule(kernel=KERNELS, number=QUERIES)
    def ask(self, kernel: int, number: int) -> None:
        """Submit and return at once."""
        self._asked(number)
        posts, struck = self._calls(refused=False), len(self.simulator.faults.struck)
        with excusing():
            self.reports[kernel, number] = submit(self.kernels[kernel], query_of(number))
        if self.clock.now() - self.lost.get(number, 0.0) < SETTLE_SECONDS - 1:
            assert self._calls(refused=False) == posts  # what may be running is given time to settle
        elif len(self.simulator.faults.struck) > struck:
            self.lost[number] = self.clock.now()

    @rule(kernel=KERNELS, number=QUERIES, patience=st.sampled_from([3.0, 300.0]))
    def collect(self, kernel: int, number: int, patience: float) -> None:
        """Wait for a report for a while."""
        report = self.reports.get((kernel, number))
        if report is None:
            return
        self.lost.pop(number, None)
        with excusing():
            self._check(number, report.result(patience))

    def _check(self, number: int, frame: pd.DataFrame) -> None:
        wanted = TABLE[TABLE["FlowId"] == f"flow-{number}"][COLUMNS].astype("str")
        found = frame.sort_values("SessionId", ignore_index=True)
        pd.testing.assert_frame_equal(found, wanted.reset_index(drop=True), check_dtype=False)
        fetched = pd.Timestamp(frame.attrs["insights"]["fetched_at"]).timestamp()
        self.answered[number] = min(fetched, self.answered.get(number, fetched))

    @rule(kernel=KERNELS)
    def kill(self, kernel: int) -> None:
        """The kernel is gone with all it knew; another one is started."""
        self.kernels[kernel].client.close()
        self.kernels[kernel] = self._kernel()
        self.reports = {at: report for at, report in self.reports.items() if at[0] != kernel}

    @rule(kernel=KERNELS, number=QUERIES, words=st.integers(0, 12))
    def kill_while_waiting(self, kernel: int, number: int, words: int) -> None:
        """Killed while it polls, downloads, publishes or reads."""
        report = self.reports.get((kernel, number))
        if report is None:
            return
        report.show = lambda: Mortal(words)
        self.lost.pop(number, None)
        with excusing():
            self._check(number, report.result(3.0))
        self.kill(kernel)

    @rule(kernel=KERNELS, number=QUERIES, taken=st.booleans())
    def kill_while_sending(self, kernel: int, number: int, taken: bool) -> None:
        """Killed between the intent and the id, before or after the service took the query."""
        self._asked(number)
        client = self.kernels[kernel].client
        send = client.submit
        reached: list[bool] = []

        def die(body: Any) -> str:
            reached.append(True)
            if taken:
                send(body)
                self.ghosts += 1
            raise KilledError

        client.submit = die  # type: ignore[method-assign]
        with excusing():
            submit(self.kernels[kernel], query_of(number))
        self.explained += len(reached)
        if reached:
            self.lost[number] = self.clock.now()
        self.kill(kernel)

    @rule(do=st.sampled_from(["reset", "reset_after", "answer_after"]))
    def lose_the_next_answer(self, do: str) -> None:
        """The next POST gets no answer, whether it was taken or not."""
        self.simulator.faults.clear()
        self.simulator.faults.add(Fault(on="POST /Q", do=do, status=502, body=""))

    @rule()
    def complete(self) -> None:
        """The service finishes whatever is running."""
        self.simulator.release()
        self.simulator.settle()
        self.simulator.hold()
        self.ghosts = 0

    @rule()
    def expire(self) -> None:
        """Sixteen minutes pass: answers of open ranges are stale, lost ones have settled."""
        self.clock.ahead += 960

    @invariant()
    def nothing_is_sent_without_a_reason(self) -> None:
        """POSTs are at most the questions and the lost answers; a refusal for want of a slot is never our doing."""
        if not hasattr(self, "folder"):
            return
        self._account_for_faults()
        assert self._calls(refused=False) <= self.explained
        if not self.ghosts:
            assert self._calls(refused=True) == self.excused
        self.excused = self._calls(refused=True)

    @invariant()
    def the_journal_knows_at_most_two(self) -> None:
        """Never more than two of ours are running."""
        if hasattr(self, "folder"):
            jobs = self.kernels[0].journal.jobs()
            assert sum(job.state is State.RUNNING for job in jobs) <= 2


def run_machine(simulator: Simulator, examples: int = 30, **more: Any) -> None:
    machine = type("Bound", (Lifecycle,), {"simulator": simulator})
    calm: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck), "report_multiple_bugs": False}
    try:
        run_state_machine_as_test(
            machine, settings=settings(max_examples=examples, stateful_step_count=30, **calm, **more)
        )
    finally:
        # Hypothesis keeps the class, which must not keep the service.
        del machine.simulator  # type: ignore[attr-defined]


def test_nothing_is_asked_twice_whatever_happens() -> None:
    """Law: POSTs never exceed questions and lost answers, frames are right, slots are not overfilled."""
    with Simulator(events=TABLE, shard_rows=8) as simulator:
        run_machine(simulator)


# No search for the shortest example: that there is one is all we want to know, and the first one ends the search.
@pytest.mark.parametrize("without", ["load", "jobs"])
def test_without_a_journal_the_law_breaks(monkeypatch: pytest.MonkeyPatch, without: str) -> None:
    """Control: kernels that do not look at their own record, or at those of others, are found out."""
    monkeypatch.setattr(Journal, without, lambda *_: None if without == "load" else [])
    with Simulator(events=TABLE, shard_rows=8) as simulator, pytest.raises(AssertionError):
        run_machine(simulator, examples=600, phases=[Phase.generate], database=None)
