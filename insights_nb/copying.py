"""Making the columnar copy: of each shard while it arrives, or from the shards on the disk.

While a report is fetched, every shard's text goes by once, to be checked. What reads along here parses it in other
threads and writes its columns, so that when the last byte has come little is left to do. The shards come first:
whatever hinders the copy ends the copy, in silence, and never the transfer. It is made anew from the shards where it
is wanted, and what is wrong with them is said then.
"""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from insights_nb import columns, copyfile, disk
from insights_nb.cache import Cache, Entry
from insights_nb.cells import TEXT
from insights_nb.check import Records, ShardFacts, ShardInspector
from insights_nb.errors import CacheError, FrameError, IntegrityError
from insights_nb.parsing import WORKERS, Parser, Shape, distinct
from insights_nb.watch import shielded

# By bytes of CSV, which the columns take about as many of. Below the first, reading the shards is as quick as mapping
# a copy. The first bytes up to the second are mapped as they lie; what follows is compressed, and has to be taken
# apart to be read, yet still far sooner than the shards. Above the last nothing is kept unless somebody asks to scan.
SMALLEST = 1 << 21
PLAIN = 2 << 30
LARGEST = 16 << 30
ANY_SIZE = 1 << 62
SHARE = 0.5  # of the cache's cap, that one copy may take


def allowance(cache: Cache, cap: int) -> int:
    """Return of how many bytes of CSV a copy nobody asked for may be made, beside every report the cache keeps.

    Parameters
    ----------
    cache : Cache
        The account's.
    cap : int
        Bytes the cache may take.
    """
    with suppress(OSError, CacheError):
        kept = sum(entry.manifest.size for entry in cache.entries())
        return min(LARGEST, int(cap * SHARE), cap - kept, disk.free_bytes(cache.folder) // 2)
    return 0


def is_worth_it(inflated: int, allowed: int) -> bool:
    """Whether a report of so many bytes of CSV gets a copy without being asked."""
    return SMALLEST <= inflated <= allowed


def copy(entry: Entry, asked: pa.Schema) -> None:
    """Write the copies of a published entry's shards that have none, checking the shards on the way.

    Parameters
    ----------
    entry : Entry
        Published.
    asked : pyarrow.Schema
        The columns asked for; what a shard has besides is kept as text.

    Raises
    ------
    FrameError
        A shard cannot be read as what it should be; it has no copy.
    IntegrityError
        It is not what was published.
    OSError
        The disk said no.
    """
    before = 0
    missing = set(columns.lacking(entry))
    with ThreadPoolExecutor(WORKERS, "insights-parse") as pool:
        try:
            for number, (path, shard) in enumerate(zip(entry.paths, entry.manifest.shards, strict=True)):
                if number in missing:
                    copyfile.clear_shard(path)
                    _copy_shard(_ShardCopy(path, asked, pool, packed=before > PLAIN), path, shard.sha256)
                before += shard.inflated
        except Exception:
            # A part of a copy helps nobody and takes room; after a Stop, though, it is gone on with.
            copyfile.clear_quietly(entry.folder)
            raise


def _copy_shard(made: "_ShardCopy", path: Path, sha256: str) -> None:
    inspector = ShardInspector(path.name)
    try:
        for chunk in disk.read_blocks(path):
            for records in inspector.feed(chunk):
                made.take(inspector.header, records)
        facts = inspector.finish()
        if facts.sha256 != sha256:
            raise IntegrityError(
                f"{path} has changed on the disk since it was fetched.",
                "Nothing of it is used. Ask the query again; it is fetched anew.",
            )
        made.end(facts, inspector.last)
    finally:
        made.drop()


class _ShardCopy:
    """One shard's records on their way into its copy.

    Parameters
    ----------
    path : Path
        The shard, which need not be there yet.
    asked : pyarrow.Schema
        The columns asked for.
    pool : Executor
        The threads that parse.
    packed : bool
        Compress the columns.
    ahead : int, default twice WORKERS
        Pieces that may be under way while others are collected.
    """

    def __init__(self, path: Path, asked: pa.Schema, pool: Executor, packed: bool, ahead: int = 2 * WORKERS) -> None:
        self._path = path
        self._asked = asked
        self._pool = pool
        self._parser = Parser(pool, ahead)
        self._packed = packed
        self._writing: Future[None] | None = None
        self._writer: copyfile.Writer | None = None

    def take(self, header: tuple[str, ...], records: Records) -> None:
        """Take the next records; FrameError where they are not what the columns promise."""
        writer = self._writer or self._begun(header)
        for batch in self._parser.feed(records):
            self._write(writer, batch)

    def end(self, facts: ShardFacts, last: bytes) -> None:
        """Take the last record, and give the copy its name."""
        self.take(facts.header, (last, len(last)))
        self._parser.end()
        writer = self._writer or self._begun(facts.header)
        for batch in self._parser.rest():
            self._write(writer, batch)
        self._written()
        writer.finish(facts.sha256)
        self._writer = None

    def drop(self) -> None:
        """Leave nothing half done behind."""
        self._parser.drop()
        if self._writing is not None and not self._writing.cancel():
            wait([self._writing])  # or it would write to a file that is closed
        self._writing = None
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None

    def _write(self, writer: copyfile.Writer, batch: pa.RecordBatch) -> None:
        """Let a thread write a batch, after the one before it: this one has the next text to inflate."""
        self._written()
        self._writing = self._pool.submit(writer.write, batch)

    def _written(self) -> None:
        """Wait for the last write; OSError where the disk said no."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _begun(self, header: tuple[str, ...]) -> copyfile.Writer:
        distinct(header, self._path.name)
        types: dict[str, Any] = {field.name: field.type for field in self._asked}
        there = [name for name in types if name in header]
        schema = pa.schema([(name, types.get(name, TEXT)) for name in dict.fromkeys([*there, *header])])
        self._parser.begin(Shape(self._path.name, header, schema))
        self._writer = copyfile.Writer(self._path, schema, self._packed)
        return self._writer


class Copyist:
    """Copies shards while they arrive, from any thread; nothing that hinders it is passed on.

    To be entered before the transfer and left after it: then all its copies are kept, or none where the transfer
    failed or they do not pay.

    Parameters
    ----------
    asked : pyarrow.Schema
        The columns asked for.
    allowed : int
        Bytes of CSV to copy at most.
    """

    def __init__(self, asked: pa.Schema, allowed: int) -> None:
        self._asked = asked
        self._allowed = allowed
        self._pool = ThreadPoolExecutor(WORKERS, "insights-parse")
        self._lock = threading.Lock()
        self._taken = 0
        self._made: list[Path] = []
        self._failed = False

    def __enter__(self) -> "Copyist":
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        shielded(lambda: self._pool.shutdown(cancel_futures=True))
        if kind is not None or self._failed or not is_worth_it(self._taken, self._allowed):
            for path in self._made:
                copyfile.clear_quietly(path.parent)
            self._made = []

    @property
    def files(self) -> list[str]:
        """Names of the files beside the shards that are their copies."""
        return [name for path in self._made for name in copyfile.files_of(path)]

    def follow(self, path: Path, free: int) -> "_Follower":
        """Return what reads along with a shard.

        Parameters
        ----------
        path : Path
            Where the shard will be.
        free : int
            Bytes of the disk that the shards leave free.
        """
        self._allowed = min(self._allowed, free // 2)
        # Several shards arrive at once and share the threads: one piece of each ahead keeps these busy.
        made = _ShardCopy(path, self._asked, self._pool, packed=self._taken > PLAIN, ahead=1)
        return _Follower(self, made, path)

    def may_take(self, size: int) -> bool:
        """Whether so many bytes more may be copied; counts them."""
        with self._lock:
            self._taken += size
            return self._taken <= self._allowed and not self._failed

    def keep(self, path: Path) -> None:
        """Remember a copy that was made."""
        with self._lock:
            self._made.append(path)

    def give_up(self) -> None:
        """Let no more be copied: a part of a copy helps nobody."""
        self._failed = True


class _Follower:
    """Reads along with one shard for a :class:`Copyist`; raises nothing."""

    def __init__(self, copyist: Copyist, made: _ShardCopy, path: Path) -> None:
        self._copyist = copyist
        self._made: _ShardCopy | None = made
        self._path = path

    def take(self, header: tuple[str, ...], records: Records) -> None:
        """Take the next records."""
        if self._made is not None:
            if self._copyist.may_take(len(records[0])):
                self._try(lambda made: made.take(header, records))
            else:
                self.drop()

    def end(self, facts: ShardFacts, last: bytes) -> None:
        """Take the last record of a shard that is whole, checked and in its place."""
        if self._try(lambda made: made.end(facts, last)):
            self._copyist.keep(self._path)
            self._made = None

    def drop(self) -> None:
        """Forget the shard: it is not wanted any more, or begins anew."""
        if self._made is not None:
            self._made.drop()
            self._made = None

    def _try(self, work: Callable[[_ShardCopy], None]) -> bool:
        if self._made is None:
            return False
        try:
            work(self._made)
        except (OSError, FrameError, RuntimeError, CancelledError, pa.ArrowException):
            # A disk without room, cells that are not what they should be, a pool that was shut down by Stop.
            self._copyist.give_up()
            self.drop()
            return False
        return True
