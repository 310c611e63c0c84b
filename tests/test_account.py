"""One account: its schema, and how it reaches the file server."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from insights_nb.account import SCHEMA_SECONDS, Account
from insights_nb.catalog import DOCUMENTED, Schema
from insights_nb.errors import ConfigError, QueryError
from insights_nb.settings import resolve
from insights_nb.spec import Query, build_query
from tests.service import QuickClock, account_for, service

OWN = {"events": {"CallEvent": ["SessionId", "Caller"]}, "last": "1h"}


def test_the_schema_is_kept_for_a_day(tmp_path: Path) -> None:
    """Memory, then a file younger than a day, then the service."""
    clock = QuickClock()
    with service(size=200) as simulator:
        first = account_for(simulator, tmp_path, clock)
        assert first.schema() == DOCUMENTED
        again = account_for(simulator, tmp_path, clock)
        assert again.schema() == DOCUMENTED
        assert simulator.count("GET", "/Q$") == 1
        clock.ahead += SCHEMA_SECONDS + 60
        account_for(simulator, tmp_path, clock).schema()
        assert simulator.count("GET", "/Q$") == 2


@pytest.mark.parametrize("content", ["", "[]", '{"fetched": "x"}', '{"fetched": 1e11, "schema": 5}', '{"schema": {}}'])
def test_a_kept_schema_that_is_garbage_is_a_miss(tmp_path: Path, content: str) -> None:
    """Whatever another version or a torn disk left there, the service is asked."""
    with service(size=200) as simulator:
        account = account_for(simulator, tmp_path, QuickClock())
        account.schema()
        path = account.cache.folder / "schema.json"
        path.write_text(content.replace("1e11", str(account.clock.now())))
        assert account_for(simulator, tmp_path).schema() == DOCUMENTED
        assert simulator.count("GET", "/Q$") == 2


def test_a_kept_schema_is_refreshed_before_it_refuses(tmp_path: Path) -> None:
    """A field the service got since yesterday is no mistake of the user's."""

    def build(schema: Schema) -> Query:
        return build_query(None, schema, now=clock_now(), **OWN)  # type: ignore[arg-type]

    with service(size=200) as simulator:
        account = account_for(simulator, tmp_path)
        account.schema()
        grown = {**DOCUMENTED.to_answer(), "CallEvent": {"fields": ["Caller"]}}
        account.client.schema = lambda: Schema.from_answer(grown)  # type: ignore[method-assign]
        assert account.check(build).columns == ("SessionId", "Caller")
        account.client.schema = lambda: DOCUMENTED  # type: ignore[method-assign]
        account.schema(fresh=True)
        with pytest.raises(QueryError, match='no field "Caller"'):
            account.check(build)


def clock_now() -> datetime:
    return datetime.now(UTC)


def test_a_file_server_that_is_not_set_is_told_with_the_report_kept() -> None:
    """Every missing setting is named at once."""
    account = Account(resolve({}, environ={"INSIGHTS_CONFIG": ""}))
    with pytest.raises(ConfigError, match="sftp_host, sftp_username, sftp_password or sftp_key_file") as caught:
        account.access()
    assert "the report is kept" in str(caught.value)


def test_a_forked_child_has_a_client_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes cannot speak over one connection: in another process the client is another."""
    account = Account(resolve({"cache_dir": tmp_path}, environ={"INSIGHTS_CONFIG": ""}))
    ours = account.client
    assert account.client is ours
    monkeypatch.setattr("os.getpid", lambda: -1)
    theirs = account.client
    assert theirs is not ours
    assert account.client is theirs


def test_a_schema_that_cannot_be_kept_is_asked_for_again(tmp_path: Path) -> None:
    """A folder that is not ours is left alone: the list of fields is used, and written nowhere."""
    with service(size=200) as simulator:
        cache = tmp_path / "cache"
        cache.mkdir(mode=0o777)
        cache.chmod(0o777)
        account = account_for(simulator, cache)
        assert account.schema() == DOCUMENTED
        assert list(cache.iterdir()) == []
        account.client.close()
