"""The journal: records on disk, and who may drive a report."""

import errno
import json
import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from insights_nb import disk
from insights_nb.errors import CacheError
from insights_nb.journal import (
    KEEP_SECONDS,
    QUEUE_SECONDS,
    SETTLE_SECONDS,
    STRAY_SECONDS,
    WORDS_SECONDS,
    Job,
    Journal,
    State,
)

JOB = Job("d" * 64, '{"timestamp": {}}', "", State.RUNNING, 100.0, 0.0, report_id="abc")


def test_a_record_reads_back(tmp_path: Path) -> None:
    """What was saved is what is loaded, with the time and the process that wrote it."""
    journal = Journal(tmp_path / "jobs")
    assert journal.load(JOB.digest) is None
    saved = journal.save(JOB, 123.0)
    assert journal.load(JOB.digest) == saved
    assert saved.updated == 123.0
    assert saved.process.startswith(f"{os.getpid()}@")


def test_files_and_folder_are_private_under_any_umask(tmp_path: Path) -> None:
    """0600 and 0700, also with umask 000."""
    old = os.umask(0)
    try:
        journal = Journal(tmp_path / "jobs")
        journal.save(JOB, 1.0)
        with journal.admission():
            pass
    finally:
        os.umask(old)
    assert (tmp_path / "jobs").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "jobs").iterdir()} == {0o600}


def test_jobs_come_newest_first_and_the_asked_one_is_found(tmp_path: Path) -> None:
    """Relative words find the newest unfinished report, never a finished one."""
    journal = Journal(tmp_path)
    for number, state in enumerate([State.RUNNING, State.RUNNING, State.DONE]):
        journal.save(Job(f"{number}" * 64, "{}", "words", state, float(number), 0.0, report_id=str(number)), 1.0)
    assert [job.report_id for job in journal.jobs()] == ["2", "1", "0"]
    found = journal.asked("words", 10.0)
    assert found is not None
    assert found.report_id == "1"
    assert journal.asked("other", 10.0) is None
    assert journal.asked("", 10.0) is None
    assert journal.asked("words", 1.0 + WORDS_SECONDS) is None


def test_finished_records_go_after_a_month_and_running_ones_stay(tmp_path: Path) -> None:
    """A running report holds a slot however old it is."""
    journal = Journal(tmp_path)
    journal.save(JOB, 1.0)
    journal.save(Job("e" * 64, "{}", "", State.DONE, 1.0, 0.0), 1.0)
    journal.prune(KEEP_SECONDS)
    assert len(journal.jobs()) == 2
    journal.prune(KEEP_SECONDS + 2.0)
    assert [job.digest for job in journal.jobs()] == [JOB.digest]


@settings(max_examples=50)
@given(st.binary(max_size=40) | st.builds(lambda form: json.dumps({"form": form}).encode(), st.integers(0, 3)))
def test_garbage_counts_as_a_lost_answer(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Law: a file that is no record, or one of a newer form, may hold a slot until it has settled, and is kept."""
    folder = tmp_path_factory.mktemp("jobs")
    path = folder / f"{JOB.digest}.json"
    path.write_bytes(content)
    (folder / "notes.json").write_bytes(content)
    found = Journal(folder).load(JOB.digest)
    assert found is not None
    assert Journal(folder).jobs() == [found]
    moment = path.stat().st_mtime
    assert found.occupies(moment + SETTLE_SECONDS - 1)
    assert not found.occupies(moment + SETTLE_SECONDS)
    assert not found.occupies(moment - 1e9)
    Journal(folder).prune(moment + 1e9)
    assert path.read_bytes() == content


def test_a_record_that_cannot_be_read_now_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EMFILE while looking is an error: taken for a miss, a running report would be forgotten and asked for anew."""
    journal = Journal(tmp_path)
    journal.save(JOB, 1.0)

    def refuse(*_: object) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(disk, "read_bytes", refuse)
    with pytest.raises(CacheError, match="Too many open files"):
        journal.load(JOB.digest)
    with pytest.raises(CacheError):
        journal.jobs()


def test_one_driver_at_a_time(tmp_path: Path) -> None:
    """The second asker is told no until the first gives the right back."""
    journal = Journal(tmp_path)
    one, two = journal.driver("d"), journal.driver("d")
    assert one.try_acquire()
    assert not two.try_acquire()
    assert journal.driver("e").try_acquire()
    one.release()
    assert two.try_acquire()
    two.release()


def _drive(folder: Path, pipe: Connection) -> None:
    driver = Journal(folder).driver("d")
    pipe.send(driver.try_acquire())
    pipe.recv()


def test_a_killed_drivers_right_is_free(tmp_path: Path) -> None:
    """SIGKILL of the process that drives frees the report for the next."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_drive, args=(tmp_path, theirs))
    process.start()
    assert ours.recv() is True
    mine = Journal(tmp_path).driver("d")
    assert not mine.try_acquire()
    process.kill()
    process.join()
    assert mine.try_acquire()
    mine.release()


@pytest.mark.parametrize("how", ["grants all", "knows none"])
def test_a_disk_without_locks_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Locks that are granted twice, or not known, are said aloud; nobody then counts as kept out."""

    class Broken(FileLock):
        def _acquire(self) -> None:
            if how == "knows none":
                raise OSError(errno.ENOLCK, "No locks available")
            self._context.lock_file_fd = os.open(os.devnull, os.O_RDONLY)

        def _release(self) -> None:
            fd, self._context.lock_file_fd = self._context.lock_file_fd, None
            if fd is not None:
                os.close(fd)

    monkeypatch.setattr("insights_nb.journal.FileLock", Broken)
    journal = Journal(tmp_path)
    driver = journal.driver("d")
    with pytest.warns(UserWarning, match="file locks do not work in .* may submit and fetch the same query twice"):
        assert driver.try_acquire()
    assert not driver.is_sole
    driver.release()
    with pytest.warns(UserWarning, match="file locks do not work"), journal.admission():
        pass


def test_a_lock_that_works_says_nothing(tmp_path: Path) -> None:
    """On a sound disk the driver is the only one, until it lets go."""
    driver = Journal(tmp_path).driver("d")
    sole = [driver.is_sole]
    assert driver.try_acquire()
    sole.append(driver.is_sole)
    driver.release()
    assert [*sole, driver.is_sole] == [False, True, False]


FORKER = """
import os, sys, time
from pathlib import Path
from insights_nb.journal import Journal

journal = Journal(Path(sys.argv[1]))
driver = journal.driver("d")
assert driver.try_acquire()
child = os.fork()
if child == 0:
    sys.stdin.readline()  # lives on until the test is over
    os._exit(0)
print(child, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system knows no fork")
def test_a_forked_child_keeps_no_right(tmp_path: Path) -> None:
    """The driver dies, a child it forked lives on: the right is free all the same."""
    process = subprocess.Popen(
        [sys.executable, "-c", FORKER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    child = int(process.stdout.readline())
    mine = Journal(tmp_path).driver("d")
    assert not mine.try_acquire()
    process.kill()
    process.wait()
    os.kill(child, 0)
    assert mine.try_acquire()
    mine.release()
    process.stdin.close()
    process.stdout.close()


def test_half_written_records_go_after_an_hour(tmp_path: Path) -> None:
    """What a killed kernel was writing down is removed, as it may hold a phone number; what is new stays."""
    journal = Journal(tmp_path)
    journal.save(JOB, 1.0)
    stray = tmp_path / f".{JOB.digest}.json.0123456789ab.tmp"
    stray.write_text("{")
    journal.prune(stray.stat().st_mtime + STRAY_SECONDS - 1)
    assert stray.exists()
    journal.prune(stray.stat().st_mtime + STRAY_SECONDS + 1)
    assert not stray.exists()
    assert journal.load(JOB.digest) is not None


def test_a_lost_query_is_over_once_it_has_settled(tmp_path: Path) -> None:
    """A record that neither holds a slot nor names a report goes after a day; before that it counts."""
    journal = Journal(tmp_path)
    journal.save(replace(JOB, state=State.AMBIGUOUS, report_id=""), 100.0)
    journal.forget(JOB.digest, 100.0 + SETTLE_SECONDS - 1)
    journal.prune(100.0 + QUEUE_SECONDS)
    assert journal.load(JOB.digest) is not None
    journal.prune(101.0 + QUEUE_SECONDS)
    assert journal.load(JOB.digest) is None
