"""Time and progress of one call."""

from insights_nb.progress import Progress, Stage
from insights_nb.watch import Clock, Watch
from tests.service import QuickClock


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
