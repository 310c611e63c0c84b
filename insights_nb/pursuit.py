"""Seeing a report through: from an id, or from no slot yet, to a published entry of the cache.

One kernel drives a report, the others wait for it and find the same entry. What a killed one left behind is taken
over, what rotted on the disk is fetched again.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from insights_nb.account import Account
from insights_nb.cache import Entry, Manifest, expiry
from insights_nb.catalog import type_of
from insights_nb.copying import ANY_SIZE, Copyist, allowance
from insights_nb.errors import CacheError, IntegrityError, UnknownReportError
from insights_nb.frame import arrow_schema
from insights_nb.journal import Job, State
from insights_nb.progress import Stage
from insights_nb.spec import Query
from insights_nb.transfer import fetch_shards
from insights_nb.upkeep import evict, sweep
from insights_nb.waiting import settle, timed_out, wait_for_completion, wait_for_location, wait_for_slot
from insights_nb.watch import SLICE_SECONDS, Watch

MISSING_SECONDS = 60.0


class Pursuit:
    """One query on its way to the cache.

    Parameters
    ----------
    account : Account
        Whose.
    query : Query
        What.
    job : Job or None
        The report some kernel asked for; None before there is an id.
    entry : Entry or None
        The published entry, where there is one.
    refresh : bool
        Take no other report than this job's.
    """

    def __init__(self, account: Account, query: Query, job: Job | None, entry: Entry | None, refresh: bool) -> None:
        self.account = account
        self.query = query
        self.job = job
        self.entry = entry
        self._refresh = refresh
        self._damaged: Manifest | None = None
        self._sole = True
        self._to_scan = False

    @property
    def id(self) -> str:
        """The service's id; empty while the query waits for a slot."""
        if self.entry is not None:
            return self.entry.manifest.report_id
        return self.job.report_id if self.job else ""

    def give_up(self, entry: Entry) -> None:
        """Put an entry that failed its check out of the way; the next :meth:`obtain` fetches it anew."""
        self.account.cache.quarantine(entry)
        self.entry, self._damaged = None, entry.manifest

    def obtain(self, watch: Watch, *, to_scan: bool = False) -> Entry:
        """The published entry: by driving the report ourselves, or by waiting for the kernel that does.

        To scan it, its columnar copy is wanted whatever its size.
        """
        account = self.account
        self._to_scan = to_scan
        with self._driving(watch) as self._sole:
            wanted = self.id if self._refresh else ""
            found = account.cache.find(self.query.digest, account.clock.now(), wanted)
            if found is None:
                found = self._fetched_again(watch) or self._pursued(watch)
        self.entry = found
        return found

    def _pursued(self, watch: Watch) -> Entry:
        """The entry of a report we see through ourselves."""
        self.job = self.job or wait_for_slot(self.account, self.query, watch)
        wait_for_completion(self.account, self.job, watch)
        return self._fetch(self.job, watch)

    def _fetched_again(self, watch: Watch) -> Entry | None:
        """The files of a damaged entry once more, where the service and the file server still have them."""
        damaged = self._damaged
        if damaged is None:
            return None
        job = Job(damaged.digest, damaged.text, self.query.asked, State.READY, damaged.submitted, 0, damaged.report_id)
        with suppress(UnknownReportError, IntegrityError):
            return self._fetch(job, watch)
        return None

    @contextmanager
    def _driving(self, watch: Watch) -> Iterator[bool]:
        """Hold the right to drive the report; yields whether every other kernel is kept out."""
        driver = self.account.journal.driver(self.query.digest)
        try:
            while not driver.try_acquire():
                watch.tell(stage=Stage.FOLLOWING, report_id=self.id or None)
                if not watch.pause(SLICE_SECONDS):
                    raise timed_out(self.id, "another kernel still works on it")
            yield driver.is_sole
        finally:
            driver.release()

    def _fetch(self, job: Job, watch: Watch) -> Entry:
        """Fetch and verify every shard, then publish them as one entry."""
        account = self.account
        remote = wait_for_location(account, job, watch)
        access = account.access()
        watch.tell(stage=Stage.DOWNLOADING, shards=len(remote), shards_done=0, report_id=job.report_id)
        staging = account.cache.staging(self.query.digest)

        def observe(done: int, received: int, total: int) -> None:
            watch.tell(stage=Stage.DOWNLOADING, shards_done=done, bytes_done=received, bytes_total=total)

        cap = account.settings.cache_max_bytes
        allowed = ANY_SIZE if self._to_scan else allowance(account.cache, cap)
        asked = arrow_schema(self.query.columns, {column: type_of(column) for column in self.query.columns})
        until = watch.elapsed() + MISSING_SECONDS
        while True:
            leftovers = account.cache.leftovers(self.query.digest, staging)
            copyist = Copyist(asked, allowed)
            try:
                with copyist:
                    facts = fetch_shards(
                        access, remote, staging, observe=observe, adopt=leftovers, follow=copyist.follow
                    )
                break
            except IntegrityError as error:
                # A file server behind the service may show a listed file a little later.
                if not error.missing or watch.elapsed() > until or not watch.pause(2.0):
                    raise
            remote = wait_for_location(account, job, watch)
        now = account.clock.now()
        manifest = Manifest(
            digest=self.query.digest,
            text=self.query.text,
            report_id=job.report_id,
            submitted=job.submitted,
            fetched=now,
            expires=expiry(self.query.window[1], job.submitted, now),
            shards=(),
        )
        entry = account.cache.publish(staging, manifest, facts, beside=copyist.files, sweep=self._sole)
        settle(account, job, State.DONE)
        # What cannot be tidied up now is with the next report; this one is there.
        with suppress(CacheError):
            evict(account.cache, cap, entry, now)
            sweep(account.cache, now)
            account.journal.prune(now)
        return entry
