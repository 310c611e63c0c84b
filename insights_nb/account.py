"""One account's API, journal and cache: what every report of it needs."""

import os
from collections.abc import Callable
from contextlib import suppress

from insights_nb import disk
from insights_nb.cache import VERSION, Cache
from insights_nb.catalog import Schema
from insights_nb.client import Client
from insights_nb.errors import ApiError, CacheError, ConfigError, QueryError
from insights_nb.journal import Journal
from insights_nb.settings import Settings
from insights_nb.spec import Query
from insights_nb.transfer import Access
from insights_nb.watch import Clock

SCHEMA_SECONDS = 86400.0


class Account:
    """One account's API, journal and cache: what every report of it needs.

    Parameters
    ----------
    settings : Settings
        Where and who.
    clock : Clock or None
        None means the system's.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or Clock()
        self._client = Client(settings, sleep=self.clock.sleep)
        self._owner = os.getpid()
        self.cache = Cache(settings.cache_dir, settings.account)
        self.journal = Journal(settings.cache_dir / VERSION / settings.account / "jobs")
        self._schema: Schema | None = None

    @property
    def client(self) -> Client:
        """The API; a forked child gets one of its own, since two processes cannot share a connection."""
        if self._owner != os.getpid():
            self._client, self._owner = Client(self.settings, sleep=self.clock.sleep), os.getpid()
        return self._client

    def schema(self, *, fresh: bool = False) -> Schema:
        """Events and fields, from memory, from a file younger than a day, or from the service.

        Raises
        ------
        ApiError, ConfigError
            The service cannot be asked.
        """
        known = None if fresh else self.kept_schema()
        if known is None:
            known = self._schema = self.client.schema()
            path = self.cache.folder / "schema.json"
            # A list that cannot be kept is asked for again; that is no reason to fail.
            with suppress(CacheError), disk.disk_errors(self.cache.folder):
                self.cache.require_ours()
                disk.make_private_folder(path.parent)
                disk.write_json(path, {"fetched": self.clock.now(), "schema": known.to_answer()})
        return known

    def kept_schema(self) -> Schema | None:
        """Events and fields from memory, or from a file younger than a day; asks nobody."""
        if self._schema is None:
            kept = disk.read_json(self.cache.folder / "schema.json")
            # Another version's file, or garbage, is a miss.
            with suppress(ApiError, AttributeError, TypeError):
                if 0 <= self.clock.now() - kept.get("fetched", 0) < SCHEMA_SECONDS:
                    self._schema = Schema.from_answer(kept.get("schema"))
        return self._schema

    def check(self, build: Callable[[Schema], Query]) -> Query:
        """Build a query against the schema; one kept from earlier is refreshed before it refuses anything.

        Raises
        ------
        QueryError
            With everything that is wrong with the query.
        """
        kept = self._schema is not None or disk.read_json(self.cache.folder / "schema.json") is not None
        try:
            return build(self.schema())
        except QueryError:
            if not kept:
                raise
        return build(self.schema(fresh=True))

    def access(self) -> Access:
        """How to reach the file server.

        Raises
        ------
        ConfigError
            Naming every setting that is missing.
        """
        settings = self.settings
        missing = [name for name in ("sftp_host", "sftp_username") if not getattr(settings, name)]
        if settings.sftp_password is None and settings.sftp_key_file is None:
            missing.append("sftp_password or sftp_key_file")
        if missing:
            raise ConfigError(
                f"the report is ready, but the file server is not set: {', '.join(missing)}.",
                "Set them as INSIGHTS_SFTP_… or by insights.configure(…) and ask again: the report is kept.",
            )
        return Access(
            host=settings.sftp_host,
            port=settings.sftp_port,
            username=settings.sftp_username,
            password=settings.sftp_password,
            key_file=settings.sftp_key_file,
            host_keys=settings.sftp_host_key,
            root=settings.sftp_root,
        )
