"""Settings: order of sources, conversions, secrets."""

import copy
import os
import pickle
import sys
import types
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


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example#x",
        "https://api.example?x",
        "https://api.example#",
        "https://api.example\\@evil.example",
        "https://evil.example\\.api.example",
        "https://api.ex\nample",
        "https://api.example:0",
        "https://api.example:99999",
        "https://",
        "https://[::1",
        "ftp://api.example",
        "//api.example",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://[::2]",
    ],
)
def test_an_address_that_could_lead_elsewhere_is_refused(url: str) -> None:
    """Only a plain host passes, over https, or http for this machine."""
    with pytest.raises(ConfigError, match="api_url"):
        resolve({"api_url": url}, environ={"INSIGHTS_CONFIG": ""})


@pytest.mark.parametrize(
    "url", ["https://API.example:8443/", "http://[::1]:8080", "http://localhost", "https://10.0.0.1"]
)
def test_plain_addresses_pass(url: str) -> None:
    """Ports, IPv6 and loopback names are fine."""
    assert resolve({"api_url": url}, environ={"INSIGHTS_CONFIG": ""}).api_url == url.rstrip("/")


def test_a_password_in_an_address_is_not_repeated() -> None:
    """The message shows the address without the login somebody put there."""
    with pytest.raises(ConfigError) as caught:
        resolve({"api_url": "https://user:canary-p/ss@api.example"}, environ={"INSIGHTS_CONFIG": ""})
    assert "canary" not in str(caught.value)
    assert "https://…@api.example" in str(caught.value)


@pytest.mark.parametrize("token", ["two words", "caf\u00e9", "a\nb", "\udce9", "\u2026"])
def test_a_token_that_cannot_be_sent_is_refused_without_being_shown(token: str) -> None:
    """Found out when it is set, not in the middle of a request; and blanks around a token are a slip of the hand."""
    with pytest.raises(ConfigError, match=r"token .*cannot be sent") as caught:
        resolve({}, environ={"INSIGHTS_CONFIG": "", "INSIGHTS_TOKEN": f"canary{token}"})
    assert "canary" not in str(caught.value)
    found = resolve({}, environ={"INSIGHTS_CONFIG": "", "INSIGHTS_TOKEN": " abc\n"}).token
    assert found is not None
    assert found.reveal() == "abc"


def test_a_password_of_broken_text_is_refused() -> None:
    """Bytes of the environment that are no text cannot be sent as JSON."""
    with pytest.raises(ConfigError, match=r"password .*cannot be sent"):
        resolve({}, environ={"INSIGHTS_CONFIG": "", "INSIGHTS_PASSWORD": "canary\udcff"})


class FakeKeyring(types.ModuleType):
    """What the keyring extra offers, over a dictionary."""

    def __init__(self, backend: type, kept: dict[tuple[str, str], str]) -> None:
        super().__init__("keyring")
        self.backend, self.kept = backend, kept

    def get_keyring(self) -> object:
        """The backend in use."""
        return self.backend()

    def get_password(self, service: str, user: str) -> str | None:
        """What is kept, unless the backend fails."""
        if self.backend.__name__ == "Keyring":
            raise KeyError("no backend")
        return self.kept.get((service, user))


@pytest.mark.parametrize("name", ["SecretService", "PlaintextKeyring", "Keyring"])
def test_a_keyring_that_keeps_no_secret_is_not_asked(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A backend in plain text is refused with a warning, one that fails is as good as none, a real one is used."""
    kept = {("insights_nb:password", "me"): "canary", ("insights_nb:sftp_password", "files"): "canary2"}
    errors = types.ModuleType("keyring.errors")
    vars(errors)["KeyringError"] = KeyError
    monkeypatch.setitem(sys.modules, "keyring", FakeKeyring(type(name, (), {}), kept))
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    given = {"username": "me", "sftp_username": "files"}
    if name == "PlaintextKeyring":
        with pytest.warns(UserWarning, match="PlaintextKeyring.* keeps secrets in plain text"):
            found = resolve(given, environ={"INSIGHTS_CONFIG": ""})
    else:
        found = resolve(given, environ={"INSIGHTS_CONFIG": ""})
    assert (found.password, found.sftp_password) == (
        (Secret("canary"), Secret("canary2")) if name == "SecretService" else (None, None)
    )


def test_an_error_keeps_no_secret_in_its_frames(tmp_path: Path) -> None:
    """Where some setting is wrong, the others' secrets are wrapped in every frame that the error holds."""
    path = tmp_path / "config.toml"
    path.write_text('[default]\npassword = "canary-file"\nsftp_password = "canary-file"\nsftp_port = "x"\n')
    path.chmod(0o600)
    environ = {"INSIGHTS_CONFIG": str(path)}
    with pytest.raises(ConfigError) as caught:
        resolve({"token": "canary-said", "api_url": "x"}, environ=environ)
    trace = caught.value.__traceback__
    while trace and trace.tb_frame.f_globals["__name__"] != "insights_nb.settings":
        trace = trace.tb_next
    # What came in is the caller's; what we made of it is ours.
    frames = [{**trace.tb_frame.f_locals, "overrides": None}] if trace else []
    assert frames
    assert "canary" not in repr(frames)


@pytest.mark.skipif(os.name != "posix", reason="modes mean something else there")
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o604])
def test_a_file_of_secrets_that_others_can_read_is_warned_of(tmp_path: Path, mode: int) -> None:
    """Once, with what to do, where it holds a secret; a file without one may be anybody's."""
    path = tmp_path / "config.toml"
    path.write_text('[default]\nusername = "me"\n[profiles.lab]\npassword = "canary"\n')
    path.chmod(mode)
    environ = {"INSIGHTS_CONFIG": str(path)}
    assert resolve({}, environ=environ).username == "me"
    if mode & 0o077:
        with pytest.warns(UserWarning, match="holds password and can be read by other users: chmod 600 it"):
            resolve({}, "lab", environ)
    else:
        assert resolve({}, "lab", environ).password == Secret("canary")
