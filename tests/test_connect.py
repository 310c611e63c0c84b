"""Which service this process talks to."""

import sys
import types

import pandas as pd
import pytest

from insights_nb import connect, notebook
from insights_nb.errors import ConfigError
from tests.service import UNTIL


def test_configure_is_all_or_nothing() -> None:
    """A wrong value changes nothing; None forgets, later calls add."""
    connect.configure(username="a", sftp_port=2222)
    with pytest.raises(ConfigError):
        connect.configure(username="b", sftp_port="many")
    assert connect.settings().username == "a"
    connect.configure(username=None, sftp_host="files")
    found = connect.settings()
    assert (found.username, found.sftp_port, found.sftp_host) == ("", 2222, "files")


def test_one_account_object_for_the_same_settings() -> None:
    """Its token is kept from call to call; other settings mean another account."""
    connect.configure(username="a", password="x")
    first = connect.account_in_use()
    assert connect.account_in_use() is first
    connect.configure(password="y")
    assert connect.account_in_use() is not first


def test_demo_is_idempotent_and_replaceable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same options keep the running service; others start a new one and end the old."""
    monkeypatch.setenv("INSIGHTS_TOKEN", "canary")
    first = connect.demo(size=500, until=UNTIL)
    assert connect.demo(size=500, until=UNTIL) is first
    found = connect.settings()
    assert found.api_url == first.settings["api_url"]
    assert found.sftp_host_key == (first.settings["sftp_host_key"],)
    assert found.token is None, "a real token must never reach the demo"
    second = connect.demo(size=600, until=UNTIL)
    assert second is not first
    assert connect.is_demo()
    connect.reset()
    assert not connect.is_demo()


def test_the_demo_keeps_its_reports_out_of_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a cache folder of the user's own, the demo's goes when it ends."""
    monkeypatch.delenv("INSIGHTS_CACHE_DIR")
    connect.demo(size=500, until=UNTIL)
    folder = connect.settings().cache_dir
    notebook.query(events={"CallEvent": ["SessionId"]}, since="2026-11-13", until="2026-11-20", progress="none")
    assert list(folder.rglob("*.csv.gz"))
    connect.reset()
    assert not folder.exists()


def test_the_demo_serves_rows_of_your_own() -> None:
    """A frame given as events comes back through the whole pipeline, its extra column too."""
    rows = pd.DataFrame(
        {
            "EventName": ["CallEvent"] * 2,
            "TimeStamp": pd.to_datetime(["2026-11-14T10:00:00Z", "2026-11-14T10:00:05Z"]),
            "SessionId": ["1794650400-1", "1794650400-2"],
            "Caller": ["+15555550123", "+15555550199"],
        }
    )
    connect.demo(events=rows)
    connect.demo(events=rows)
    found = notebook.query(
        events={"CallEvent": ["SessionId", "Caller"]}, since="2026-11-14", until="2026-11-15", progress="none"
    )
    assert sorted(found["Caller"]) == ["+15555550123", "+15555550199"]


class Shell:
    """As much of IPython's shell as is looked at."""

    def __init__(self, cell: str) -> None:
        self.user_ns = {"In": ["", "an earlier cell with canary-secret", cell]}


def test_a_password_spelled_out_in_a_cell_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """A literal in the running cell is in the notebook and the history; one that came from elsewhere is not."""
    ipython = types.ModuleType("IPython")
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    vars(ipython)["get_ipython"] = lambda: Shell('insights.configure(password="canary-secret", token="canary-other")')
    with pytest.warns(UserWarning, match=r"password and token stands in the cell.*INSIGHTS_PASSWORD") as caught:
        connect.configure(password="canary-secret", token="canary-other", username="me")
    assert len(caught) == 1
    assert "canary" not in str(caught[0].message)
    vars(ipython)["get_ipython"] = lambda: Shell("insights.configure(password=getpass.getpass())")
    connect.configure(password="canary-secret")
    vars(ipython)["get_ipython"] = lambda: None
    connect.configure(password="canary-secret")


def test_what_was_said_is_kept_wrapped() -> None:
    """Secrets said to this process are in no dictionary of ours as plain text."""
    connect.configure(username="me", password="canary-secret", sftp_password="canary-secret", token="canary-secret")
    assert "canary" not in repr(connect._overrides)
    password = connect.settings().password
    assert password is not None
    assert password.reveal() == "canary-secret"
