"""Each fault the plan can play, seen from a plain client."""

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import paramiko
import pytest
import requests

from insights_nb.simulator import Fault, FaultPlan, Simulator
from insights_nb.simulator.faults import KINDS
from tests.simulator_client import UNTIL, Client, fetched, query, transport


@pytest.fixture(scope="module")
def shared() -> Iterator[Client]:
    with Simulator(size=600, until=UNTIL, shard_rows=100) as simulator, Client(simulator) as client:
        client.finish(query())
        yield client


@pytest.fixture
def client(shared: Client) -> Iterator[Client]:
    yield shared
    shared.simulator.faults.clear()
    shared.simulator.settle()


@pytest.fixture
def path(client: Client) -> str:
    return client.paths(client.finish(query()))[0]


def play(client: Client, on: str, do: str, **more: Any) -> None:
    client.simulator.faults.add(Fault(on, do, **more))


def posts(client: Client) -> int:
    return client.simulator.count("POST", r"/dwh/Q$")


@pytest.mark.parametrize(
    "wrong",
    [
        {"on": "POST /R", "do": "reset"},
        {"on": "GET /Q", "do": "fail"},
        {"on": "SFTP read", "do": "answer"},
        {"on": "GET /Q", "do": "reset", "nth": 0},
        {"on": "GET /Q", "do": "reset", "times": -1},
        {"on": "SFTP read", "do": "cut", "at": -1},
    ],
)
def test_unknown_faults_are_refused_at_once(wrong: dict[str, Any]) -> None:
    """A fault with an unknown place, an unknown deed or an impossible count is a ValueError when it is made."""
    with pytest.raises(ValueError, match=r"unknown|cannot|counts"):
        Fault(**wrong)


def test_counting() -> None:
    """A fault strikes from its nth matching occurrence on, as often as it says, and 0 means for ever."""
    second = Fault("GET /Q", "reset", nth=2, times=2)
    ever = Fault("GET /Q", "delay", nth=3, times=0)
    other = Fault("GET /Q", "busy", match="b$")
    plan = FaultPlan([second, ever])
    plan.add(other)
    struck = [plan.strike("GET /Q", path) for path in "aabab"]
    assert struck == [(), (second,), (second, ever, other), (ever,), (ever,)]
    assert plan.strike("POST /Q", "b") == ()
    assert plan.struck[:2] == [(second, "a"), (second, "b")]


def test_counting_is_safe_between_threads() -> None:
    """Of a thousand occurrences in eight threads, exactly the set number is struck."""
    plan = FaultPlan([Fault("GET /Q", "reset", nth=101, times=300)])
    threads = [threading.Thread(target=lambda: [plan.strike("GET /Q") for _ in range(125)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(plan.struck) == 300


def test_an_answer_of_choice(client: Client) -> None:
    """A call is answered with any status, body and headers, and the request is not taken."""
    play(client, "POST /Q", "answer", status=502, body="<html>bad gateway</html>", headers={"Retry-After": "3"})
    reports = len(client.simulator._reports._reports)
    answer = client.post(query())
    assert (answer.status_code, answer.text) == (502, "<html>bad gateway</html>")
    assert (answer.headers["Content-Type"], answer.headers["Retry-After"]) == ("text/html", "3")
    assert len(client.simulator._reports._reports) == reports
    play(client, "POST /Q", "answer", status=299, body=[1])
    assert client.post(query()).json() == [1]


def test_an_answer_that_hides_a_taken_request(client: Client) -> None:
    """A gateway error may hide that the query was taken all the same."""
    play(client, "POST /Q", "answer_after", status=504, body={})
    reports = len(client.simulator._reports._reports)
    assert client.post(query()).status_code == 504
    assert len(client.simulator._reports._reports) == reports + 1


@pytest.mark.parametrize(("do", "taken"), [("reset", 0), ("reset_after", 1)])
def test_resets(client: Client, do: str, taken: int) -> None:
    """A connection is reset before or after the request is taken; the client cannot tell which, the service can."""
    play(client, "POST /Q", do)
    reports, before = len(client.simulator._reports._reports), posts(client)
    with pytest.raises(requests.ConnectionError, match="reset"):
        client.post(query())
    assert len(client.simulator._reports._reports) == reports + taken
    assert posts(client) == before + 1
    assert client.simulator.calls[-1].status == 0


def test_busy(client: Client) -> None:
    """The documented 429 comes for as many calls as asked, with every slot free."""
    play(client, "POST /Q", "busy", times=3)
    answers = [client.post(query()) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [429, 429, 429, 201]
    assert answers[0].json() == {"code": 429, "message": "max concurrent queries per user (2) reached"}


def test_amended_answers(client: Client) -> None:
    """Parts of a real answer are replaced: a word nobody knows, an id that is none, a hostile location."""
    play(client, "GET /Q/status", "amend", body={"status": "processing", "guid": None})
    guid = client.finish(query())
    assert client.status(guid) == {"status": "processing", "guid": None}
    assert client.status(guid) == {"status": "Completed", "guid": guid}
    play(client, "GET /Q/location", "amend", body={"status": "Process finished. Download: [u'../x']"})
    assert client.paths(guid) == ["../x"]
    play(client, "POST /Q", "amend", body={"id": 7})
    assert client.post(query()).json() == {"id": 7}


def test_cut_answers(client: Client) -> None:
    """An answer that ends before the length it announced."""
    play(client, "GET /Q", "cut", at=5)
    with pytest.raises(requests.RequestException):
        client.call("GET", "/dwh/Q").json()


@pytest.mark.parametrize("do", ["delay", "delay_after"])
def test_delays_wait_for_their_gate(client: Client, do: str) -> None:
    """A delayed call is answered once its gate opens, without anyone sleeping."""
    gate = threading.Event()
    play(client, "GET /Q", do, gate=gate)
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(client.call("GET", "/dwh/Q").status_code))
    thread.start()
    thread.join(0.2)
    assert answers == []
    gate.set()
    thread.join(5)
    assert answers == [200]
    play(client, "GET /Q", do, seconds=0.01)
    assert client.call("GET", "/dwh/Q").status_code == 200


def test_expired_token_on_one_call(client: Client) -> None:
    """A single 401 in the middle of polling."""
    guid = client.finish(query())
    play(client, "GET /Q/status", "answer", nth=2, status=401, body={"code": 401, "error": "Unauthorized"})
    assert [client.call("GET", f"/dwh/Q/{guid}/status").status_code for _ in range(3)] == [200, 401, 200]


@pytest.mark.parametrize(("do", "word"), [("fail", "Failed"), ("cancel", "Canceled")])
def test_reports_that_end_badly(client: Client, do: str, word: str) -> None:
    """An accepted report fails or is canceled, with or without messages, and never has a location."""
    play(client, "POST /Q", do, messages=("first", "second"))
    guid = client.finish(query())
    assert client.status(guid) == {"status": word, "guid": guid, "messages": ["first", "second"]}
    assert client.paths(guid) == []
    play(client, "POST /Q", do)
    assert "messages" not in client.status(client.finish(query()))


def test_files_that_are_spoilt(client: Client) -> None:
    """A shard on disk is short, has a bit flipped, or is missing though listed; the others are whole."""
    play(client, "export", "short", nth=1, at=30)
    play(client, "export", "flip", nth=2, at=40)
    play(client, "export", "missing", nth=3)
    first, second, third, *others = client.paths(client.finish(query()))
    with client.sftp() as files:
        assert files.stat(first).st_size == len(fetched(files, first)) == 30
        with pytest.raises(EOFError):
            gzip.decompress(fetched(files, first))
        with pytest.raises((gzip.BadGzipFile, gzip.zlib.error)):  # type: ignore[attr-defined]
            gzip.decompress(fetched(files, second))
        with pytest.raises(FileNotFoundError):
            files.stat(third)
        for other in others:
            gzip.decompress(fetched(files, other))


def test_wrong_host_key(client: Client) -> None:
    """One connection is shown another host key, the next the right one."""
    play(client, "SFTP connect", "wrong_key")
    shown = []
    for _ in range(2):
        with transport(client.settings) as connection:
            connection.start_client(timeout=5)
            shown.append(connection.get_remote_server_key().fingerprint)
    assert shown[0] != client.settings["sftp_host_key"] == shown[1]


def test_connections_reset_or_mute(client: Client) -> None:
    """A connection is reset at once, or accepted without ever a banner."""
    address = (client.settings["sftp_host"], int(client.settings["sftp_port"]))
    play(client, "SFTP connect", "reset")
    with pytest.raises(ConnectionResetError), socket.create_connection(address, 5) as connection:
        connection.recv(1)
    play(client, "SFTP connect", "stall")
    with socket.create_connection(address, 5) as connection:
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_refused_login(client: Client) -> None:
    """A right password is refused once, or answered late."""
    play(client, "SFTP auth", "refuse")
    with pytest.raises(paramiko.AuthenticationException), client.sftp():
        pass
    play(client, "SFTP auth", "delay", seconds=0.01)
    with client.sftp() as files:
        assert files.listdir("/") == ["reports"]


def test_wrong_attributes(client: Client, path: str) -> None:
    """A path's attributes are withheld, refused, false in size, or those of a folder."""
    with client.sftp() as files:
        play(client, "SFTP stat", "missing")
        with pytest.raises(FileNotFoundError):
            files.stat(path)
        play(client, "SFTP stat", "refuse")
        with pytest.raises(PermissionError):
            files.stat(path)
        play(client, "SFTP stat", "size", at=123)
        assert files.stat(path).st_size == 123
        play(client, "SFTP stat", "directory")
        assert (files.stat(path).st_mode or 0) & 0o040000
        assert files.stat(path).st_size == len(fetched(files, path))


def test_files_that_do_not_open(client: Client, path: str) -> None:
    """A shard cannot be opened: not there, not allowed, or the connection breaks."""
    with client.sftp() as files:
        play(client, "SFTP open", "missing")
        with pytest.raises(FileNotFoundError):
            files.open(path)
        play(client, "SFTP open", "refuse", match=r"\.csv\.gz$")
        with pytest.raises(PermissionError):
            files.open(path)
        play(client, "SFTP open", "delay", seconds=0.01)
        files.open(path).close()
        play(client, "SFTP open", "reset")
        with pytest.raises((OSError, EOFError, paramiko.SSHException)):
            files.open(path)


def test_reads_that_go_wrong(client: Client, path: str) -> None:
    """A file ends early though its size stays, goes on beyond it, has a bit flipped, or fails at a byte."""
    with client.sftp() as files:
        whole = fetched(files, path)
        play(client, "SFTP read", "cut", at=100)
        with files.open(path) as file:
            assert file.stat().st_size == len(whole)
            assert file.read() == whole[:100]
        play(client, "SFTP read", "grow", at=50)
        assert fetched(files, path) == whole + b"\0" * 50
        play(client, "SFTP read", "flip", at=120)
        assert fetched(files, path) == whole[:120] + bytes([whole[120] ^ 1]) + whole[121:]
        play(client, "SFTP read", "error", at=100)
        with files.open(path) as file:
            assert file.read(100) == whole[:100]
            with pytest.raises(OSError, match="Failure"):
                file.read(100)
        assert fetched(files, path) == whole


def test_connection_reset_at_a_byte(client: Client, path: str) -> None:
    """A transfer breaks at a byte, and a new connection gets the whole file."""
    play(client, "SFTP read", "reset", at=100)
    with ExitStack() as stack:
        files = stack.enter_context(client.sftp())
        file = files.open(path)
        assert len(file.read(100)) == 100
        with pytest.raises((OSError, EOFError, paramiko.SSHException)):
            file.read(100)
        stack.pop_all()  # closing what is broken would only fail again
    with client.sftp() as files:
        assert len(fetched(files, path)) == files.stat(path).st_size


def test_a_transfer_that_stalls(client: Client, path: str) -> None:
    """A transfer stands still at a byte until its gate opens."""
    gate = threading.Event()
    play(client, "SFTP read", "stall", at=100, gate=gate)
    with client.sftp() as files:
        channel = files.get_channel()
        assert channel is not None
        with files.open(path) as file:
            assert len(file.read(100)) == 100
            channel.settimeout(0.2)
            with pytest.raises(TimeoutError):
                file.read(1)
            channel.settimeout(5)
            gate.set()


def test_a_service_stops_in_the_middle_of_faults() -> None:
    """Waits without end do not keep a service from stopping."""

    def ask(client: Client) -> None:
        with suppress(requests.RequestException):
            client.call("GET", "/dwh/Q")

    faults = [Fault("GET /Q", "delay", seconds=600), Fault("SFTP connect", "stall")]
    with Simulator(size=50, until=UNTIL, faults=faults) as simulator, Client(simulator) as client:
        thread = threading.Thread(target=ask, args=(client,))
        thread.start()
        address = (client.settings["sftp_host"], int(client.settings["sftp_port"]))
        with socket.create_connection(address, 5):
            while len(simulator.faults.struck) < 2:
                thread.join(0.01)
            simulator.stop()
        thread.join(5)
        assert not thread.is_alive()


def test_every_http_call_can_be_spoilt(client: Client) -> None:
    """Each call named in the plan is struck by its own name."""
    guid = client.finish(query())
    ways = {
        "POST /authenticate": ("POST", "/authenticate"),
        "GET /Q": ("GET", "/dwh/Q"),
        "HEAD /Q": ("HEAD", "/dwh/Q"),
        "POST /Q": ("POST", "/dwh/Q"),
        "GET /Q/status": ("GET", f"/dwh/Q/{guid}/status"),
        "GET /Q/location": ("GET", f"/dwh/Q/{guid}"),
        "HEAD /Q/location": ("HEAD", f"/dwh/Q/{guid}"),
    }
    assert set(ways) == {name for name in KINDS if "/" in name}
    for on, (method, path) in ways.items():
        play(client, on, "answer", status=418, body={"on": on})
        answer = client.call(method, path, data=json.dumps({}))
        assert answer.status_code == 418, on
