"""The life of a local Insights service: bound when made, serving when started, gone without a trace when stopped."""

import atexit
import contextlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import pandas as pd

from .api import Api, Call, Tokens
from .callers import invent
from .faults import Fault, FaultPlan
from .files import Log, Site, Visit
from .foreign import read
from .reports import Reports
from .schema import documented
from .sftp import Account, FileServer, public_key
from .sockets import listening
from .store import Store
from .truths import Truths
from .web import Web

# Invented, printed by the demo, and good for 127.0.0.1 only: these protect nothing.
_PASSWORD = "invented-password"  # noqa: S105
_SFTP_PASSWORD = "invented-sftp-password"  # noqa: S105


class Simulator:
    """A local Insights service: the API over HTTP and its report files over SFTP, on 127.0.0.1 only.

    Both sockets are bound here; ``start`` (or ``with``) serves. Events are invented unless given.

    Parameters
    ----------
    events
        Data to serve instead: a DataFrame, or the path of a CSV, CSV.gz or Parquet file, with at least
        EventName, TimeStamp and SessionId (see ``foreign.read``).
    seed, size, until
        The invented events: their seed, about how many, and the moment at which their seven days end
        (ISO text or datetime, naive = UTC; default now). The same three give the same events.
    username, password
        The API's one login.
    sftp_username, sftp_password, sftp_key
        The file server's one login, and a public key that is good too (an ``authorized_keys`` line).
    sftp_root
        The folder on the file server that locations are relative to.
    port, sftp_port
        0 for free ones.
    pending
        Seconds for which a report stays ``Pending`` at least; ``math.inf`` means until ``release``.
    shard_rows
        The most rows a shard may have; real sizes vary between 70 and 100 % of it.
    token_life
        Seconds for which a token is good.
    layout
        ``"union"``: one table with the columns of all events; ``"per_event"``: one set of files per event.
    faults
        What is to go wrong; more can be added while serving.
    clock
        Seconds, monotonic; rules token life and pending time.
    slots
        How many reports may run at once.

    Raises
    ------
    ValueError
        The data or an argument cannot be used.
    OSError
        A port is taken.

    Examples
    --------
    >>> with Simulator(size=1000) as service:  # doctest: +SKIP
    ...     print(service.settings["api_url"])
    """

    def __init__(
        self,
        *,
        events: pd.DataFrame | str | Path | None = None,
        seed: int = 7,
        size: int = 200_000,
        until: str | datetime | None = None,
        username: str = "demo",
        password: str = _PASSWORD,
        sftp_username: str = "reports",
        sftp_password: str = _SFTP_PASSWORD,
        sftp_key: str | None = None,
        sftp_root: str = "",
        port: int = 0,
        sftp_port: int = 0,
        pending: float = 0.0,
        shard_rows: int = 100_000,
        token_life: float = 86_400.0,
        layout: Literal["union", "per_event"] = "union",
        faults: FaultPlan | Sequence[Fault] = (),
        clock: Callable[[], float] = time.monotonic,
        slots: int = 2,
    ) -> None:
        _check(layout=layout, shard_rows=shard_rows, slots=slots, sftp_root=sftp_root)
        account = Account(sftp_username, sftp_password, public_key(sftp_key) if sftp_key else None)
        if events is None:
            table, self.truths = invent(documented(), seed=seed, size=size, until=until)
            schema = documented()
        else:
            table, schema = read(events, documented())
            self.truths = Truths()
        self.faults = faults if isinstance(faults, FaultPlan) else FaultPlan(faults)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._started = self._stopped = False
        self._log = Log(clock)
        self._tokens = Tokens(username, password, token_life, clock)
        with contextlib.ExitStack() as undo:
            web_socket = undo.enter_context(listening(port))
            file_socket = undo.enter_context(listening(sftp_port))
            home = Path(tempfile.mkdtemp(prefix="insights-simulator-")).resolve()
            undo.callback(shutil.rmtree, home, ignore_errors=True)
            undo.pop_all()
        tree, workshop = home / "tree", home / "workshop"
        tree.mkdir(mode=0o700)
        workshop.mkdir(mode=0o700)
        self._store = Store(table, schema)
        self._reports = Reports(
            self._store,
            workshop,
            tree,
            root=sftp_root,
            slots=slots,
            pending=pending,
            shard_rows=shard_rows,
            per_event=layout == "per_event",
            seed=seed,
            clock=clock,
            faults=self.faults,
        )
        self._api = Api(self._tokens, self._reports, schema, self.faults, self._wait, clock)
        self._web = Web(web_socket, self._api)
        self._files = FileServer(file_socket, Site(tree, self.faults, self._log, self._wait), account)
        url = f"http://127.0.0.1:{self._web.port}"
        self.settings: dict[str, str] = {
            "api_url": url,
            "auth_url": url,
            "username": username,
            "password": password,
            "sftp_host": "127.0.0.1",
            "sftp_port": str(file_socket.getsockname()[1]),
            "sftp_username": sftp_username,
            "sftp_password": sftp_password,
            "sftp_host_key": self._files.fingerprint,
            "sftp_root": sftp_root,
        }
        # For interpreters that end without stop; a forked child must not tidy up its parent's service.
        self._home, self._process_id = home, os.getpid()
        atexit.register(self._at_exit)

    def start(self) -> Self:
        """Serve, and return the service itself. A service that serves already is left alone.

        Raises
        ------
        RuntimeError
            The service has been stopped; make another.
        """
        if self._stopping.is_set():
            raise RuntimeError("this simulator has been stopped; make another one")
        with self._lock:
            if not self._started:
                self._started = True
                self._web.start()
                self._files.start()
        return self

    def stop(self) -> None:
        """Stop serving: no thread, socket or folder is left. A stopped service is left alone."""
        with self._lock:
            if self._stopped:
                return
            self._stopping.set()
            self._web.stop()
            self._files.stop()
            self._reports.stop()
            self._store.close()
            shutil.rmtree(self._home, ignore_errors=True)
            atexit.unregister(self._at_exit)
            self._stopped = True

    def _at_exit(self) -> None:
        if os.getpid() == self._process_id:
            self.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Simulator {self.settings['api_url']} sftp 127.0.0.1:{self.settings['sftp_port']}>"

    @property
    def calls(self) -> list[Call]:
        """Return every HTTP request so far, in the order they were answered."""
        return self._api.calls

    @property
    def visits(self) -> list[Visit]:
        """Return every step of SFTP clients so far."""
        return self._log.visits

    def count(self, method: str = "", path: str = "") -> int:
        r"""Return how many HTTP requests there were.

        Parameters
        ----------
        method
            Only this method; empty for all.
        path
            A regular expression searched in the path, such as ``r"/dwh/Q$"``; empty for all.
        """
        return sum(
            (not method or call.method == method) and re.search(path, call.path) is not None for call in self.calls
        )

    def hold(self) -> None:
        """Keep every report that has not ended yet, and every new one, ``Pending`` until ``release``."""
        self._reports.hold()

    def release(self) -> None:
        """Let every report end as soon as its files are there, whatever its pending time."""
        self._reports.release()

    def settle(self) -> None:
        """Wait until no report is being written, so that the next status call tells the last word."""
        self._reports.settle()

    def forget_tokens(self) -> None:
        """Make every token given out so far worthless, as after 24 hours."""
        self._tokens.forget()

    def _wait(self, fault: Fault, worth: Callable[[], bool] = lambda: True) -> None:
        """Wait as a fault says, but never longer than the service lives or the other side cares."""
        if fault.gate is not None:
            while worth() and not self._stopping.is_set() and not fault.gate.wait(0.02):
                pass
        elif fault.do == "stall":
            while worth() and not self._stopping.wait(0.02):
                pass
        else:
            self._stopping.wait(fault.seconds)


def _check(*, layout: str, shard_rows: int, slots: int, sftp_root: str) -> None:
    if layout not in ("union", "per_event"):
        raise ValueError(f"layout is 'union' or 'per_event', not {layout!r}")
    if shard_rows < 1 or slots < 1:
        raise ValueError("shard_rows and slots count from 1")
    if any(part in ("", ".", "..") for part in sftp_root.split("/")) and sftp_root:
        raise ValueError(f"sftp_root is a relative folder without '..', not {sftp_root!r}")
