"""Settings: order of sources, conversions, secrets."""

import copy
import pickle
from pathlib import Path

import pytest

from insights_nb.errors import ConfigError
from insights_nb.settings import NAMES, Secret, Settings, check_names, config_file, resolve


def test_what_was_said_wins_over_environment_and_file(tmp_path: Path) -> None:
    """Each source gives way to the one before it."""
    path = tmp_path / "config.toml"
    path.write_text(
        '[default]\nusername = "file"\nsftp_root = "file"\nsftp_host = "file"\n[profiles.lab]\nsftp_host = "lab"\n'
    )
    environ = {"INSIGHTS_CONFIG": str(path), "INSIGHTS_USERNAME": "env", "INSIGHTS_SFTP_ROOT": "env"}
    found = resolve({"username": "said"}, "lab", environ)
    assert (found.username, found.sftp_root, found.sftp_host, found.profile) == ("said", "env", "lab", "lab")
    assert found.origins["username"] == "configure()"
    assert found.origins["sftp_root"] == "INSIGHTS_SFTP_ROOT"
    assert found.origins["sftp_host"] == str(path)
    assert found.api_url == "https://api.intelepeer.com"


def test_an_empty_override_hides_the_environment() -> None:
    """What the demo unsets stays unset."""
    found = resolve({"token": ""}, environ={"INSIGHTS_CONFIG": "", "INSIGHTS_TOKEN": "canary"})
    assert found.token is None


def test_profile_comes_from_environment_too(tmp_path: Path) -> None:
    """INSIGHTS_PROFILE names the table to read."""
    path = tmp_path / "config.toml"
    path.write_text('[profiles.lab]\nusername = "lab"\n')
    assert resolve({}, environ={"INSIGHTS_CONFIG": str(path), "INSIGHTS_PROFILE": "lab"}).username == "lab"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"sftp_pport": 22}, 'configure() has unknown settings: "sftp_pport" (did you mean "sftp_port"?)'),
        ({"sftp_port": "many"}, "sftp_port (configure()): 'many' is no whole number in range"),
        ({"sftp_port": 70000}, "sftp_port (configure()): 70000 is no whole number in range"),
        ({"api_url": "https://host/path"}, "is no host of the form"),
        ({"api_url": "http://example.com"}, "would send the password in the clear"),
        ({"sftp_host_key": "MD5:00"}, 'is no fingerprint of the form "SHA256:…"'),
    ],
)
def test_a_wrong_value_is_named_with_its_source(overrides: dict[str, object], said: str) -> None:
    """The message says which setting, where from, and what was expected."""
    with pytest.raises(ConfigError) as caught:
        resolve(overrides, environ={"INSIGHTS_CONFIG": ""})
    assert said in str(caught.value)


def test_every_wrong_value_is_told_at_once() -> None:
    """Two problems make one message."""
    with pytest.raises(ConfigError, match=r"api_url.*sftp_port"):
        resolve({"api_url": "x", "sftp_port": "x"}, environ={"INSIGHTS_CONFIG": ""})


def test_http_is_for_this_machine_only() -> None:
    """A loopback address may be plain http, as the demo's is."""
    assert (
        resolve({"api_url": "http://127.0.0.1:80/"}, environ={"INSIGHTS_CONFIG": ""}).api_url == "http://127.0.0.1:80"
    )


@pytest.mark.parametrize(
    ("content", "profile", "said"),
    [
        ("nonsense", None, "cannot be read"),
        ('username = "loose"', None, "entries outside its tables: username"),
        ('[default]\nusernam = "x"', None, 'did you mean "username"?'),
        ("[default]", "lab", 'has no profile "lab"'),
    ],
)
def test_a_wrong_configuration_file_is_named(tmp_path: Path, content: str, profile: str | None, said: str) -> None:
    """The message names the file and the entry."""
    path = tmp_path / "config.toml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        resolve({}, profile, {"INSIGHTS_CONFIG": str(path)})
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """Only the default file may be absent."""
    with pytest.raises(ConfigError, match="cannot be read"):
        resolve({}, environ={"INSIGHTS_CONFIG": str(tmp_path / "none.toml")})


def test_a_profile_without_a_file_is_an_error() -> None:
    """Asking for a profile where no file exists says where to write one."""
    with pytest.raises(ConfigError, match='profile "lab" is asked for'):
        resolve({}, "lab", {"INSIGHTS_CONFIG": ""})


def test_the_current_folder_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cloned notebook cannot redirect credentials."""
    (tmp_path / "config.toml").write_text('[default]\nusername = "planted"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "elsewhere"))
    assert resolve({}, environ={}).username == ""
    assert config_file({"INSIGHTS_CONFIG": ""}) is None


def test_a_secret_shows_itself_nowhere() -> None:
    """Not in reprs, formats, pickles or copies."""
    secret = Secret("canary")
    settings = Settings(username="demo", password=secret)
    for text in (repr(secret), str(secret), f"{secret}", repr(settings), str(settings.table())):
        assert "canary" not in text
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(secret)
    assert secret.reveal() == "canary"
    assert secret == Secret("canary")
    assert secret != Secret("other")


def test_accounts_are_told_apart_without_their_secrets() -> None:
    """Same host and user: one account; another user, host or token: another."""
    one = Settings(username="a", password=Secret("x"))
    assert one.account == Settings(username="a", password=Secret("y")).account
    others = [Settings(username="b"), Settings(username="a", api_url="https://other"), Settings(token=Secret("t"))]
    assert len({settings.account for settings in (one, *others)}) == 4


def test_every_setting_is_listed() -> None:
    """The table has a row for each, defaults too."""
    assert [name for name, _, _ in Settings().table()] == list(NAMES)
    check_names(dict.fromkeys(NAMES), "test")
