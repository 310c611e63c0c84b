"""Which service this process talks to: what it was told, the local demo service, and the account in use."""

import atexit
import sys
import tempfile
import warnings
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import pandas as pd

from insights_nb.account import Account
from insights_nb.errors import ConfigError
from insights_nb.settings import SECRETS, Settings, check_names, resolve, wrapped

if TYPE_CHECKING:
    from insights_nb.simulator import Simulator


def configure(profile: str | None = None, **settings: Any) -> None:
    """Set where the API is and who we are, for this process.

    Parameters
    ----------
    profile : str, optional
        Profile of the configuration file.
    **settings
        ``api_url, auth_url, username, password, token, sftp_host, sftp_port, sftp_username, sftp_password,
        sftp_key_file, sftp_host_key, sftp_root, cache_dir, cache_max_bytes``. None forgets what was said before;
        an empty text means "not set", whatever the environment says.

    Raises
    ------
    ConfigError
        For unknown settings and values that cannot be read; nothing is changed then.

    Warns
    -----
    UserWarning
        A secret stands in the cell's own text: it is saved with the notebook.
    """
    spelled = _spelled_out(settings)
    settings = wrapped(settings)
    if profile is not None:
        settings["profile"] = profile
    check_names(settings, "configure()")
    changed = {**_overrides, **settings}
    resolve(changed)
    _overrides.update(settings)
    if spelled:
        warnings.warn(
            f"{' and '.join(spelled)} stands in the cell: it is saved with the notebook and in IPython's history. "
            f"Set {' and '.join(f'INSIGHTS_{name.upper()}' for name in spelled)} in the environment, or write "
            f"{spelled[0]}=getpass.getpass(); then remove it from the cell.",
            UserWarning,
            stacklevel=2,
        )


def _spelled_out(settings: dict[str, Any]) -> list[str]:
    """Names of the secrets that the running cell holds as text; none outside IPython, which is not imported for it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    cells = shell.user_ns.get("In") if shell is not None else None
    cell = str(cells[-1]) if cells else ""
    secrets = {name: value for name, value in settings.items() if name in SECRETS and isinstance(value, str) and value}
    return sorted(name for name, value in secrets.items() if value in cell)


def demo(seed: int = 7, **options: Any) -> "Simulator":
    """Start the local Insights service in this process and point this process at it.

    The service is real HTTP and real SFTP on 127.0.0.1, with invented callers, or with rows of your own. Asked
    again with the same options, the running one is kept.

    Parameters
    ----------
    seed : int, default 7
        Of the invented callers.
    **options
        ``size`` (events, 200,000 unless said), ``until`` (end of the seven days of data; now unless said),
        ``events`` (a DataFrame, or the path of a CSV, CSV.gz or Parquet file, to serve instead), and the other
        options of :class:`insights_nb.simulator.Simulator`.

    Returns
    -------
    Simulator
        The running service; ``.truths`` says what was planted in its data. It ends with the process.

    Raises
    ------
    ConfigError
        The ``demo`` extra is not installed.
    """
    wanted = {"seed": seed, **options}
    if _demo.service is not None and _demo.is_same(wanted):
        return _demo.service
    missing = ""
    try:
        from insights_nb.simulator import Simulator
    except ImportError as error:
        missing = str(error.name)
    if missing:
        raise ConfigError(
            f"the local service needs {missing}, which is not installed.", "Install it: pip install 'insights_nb[demo]'"
        )
    service = Simulator(**wanted).start()
    _demo.stop()
    _demo.service, _demo.options = service, wanted
    _overrides.update(dict.fromkeys(_CONNECTION, ""), **wrapped(service.settings))
    if not resolve(_overrides).origins.get("cache_dir"):
        # The service ends with this process, and so do its reports.
        _demo.folder = tempfile.TemporaryDirectory(prefix="insights-demo-", ignore_cleanup_errors=True)
        _overrides["cache_dir"] = _demo.folder.name
    return service


def settings(profile: str | None = None) -> Settings:
    """The settings in use, looked up now; secrets show as ``***``.

    Raises
    ------
    ConfigError
        When they cannot be read.
    """
    return resolve(_overrides, profile)


def account_in_use(profile: str | None = None) -> Account:
    """The account of the settings in use; one object for the same settings, so that its token is kept."""
    found = resolve(_overrides, profile)
    for account in _accounts:
        if account.settings == found:
            return account
    _accounts.append(Account(found))
    return _accounts[-1]


def reset() -> None:
    """Forget what this process was told, and end its local service."""
    _demo.stop()
    _overrides.clear()
    _accounts.clear()


def is_demo() -> bool:
    """Whether the local service of this process is running."""
    return _demo.service is not None


@dataclass
class _Demo:
    """The local service of this process, if there is one."""

    service: "Simulator | None" = None
    options: dict[str, Any] | None = None
    folder: tempfile.TemporaryDirectory[str] | None = None

    def is_same(self, options: dict[str, Any]) -> bool:
        """Whether the running service was started with these options."""
        ours = self.options or {}
        # identity first: a DataFrame compares cell by cell
        return ours.keys() == options.keys() and all(
            ours[name] is value or (not isinstance(value, pd.DataFrame) and ours[name] == value)
            for name, value in options.items()
        )

    def stop(self) -> None:
        """End the service and forget its reports."""
        if self.service is not None:
            self.service.stop()
            self.service = None
        if self.folder is not None:
            if _overrides.get("cache_dir") == self.folder.name:
                del _overrides["cache_dir"]
            self.folder.cleanup()
            self.folder = None


_overrides: dict[str, Any] = {}
_accounts: list[Account] = []
_demo = _Demo()
_CONNECTION = tuple(
    field.name for field in fields(Settings) if field.name not in {"cache_dir", "cache_max_bytes", "profile", "origins"}
)
atexit.register(_demo.stop)
