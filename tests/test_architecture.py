"""How the house is built: storeys, doors, the cottage, and what an import costs. Read from the source, not run."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.kernel import private_environment

HOUSE = Path(__file__).parent.parent / "insights_nb"
COTTAGE = "simulator"

STOREYS = {
    "errors": 0,
    "progress": 0,
    "access": 1,
    "answers": 1,
    "catalog": 1,
    "charts": 1,
    "disk": 1,
    "hostkeys": 1,
    "location": 1,
    "memory": 1,
    "settings": 1,
    "sftp": 1,
    "watch": 1,
    "window": 1,
    "wording": 1,
    "body": 2,
    "cells": 2,
    "copyfile": 2,
    "exchange": 2,
    "gunzip": 2,
    "link": 2,
    "check": 3,
    "client": 3,
    "journal": 3,
    "sessions": 3,
    "spec": 3,
    "cache": 4,
    "parsing": 4,
    "partial": 4,
    "shortlist": 4,
    "widgets": 4,
    "frame": 5,
    "columns": 5,
    "transfer": 5,
    "copying": 6,
    "explorer": 7,
    "account": 7,
    "upkeep": 7,
    "accessor": 8,
    "admission": 8,
    "connect": 8,
    "reading": 8,
    "completion": 9,
    "inventory": 9,
    "waiting": 9,
    "pursuit": 10,
    "report": 11,
    "gathering": 12,
    "notebook": 13,
    "magic": 14,
    "__init__": 15,
    "__main__": 16,
}
"""Every room and the storey it is on; imports go down only."""

DOORS = {
    "IPython": {"magic", "widgets"},
    "duckdb": {COTTAGE},
    "filelock": {"journal"},
    "isal": {"gunzip"},
    "ipywidgets": {"explorer", "widgets"},
    "keyring": {"settings"},
    "matplotlib": {"charts"},
    "numpy": {"charts", "check", "frame", "sessions", "shortlist", COTTAGE},
    "paramiko": {"link", COTTAGE},
    "platformdirs": {"settings"},
    "psutil": {"memory"},
    "pyarrow": {"cells", "columns", "copyfile", "copying", "frame", "parsing", COTTAGE},
    "requests": {"exchange"},
    "werkzeug": {COTTAGE},
    "xxhash": {"copyfile"},
}
"""Each outside library and the rooms that may import it; pandas is the language all rooms speak."""

LATE = ("IPython", "duckdb", "ipywidgets", "keyring", "matplotlib", "paramiko", "werkzeug")
"""Libraries that ``import insights_nb`` leaves alone: what needs them imports them then."""

INTO_COTTAGE = {"__main__", "connect"}
BANNED = {"utils", "helpers", "common", "manager", "handler", "data", "info", "process", "misc"}
PROMISED = ("inventory", "info")
"""The one such name that people know: ``insights.info(df)``."""
MODULE_LINES = 400
FUNCTION_LINES = 60


def room_of(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def sources() -> list[Path]:
    return sorted(HOUSE.rglob("*.py"))


def imports_of(path: Path, *, for_types_too: bool = True) -> Iterator[tuple[str, ...]]:
    """Dotted names a file imports, split; relative ones made whole."""
    package = ("insights_nb", *path.relative_to(HOUSE).parts[:-1])
    for_types = {
        child
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not for_types_too
        for child in ast.walk(node)
    }
    for node in ast.walk(tree_of(path)):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            whole = (*base, *(node.module.split(".") if node.module else ()))
            # "from insights_nb import spec" imports a room, "from insights_nb.spec import Query" a name of one
            yield from ((*whole, alias.name) for alias in node.names)


def rooms_known_to(path: Path) -> set[str]:
    names = {"__init__" if len(name) < 2 else name[1] for name in imports_of(path) if name[0] == "insights_nb"}
    return {name if name in {*STOREYS, COTTAGE} else "__init__" for name in names}


def test_every_room_is_on_the_plan() -> None:
    """The table of storeys lists the rooms there are, all of them and no others."""
    assert {room_of(path) for path in sources()} - {COTTAGE} == set(STOREYS)


@pytest.mark.parametrize("room", STOREYS)
def test_imports_go_down_only(room: str) -> None:
    """A room knows rooms on lower storeys, and none beside or above it."""
    for path in sources():
        if room_of(path) == room:
            for other in rooms_known_to(path) - {room, COTTAGE}:
                assert STOREYS[other] < STOREYS[room], f"{room} imports {other}"


def test_the_cottage_knows_nothing_of_ours() -> None:
    """The simulator imports itself and outside libraries only: client and simulator are two witnesses."""
    for path in (HOUSE / COTTAGE).rglob("*.py"):
        assert rooms_known_to(path) <= {COTTAGE}, path.name


def test_few_rooms_look_into_the_cottage() -> None:
    """Only the demo and the command line know the simulator."""
    assert {room_of(path) for path in sources() if COTTAGE in rooms_known_to(path)} - {COTTAGE} <= INTO_COTTAGE


def test_each_library_comes_in_by_its_door() -> None:
    """An outside library is imported where the table says, and every outside library is in the table."""
    for path in sources():
        # A type checker may look through any door: nothing is imported for it when we run.
        for name in imports_of(path, for_types_too=False):
            if name[0] in {"insights_nb", "pandas"} or name[0] in sys.stdlib_module_names:
                continue
            assert name[0] in DOORS, f"{path.name} imports {name[0]}, which has no door"
            assert room_of(path) in DOORS[name[0]], f"{path.name} imports {name[0]}"


def test_no_pickle_and_no_eval() -> None:
    """Nothing is read in a way that runs code: no pickle, no marshal, no eval, no exec."""
    for path in sources():
        assert not {name[0] for name in imports_of(path)} & {"pickle", "marshal", "shelve", "dill", "joblib"}
        calls = [node.func for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
        assert not {call.id for call in calls if isinstance(call, ast.Name)} & {"eval", "exec", "__import__"}


def test_names_say_what_a_thing_is() -> None:
    """No room, class or function has one of the names that fit anything."""
    for path in sources():
        assert path.stem not in BANNED
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                name = node.name.lower()
                assert name not in BANNED or (path.stem, name) == PROMISED, f"{path.name}: {node.name}"
                assert not name.startswith("do_"), f"{path.name}: {node.name}"
                if isinstance(node, ast.ClassDef):
                    assert not name.endswith(("manager", "handler", "helper", "utils")), f"{path.name}: {node.name}"


def test_modules_and_functions_are_of_a_size_to_read() -> None:
    """A module fits a few screens and a function's body one."""
    for path in sources():
        length = len(path.read_text(encoding="utf-8").splitlines())
        assert length <= MODULE_LINES, f"{path.name} has {length} lines"
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                assert lines < FUNCTION_LINES, f"{path.name}: {node.name} has {lines} lines"


WATCHED = """
import sys

touched = []

def watch(event, arguments):
    if event.startswith("socket.") and event != "socket.gethostname":
        touched.append((event, str(arguments)))
    elif event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        touched.append((event, str(arguments)))
    elif event in {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "subprocess.Popen"}:
        touched.append((event, str(arguments)))

# What others do while they are imported is theirs; ours is what comes after.
import pandas, pyarrow, pyarrow.csv, requests, platformdirs, filelock
before = set(sys.modules)
sys.addaudithook(watch)
import insights_nb
print(touched, sorted({name.partition(".")[0] for name in set(sys.modules) - before} & set(LATE)))
"""


def test_an_import_is_light(tmp_path: Path) -> None:
    """``import insights_nb`` opens no socket, writes no file, starts nothing and leaves heavy libraries alone."""
    code = WATCHED.replace("LATE", repr(LATE))
    done = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", code],
        cwd=tmp_path,
        env=private_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("[] []", "")
    assert list(tmp_path.iterdir()) == []


FIRST_USE = """
import sys
import insights_nb as insights
rooms = [name for name in sys.modules if name.startswith("insights_nb.")]
print(rooms, sorted(insights.__all__) == dir(insights))
import pandas as pd
print(pd.DataFrame({"SessionId": ["a"]}).insights.log, pd.DataFrame.insights.__name__)
print(insights.session_log.__name__, insights.session_log is insights.session_log)
try:
    insights.sessions_log
except AttributeError as error:
    print(error)
"""


def test_a_room_is_opened_when_it_is_first_used(tmp_path: Path) -> None:
    """``import insights_nb`` imports none of its rooms; every name, and ``df.insights``, is there."""
    done = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", FIRST_USE],
        cwd=tmp_path,
        env=private_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    first, accessor, public, wrong = done.stdout.splitlines()
    assert (first, done.stderr) == ("[] True", "")
    assert accessor.startswith("<bound method InsightsAccessor.log of ")
    assert accessor.endswith("InsightsAccessor")
    assert public == "session_log True"
    assert wrong == "module 'insights_nb' has no attribute 'sessions_log'"


def test_a_script_does_without_ipython(tmp_path: Path) -> None:
    """Where IPython and ipywidgets are not installed, the package imports and a query gets as far as its settings."""
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['IPython', 'ipywidgets', 'matplotlib']))\n"
        "import insights_nb as insights\n"
        "try:\n"
        "    insights.query(events='CallEvent', last='1h')\n"
        "except insights.ConfigError as error:\n"
        "    print(type(error).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env=private_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("ConfigError", "")
