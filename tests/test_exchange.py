"""One HTTP request: whatever comes back, and however the connection behaves."""

import gzip
import json
import logging
import socket
import ssl
import struct
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insights_nb import exchange as room
from insights_nb.answers import Answer
from insights_nb.errors import ApiError
from insights_nb.exchange import exchange
from insights_nb.settings import Secret
from tests.talking import Tunnel, answering, authority, serving, tls_front

BODY = b'{"status": "Completed", "guid": "ae9f"}'
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
WHOLE = Answer(200, json.loads(BODY))


def told(raw: bytes, method: str = "GET", body: Any = None) -> Answer:
    """What a server's bytes come to."""
    with serving(answering(raw)) as port:
        return exchange(method, f"http://127.0.0.1:{port}/x", Secret("t"), body)


def refused(raw: bytes, method: str = "GET", body: Any = None) -> ApiError:
    with pytest.raises(ApiError) as caught:
        told(raw, method, body)
    assert caught.value.__context__ is None
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("raw", [GOOD, CHUNKED], ids=["length", "chunked"])
def test_an_answer_cut_at_any_byte_is_whole_or_lost(raw: bytes) -> None:
    """Cut anywhere, in head or body, an answer is never taken for another one than it is."""
    heard: list[bytes] = []
    cut = [0]

    def talk(connection: socket.socket) -> None:
        answering(raw[: cut[0]], heard)(connection)

    with serving(talk) as port:
        for cut[0] in range(len(raw) + 1):
            try:
                outcome: Answer | ApiError = exchange("POST", f"http://127.0.0.1:{port}/x", Secret("t"), {})
            except ApiError as error:
                outcome = error
            if isinstance(outcome, ApiError):
                assert (outcome.sent, outcome.temporary) == (True, True)
            else:
                assert outcome in (WHOLE, Answer(200, None)), cut[0]
                assert outcome == WHOLE or cut[0] < len(raw)
    assert len(heard) == len(raw) + 1  # none was sent twice


@pytest.mark.parametrize(
    ("raw", "payload"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>Sign in</html>", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + BODY, None),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(BODY), None),
        (b"HTTP/1.0 200 OK\r\n\r\n" + BODY, WHOLE.payload),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD, WHOLE.payload),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 200_000, None),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"1" * 200_000, None),
        (b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe\x00", None),
    ],
)
def test_odd_bodies_are_no_json_and_never_another_error(raw: bytes, payload: Any) -> None:
    """An empty, foreign, packed, nested or cut body is told from a good one."""
    assert told(raw) == Answer(200, payload)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n" + BODY,
    ],
)
def test_what_is_no_http_is_a_lost_answer(raw: bytes) -> None:
    """Nothing, another protocol, a length that lies and endless headers count as lost after sending."""
    error = refused(raw)
    assert error.sent
    assert error.temporary
    assert "broke before its answer was complete" in error.message


def test_any_bytes_are_an_answer_or_our_error() -> None:
    """Whatever bytes a server sends, an Answer or ApiError comes out."""
    raw = [b""]

    @given(st.binary(max_size=80), st.booleans())
    def law(content: bytes, head: bool) -> None:
        raw[0] = (b"HTTP/1.1 200 OK\r\n" if head else b"") + content
        with suppress(ApiError):
            assert isinstance(exchange("GET", f"http://127.0.0.1:{port}/x", Secret("t")), Answer)

    with serving(lambda connection: answering(raw[0])(connection)) as port:
        law()


def test_an_answer_over_the_limit_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the cap reading stops, and the message says so; at the cap it does not."""
    monkeypatch.setattr(room, "ANSWER_BYTES", 1 << 20)
    padded = BODY + b" " * ((1 << 20) - len(BODY))
    assert told(b"HTTP/1.1 200 OK\r\n\r\n" + padded) == WHOLE
    error = refused(b"HTTP/1.1 200 OK\r\n\r\n" + padded + b" " * (8 << 20))
    assert "more than 1 MB" in error.message
    assert error.temporary


def test_a_packed_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """We ask for no packing and unpack nothing: a bomb stays as small as it is."""
    heard: list[bytes] = []
    bomb = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(64 << 20))
    with serving(answering(bomb, heard)) as port:
        assert exchange("GET", f"http://127.0.0.1:{port}/x", None) == Answer(200, None)
    assert b"accept-encoding: identity" in heard[0].lower()
    assert b"authorization" not in heard[0].lower()


def dripping(head: bytes, drop: bytes) -> Any:
    """Send a head, and then one drop after another until the other side hangs up."""
    gone = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(head)
        while not gone.wait(0.01):
            connection.sendall(drop)

    return talk


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
    ids=["status", "headers", "continue", "body", "chunks"],
)
def test_an_answer_in_drips_has_a_deadline(monkeypatch: pytest.MonkeyPatch, head: bytes, drop: bytes) -> None:
    """No single wait is long, but the whole is: it ends at the deadline for the whole, and no thread is left."""
    monkeypatch.setattr(room, "WHOLE_SECONDS", 0.3)
    before = set(threading.enumerate())
    begun = time.monotonic()
    with serving(dripping(head, drop)) as port:
        with pytest.raises(ApiError, match=r"did not answer in full within 0 s") as caught:
            exchange("POST", f"http://127.0.0.1:{port}/x", Secret("t"), {})
        assert time.monotonic() - begun < 10
        assert caught.value.sent
    assert set(threading.enumerate()) <= before


def test_silence_has_a_deadline_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the request and says nothing is left at the read timeout, counted as sent."""
    monkeypatch.setattr(room, "READ_SECONDS", 0.2)
    gate = threading.Event()
    with serving(lambda connection: (gate.wait(5), None)[1]) as port:
        with pytest.raises(ApiError, match=r"broke before its answer .*Timeout") as caught:
            exchange("POST", f"http://127.0.0.1:{port}/x", Secret("t"), {})
        gate.set()
    assert caught.value.sent


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_redirect_is_followed(status: int, method: str) -> None:
    """Whatever the kind of redirect, the other host sees nothing, and the error names it without its path."""
    heard: list[bytes] = []
    with serving(answering(GOOD, heard)) as elsewhere:
        head = f"HTTP/1.1 {status} Go\r\nLocation: http://127.0.0.1:{elsewhere}/login?secret=1\r\n"
        error = refused(f"{head}Content-Length: 0\r\n\r\n".encode(), method, {} if method == "POST" else None)
    assert "redirect to 127.0.0.1 " in error.message
    assert "secret" not in error.message
    assert not error.sent
    assert heard == []


def test_a_connection_reset_after_sending_counts_as_sent() -> None:
    """A reset after the request went out leaves open whether it was taken."""

    def talk(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with serving(talk) as port, pytest.raises(ApiError) as caught:
        exchange("POST", f"http://127.0.0.1:{port}/x", Secret("t"), {})
    assert caught.value.sent


def test_each_request_has_a_connection_of_its_own() -> None:
    """Nothing is kept open, so no query is ever lost on a connection that the other side gave up."""
    heard: list[bytes] = []
    with serving(answering(GOOD, heard)) as port:
        for _ in range(3):
            assert exchange("GET", f"http://127.0.0.1:{port}/x", Secret("t")) == WHOLE
    assert len(heard) == 3
    assert all(b"connection: close" in request.lower() for request in heard)


def nobody(*_: Any, **__: Any) -> None:
    """Know no name: nothing of a test leaves this machine."""
    raise socket.gaierror(socket.EAI_NONAME, "not known")


# --- TLS and proxies ---------------------------------------------------------------------------------------------


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("no_proxy")
def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown authority and wrong name are refused before anything is sent; the authority's file makes it good."""
    heard: list[bytes] = []
    trusted, context = authority(tmp_path, "127.0.0.1")
    with serving(answering(GOOD, heard)) as plain, serving(tls_front(plain, context)) as port:
        with pytest.raises(ApiError, match=r"certificate of 127.0.0.1:.* is not trusted") as caught:
            exchange("POST", f"https://127.0.0.1:{port}/x", Secret("canary"), {})
        assert not caught.value.sent
        assert "REQUESTS_CA_BUNDLE" in caught.value.hint
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
        assert exchange("GET", f"https://127.0.0.1:{port}/x", Secret("canary")) == WHOLE
        assert len(heard) == 1
        with pytest.raises(ApiError, match=r"certificate of localhost:.* is not trusted"):
            exchange("GET", f"https://localhost:{port}/x", Secret("canary"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none"))
        with pytest.raises(ApiError, match="file of trusted certificates is not there"):
            exchange("GET", f"https://127.0.0.1:{port}/x", Secret("canary"))
    assert len(heard) == 1


@pytest.mark.usefixtures("no_proxy")
def test_plain_text_where_tls_is_expected_is_no_connection() -> None:
    """A port that speaks no TLS gets nothing, and the query is known not to have been sent."""
    refusing = pytest.raises(ApiError, match="no connection to")
    with serving(lambda connection: connection.sendall(GOOD)) as port, refusing as caught:
        exchange("POST", f"https://127.0.0.1:{port}/x", Secret("t"), {})
    assert not caught.value.sent


@pytest.mark.usefixtures("no_proxy")
def test_tls_that_breaks_after_sending_counts_as_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of TLS behind the handshake is no proof that nothing was sent."""
    trusted, context = authority(tmp_path, "127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))

    def talk(connection: socket.socket) -> None:
        safe = context.wrap_socket(connection, server_side=True)
        safe.recv(1 << 16)
        # Past TLS: no record of it, so the client's library reports an error of TLS.
        socket.socket.sendall(safe, b"\x17\x03\x03\x00\x20" + bytes(32))
        socket.socket.shutdown(safe, socket.SHUT_WR)
        safe.close()

    with serving(talk) as port, pytest.raises(ApiError) as caught:
        exchange("POST", f"https://127.0.0.1:{port}/x", Secret("t"), {})
    assert caught.value.sent


@pytest.mark.usefixtures("no_proxy")
def test_a_proxy_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS goes through HTTPS_PROXY as a tunnel that sees no token; NO_PROXY and loopback go without it."""
    heard: list[bytes] = []
    trusted, context = authority(tmp_path, "api.insights.example")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    with serving(answering(GOOD, heard)) as plain, serving(tls_front(plain, context)) as safe:
        tunnel = Tunnel(safe)
        with serving(tunnel) as port:
            monkeypatch.setenv("HTTPS_PROXY", f"http://canary-user:canary-pass@127.0.0.1:{port}")
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
            url = "https://api.insights.example/x"
            assert exchange("GET", url, Secret("canary-token")) == WHOLE
            assert len(tunnel.asked) == 1
            assert tunnel.asked[0].startswith(b"CONNECT api.insights.example:443 ")
            assert b"canary-token" not in tunnel.asked[0]
            assert b"Bearer canary-token" in heard[0]
            assert exchange("GET", f"http://127.0.0.1:{plain}/x", None) == WHOLE
            monkeypatch.setenv("NO_PROXY", "insights.example")
            monkeypatch.setattr(socket, "getaddrinfo", nobody)
            with pytest.raises(ApiError, match=r"no connection to api\.insights\.example"):
                exchange("GET", url, Secret("canary-token"))
            assert len(tunnel.asked) == 1


@pytest.mark.usefixtures("no_proxy")
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "the proxy on the way to"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "no connection to api.insights.example"),
    ],
)
def test_a_proxy_that_refuses_is_said_without_its_login(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, words: str
) -> None:
    """Nothing was sent, and neither message nor frames tell the proxy's password."""
    with serving(Tunnel(0, answer)) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:canary-pass@127.0.0.1:{port}")
        with pytest.raises(ApiError, match=words) as caught:
            exchange("POST", "https://api.insights.example/x", Secret("t"), {})
    assert not caught.value.sent
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "canary" not in shown.replace("monkeypatch", "")


@pytest.mark.usefixtures("no_proxy")
def test_a_proxy_that_is_not_there_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection to the proxy is a request that was not sent."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(ApiError, match=r"no connection to api\.insights\.example") as caught:
        exchange("POST", "https://api.insights.example/x", Secret("t"), {})
    assert not caught.value.sent


def test_what_cannot_be_sent_is_our_error_without_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    """A token no header can hold, and a password of half characters, end in an error that does not show them."""
    caplog.set_level(logging.DEBUG)
    for token, body in (
        (Secret("canary\n"), None),
        (Secret("canary\u2026"), None),
        (None, {"p": Secret("canary\ud800")}),
    ):
        with serving(answering(GOOD)) as port, pytest.raises(ApiError) as caught:
            exchange("POST", f"http://127.0.0.1:{port}/x", token, body)
        assert "canary" not in "".join(traceback.format_exception(caught.value)) + caplog.text


def test_the_oldest_tls_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that speaks TLS 1.1 at most gets no connection."""
    trusted, context = authority(tmp_path, "127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with serving(tls_front(1, context)) as port, pytest.raises(ApiError, match="no connection to"):
        exchange("GET", f"https://127.0.0.1:{port}/x", Secret("t"))
