"""One HTTP request and its whole answer, or an error that says whether the service may have taken the request.

The door to requests. Each request has a connection of its own: on one kept from earlier, which the other side may
have given up meanwhile, a lost query could not be told from one that never left. Every request has an explicit auth
object (else requests would let ``~/.netrc`` replace the bearer token), follows no redirect, and has a deadline for
all of it and a cap on the size of its answer.

What requests raises, and the frames it leaves behind, hold the token and the password: whatever goes wrong here,
Ctrl-C too, is raised anew outside its ``except`` block, so that nothing of that rides along.
"""

import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from insights_nb.answers import Answer, printable
from insights_nb.errors import ApiError
from insights_nb.settings import LOOPBACK, Secret

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
WHOLE_SECONDS = 70.0
ANSWER_BYTES = 16 * 1024**2

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "Connection": "close"}
_HINT = "Check the network, the proxy and the API address in the settings."


def exchange(method: str, url: str, token: Secret | None, body: Mapping[str, Any] | None = None) -> Answer:
    """Send one request and read its whole answer.

    Parameters
    ----------
    method, url : str
        What to send where.
    token : Secret or None
        The bearer token; None sends no credentials.
    body : mapping or None
        Sent as JSON; a Secret in it is revealed on the wire alone.

    Returns
    -------
    Answer
        Whatever its status, except a redirect.

    Raises
    ------
    ApiError
        No answer came, not all of it, too much of it, or a redirect. ``sent`` is true where the connection stood, so
        that the service may have taken the request.
    """
    outcome = _attempted(method, url, token, body)
    if isinstance(outcome, BaseException):
        raise outcome
    status, target, content = outcome
    host = urlsplit(url).hostname
    if 300 <= status < 400:
        raise ApiError(
            f"{host} wants to redirect to {printable(target) or 'elsewhere'} (HTTP {status}); "
            "credentials never follow a redirect.",
            "A sign-in page of the network may be in the way, or the address in the settings is wrong.",
            status=status,
        )
    if len(content) > ANSWER_BYTES:
        raise ApiError(
            f"{host} answered with more than {ANSWER_BYTES >> 20} MB, which no answer of the API has.",
            "A proxy or sign-in page may be in the way.",
            status=status,
            temporary=True,
            sent=True,
        )
    return Answer(status, _parsed(content))


def _attempted(
    method: str, url: str, token: Secret | None, body: Mapping[str, Any] | None
) -> tuple[int, str, bytes] | BaseException:
    """Send a request; return status, redirect's host and body, or what to raise once no frame of this is left."""
    line = _Line()
    try:
        return _sent(line, method, url, token, body)
    except KeyboardInterrupt:
        return KeyboardInterrupt()
    except Exception as caught:
        return _lost(caught, url, line)


class _Line(HTTPAdapter):
    """The connection of one request, which can be cut from outside: no timeout of the library's bounds the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.late = False
        self._connection: Any = None
        self._socket: socket.socket | None = None

    @property
    def stood(self) -> bool:
        """Whether there was a connection, through proxy and TLS, on which the request may have gone out."""
        return self._socket is not None

    def get_connection_with_tls_context(self, *words: Any, **more: Any) -> Any:
        """Return the library's pool, whose connections are made known to us."""
        pool: Any = super().get_connection_with_tls_context(*words, **more)
        kind = pool.ConnectionCls

        def made(**options: Any) -> Any:
            self._connection = connection = kind(**options)
            connect = connection.connect

            def known() -> None:
                connect()
                self._socket = connection.sock

            connection.connect = known
            return connection

        pool.ConnectionCls = made
        return pool

    def cut(self) -> None:
        """End the connection under whoever waits on it."""
        self.late = True
        found = self._socket or getattr(self._connection, "sock", None)
        if found is not None:
            with suppress(OSError):
                # Not the method of a TLS socket, which takes the encryption off under the reader's feet.
                socket.socket.shutdown(found, socket.SHUT_RDWR)


class _Auth(AuthBase):
    """Puts the token on a request, if there is one; unlike None it also keeps ``~/.netrc`` out."""

    def __init__(self, token: Secret | None) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.token is not None:
            request.headers["Authorization"] = f"Bearer {self.token.reveal()}"
        return request


def _sent(
    line: _Line, method: str, url: str, token: Secret | None, body: Mapping[str, Any] | None
) -> tuple[int, str, bytes]:
    """Send a request; return the answer's status, the host it redirects to, and its body up to the cap."""
    deadline = time.monotonic() + WHOLE_SECONDS
    limit = threading.Timer(WHOLE_SECONDS, line.cut)
    limit.daemon = True
    host = urlsplit(url).hostname
    try:
        try:
            limit.start()
            with requests.Session() as session:
                session.mount("http://", line)
                session.mount("https://", line)
                with session.request(
                    method,
                    url,
                    data=None if body is None else json.dumps(body, default=_revealed, ensure_ascii=False).encode(),
                    headers=_HEADERS if body is None else {**_HEADERS, "Content-Type": "application/json"},
                    auth=_Auth(token),
                    timeout=(CONNECT_SECONDS, READ_SECONDS),
                    allow_redirects=False,
                    stream=True,
                    # The way to this machine itself leads through no proxy, whatever the environment says.
                    proxies={"no_proxy": str(host)} if host in LOOPBACK else None,
                ) as response:
                    chunks, size = [], 0
                    while chunk := response.raw.read1(65536):
                        chunks.append(chunk)
                        size += len(chunk)
                        line.late = line.late or time.monotonic() > deadline
                        if line.late or size > ANSWER_BYTES:
                            break
                    if line.late:
                        # Cut in its head, an answer looks like a whole one with little to say.
                        raise requests.ReadTimeout
                    target = urlsplit(response.headers.get("Location", "")).hostname or ""
                    return response.status_code, target, b"".join(chunks)
        finally:
            limit.cancel()
            with suppress(RuntimeError):  # stopped before it had begun
                limit.join()
    except KeyboardInterrupt:
        # It may have struck before the end had begun; else the timer outlives the call by as long as the deadline.
        limit.cancel()
        raise


def _revealed(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(f"{type(value).__name__} is no JSON")


def _parsed(content: bytes) -> Any:
    """The JSON of an answer; None when it is none (an HTML page, a cut answer)."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _lost(caught: Exception, url: str, line: _Line) -> ApiError:
    """Our error for a request that got no answer; of the library's, only what can hold no secret."""
    host, hint = urlsplit(url).netloc, _HINT
    root = _root(caught)
    if line.late:
        what = f"{host} did not answer in full within {WHOLE_SECONDS:.0f} s."
    elif line.stood:
        what = f"the connection to {host} broke before its answer was complete ({type(root).__name__})."
    elif isinstance(root, ssl.SSLCertVerificationError):
        what = f"the certificate of {host} is not trusted: {printable(root.verify_message)}."
        hint = (
            "Where a proxy of your company looks into TLS, ask for the file of its authority and set "
            "REQUESTS_CA_BUNDLE to it; else somebody may be listening in. Nothing was sent."
        )
    elif "407" in str(root):
        what = f"the proxy on the way to {host} wants a login (HTTP 407)."
        hint = "Set HTTPS_PROXY=http://user:password@host:port, or ask whoever runs the proxy."
    elif "CA certificate bundle" in str(root):
        what = f"no connection to {host}: the file of trusted certificates is not there."
        hint = "Look at REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE in the environment."
    else:
        what = f"no connection to {host} ({type(root).__name__})."
        if "SOCKS" in str(root):
            hint = "A SOCKS proxy is set in the environment; it takes another package: pip install 'requests[socks]'."
    return ApiError(what, hint, temporary=True, sent=line.stood)


def _root(caught: BaseException) -> BaseException:
    """What is at the bottom of the library's wrappings."""
    while True:
        inner = [getattr(caught, "original_error", None), getattr(caught, "reason", None), *caught.args]
        below = next((error for error in inner if isinstance(error, BaseException)), None)
        if below is None:
            return caught
        caught = below
