"""Time and progress of one call, and what Stop does not cut short."""

import threading

import pytest

from insights_nb.progress import Progress, Stage
from insights_nb.watch import Clock, Watch, shielded
from tests.service import QuickClock, stop_pressed


def test_a_pause_is_sliced_and_told() -> None:
    """A wait of a second is ten slices, each with a word to the observer; time never falls."""
    clock, seen = QuickClock(), list[Progress]()
    watch = Watch(clock, seen.append, timeout=60)
    assert watch.pause(1.0)
    assert max(clock.slept) <= 0.1
    assert len(seen) >= 10
    assert [progress.elapsed for progress in seen] == sorted(progress.elapsed for progress in seen)


def test_a_pause_ends_when_the_users_time_is_up() -> None:
    """The deadline cuts a pause short and says so."""
    watch = Watch(QuickClock(), lambda progress: None, timeout=0.5)
    assert not watch.pause(10.0)
    assert watch.left() <= 0
    assert watch.elapsed() < 5


def test_what_was_told_is_kept_and_a_note_is_not() -> None:
    """Figures stay until they change; a note belongs to one moment."""
    seen = list[Progress]()
    watch = Watch(QuickClock(), seen.append, timeout=60)
    watch.tell(stage=Stage.WAITING, note="2 of ours running", shards=3)
    watch.tick()
    assert seen[-1].note == "2 of ours running"
    watch.tell(stage=Stage.RUNNING)
    assert (seen[-1].note, seen[-1].shards) == ("", 3)


def test_the_system_clock_tells_real_time() -> None:
    """Without a clock of a test's own, time is the system's."""
    clock = Clock()
    before = clock.steady()
    clock.sleep(0)
    assert clock.steady() >= before
    assert clock.now() > 1.7e9


def test_shielded_work_gives_its_value_or_its_error() -> None:
    """What the work returns or raises comes out unchanged."""
    assert shielded(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        shielded(lambda: 1 / 0)


def test_an_interrupt_waits_for_the_work() -> None:
    """A real interrupt in the middle is heeded, after the work is done."""
    done: list[bool] = []
    pause = threading.Event()

    def work() -> None:
        stop_pressed()
        pause.wait(0.3)
        done.append(True)

    with pytest.raises(KeyboardInterrupt):
        shielded(work)
    assert done == [True]


def test_a_second_interrupt_does_not_wait() -> None:
    """Who presses Stop twice is let go at once; the work goes on behind."""
    gate, finished = threading.Event(), threading.Event()

    def work() -> None:
        stop_pressed()
        gate.wait(0.2)
        stop_pressed()
        gate.wait(20)
        finished.set()

    with pytest.raises(KeyboardInterrupt):
        shielded(work)
    assert not finished.is_set()
    gate.set()
    assert finished.wait(20)
