"""Canaries: tokens, passwords and a phone number, and every place they must not turn up in."""

import ast
import copy
import gc
import io
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import types
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from traitlets.config import Config

import insights_nb as insights
from insights_nb import connect
from insights_nb.catalog import Schema
from insights_nb.inventory import Connection, Origin
from insights_nb.link import Link
from insights_nb.notebook import DryRun
from insights_nb.progress import Progress, Stage
from insights_nb.settings import Secret
from insights_nb.simulator import Fault, Simulator
from insights_nb.transfer import PATIENT
from insights_nb.wording import static_bundle, summary_line
from tests.kernel import private_environment
from tests.service import service
from tests.talking import answering, serving

HOUSE = Path(insights.__file__).parent
NOTEBOOKS = sorted((HOUSE.parent / "notebooks").glob("*.ipynb"))
CANARY = "canary-" + "7d1f"  # in no cell of ours
PHONE = "+15555550142"
WORDS = 'since="2026-11-13", until="2026-11-20", progress="none"'
QUERY = f'insights.query(events={{"ApplicationExitEvent": ["SessionId"]}}, {WORDS})'


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with service(password=f"{CANARY}-password", sftp_password=f"{CANARY}-sftp") as simulator:
        real = simulator._api._tokens.issue
        # The service makes its tokens up; ours are to be known again.
        count = iter(range(10**6))

        def issue(login: object) -> str | None:
            token = real(login)
            if token is None:
                return None
            ours = f"{CANARY}-token-{next(count)}"
            with simulator._api._tokens._lock:
                simulator._api._tokens._issued[ours] = simulator._api._tokens._issued.pop(token)
            return ours

        simulator._api._tokens.issue = issue  # type: ignore[method-assign]
        yield simulator


@pytest.fixture
def simulator(shared: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """The shared service, and an environment that leads to it."""
    for name, value in shared.settings.items():
        monkeypatch.setenv(f"INSIGHTS_{name.upper()}", value)
    yield shared
    shared.faults.clear()
    shared.release()
    shared.settle()


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A real IPython that writes nothing to the user's folders."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setattr(InteractiveShell, "_instance", None)
    quiet = Config({"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "nocolor"}})
    one: Any = InteractiveShell.instance(config=quiet)
    one.run_cell("import insights_nb as insights")
    yield one
    one.restore_sys_module_state()
    InteractiveShell.clear_instance()


def printed(shell: Any, *cells: str) -> str:
    with redirect_stdout(io.StringIO()) as out:
        for cell in cells:
            shell.run_cell(cell)
    return out.getvalue()


SKIPPED = (type, types.ModuleType, types.BuiltinFunctionType, Secret, type(os.environ), InteractiveShell)


def reachable(start: BaseException, most: int = 300_000) -> Iterator[str | bytes]:
    """Every text that can be reached from an error: through its chain, its frames' variables, and what they hold.

    Left out are Secrets, whose job it is, and what is everybody's: modules, classes, the environment, the shell.
    """
    seen: set[int] = set()
    waiting: deque[Any] = deque([start])
    while waiting and len(seen) < most:
        one = waiting.popleft()
        if id(one) in seen or isinstance(one, SKIPPED):
            continue
        seen.add(id(one))
        if isinstance(one, str | bytes | bytearray):
            yield one if isinstance(one, str) else bytes(one)
        elif isinstance(one, types.FrameType):
            # Neither the frames above nor the globals: those are not the error's doing.
            waiting.extend(one.f_locals.values())
        elif isinstance(one, types.FunctionType):
            waiting.extend((one.__closure__, one.__defaults__, one.__kwdefaults__))
        elif isinstance(one, BaseException):
            waiting.extend((one.__traceback__, one.__context__, one.__cause__, one.args, vars(one)))
        elif isinstance(one, types.TracebackType):
            inner = one.tb_frame.f_globals.get("__name__", "")
            waiting.append(one.tb_next)
            if not inner.startswith(("IPython", "_pytest", "pytest", "tests")):
                waiting.append(one.tb_frame)
        else:
            waiting.extend(gc.get_referents(one))


def hits(error: BaseException | None) -> list[str]:
    """Texts within reach of an error that hold a canary."""
    assert error is not None
    return [str(text)[:200] for text in reachable(error) if CANARY in str(text)]


def test_the_search_finds_what_a_plain_request_leaves_behind(shell: Any) -> None:
    """The control: an ordinary failed request keeps its token within reach, and Verbose mode prints it."""
    cell = f"""
import requests
def ask(token):
    requests.post("http://127.0.0.1:1", headers={{"Authorization": "Bearer " + token}})
ask("{CANARY}")
"""
    assert CANARY in printed(shell, "%xmode Verbose", cell)
    assert any("Bearer" in text for text in hits(sys.last_value))


SCHEMA = "insights.schema(refresh=True)"
PORTAL = {"Location": "https://portal.example/?next"}
FAILURES: dict[str, tuple[Fault, str, str]] = {
    "login refused": (Fault(on="POST /authenticate", do="answer", status=401), "refused the login", QUERY),
    "login lost": (Fault(on="POST /authenticate", do="reset", times=0), "broke before", QUERY),
    "schema lost": (Fault(on="GET /Q", do="reset", times=0), "broke before", SCHEMA),
    "redirect": (Fault(on="GET /Q", do="answer", status=302, headers=PORTAL), "wants to redirect", SCHEMA),
    "too much": (
        Fault(on="GET /Q", do="answer", times=0, status=200, body=" " * (17 << 20)),
        "more than 16 MB",
        SCHEMA,
    ),
    "token refused": (Fault(on="GET /Q", do="answer", times=2, status=401), "our token", SCHEMA),
    "query refused": (Fault(on="POST /Q", do="answer", status=400, body={"message": "no such"}), "no such", QUERY),
    "wrong host key": (Fault(on="SFTP connect", do="wrong_key", times=0), "shows the host key", QUERY),
    "password refused": (Fault(on="SFTP auth", do="refuse", times=0), "does not let the user", QUERY),
    "shard refused": (Fault(on="SFTP open", do="refuse", times=0), "does not let this user", QUERY),
    "damaged": (Fault(on="export", do="flip", at=60, times=0), "fetched twice", QUERY),
}


@pytest.mark.parametrize("mode", ["Context", "Verbose"])
@pytest.mark.parametrize("case", list(FAILURES))
def test_a_failing_cell_keeps_no_secret(
    shell: Any, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, case: str, mode: str
) -> None:
    """Not printed, not by %tb, and not within reach of sys.last_value and so of a debugger."""
    fault, words, cell = FAILURES[case]
    monkeypatch.setattr("insights_nb.client.RETRY_SECONDS", (0.0, 0.0))
    simulator.faults.add(fault)
    text = printed(shell, f"%xmode {mode}", cell)
    assert words in text
    story = printed(shell, "%tb")
    assert "Traceback" in story
    assert CANARY not in text + story
    assert hits(sys.last_value) == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
@pytest.mark.parametrize(
    ("on", "cell"),
    [
        ("POST /authenticate", QUERY),
        ("GET /Q", "insights.schema(refresh=True)"),
        ("POST /Q", QUERY),
        ("GET /Q/status", QUERY),
        ("GET /Q/location", QUERY),
        ("SFTP auth", QUERY),
        ("SFTP open", QUERY),
    ],
)
def test_a_stopped_cell_keeps_no_secret(shell: Any, simulator: Simulator, on: str, cell: str) -> None:
    """Ctrl-C while an answer is awaited: the Verbose traceback shows no secret, and nothing keeps one within reach."""
    gate = threading.Event()

    def stop() -> None:
        while not any(fault.on == on for fault, _ in simulator.faults.struck[seen:]):
            gate.wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        gate.wait(0.2)  # the POST is seen through to its end before the interrupt is heeded
        gate.set()

    seen = len(simulator.faults.struck)
    simulator.faults.add(Fault(on=on, do="delay", gate=gate))
    stopper = threading.Thread(target=stop)
    stopper.start()
    text = printed(shell, "%xmode Verbose", cell)
    stopper.join()
    assert "KeyboardInterrupt" in text
    assert CANARY not in text + printed(shell, "%tb")
    assert isinstance(sys.last_value, KeyboardInterrupt)
    assert hits(sys.last_value) == []


def test_no_object_of_ours_shows_or_gives_away_a_secret(simulator: Simulator) -> None:
    """Repr, str, vars, pickle and copies of everything that holds one; and the list of settings."""
    account = connect.account_in_use()
    account.client.schema()
    report = insights.submit(events={"CallEvent": ["SessionId"]}, since="2026-11-13", until="2026-11-20")
    link = Link(account.access(), PATIENT)
    objects = [account, account.settings, account.client, account.access(), link, report, account.settings.password]
    for one in objects:
        inner = vars(one) if hasattr(one, "__dict__") else {}
        assert CANARY not in repr(one) + str(one) + f"{one}" + repr(inner)
        for duplicate in (pickle.dumps, copy.deepcopy):
            with pytest.raises((TypeError, AttributeError)):
                duplicate(one)
        if not isinstance(one, Secret):
            assert CANARY not in repr(copy.copy(one))
    assert CANARY not in str(account.settings.table()) + str(insights.jobs().to_dict()) + repr(connect._overrides)
    done = subprocess.run(
        [sys.executable, "-m", "insights_nb", "config"],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert "***" in done.stdout
    assert CANARY not in done.stdout + done.stderr


def files_below(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file with its content, unpacked as far as it goes where it is packed."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if content[:2] == b"\x1f\x8b":
                with suppress(zlib.error):
                    content = zlib.decompressobj(31).decompress(content)
            yield path, content


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_logs_frames_and_files_hold_no_secret_and_files_are_private(
    simulator: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every log at DEBUG and any umask: nothing of a secret in log, attrs or cache; modes are ours alone."""
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "requests", "paramiko", "insights_nb.link"):
        caplog.set_level(logging.DEBUG, logger=name)
    cache = tmp_path / "cache"
    monkeypatch.setenv("INSIGHTS_CACHE_DIR", str(cache))
    before = os.umask(umask)
    try:
        frame = insights.query(
            events={"CallEvent": ["SessionId"]}, since="2026-11-13", until="2026-11-20", progress="none"
        )
        simulator.faults.add(Fault(on="export", do="flip", at=60, times=0))
        with pytest.raises(insights.IntegrityError):
            insights.query(events={"DtmfEvent": ["SessionId"]}, since="2026-11-13", until="2026-11-20", progress="none")
    finally:
        os.umask(before)
    assert "urllib3" in caplog.text
    assert "insights_nb.link" in caplog.text
    assert CANARY not in caplog.text + repr(frame.attrs)
    found = dict(files_below(cache))
    assert len(found) > 5
    assert [path for path, content in found.items() if CANARY.encode() in content] == []
    assert CANARY not in "".join(map(str, found))
    for path in cache.rglob("*"):
        mode = path.lstat().st_mode & 0o777
        assert mode == 0o700 if path.is_dir() else mode in (0o600, 0o400), f"{path.name} has mode {mode:o}"


def test_each_host_gets_its_own_secret_and_no_other() -> None:
    """The password goes to the login host alone, the token to the API alone."""
    asked: dict[str, list[bytes]] = {"login": [], "api": []}
    token = f'{{"token": "{CANARY}-token"}}'.encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    schema = b'{"CallEvent": {"fields": []}}'
    with (
        serving(answering(head + token, asked["login"])) as login,
        serving(answering(head + schema, asked["api"])) as api,
    ):
        connect.configure(
            api_url=f"http://127.0.0.1:{api}",
            auth_url=f"http://127.0.0.1:{login}",
            username="me",
            password=f"{CANARY}-password",
        )
        insights.schema()
    assert len(asked["login"]) == len(asked["api"]) == 1
    assert f"{CANARY}-password".encode() in asked["login"][0]
    assert b"authorization" not in asked["login"][0].lower()
    assert f"Bearer {CANARY}-token".encode() in asked["api"][0]
    assert b"password" not in asked["api"][0]


# --- what is shown as HTML ---------------------------------------------------------------------------------------

HOSTILE = '<img src=x onerror="alert(1)">\'&$x$'


def test_html_of_ours_is_escaped() -> None:
    """A name, value or word of the service that looks like HTML is shown as text."""
    shown = [
        Schema({HOSTILE: (HOSTILE,)})._repr_html_(),
        DryRun(HOSTILE, HOSTILE, HOSTILE)._repr_html_(),
        Connection(((HOSTILE, HOSTILE, HOSTILE),))._repr_html_(),
        Origin(
            {HOSTILE: HOSTILE}, HOSTILE, HOSTILE, (HOSTILE, HOSTILE), 1, 1, HOSTILE, settled=True, cached=True, now=1
        )._repr_html_(),
        static_bundle(summary_line(Progress(Stage.DONE, note=HOSTILE, report_id=HOSTILE)))["text/html"],
        pd.DataFrame({HOSTILE: [HOSTILE]})._repr_html_(),  # type: ignore[operator]
    ]
    for html in shown:
        assert "<img" not in html
        assert "&lt;img" in html


def test_every_class_with_html_is_looked_at() -> None:
    """A new class that shows itself as HTML has to come into the test above, or to build on pandas or widgets alone."""
    found = {
        node.name
        for path in HOUSE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(inner, ast.FunctionDef) and inner.name == "_repr_html_" for inner in node.body)
    }
    assert found <= {"Connection", "DryRun", "Origin", "Schema"}


# --- the notebooks -----------------------------------------------------------------------------------------------

CANARIES = """
import os
import pyarrow.compute as pc
import insights_nb.simulator.service as place
place.Simulator.__init__.__kwdefaults__.update(password=os.environ["CANARY_1"], sftp_password=os.environ["CANARY_2"])
made = place.invent
def invent(*words, **more):
    table, truths = made(*words, **more)
    at = table.column_names.index("DtmfInput")
    column = table.column(at)
    phone = pc.if_else(pc.is_valid(column), os.environ["CANARY_PHONE"], column)
    return table.set_column(at, table.schema.field(at), phone.cast(column.type)), truths
place.invent = invent
"""


def run_with_canaries(path: Path, folder: Path) -> Any:
    """Run a notebook against a service whose secrets and data are canaries; its outputs are in it."""
    notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nodes: Any = nbformat.v4
    notebook.cells.insert(0, nodes.new_code_cell(CANARIES))
    env = private_environment(folder) | {
        "CANARY_1": f"{CANARY}-password",
        "CANARY_2": f"{CANARY}-sftp",
        "CANARY_PHONE": PHONE,
        "INSIGHTS_TOKEN": f"{CANARY}-token",
        "INSIGHTS_PASSWORD": f"{CANARY}-other",
    }
    client = NotebookClient(
        notebook,
        timeout=100,
        kernel_name="python3",
        ipython_hist_file=str(folder / "history.sqlite"),
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=env)
    nbformat.write(notebook, folder / "executed.ipynb")  # type: ignore[no-untyped-call]
    return notebook


@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=[pytest.mark.long] * (path != NOTEBOOKS[0]), id=path.stem) for path in NOTEBOOKS]
)
def test_a_notebook_leaves_no_canary_behind(path: Path, tmp_path: Path) -> None:
    """No file that its run writes holds a secret; what callers typed is in the cache alone, until it is cleared."""
    run_with_canaries(path, tmp_path)
    found = dict(files_below(tmp_path))
    assert [path for path in found if path.name == "history.sqlite"]
    assert [path for path, content in found.items() if CANARY.encode() in content] == []
    personal = [path for path, content in found.items() if PHONE.encode() in content]
    assert personal
    assert {path.name.partition("-")[0] for path in personal} <= {"shard"}
    subprocess.run(
        [sys.executable, "-c", "import insights_nb; insights_nb.clear_cache(everything=True)"],
        env=private_environment(tmp_path),
        check=True,
    )
    assert [path for path, content in files_below(tmp_path / "cache") if PHONE.encode() in content] == []
