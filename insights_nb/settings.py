"""Where the API is and who we are.

Each setting is looked up when it is needed; the first found wins:

1. what :func:`insights_nb.configure` or :func:`insights_nb.demo` said in this process
2. the environment, ``INSIGHTS_<SETTING>``
3. ``config.toml`` in the user's configuration folder (``INSIGHTS_CONFIG`` names another file; empty = none):
   the table ``[profiles.<name>]`` of the profile in use, then ``[default]``
4. the keyring, for secrets, where the ``keyring`` extra is installed
5. the default

Never the current folder or its parents: a notebook somebody cloned must not redirect credentials.
"""

import hashlib
import hmac
import os
import re
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import platformdirs

from insights_nb.errors import ConfigError

APP = "insights_nb"
SECRETS = frozenset({"password", "token", "sftp_password"})
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_TOKEN = re.compile(r"[!-~]+")


class Secret:
    """A value that does not show itself: not in reprs, logs or tracebacks, and never in a pickle.

    Parameters
    ----------
    value : str
        What to keep; only :meth:`reveal` gives it back.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """The value itself; call it only where it is sent."""
        return self.__value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self.__value.encode(), other.__value.encode())

    def __hash__(self) -> int:
        return hash(type(self))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is never pickled or copied")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the pipeline needs to know about where and who.

    Parameters
    ----------
    api_url, auth_url : str
        Hosts without a path; ``https``, or ``http`` for this machine.
    username, password : str, Secret
        The login for the API.
    token : Secret
        A bearer token; skips the login.
    sftp_host, sftp_port, sftp_username, sftp_password, sftp_key_file : str, int, str, Secret, Path
        The file server that holds the reports.
    sftp_host_key : tuple of str
        ``SHA256:…`` fingerprints that are trusted; empty means the user's ``known_hosts`` decides.
    sftp_root : str
        Put before the relative path of a report.
    cache_dir : Path
        Root of the disk cache.
    cache_max_bytes : int
        Size the cache is kept under.
    profile : str
        Name of the profile the values were read from.
    origins : mapping of str to str
        For each setting, where its value came from.
    """

    api_url: str = "https://api.intelepeer.com"
    auth_url: str = "https://customer.intelepeer.com"
    username: str = ""
    password: Secret | None = None
    token: Secret | None = None
    sftp_host: str = ""
    sftp_port: int = 22
    sftp_username: str = ""
    sftp_password: Secret | None = None
    sftp_key_file: Path | None = None
    sftp_host_key: tuple[str, ...] = ()
    sftp_root: str = ""
    cache_dir: Path = field(default_factory=lambda: platformdirs.user_cache_path(APP))
    cache_max_bytes: int = 20 * 10**9
    profile: str = ""
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def account(self) -> str:
        """16 hex digits for this API and user: reports of two accounts never meet on disk."""
        who = self.username or "token"
        if self.token is not None and not self.username:
            who = f"token\0{self.token.reveal()}"
        return hashlib.sha256(f"account\0{self.api_url}\0{who}".encode()).hexdigest()[:16]

    def table(self) -> list[tuple[str, str, str]]:
        """(setting, shown value, where it came from), secrets as ``***``."""
        rows = []
        for name in NAMES:
            value = getattr(self, name)
            if isinstance(value, tuple):
                value = ", ".join(value)
            shown = "" if value is None or value == "" else str(value)
            rows.append((name, shown, self.origins.get(name, "default")))
        return rows


NAMES = tuple(setting.name for setting in fields(Settings) if setting.name != "origins")


def resolve(
    overrides: Mapping[str, Any], profile: str | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Look every setting up, now.

    Parameters
    ----------
    overrides : mapping
        What this process was told; wins over everything else.
    profile : str or None
        Profile of the configuration file to read; None looks at ``overrides`` and ``INSIGHTS_PROFILE``.
    environ : mapping or None
        Environment; None means the process's own.

    Raises
    ------
    ConfigError
        For unknown keys, values that cannot be read and contradictions, all of them at once.
    """
    check_names(overrides, "configure()")
    wanted, found = _found(overrides, profile, os.environ if environ is None else environ)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    problems: list[str] = []
    for name, (raw, origin) in found.items():
        if raw == "":  # said to be unset: not even the environment is asked
            origins[name] = origin
            continue
        try:
            values[name] = _convert(name, raw)
            origins[name] = origin
        except ValueError as error:
            problems.append(f"{name} ({origin}): {error}")
    if wanted:
        values["profile"] = wanted
    if problems:
        raise ConfigError("; ".join(problems) + ".", "See every value and its source: python -m insights_nb config")
    _add_keyring(values, origins)
    return Settings(**values, origins=origins)


def wrapped(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings with every secret out of sight; what comes in as text is never left lying about in a frame."""
    return {
        name: Secret(value) if name in SECRETS and isinstance(value, str) and value else value
        for name, value in values.items()
    }


def _found(
    overrides: Mapping[str, Any], profile: str | None, environ: Mapping[str, str]
) -> tuple[str, dict[str, tuple[Any, str]]]:
    """The profile in use; and for each setting that somebody set, its value as it was given and where."""
    wanted = profile or overrides.get("profile") or environ.get("INSIGHTS_PROFILE") or ""
    file_values, file_name = _read_file(environ, wanted)
    variables = {name: f"INSIGHTS_{name.upper()}" for name in NAMES}
    given = (
        (
            wrapped({name: value for name, value in overrides.items() if value is not None}),
            dict.fromkeys(NAMES, "configure()"),
        ),
        (wrapped({name: environ[variables[name]] for name in NAMES if environ.get(variables[name])}), variables),
        (file_values, dict.fromkeys(NAMES, file_name)),
    )
    found: dict[str, tuple[Any, str]] = {}
    for values, origins in given:
        for name, value in values.items():
            found.setdefault(name, (value, origins[name]))
    return wanted, found


def check_names(given: Mapping[str, Any], source: str) -> None:
    """Refuse settings that do not exist.

    Raises
    ------
    ConfigError
        Naming the source, each unknown key and the nearest valid one.
    """
    problems = []
    for name in given:
        if name not in NAMES:
            near = get_close_matches(name, NAMES, n=1)
            problems.append(f'"{name}"' + (f' (did you mean "{near[0]}"?)' if near else ""))
    if problems:
        raise ConfigError(
            f"{source} has unknown settings: {', '.join(problems)}.", f"The settings are: {', '.join(NAMES)}."
        )


def config_file(environ: Mapping[str, str]) -> Path | None:
    """The configuration file in use, or None when ``INSIGHTS_CONFIG`` is set empty."""
    if "INSIGHTS_CONFIG" in environ:
        return Path(environ["INSIGHTS_CONFIG"]).expanduser() if environ["INSIGHTS_CONFIG"] else None
    return platformdirs.user_config_path(APP) / "config.toml"


def _read_file(environ: Mapping[str, str], profile: str) -> tuple[dict[str, Any], str]:
    path = config_file(environ)
    if path is None or (not path.exists() and "INSIGHTS_CONFIG" not in environ):
        if profile:
            raise ConfigError(
                f'profile "{profile}" is asked for, but there is no configuration file.',
                f"Write one with a table [profiles.{profile}]: {path or 'INSIGHTS_CONFIG is empty'}",
            )
        return {}, ""
    trouble = ""
    try:
        content = _sealed(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        trouble = f"the configuration file {path} cannot be read: {error}."
    if trouble:
        raise ConfigError(trouble, "Mend the file, or set INSIGHTS_CONFIG to another one (empty = none).")
    profiles = content.get("profiles", {})
    unknown = [key for key in content if key not in {"default", "profiles"}]
    if unknown or not isinstance(profiles, dict):
        raise ConfigError(
            f"the configuration file {path} has entries outside its tables: {', '.join(unknown) or 'profiles'}.",
            "Put settings under [default] or [profiles.<name>].",
        )
    if profile and profile not in profiles:
        known = ", ".join(profiles) or "none"
        raise ConfigError(f'{path} has no profile "{profile}".', f"Its profiles are: {known}.")
    merged: dict[str, Any] = {}
    for table, values in (
        ("default", content.get("default", {})),
        (f"profiles.{profile}", profiles.get(profile, {})),
    ):
        check_names(values, f"{path} [{table}]")
        merged.update(values)
    if os.name == "posix" and path.stat().st_mode & 0o077 and (told := sorted(SECRETS & set(merged))):
        warnings.warn(
            f"{path} holds {' and '.join(told)} and can be read by other users: chmod 600 it",
            UserWarning,
            stacklevel=5,
        )
    return merged, str(path)


def _sealed(content: dict[str, Any]) -> dict[str, Any]:
    """A file's tables with their secrets wrapped, whether or not they are where they belong."""
    return wrapped({key: _sealed(value) if isinstance(value, dict) else value for key, value in content.items()})


def _convert(name: str, raw: Any) -> Any:
    """One setting from text (or a ready value) to its type; ValueError says what was expected."""
    if name in SECRETS:
        return _secret(name, raw if isinstance(raw, Secret) else Secret(str(raw)))
    if name in {"sftp_port", "cache_max_bytes"}:
        try:
            number = int(raw)
        except (TypeError, ValueError):
            number = -1
        if not 0 < number <= (65535 if name == "sftp_port" else 2**63):
            raise ValueError(f"{raw!r} is no whole number in range")
        return number
    if name in {"cache_dir", "sftp_key_file"}:
        return Path(raw).expanduser()
    if name == "sftp_host_key":
        keys = raw.split(",") if isinstance(raw, str) else list(raw)
        keys = [key.strip() for key in keys if key.strip()]
        wrong = [key for key in keys if not key.startswith("SHA256:")]
        if wrong:
            raise ValueError(f'{wrong[0]!r} is no fingerprint of the form "SHA256:…"')
        return tuple(key.rstrip("=") for key in keys)
    if name in {"api_url", "auth_url"}:
        return _host(str(raw))
    return str(raw)


def _secret(name: str, secret: Secret) -> Secret:
    """A secret that can be sent; ValueError, which does not show it, for one that cannot."""
    sendable = all(not 0xD800 <= ord(letter) <= 0xDFFF for letter in secret.reveal())
    if name == "token":
        secret = Secret(secret.reveal().strip())
        sendable = _TOKEN.fullmatch(secret.reveal()) is not None
    if not sendable:
        raise ValueError("it holds characters that cannot be sent; was it copied whole, and nothing besides?")
    return secret


def _host(url: str) -> str:
    """A host's address in its plain form; ValueError for anything that could lead somewhere else than it seems to."""
    shown = repr(re.sub(r"//.*@", "//…@", url, flags=re.DOTALL))
    url = url.strip()
    parts = urlsplit(url.rstrip("/"))
    whole = (parts.scheme, parts.path, parts.query, parts.fragment) in {("https", "", "", ""), ("http", "", "", "")}
    if not whole or not _HOST.fullmatch(parts.netloc) or re.search(r"[#?\s]", url):
        raise ValueError(f'{shown} is no host of the form "https://host" (no path, no user)')
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError(f"{shown} would send the password in the clear; http is only for this machine")
    if parts.port == 0:  # itself a ValueError where it is above 65535
        raise ValueError(f"{shown} has no such port")
    return f"{parts.scheme}://{parts.netloc}"


def _add_keyring(values: dict[str, Any], origins: dict[str, str]) -> None:
    """Fill missing secrets from the keyring where that extra is installed: service insights_nb, user = setting."""
    missing = [name for name in sorted(SECRETS - {"token"}) if name not in values]
    if not missing or ("token" in values and "sftp_password" in values):
        return
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return
    backend = type(keyring.get_keyring())
    if "plaintext" in backend.__name__.lower():
        warnings.warn(
            f"the keyring ({backend.__name__}) keeps secrets in plain text, so it is not asked; set up another, or say "
            "them as INSIGHTS_PASSWORD and INSIGHTS_SFTP_PASSWORD",
            UserWarning,
            stacklevel=4,
        )
        return
    for name in missing:
        user = values.get("sftp_username" if name == "sftp_password" else "username")
        if not user:
            continue
        try:
            found = keyring.get_password(f"{APP}:{name}", user)
        except KeyringError:
            found = None
        if found:
            values[name] = Secret(found)
            origins[name] = "keyring"
