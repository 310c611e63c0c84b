"""The life of the local service: bound when made, gone without a trace when stopped, and the command line."""

import math
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests

import insights_nb.simulator
from insights_nb.simulator import Simulator, main
from tests.simulator_client import UNTIL, Client, query, transport

SETTINGS = [
    *("api_url", "auth_url", "username", "password", "sftp_host", "sftp_port"),
    *("sftp_username", "sftp_password", "sftp_host_key", "sftp_root"),
]


def descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def test_settings_have_the_clients_names() -> None:
    """The settings are texts under the names the client knows, on this machine only."""
    with Simulator(size=10, until=UNTIL, sftp_root="a/b") as simulator:
        assert list(simulator.settings) == SETTINGS
        assert all(isinstance(value, str) for value in simulator.settings.values())
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", simulator.settings["api_url"])
        assert simulator.settings["auth_url"] == simulator.settings["api_url"]
        assert simulator.settings["sftp_root"] == "a/b"
        assert simulator.settings["api_url"] in repr(simulator)


def test_nothing_is_left_after_stop() -> None:
    """With connections open, a report held and a transfer begun, stop leaves no thread, descriptor or folder."""
    threads, files = set(threading.enumerate()), descriptors()
    simulator = Simulator(size=2_000, until=UNTIL, shard_rows=50)
    home = simulator._home
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    with simulator, Client(simulator) as client, transport(client.settings) as connection:
        connection.connect(username="reports", password=client.settings["sftp_password"])
        idle = socket.create_connection(("127.0.0.1", int(client.settings["api_url"].rsplit(":", 1)[1])))
        simulator.hold()
        client.submit(query())
        simulator.stop()
        connection.close()
        connection.join(5)
        idle.close()
    assert set(threading.enumerate()) == threads
    assert descriptors() == files
    assert not home.exists()
    with pytest.raises(requests.ConnectionError):
        requests.get(simulator.settings["api_url"], timeout=2)


def test_stop_in_the_middle_of_an_export() -> None:
    """Stop does not wait for an export to end, and the export leaves nothing either."""
    threads = set(threading.enumerate())
    simulator = Simulator(size=100_000, until=UNTIL, shard_rows=1_000).start()
    with Client(simulator) as client:
        client.submit(query(["SessionId", "TransactionId", "TimeStamp", "FlowName"]))
        simulator.stop()
    assert set(threading.enumerate()) == threads
    assert not simulator._home.exists()


def test_starting_and_stopping_again() -> None:
    """Start and stop may be repeated, but what has been stopped does not start again."""
    simulator = Simulator(size=10, until=UNTIL)
    assert simulator.start() is simulator.start()
    simulator.stop()
    simulator.stop()
    with pytest.raises(RuntimeError, match="stopped"):
        simulator.start()


def test_sockets_are_bound_before_start() -> None:
    """The ports are known and taken from the constructor on, and free again without ever starting."""
    simulator = Simulator(size=10, until=UNTIL)
    port = int(simulator.settings["sftp_port"])
    with pytest.raises(OSError, match="in use"):
        Simulator(size=10, until=UNTIL, port=port)
    simulator.stop()
    again = Simulator(size=10, until=UNTIL, sftp_port=port)
    assert again.settings["sftp_port"] == str(port)
    again.stop()


@pytest.mark.parametrize(
    "wrong", [{"layout": "other"}, {"shard_rows": 0}, {"slots": 0}, {"sftp_root": "../x"}, {"sftp_root": "/x"}]
)
def test_wrong_arguments(wrong: dict[str, object]) -> None:
    """An argument that cannot be used is a ValueError, and binds nothing."""
    with pytest.raises(ValueError, match=r"layout|shard_rows|sftp_root"):
        Simulator(size=10, **wrong)  # type: ignore[arg-type]


def test_hold_and_release() -> None:
    """Held reports stay Pending, ended ones keep their word, and release ends even an endless pending time."""
    with Simulator(size=200, until=UNTIL, pending=math.inf, slots=9) as simulator, Client(simulator) as client:
        first = client.finish(query())
        assert client.status(first)["status"] == "Pending"
        simulator.release()
        assert client.status(first)["status"] == "Completed"
        simulator.hold()
        second = client.finish(query())
        assert client.status(first)["status"] == "Completed"
        assert client.status(second)["status"] == "Pending"
        simulator.release()
        assert client.status(second)["status"] == "Completed"
        assert client.status(client.finish(query()))["status"] == "Pending"


def test_two_services_side_by_side() -> None:
    """Two services know nothing of each other's logins, ports and reports."""
    services = Simulator(size=100, until=UNTIL), Simulator(size=100, until=UNTIL)
    with services[0], services[1], Client(services[0]) as client, Client(services[1]) as other:
        guid = client.finish(query())
        assert other.call("GET", f"/dwh/Q/{guid}").status_code == 500
        other.session.headers["Authorization"] = client.session.headers["Authorization"]
        assert other.call("GET", "/dwh/Q").status_code == 401


def test_the_interpreter_may_end_without_stop() -> None:
    """A process that ends with the service running ends at once, says nothing, and leaves no folder."""
    code = (
        "from insights_nb.simulator import Simulator\n"
        f"simulator = Simulator(size=100, until={UNTIL!r}).start()\n"
        "print(simulator._home)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    home = Path(done.stdout.strip())
    assert home.is_absolute()
    assert not home.exists()


def test_names_are_sorted_and_there() -> None:
    """The package's public names are sorted, and each can be imported."""
    names = insights_nb.simulator.__all__
    assert sorted(names) == list(names)
    assert all(hasattr(insights_nb.simulator, name) for name in names)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_line(number: signal.Signals, tmp_path: Path) -> None:
    """The command prints shell lines that lead to a working service, and ends with 0 on a signal."""
    code = "import sys; from insights_nb.simulator import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["--size", "200", "--until", UNTIL, "--password", "it's secret", "--seed", "3", "--pending", "0"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        lines = [running.stdout.readline() for _ in range(len(SETTINGS) + 1)]
        script = "".join(lines) + "".join(f'printf "%s\\n" "$INSIGHTS_{name.upper()}"\n' for name in SETTINGS)
        shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=10, check=True)
        settings = dict(zip(SETTINGS, shell.stdout.split("\n"), strict=False))
        assert settings["password"] == "it's secret"
        login = {"username": settings["username"], "password": settings["password"]}
        answer = requests.post(settings["api_url"] + "/_rest/v4/authenticate", json=login, timeout=5)
        assert "token" in answer.json()
        running.send_signal(number)
        assert running.wait(10) == 0
        assert running.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_says_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    """A service that cannot start is a message and a 1, wrong usage argparse's 2."""
    assert main(["--events", "nowhere.csv"]) == 1
    assert "nowhere.csv" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["--pending", "-1"])
    assert caught.value.code == 2
