"""An entry's rows: from its columnar copy where there is a good one, else from its shards.

Either way every byte is checked before a row is seen: a copy by the hash written down beside it, shards by their
SHA-256. Reading the shards leaves a copy behind for the next time, where one pays; a disk that has no room for it, or
may not be written, is no reason to fail.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from insights_nb import columns, disk
from insights_nb.cache import Cache, Entry
from insights_nb.catalog import FieldType, nearest, type_of
from insights_nb.copying import allowance, copy, is_worth_it
from insights_nb.errors import CacheError, QueryError
from insights_nb.frame import (
    arrow_schema,
    as_frame,
    frames_of,
    read_batches,
    read_frame,
    read_outline,
    warn_of_extras,
)
from insights_nb.upkeep import evict

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

DtypeBackend = Literal["pyarrow"] | None


def chosen(asked: Sequence[str], only: Sequence[str] | None) -> list[str] | None:
    """Return the columns to read, each once, in the order given; None for all.

    Raises
    ------
    QueryError
        One of them is none of the query's.
    """
    if only is None:
        return None
    names = list(dict.fromkeys([only] if isinstance(only, str) else only))
    wrong = [name for name in names if name not in asked]
    if wrong:
        raise QueryError(
            [f'columns: "{name}" is not asked for by this query.{nearest(str(name), tuple(asked))}' for name in wrong],
            f"Its columns are {', '.join(asked)}.",
        )
    if not names:
        raise QueryError(["columns: the list is empty"], "Leave columns out to read all of them.")
    return names


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one published entry; nothing is read before a method says so.

    Parameters
    ----------
    cache : Cache
        The account's.
    entry : Entry
        Which.
    asked : tuple of str
        Columns of its query.
    cap : int
        Bytes the cache may take.
    now : float
        Unix time.
    fresh : bool
        Whether its shards were verified just now, by us.
    """

    cache: Cache
    entry: Entry
    asked: tuple[str, ...]
    cap: int
    now: float
    fresh: bool

    def frame(self, only: Sequence[str] | None, dtype_backend: DtypeBackend) -> pd.DataFrame:
        """Read all rows into a frame.

        Raises
        ------
        FrameError
            The files lack what the schema promises.
        IntegrityError
            They are not what was published.
        CacheError
            The disk said no, or the entry is gone.
        """
        schema = arrow_schema(self.asked, self._types)
        table = columns.open_table(self.entry, schema, only)
        if table is None and self._has_room() and self._copied():
            table = columns.open_table(self.entry, schema, only)
        if table is None:
            self._check()
            return self._from_shards(only, dtype_backend)
        warn_of_extras(table.column_names if only is None else [], self.asked)
        return as_frame(table, dtype_backend)

    def dataset(self) -> "Dataset":
        """Return all rows as a lazy dataset over the columnar copy, which is written now where there is none.

        Raises
        ------
        FrameError, IntegrityError, CacheError
            As :meth:`frame`; the copy needs room on the disk.
        """
        schema = arrow_schema(self.asked, self._types)
        found = columns.open_dataset(self.entry, schema)
        if found is None:
            with disk.disk_errors(self.cache.folder, self.entry.manifest.inflated):
                self._copy()
                found = columns.open_dataset(self.entry, schema)
        if found is None:
            raise CacheError(
                f"the columnar copy in {self.entry.folder} is not what was written a moment ago.",
                "Something else writes to this folder, or the disk is failing.",
            )
        return found

    def chunks(self, rows: int, only: Sequence[str] | None, dtype_backend: DtypeBackend) -> Iterator[pd.DataFrame]:
        """Check the entry, then return an iterator over frames of ``rows`` rows each, the last one shorter."""
        found = columns.open_dataset(self.entry, arrow_schema(self.asked, self._types))
        if found is None:
            self._check()
            with disk.disk_errors(self.cache.folder):
                outline = read_outline(self.entry.paths, self.asked, self._types)
            warn_of_extras(outline.schema.names if only is None else [], self.asked)
            batches: Iterator[Any] = read_batches(self.entry.paths, outline, self.entry.manifest.rows, only)
        else:
            warn_of_extras(found.schema.names if only is None else [], self.asked)
            batches = found.to_batches(columns=None if only is None else list(only), batch_readahead=1)
        return self._said(frames_of(batches, rows, dtype_backend))

    def _said(self, frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Pass frames on, and say in our words what the disk says meanwhile."""
        with disk.disk_errors(self.cache.folder):
            yield from frames

    @property
    def _types(self) -> dict[str, FieldType]:
        return {column: type_of(column) for column in self.asked}

    def _check(self) -> None:
        """Hold the shards against the manifest, unless that was done a moment ago."""
        if not self.fresh:
            self.cache.check(self.entry)

    def _from_shards(self, only: Sequence[str] | None, dtype_backend: DtypeBackend) -> pd.DataFrame:
        manifest = self.entry.manifest
        with disk.disk_errors(self.cache.folder):
            return read_frame(
                self.entry.paths,
                self.asked,
                self._types,
                dtype_backend=dtype_backend,
                rows=manifest.rows,
                only=only,
            )

    def _has_room(self) -> bool:
        """Whether a copy pays, and fits beside every report the cache keeps and on the disk."""
        return is_worth_it(self.entry.manifest.inflated, allowance(self.cache, self.cap))

    def _copied(self) -> bool:
        """Write the copy; False where the disk says no."""
        with suppress(OSError):
            self._copy()
            return True
        return False

    def _copy(self) -> None:
        """Write the copy, and let go of those of other reports where the cache is over its cap."""
        # All headers first: a column that is in none of them is said before hours of copying.
        read_outline(self.entry.paths, self.asked, self._types)
        copy(self.entry, arrow_schema(self.asked, self._types))
        with suppress(CacheError):
            evict(self.cache, self.cap, self.entry, self.now)
