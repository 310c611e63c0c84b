"""Seeing a report through, with other kernels at work: many asking, one removing, a disk that is full or read-only."""

import errno
import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from insights_nb import connect, copyfile, disk, inventory
from insights_nb.account import Account
from insights_nb.body import Body
from insights_nb.cache import Entry
from insights_nb.catalog import DOCUMENTED
from insights_nb.errors import CacheError
from insights_nb.journal import State
from insights_nb.report import submit
from insights_nb.settings import resolve
from insights_nb.simulator import Fault, Simulator
from insights_nb.spec import Query, build_query
from tests.service import BODY, QuickClock, account_for, environment, service, until

NOW = datetime(2026, 11, 24, tzinfo=UTC)
OTHER = {**BODY, "data": {"ApplicationExitEvent": {"fields": ["SessionId", "Path"]}}}
OPEN = {**BODY, "timestamp": {"$gte": "2026-11-13T00:00:00Z", "$lte": "2100-01-01T00:00:00Z"}}


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


def asked(account: Account, body: Body = BODY, **words: Any) -> Query:
    return account.check(lambda schema: build_query(body, schema, now=NOW, **words))


def posts(simulator: Simulator) -> int:
    return simulator.count("POST", r"/Q$")


def test_a_kernel_that_died_before_it_said_done_is_caught_up_with(account: Account) -> None:
    """Published, but still READY in the journal: it is marked done, and is not fetched again once it has expired."""
    query = asked(account, OPEN)
    first = submit(account, query).result().attrs["insights"]["report_id"]
    job = account.journal.load(query.digest)
    assert job is not None
    account.journal.save(replace(job, state=State.READY), account.clock.now())
    account.clock.sleep(16 * 60)
    assert submit(account, query).result().attrs["insights"]["report_id"] != first


def test_a_report_that_took_a_day_is_not_taken_for_settled(account: Account, simulator: Simulator) -> None:
    """What counts is when the query was sent: rows that came after that are not in the report."""
    end = pd.Timestamp(account.clock.now(), unit="s", tz="UTC").floor("s")
    body = {**BODY, "timestamp": {"$gte": "2026-11-13T00:00:00Z", "$lte": end.strftime("%Y-%m-%dT%H:%M:%SZ")}}
    simulator.hold()
    report = submit(account, asked(account, body))
    account.clock.sleep(2 * 86400)
    simulator.release()
    assert report.result().attrs["insights"]["settled"] is False


def test_words_of_yesterday_are_another_question(account: Account, simulator: Simulator) -> None:
    """last="21d" asked again a day after its kernel died means the last 21 days of now."""
    simulator.hold()
    body = {"data": BODY["data"]}
    first = submit(account, asked(account, body, last="21d"))
    account.clock.sleep(86400)
    later = account.check(lambda schema: build_query(body, schema, last="21d", now=NOW.replace(day=25)))
    second = submit(account, later)
    assert second.id != first.id
    assert second.query == later


def test_a_record_nobody_can_read_is_settled_and_replaced(account: Account, simulator: Simulator) -> None:
    """Garbage where the record should be may mean a running report: wait for it to settle, then send, once."""
    query = asked(account)
    path = account.cache.folder / "jobs" / f"{query.digest}.json"
    path.parent.mkdir()
    path.write_bytes(b'{"form": 1, "dig')
    before = posts(simulator)
    with pytest.warns(UserWarning, match="sent once more"):
        assert len(submit(account, query).result()) > 500
    assert posts(simulator) == before + 1


def test_a_full_run_under_umask_000_lets_nobody_in(account: Account) -> None:
    """No folder wider than 0700, no file wider than 0600, whatever the umask."""
    old = os.umask(0)
    try:
        submit(account, asked(account)).result()
    finally:
        os.umask(old)
    found = list(account.settings.cache_dir.rglob("*"))
    assert len(found) > 8
    for path in (account.settings.cache_dir, *found):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_link_planted_among_the_shards_is_not_followed(account: Account, tmp_path: Path) -> None:
    """Where a shard of ours should be there is a link to another file: it is not read, and it is left alone."""
    first = submit(account, asked(account)).result()
    path = account.cache.entries()[0].paths[0]
    victim = tmp_path / "victim"
    path.rename(victim)
    path.symlink_to(victim)
    again = submit(account, asked(account), refresh=True).result()
    one, two = (frame.sort_values([*frame.columns], ignore_index=True) for frame in (first, again))
    pd.testing.assert_frame_equal(one, two)
    assert victim.exists()


def test_an_entry_removed_while_it_is_read_is_fetched_anew(
    account: Account, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another kernel clears the cache between the check and the reading: the frame comes all the same."""
    submit(account, asked(account)).result()
    before = posts(simulator)
    copyfile.clear(account.cache.entries()[0].folder)
    monkeypatch.setattr("insights_nb.copying.SMALLEST", 1 << 60)
    check = account.cache.check

    def check_and_lose(entry: Entry) -> None:
        check(entry)
        account.cache.remove(entry)

    monkeypatch.setattr(account.cache, "check", check_and_lose)
    frame = submit(account, asked(account)).result()
    assert len(frame) > 500
    assert not frame.attrs["insights"]["cached"]
    assert posts(simulator) == before


def test_tidying_that_fails_does_not_fail_the_report(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk refuses to remove what is old: the frame is there, and the next report tries again."""

    def refuse(*_: object) -> None:
        raise CacheError("a file operation failed")

    monkeypatch.setattr("insights_nb.pursuit.sweep", refuse)
    assert len(submit(account, asked(account)).result()) > 500


READER = """
import sys, warnings
import insights_nb as insights
warnings.simplefilter("ignore")
for _ in range(15):
    print(len(insights.query(sys.argv[1], progress="none")), flush=True)
"""


def test_a_reader_elsewhere_survives_eviction(simulator: Simulator, tmp_path: Path) -> None:
    """One process reads the same report again and again while another removes it, at whatever moment."""
    account = account_for(simulator, tmp_path)
    count = len(submit(account, asked(account)).result())
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, json.dumps(BODY)],
        env=environment(simulator, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    dice, pause, removed, read = random.Random(7), threading.Event(), 0, []
    for line in reader.stdout:
        read.append(int(line))
        pause.wait(dice.uniform(0, 0.05))
        for entry in account.cache.entries():
            account.cache.remove(entry)
            removed += 1
    assert reader.communicate()[1] == ""
    assert reader.returncode == 0
    assert read == [count] * 15
    assert removed  # how often it is caught in the middle is up to the machine
    account.client.close()


def test_a_report_published_while_we_looked_is_not_asked_for_again(
    account: Account, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another kernel finishes between our look into the cache and our look into the journal: no second POST."""
    submit(account, asked(account)).result()
    before = posts(simulator)
    find, looks = account.cache.find, iter([False])

    def find_late(digest: str, now: float, report_id: str = "") -> Entry | None:
        return find(digest, now, report_id) if next(looks, True) else None

    monkeypatch.setattr(account.cache, "find", find_late)
    assert len(submit(account, asked(account)).result()) > 500
    assert posts(simulator) == before


def test_twenty_kernels_with_one_question_send_it_once(simulator: Simulator, tmp_path: Path) -> None:
    """Twenty processes ask the same query at once: one POST, and each has every row."""
    before = posts(simulator)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["insights_nb.report", "tests.service"])
    with context.Pool(20) as pool:
        told = pool.starmap(_ask_in_pool, [(simulator.settings, str(tmp_path))] * 20, chunksize=1)
    assert posts(simulator) == before + 1
    assert len(set(told)) == 1
    assert told[0][1] > 500


def _ask_in_pool(settings: dict[str, str], cache: str) -> tuple[str, int]:
    account = Account(resolve({**settings, "cache_dir": cache}, environ={"INSIGHTS_CONFIG": ""}))
    frame = submit(account, Query(json.dumps(BODY))).result()
    return frame.attrs["insights"]["report_id"], len(frame)


def test_kernels_waiting_for_a_slot_are_served_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten queries wait for one slot: they are sent in the order they came, without one refusal."""
    # With two slots free at once, the second in line may be a moment quicker than the first.
    monkeypatch.setattr("insights_nb.admission.SLOTS", 1)
    fields = DOCUMENTED.fields("ApplicationExitEvent")[:11]
    queries = [Query(json.dumps({**BODY, "data": {"ApplicationExitEvent": {"fields": [name]}}})) for name in fields]
    with service(size=300) as simulator:
        accounts = [account_for(simulator, tmp_path) for _ in queries]
        simulator.hold()
        reports = [submit(account, query) for account, query in zip(accounts, queries, strict=True)]
        assert [bool(report.id) for report in reports] == [True] + [False] * 10
        waiters = [threading.Thread(target=report.result, kwargs={"on_empty": "frame"}) for report in reports]
        for waiter in waiters:
            waiter.start()
        until(lambda: all(accounts[0].journal.is_driven(query.digest) for query in queries))
        simulator.release()
        for waiter in waiters:
            waiter.join()
        sent = [call for call in simulator.calls if call.method == "POST" and call.path.endswith("/Q")]
        assert [call.status for call in sent] == [201] * 11
        assert [call.body for call in sent] == [query.body for query in queries]
        for account in accounts:
            account.client.close()


def test_a_read_only_cache_answers_what_it_has(
    account: Account, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that takes no write, reports that are there are read; a new query is refused before it is sent."""
    first = submit(account, asked(account)).result()
    before = posts(simulator)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("write_atomic", "create_exclusive", "make_private_folder", "rename", "remove", "touch"):
        monkeypatch.setattr(disk, name, refuse)
    fresh = account_for(simulator, account.settings.cache_dir)
    pd.testing.assert_frame_equal(submit(fresh, asked(fresh)).result(), first)
    with pytest.raises(CacheError, match="is read-only, so reports cannot be kept there"):
        submit(fresh, asked(fresh, OTHER))
    assert posts(simulator) == before
    fresh.client.close()


ON_A_MOUNT = """
import os, subprocess, sys
import insights_nb as insights
cache = os.environ["INSIGHTS_CACHE_DIR"]
def mount(*words):
    subprocess.run(["mount", *words], check=True)
def ask(number):
    fields = ["SessionId", "TimeStamp", "ActionId", "Path", "TransactionId"][: 5 - number]
    events = {"ApplicationExitEvent": fields}
    return len(insights.query(events=events, since="2026-11-13", until="2026-11-20", progress="none"))
def told(number):
    try:
        return str(ask(number))
    except insights.CacheError as error:
        return error.message
mount("-t", "tmpfs", "-o", "mode=700,size=" + sys.argv[1], "tmpfs", cache)
print(told(0))
mount("-o", "remount,size=64m", cache)
print(told(0))
mount("-o", "remount,ro", cache)
print(told(0))
print(told(1))
"""


@pytest.mark.parametrize("size", ["24k", "40k"])
def test_a_real_disk_that_is_full_or_read_only(tmp_path: Path, size: str) -> None:
    """A small file system fills up, is enlarged, is made read-only: each time an error of ours or the frame."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a file system of his own")
    (tmp_path / "cache").mkdir(mode=0o700)
    with service() as simulator:
        done = subprocess.run(
            ["unshare", "-rm", sys.executable, "-W", "ignore", "-c", ON_A_MOUNT, size],
            env=environment(simulator, tmp_path / "cache"),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        full, enlarged, kept, new = done.stdout.splitlines()
        assert "the disk is full" in full
        assert int(enlarged) > 500
        assert kept == enlarged
        assert "is read-only" in new
        assert simulator.count("POST", "/Q$") == 1


def test_jobs_shows_every_state_there_is(simulator: Simulator, tmp_path: Path) -> None:
    """Running, waiting for a slot, lost on the way, unreadable, done: what this machine asked for, in one table."""
    connect.configure(**simulator.settings, cache_dir=str(tmp_path / "cache"))
    account = connect.account_in_use()
    bodies = [
        {**BODY, "data": {"ApplicationExitEvent": {"fields": [name]}}}
        for name in ("SessionId", "FlowId", "HostId", "Path")
    ]
    submit(account, asked(account, bodies[0])).result(on_empty="frame")
    simulator.hold()
    submit(account, asked(account, bodies[1]))
    simulator.faults.add(Fault(on="POST /Q", do="reset"))
    submit(account, asked(account, bodies[2]))
    submit(account, asked(account, bodies[3]))
    (account.cache.folder / "jobs" / f"{'0' * 64}.json").write_bytes(b"torn")
    found = inventory.jobs().set_index("digest")
    states = [found.loc[asked(account, body).digest, "state"] for body in bodies]
    assert states == ["done", "running", "submitted, but the answer was lost", "waiting for a slot"]
    assert found.loc["0" * 64, "messages"] == "its record cannot be read"
