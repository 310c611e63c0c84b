"""The HTTP API: log in, read the schema, submit a query, ask for a report's status and location.

Source of paths, answers and error shapes: Overview page and contract §1, §3. Every request has an explicit auth
object (else requests would let ``~/.netrc`` replace the bearer token), follows no redirect, has a deadline and
a cap on the size of its answer.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.auth import AuthBase

from insights_nb.answers import Answer, Status, refusal
from insights_nb.catalog import Schema
from insights_nb.errors import ApiError, AuthError, ConfigError
from insights_nb.location import is_not_ready, parse_location
from insights_nb.settings import Secret, Settings

QUERIES = "/_rest/v4/dwh/Q"
LOGIN = "/_rest/v4/authenticate"
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
ANSWER_BYTES = 16 * 1024**2
RETRY_SECONDS = (0.5, 2.0)
_REPORT_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class _Bearer(AuthBase):
    """Puts the token on a request, and keeps it out of sight everywhere else."""

    def __init__(self, token: Secret) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token.reveal()}"
        return request


class _Nobody(AuthBase):
    """Sends no credentials; unlike None it also keeps ``~/.netrc`` out."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class Client:
    """One account's view of the API. Safe to use from several threads.

    Parameters
    ----------
    settings : Settings
        Hosts and login.
    sleep : callable
        Waits between two tries of a request that failed on the way.
    """

    def __init__(self, settings: Settings, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._settings = settings
        self._sleep = sleep
        self._session = requests.Session()
        self._session.headers.update({"Accept": "application/json", "Accept-Encoding": "identity"})
        self._token = settings.token
        self._token_lock = threading.Lock()

    def schema(self) -> Schema:
        """Events and fields of the account (``GET Q``).

        Raises
        ------
        ApiError
            When the service cannot be reached or answers in another form.
        """
        return Schema.from_answer(self._call("GET", QUERIES, "the list of fields").payload)

    def submit(self, body: Mapping[str, Any]) -> str:
        """Start a report (``POST Q``) and return its id.

        Never sent twice after it may have arrived: such a failure is an ApiError with ``sent`` true.

        Raises
        ------
        QueryError
            The service refused the query; in its own words.
        BusyError
            Every slot is taken.
        ApiError
            Anything else; ``sent`` says whether the service may be running the query all the same.
        """
        answer = self._call("POST", QUERIES, "the query", body)
        found = answer.payload.get("id") if isinstance(answer.payload, Mapping) else None
        if not isinstance(found, str) or not _REPORT_ID.fullmatch(found):
            raise ApiError(
                f"the service took the query (HTTP {answer.status}) but its answer holds no usable report id.",
                "The report may be running and hold one of two slots. Wait some minutes before you ask again.",
                status=answer.status,
                sent=True,
            )
        return found

    def status(self, report_id: str) -> Status:
        """Where a report is (``GET Q/{guid}/status``).

        Raises
        ------
        UnknownReportError
            The service does not know the id.
        ApiError
            No usable answer; ``temporary`` says whether asking again may help.
        """
        payload = self._about(report_id, "/status")
        word, messages = payload.get("status"), payload.get("messages")
        texts = tuple(str(text) for text in messages) if isinstance(messages, list) else ()
        return Status(word if isinstance(word, str) else "", texts)

    def location(self, report_id: str) -> list[str] | None:
        """Relative paths of a report's shards (``GET Q/{guid}``), or None while it is not ready.

        Raises
        ------
        UnknownReportError, ApiError
            As :meth:`status`.
        """
        sentence = self._about(report_id, "").get("status")
        if not isinstance(sentence, str):
            raise ApiError("the report's location has an unknown form.", "Ask again; the report is kept.")
        return None if is_not_ready(sentence) else parse_location(sentence)

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def _about(self, report_id: str, suffix: str) -> Mapping[str, Any]:
        answer = self._call("GET", f"{QUERIES}/{report_id}{suffix}", f"report {report_id}")
        payload = answer.payload
        if not isinstance(payload, Mapping):
            raise ApiError(
                f"the answer about report {report_id} has an unknown form.",
                "Ask again; the report is kept.",
                status=answer.status,
                temporary=True,
            )
        if payload.get("guid") not in (None, report_id):
            raise ApiError(
                f"the service answered about another report ({payload['guid']}) than {report_id}.",
                "Nothing of that answer is used. Ask again; the report is kept.",
                status=answer.status,
            )
        return payload

    def _call(self, method: str, path: str, subject: str, body: Mapping[str, Any] | None = None) -> Answer:
        """One authorised call: a new token once on 401, again after failures that cannot have done harm."""
        url = self._settings.api_url + path
        renewed = False
        waits = iter(RETRY_SECONDS)
        while True:
            token = self._bearer()
            try:
                answer = self._exchange(method, url, _Bearer(token), body)
                error = refusal(answer, subject)
            except ApiError as caught:
                error = caught
            if error is None:
                return answer
            if isinstance(error, AuthError) and self._settings.token is None and not renewed:
                self._forget(token)
                renewed = True
                continue
            harmless = isinstance(error, ApiError) and error.temporary and (method == "GET" or not error.sent)
            pause = next(waits, None) if harmless else None
            if pause is None:
                raise error
            self._sleep(pause)

    def _bearer(self) -> Secret:
        """The token in use, fetched on first need; threads that need one at once share one login."""
        with self._token_lock:
            if self._token is None:
                self._token = self._login()
            return self._token

    def _forget(self, token: Secret) -> None:
        """Drop a token the service refused, unless another thread has already renewed it."""
        with self._token_lock:
            if self._token is token:
                self._token = None

    def _login(self) -> Secret:
        settings = self._settings
        if not settings.username or settings.password is None:
            missing = [name for name in ("username", "password") if not getattr(settings, name)]
            raise ConfigError(
                f"no login for {settings.auth_url}: {' and '.join(missing)} not set.",
                f"Set {' and '.join(f'INSIGHTS_{name.upper()}' for name in missing)}, or try it out "
                "without an account: insights.demo()",
            )
        body = {"username": settings.username, "password": settings.password}
        answer = self._exchange("POST", settings.auth_url + LOGIN, _Nobody(), body)
        host = urlsplit(settings.auth_url).hostname
        if answer.status in (400, 401, 403):
            raise AuthError(
                f'{host} refused the login of "{settings.username}" (HTTP {answer.status}).',
                "Check INSIGHTS_USERNAME and INSIGHTS_PASSWORD; it was tried once, so that no account gets locked.",
                status=answer.status,
            )
        token = answer.payload.get("token") if isinstance(answer.payload, Mapping) else None
        if answer.status >= 300 or not isinstance(token, str) or not token:
            raise ApiError(
                f"{host} answered the login with HTTP {answer.status} and no token.",
                "Is INSIGHTS_AUTH_URL right?",
                status=answer.status,
                temporary=answer.status >= 500,
            )
        return Secret(token)

    def _exchange(self, method: str, url: str, auth: AuthBase, body: Mapping[str, Any] | None) -> Answer:
        """Send one request and read its whole answer.

        The library's errors hold the request and so the token: ours is raised after the except block, so that
        it does not carry theirs along.
        """
        try:
            return self._send(method, url, auth, body)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as caught:
            error = _lost(caught, url)
        raise error

    def _send(self, method: str, url: str, auth: AuthBase, body: Mapping[str, Any] | None) -> Answer:
        deadline = time.monotonic() + CONNECT_SECONDS + READ_SECONDS
        with self._session.request(
            method,
            url,
            data=None if body is None else json.dumps(body, default=_reveal, ensure_ascii=False).encode(),
            headers=None if body is None else {"Content-Type": "application/json"},
            auth=auth,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            allow_redirects=False,
            stream=True,
        ) as response:
            chunks, size = [], 0
            while chunk := response.raw.read1(65536):
                chunks.append(chunk)
                size += len(chunk)
                if size > ANSWER_BYTES or time.monotonic() > deadline:
                    raise requests.ReadTimeout
            if 300 <= response.status_code < 400:
                target = urlsplit(response.headers.get("Location", "")).hostname
                raise ApiError(
                    f"{urlsplit(url).hostname} wants to redirect to {target or 'elsewhere'} "
                    f"(HTTP {response.status_code}); credentials never follow a redirect.",
                    "A sign-in page of the network may be in the way, or the address in the settings is wrong.",
                    status=response.status_code,
                )
            return Answer(response.status_code, _parsed(b"".join(chunks)))


def _reveal(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(f"{type(value).__name__} is no JSON")


def _parsed(content: bytes) -> Any:
    """The JSON of an answer; None when it is none (an HTML page, a cut answer)."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _lost(caught: Exception, url: str) -> ApiError:
    """Our error for a request that got no answer; ``sent`` unless the connection was never made."""
    never_connected = (requests.ConnectTimeout, requests.exceptions.SSLError, requests.exceptions.ProxyError)
    reason = getattr(caught.args[0], "reason", caught.args[0]) if caught.args else caught
    sent = not isinstance(caught, never_connected) and not isinstance(
        reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.NameResolutionError
    )
    host = urlsplit(url).netloc
    what = (
        f"the connection to {host} broke before its answer was complete ({type(caught).__name__})."
        if sent
        else f"no connection to {host} ({type(reason).__name__})."
    )
    return ApiError(
        what, "Check the network, the proxy and the API address in the settings.", temporary=True, sent=sent
    )
