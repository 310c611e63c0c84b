"""Shards from the file server to the disk: all of them, whole and checked, or an error that says how far it came.

Threads of ours hold the connections; the calling thread only waits, so that Ctrl-C is heard at once, and it
alone talks to the observer. Whatever happens, no thread and no socket outlives the call, and what was
fetched stays on disk for the next one.
"""

import errno
import functools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from insights_nb import disk, partial
from insights_nb.access import PATIENT, Access, Secret, Timeouts
from insights_nb.check import ShardFacts
from insights_nb.errors import IntegrityError, TransferError
from insights_nb.link import Link
from insights_nb.partial import Follower, Part, Target
from insights_nb.sftp import LinkLostError
from insights_nb.watch import shielded

__all__ = ["PATIENT", "Access", "Observe", "Secret", "Timeouts", "fetch_shards"]

Observe = Callable[[int, int, int], None]
Follow = Callable[[Path, int], Follower]
"""Makes what reads along with a shard, from the shard's path and the bytes of the disk that the report leaves free."""

T = TypeVar("T")

_SLICE = 0.1  # seconds between two looks of the waiting thread
_PARTING = 1.0  # seconds for the threads to end, which only a slow disk could make them need
_SPARE = 1.02  # room for the records beside the shards


def fetch_shards(
    access: Access,
    remote: Sequence[str],
    folder: Path,
    *,
    observe: Observe,
    adopt: Sequence[Path] = (),
    follow: Follow | None = None,
    connections: int = 2,
    timeouts: Timeouts = PATIENT,
) -> list[ShardFacts]:
    """Fetch a report's shards into a folder as ``shard-00000.csv.gz`` and so on.

    Parameters
    ----------
    access : Access
        The file server and the user there.
    remote : sequence of str
        Relative paths as :func:`insights_nb.location.parse_location` returned them.
    folder : Path
        Where to put the shards; made where it is missing. Shards in it that were fetched and checked before are
        kept if they are still those on the server.
    observe : callable
        Called in this thread, several times a second, with shards done, bytes done and bytes in all (0 until known).
    adopt : sequence of Path
        Folders of earlier attempts that nobody works on any more: whole shards are taken over, unfinished ones
        continued.
    follow : callable or None
        Makes what reads along with each shard that is fetched, in the thread that fetches it.
    connections : int, default 2
        How many connections at most. If the server allows fewer, fewer do the work.
    timeouts : Timeouts
        How patient to be.

    Returns
    -------
    list of ShardFacts
        One for each path, in order.

    Raises
    ------
    HostKeyError
        The server is not one we know; nothing was sent to it.
    IntegrityError
        A shard is missing, ends early, keeps changing, or fails its checks also when fetched anew.
    TransferError
        The login is refused, a file may not be read, or connections kept breaking without progress.
    CacheError
        The disk said no.
    """
    if not remote:
        return []
    with disk.disk_errors(folder):
        disk.make_private_folder(folder)
    crew = _Crew(access, remote, folder, adopt, follow, connections, timeouts)
    try:
        try:
            crew.run(crew.look_up, crew.links[:1], observe)
            crew.run(crew.fetch, crew.links, observe)
        finally:
            shielded(crew.end)
    except KeyboardInterrupt:
        # It may have struck before the end had begun; ending twice does no harm.
        crew.end()
        raise
    with disk.disk_errors(folder):
        partial.clear_leftovers(folder)
    return crew.facts()


class _StoppedError(Exception):
    """The work is not wanted any more; known to this module only."""


class _Hand(threading.Thread):
    """A thread that says when it is done.

    ``join`` will not do for waiting: Ctrl-C during it makes Python before 3.13 take the thread for ended.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()
        self._work = work

    def run(self) -> None:
        """Do the work."""
        try:
            self._work()
        finally:
            self.done.set()


class _Crew:
    """The threads at work on one report, a connection each, and what they have in common."""

    def __init__(
        self,
        access: Access,
        remote: Sequence[str],
        folder: Path,
        adopt: Sequence[Path],
        follow: Follow | None,
        connections: int,
        timeouts: Timeouts,
    ) -> None:
        root = f"{access.root.rstrip('/')}/" if access.root else ""
        self._paths = [root + path for path in remote]
        self._folder = folder
        self._adopt = [other for other in adopt if other != folder]
        self._follow = follow
        self._free = 0
        self._timeouts = timeouts
        self.links = [Link(access, timeouts) for _ in range(max(1, min(connections, len(remote))))]
        self._hands: list[_Hand] = []
        self._stop = threading.Event()
        self._failures: list[Exception] = []
        self._waiting: deque[Target] = deque()
        self._total = 0
        self._got = [0] * len(remote)
        self._facts: list[ShardFacts | None] = [None] * len(remote)

    def facts(self) -> list[ShardFacts]:
        """Return what was found in each shard, all being done."""
        return [facts for facts in self._facts if facts is not None]

    def run(self, work: Callable[[Link], None], links: Sequence[Link], observe: Observe) -> None:
        """Let a thread for each link do the work, and wait until one fails or all is done."""
        hands = [_Hand(functools.partial(self._guard, work, link)) for link in links]
        for hand in hands:
            self._hands.append(hand)
            hand.start()
        while not self._stop.is_set() and (busy := [hand for hand in hands if not hand.done.is_set()]):
            busy[0].done.wait(_SLICE)
            self._tell(observe)
            if self._total and len(self.facts()) == len(self._facts):
                # A thread may still be trying for a connection that is not needed any more.
                break
        if self._failures:
            raise self._failures[0]
        self._tell(observe)

    def end(self) -> None:
        """Stop the threads, close the connections, and wait until all are gone."""
        self._stop.set()
        for link in self.links:
            link.end()
        until = time.monotonic() + _PARTING
        for hand in self._hands:
            if hand.ident is not None and hand.done.wait(max(0.0, until - time.monotonic())):
                hand.join()

    def look_up(self, link: Link) -> None:
        """Ask the server for every shard's size and time, and see that the disk has room."""

        def ask() -> list[Target]:
            found = link.session().stat(self._paths)
            return [
                Target(index, path, remote) for index, (path, remote) in enumerate(zip(self._paths, found, strict=True))
            ]

        targets = self._patiently(link, ask, lambda: 0, "The report's files were not found out about.")
        self._total = sum(target.remote.size for target in targets)
        with disk.disk_errors(self._folder):
            there = sum(disk.size_of(self._folder / target.name) for target in targets)
        needed = int((self._total - there) * _SPARE)
        with disk.disk_errors(self._folder, needed):
            self._free = disk.free_bytes(self._folder) - needed
            if self._free < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._waiting.extend(targets)

    def fetch(self, link: Link) -> None:
        """Fetch shards until none is waiting."""
        if link is not self.links[0]:
            try:
                link.session()
            except LinkLostError:
                # The server may allow fewer connections than we would like; the others do the work.
                return
        while True:
            try:
                target = self._waiting.popleft()
            except IndexError:
                return
            with disk.disk_errors(self._folder, self._total):
                self._facts[target.index] = self._shard(link, target)
            self._got[target.index] = target.remote.size

    def _shard(self, link: Link, target: Target) -> ShardFacts:
        """Return a shard's facts: from before, from a dead kernel's folder, or from the server."""
        facts = partial.verified(self._folder, target, self._wanted)
        if facts := facts or partial.adopt(self._folder, self._adopt, target, self._wanted):
            return facts
        source = partial.leftover([self._folder, *self._adopt], target)
        part = Part(self._folder, target, self._wanted, self._follower)
        try:
            if source:
                part.take_over(source)
            try:
                return self._fetched(link, target, part)
            except IntegrityError:
                # Damage on the way, or a file that was replaced: once more, from the beginning.
                link.hang_up()
            part.restart()
            try:
                return self._fetched(link, self._looked_up_again(link, target), part)
            except IntegrityError as error:
                failure = IntegrityError(f"{error.message} It was fetched twice.", error.hint)
            raise failure
        finally:
            part.close()

    def _follower(self, path: Path) -> Follower | None:
        """Return what reads along with a shard, if anything does."""
        return self._follow(path, self._free) if self._follow else None

    def _fetched(self, link: Link, target: Target, part: Part) -> ShardFacts:
        """Fetch a shard and check it."""
        self._download(link, target, part)
        return part.publish(target)

    def _download(self, link: Link, target: Target, part: Part) -> None:
        """Bring a shard's bytes to the disk, over as many connections as it takes."""

        def attempt() -> None:
            session = link.session()
            file = session.open(target.path)
            if file.attributes() != target.remote:
                raise _changed(target)
            part.resume(file, target.remote.size)
            self._got[target.index] = part.length
            for block in file.read(part.length, target.remote.size):
                self._wanted()
                part.write(block)
                self._got[target.index] = part.length
            # By its path, since a file that was replaced lives on under the handle.
            if file.goes_on(target.remote.size) or next(session.stat([target.path])) != target.remote:
                raise _changed(target)
            file.close()

        place = f"{target.index + 1} of {len(self._paths)}"
        self._patiently(link, attempt, lambda: part.length, f"It was fetching shard {place}.")

    def _looked_up_again(self, link: Link, target: Target) -> Target:
        """Return a shard with its size and time as they are now."""
        remote = self._patiently(
            link, lambda: next(link.session().stat([target.path])), lambda: 0, "It was looking a shard up again."
        )
        self._total += remote.size - target.remote.size
        return replace(target, remote=remote)

    def _patiently(self, link: Link, attempt: Callable[[], T], progress: Callable[[], int], doing: str) -> T:
        """Make an attempt, again on a new connection when one is lost, until some bring no progress."""
        reached = progress()
        fruitless = 0
        while True:
            try:
                return attempt()
            except LinkLostError as error:
                lost = error
            self._wanted()
            link.hang_up()
            fruitless = 1 if progress() > reached else fruitless + 1
            reached = max(reached, progress())
            if fruitless >= self._timeouts.attempts:
                break
            if self._stop.wait(self._timeouts.pause * 2 ** (fruitless - 1)):
                raise _StoppedError
        done, received = len(self.facts()), sum(self._got)
        raise TransferError(
            f"{lost.message} {doing} {fruitless} connections in a row brought nothing; {done} of {len(self._paths)} "
            f"files are here and {received:,} of {self._total:,} bytes.",
            "What was fetched is kept: ask again to go on from there.",
        )

    def _wanted(self) -> None:
        """Stop this thread where the work is not wanted any more."""
        if self._stop.is_set():
            raise _StoppedError

    def _guard(self, work: Callable[[Link], None], link: Link) -> None:
        """Run in a thread: keep what it raises for the waiting one."""
        try:
            work(link)
        except _StoppedError:
            pass
        except Exception as error:
            # The first is the cause; what follows a stop is its echo.
            if not self._stop.is_set():
                self._failures.append(error)
            self._stop.set()
        finally:
            if self._stop.is_set():
                link.hang_up()

    def _tell(self, observe: Observe) -> None:
        """Tell the observer, also when only time has passed: it holds news back that comes too fast."""
        observe(len(self.facts()), sum(self._got), self._total)


def _changed(target: Target) -> IntegrityError:
    """Return the error for a file that is not what it was when it was looked up."""
    return IntegrityError(
        f"{target.path} changed on the file server while it was fetched.",
        "Ask again in a minute; if it stays so, run the query again for a new report (refresh=True).",
    )
