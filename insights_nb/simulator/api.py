"""The HTTP half: which call a request is, who makes it, what goes wrong, and the answer on the wire."""

import json
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request

from . import answers
from .faults import KINDS, Fault, FaultPlan
from .reports import NoSuchReportError, Reports, SlotsTakenError
from .rules import RefusalError, verdict
from .schema import Schema

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_ROOT = "/_rest/v4"
_QUERY = re.compile(rf"{_ROOT}/dwh/Q(?:/(?P<guid>[^/]+)(?P<status>/status)?)?")
CALLS = frozenset(name for name in KINDS if "/" in name)
"""Every call of the API, in the words of ``faults.KINDS``."""

_LARGEST_BODY = 4 * 1024 * 1024


@dataclass(frozen=True)
class Call:
    """One request the service has seen.

    Parameters
    ----------
    method, path
        As they came.
    status
        The status answered; 0 where the connection was reset without an answer.
    body
        The request's JSON, or None if there was none.
    authorized
        Whether the token was good (for a login: whether the login was).
    at
        The service's clock when the request came.
    """

    method: str
    path: str
    status: int
    body: object
    authorized: bool
    at: float


@dataclass(frozen=True)
class Reply:
    """What to answer: a status, a body (text and bytes as they are, the rest as JSON) and more headers."""

    status: int
    body: object
    headers: Mapping[str, str] = field(default_factory=dict)


class Tokens:
    """Logins and the tokens they were given.

    Parameters
    ----------
    username, password
        The one good login.
    life
        Seconds a token is good for.
    clock
        Seconds, monotonic.
    """

    def __init__(self, username: str, password: str, life: float, clock: Callable[[], float]) -> None:
        self._login = (username, password)
        self._life = life
        self._clock = clock
        self._lock = threading.Lock()
        self._issued: dict[str, float] = {}

    def issue(self, login: object) -> str | None:
        """Return a fresh token for a good login, None for any other."""
        if not isinstance(login, dict) or (login.get("username"), login.get("password")) != self._login:
            return None
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._issued[token] = self._clock()
        return token

    def good(self, header: str) -> bool:
        """Return whether an ``Authorization`` header carries a token that is known and not too old."""
        scheme, _, token = header.partition(" ")
        with self._lock:
            issued = self._issued.get(token.strip())
        return scheme.lower() == "bearer" and issued is not None and self._clock() < issued + self._life

    def forget(self) -> None:
        """Make every token given out so far worthless."""
        with self._lock:
            self._issued.clear()


class ResetError(ConnectionAbortedError):
    """Drop the connection without a word."""


class Api:
    """The service as a WSGI application.

    Parameters
    ----------
    tokens
        Who may call.
    reports
        Where queries go.
    schema
        What may be asked.
    faults
        What goes wrong.
    wait
        Waits for a fault's seconds or gate.
    clock
        Seconds, monotonic.
    """

    def __init__(
        self,
        tokens: Tokens,
        reports: Reports,
        schema: Schema,
        faults: FaultPlan,
        wait: Callable[[Fault], None],
        clock: Callable[[], float],
    ) -> None:
        self._tokens = tokens
        self._reports = reports
        self._schema = schema
        self._faults = faults
        self._wait = wait
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: list[Call] = []

    @property
    def calls(self) -> list[Call]:
        """Return every request so far, in the order they were answered."""
        with self._lock:
            return list(self._calls)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request, as WSGI has it; raises ResetError where the connection is to be dropped."""
        request = Request(environ)
        request.max_content_length = _LARGEST_BODY
        at = self._clock()
        body, readable = _parsed(request)
        name, guid = _name(request)
        due = self._faults.strike(name, request.path) if name in CALLS else ()
        if name == "POST /authenticate":
            token = self._tokens.issue(body)
            authorized = token is not None
        else:
            token = None
            authorized = self._tokens.good(request.headers.get("Authorization", ""))

        def record(status: int) -> None:
            seen = Call(request.method, request.path, status, body, authorized, at)
            with self._lock:
                self._calls.append(seen)

        try:
            reply = self._before(due)
            if reply is None:
                reply = self._after(due, self._perform(name, guid, body, readable, authorized, token, due))
        except ResetError:
            record(0)
            raise
        record(reply.status)
        return _sent(reply, request.method, due, start_response)

    def _before(self, due: Iterable[Fault]) -> Reply | None:
        """Play what happens before the work; a reply means that the work is not done."""
        for fault in due:
            if fault.do == "delay":
                self._wait(fault)
            elif fault.do == "busy":
                return Reply(429, answers.too_many_queries(self._reports.slots))
            elif fault.do == "answer":
                return Reply(fault.status, fault.body, fault.headers)
            elif fault.do == "reset":
                raise ResetError
        return None

    def _after(self, due: Iterable[Fault], reply: Reply) -> Reply:
        """Play what happens between the work and the answer."""
        for fault in due:
            if fault.do == "delay_after":
                self._wait(fault)
            elif fault.do == "amend" and isinstance(fault.body, Mapping):
                reply = Reply(reply.status, answers.amended(reply.body, fault.body), reply.headers)
            elif fault.do == "answer_after":
                reply = Reply(fault.status, fault.body, fault.headers)
            elif fault.do == "reset_after":
                raise ResetError
        return reply

    def _perform(
        self,
        name: str,
        guid: str,
        body: object,
        readable: bool,
        authorized: bool,
        token: str | None,
        due: Iterable[Fault],
    ) -> Reply:
        """Do what a call asks for."""
        if name not in CALLS:
            return Reply(405, answers.wrong_method()) if name else Reply(404, answers.not_found())
        if not authorized and (readable or name != "POST /authenticate"):
            return Reply(401, answers.unauthorized())
        if not readable:
            return Reply(400, answers.bad_request("The body must be a JSON object."))
        if name == "POST /authenticate":
            return Reply(200, answers.token(token or ""))
        if name == "POST /Q":
            return self._submit(body, due)
        if name in ("GET /Q", "HEAD /Q"):
            return Reply(200, self._schema.listing())
        try:
            answer = self._reports.status if name == "GET /Q/status" else self._reports.location
            return Reply(200, answer(guid))
        except NoSuchReportError:
            return Reply(500, answers.unknown_report())

    def _submit(self, body: object, due: Iterable[Fault]) -> Reply:
        ending = next((fault for fault in due if fault.do in ("fail", "cancel")), None)
        try:
            return Reply(201, answers.accepted(self._reports.submit(verdict(body, self._schema), ending)))
        except RefusalError as refusal:
            return Reply(400, refusal.body)
        except SlotsTakenError:
            return Reply(429, answers.too_many_queries(self._reports.slots))


def _name(request: Request) -> tuple[str, str]:
    """Return which call a request is, in the words of ``faults.KINDS``, and the report id in it.

    A path that is no call has the name ``""``; a known path with the wrong method has a name not in ``CALLS``.
    """
    if request.path == f"{_ROOT}/authenticate":
        return f"{request.method} /authenticate", ""
    match = _QUERY.fullmatch(request.path)
    if match is None:
        return "", ""
    guid = match["guid"] or ""
    end = "" if not guid else "/status" if match["status"] else "/location"
    return f"{request.method} /Q{end}", guid


def _parsed(request: Request) -> tuple[object, bool]:
    """Return a request's JSON (None without a body), and whether it could be read."""
    try:
        raw = request.get_data()
    except RequestEntityTooLarge:
        return None, False
    if not raw:
        return None, True
    try:
        return json.loads(raw), True
    except (ValueError, RecursionError):
        return None, False


def _sent(reply: Reply, method: str, due: Iterable[Fault], start_response: "StartResponse") -> Iterable[bytes]:
    """Put a reply on the wire."""
    raw = isinstance(reply.body, str | bytes)
    content = reply.body if isinstance(reply.body, bytes) else b""
    if isinstance(reply.body, str):
        content = reply.body.encode()
    elif not raw:
        content = (json.dumps(reply.body) + "\n").encode()
    headers = {
        "Content-Type": "text/html" if raw else "application/json",
        "Content-Length": str(len(content)),
        **reply.headers,
    }
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "Unknown"
    start_response(f"{reply.status} {phrase}", list(headers.items()))
    for fault in due:
        if fault.do == "cut":
            content = content[: fault.at]
    return [] if method == "HEAD" else [content]
