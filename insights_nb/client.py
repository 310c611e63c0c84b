"""The HTTP API: log in, read the schema, submit a query, ask for a report's status and location.

Source of paths, answers and error shapes: Overview page and contract §1, §3. How one request goes over the wire, and
what its loss means, is the job of :mod:`insights_nb.exchange`.
"""

import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from insights_nb.answers import Answer, Status, printable, refusal, texts
from insights_nb.catalog import Schema
from insights_nb.errors import ApiError, AuthError, BusyError, ConfigError, InsightsError
from insights_nb.exchange import exchange
from insights_nb.location import is_not_ready, parse_location
from insights_nb.settings import Secret, Settings

QUERIES = "/_rest/v4/dwh/Q"
LOGIN = "/_rest/v4/authenticate"
RETRY_SECONDS = (0.5, 2.0)
_REPORT_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TOKEN = re.compile(r"[!-~]{1,8192}")


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
        word = payload.get("status")
        return Status(printable(word) if isinstance(word, str) else "", tuple(texts(payload.get("messages"))))

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
        """Forget the token; the next call logs in anew. No connection is ever held between calls."""
        with self._token_lock:
            self._token = self._settings.token

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
                f"the service answered about another report ({printable(str(payload['guid'])[:99])}) than {report_id}.",
                "Nothing of that answer is used. Ask again; the report is kept.",
                status=answer.status,
            )
        return payload

    def _call(self, method: str, path: str, subject: str, body: Mapping[str, Any] | None = None) -> Answer:
        """One authorised call: a new token once on 401, again after failures that cannot have done harm."""
        renewed = False
        waits = iter(RETRY_SECONDS)
        while True:
            token: Secret | None = None
            error: InsightsError | None
            try:
                token = self._bearer()
                answer = exchange(method, self._settings.api_url + path, token, body)
                error = refusal(answer, subject)
            except ApiError as caught:
                error = caught
            if error is None:
                return answer
            # An error of the login comes without a token, and a refused login is never repeated.
            if isinstance(error, AuthError) and token is not None and self._settings.token is None and not renewed:
                self._forget(token)
                renewed = True
                continue
            pause = next(waits, None) if _is_harmless(error, method) else None
            if pause is None:
                raise error
            self._sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - so that kernels do not ask in step

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
        host = urlsplit(settings.auth_url).hostname
        failure: ApiError | None = None
        try:
            answer = exchange(
                "POST", settings.auth_url + LOGIN, None, {"username": settings.username, "password": settings.password}
            )
        except ApiError as caught:
            failure = caught
            failure.sent = False  # a login, but not what the login was for
        if failure is not None:
            raise failure
        if answer.status in (400, 401, 403):
            raise AuthError(
                f'{host} refused the login of "{settings.username}" (HTTP {answer.status}).',
                "Check INSIGHTS_USERNAME and INSIGHTS_PASSWORD; it was tried once, so that no account gets locked.",
                status=answer.status,
            )
        token = answer.payload.get("token") if isinstance(answer.payload, Mapping) else None
        if answer.status >= 300 or not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise ApiError(
                f"{host} answered the login with HTTP {answer.status} and no usable token.",
                "Is INSIGHTS_AUTH_URL right? A proxy or sign-in page may be in the way.",
                status=answer.status,
                temporary=answer.status >= 500 or answer.payload is None,
            )
        return Secret(token)


def _is_harmless(error: InsightsError, method: str) -> bool:
    """Whether a request that failed this way may be sent again at once."""
    if not isinstance(error, ApiError) or not error.temporary:
        return False
    return method == "GET" or not (error.sent or isinstance(error, BusyError))
