"""The HTTP client against the local service, and against answers nobody documented."""

import itertools
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import requests

from insights_nb.answers import Outcome
from insights_nb.catalog import DOCUMENTED
from insights_nb.client import Client
from insights_nb.errors import ApiError, AuthError, BusyError, ConfigError, QueryError, UnknownReportError
from insights_nb.settings import Secret, Settings
from insights_nb.simulator import Fault, Simulator
from tests.proxy import Fault as Broken
from tests.proxy import proxy
from tests.service import BODY, service, settings_for


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with service() as simulator:
        yield simulator


@pytest.fixture
def simulator(shared: Simulator) -> Iterator[Simulator]:
    """The shared service, without faults before and after."""
    shared.faults.clear()
    yield shared
    shared.faults.clear()
    shared.release()
    shared.settle()


@pytest.fixture
def client(simulator: Simulator) -> Iterator[Client]:
    found = Client(settings_for(simulator), sleep=lambda seconds: None)
    yield found
    found.close()


def finished(client: Client, simulator: Simulator) -> str:
    """Submit the usual query and wait until the service is done with it."""
    report_id = client.submit(BODY)
    simulator.settle()
    assert client.status(report_id).outcome is Outcome.COMPLETED
    return report_id


def test_the_whole_conversation(client: Client, simulator: Simulator) -> None:
    """Schema, submit, status, location: one login serves them all."""
    before = simulator.count("POST", "authenticate")
    assert client.schema() == DOCUMENTED
    report_id = finished(client, simulator)
    paths = client.location(report_id)
    assert paths
    assert all(path.startswith("reports/") and path.endswith(".csv.gz") for path in paths)
    assert simulator.count("POST", "authenticate") == before + 1


def test_not_ready_is_none(client: Client, simulator: Simulator) -> None:
    """The "not finish yet" sentence is no location."""
    simulator.hold()
    report_id = client.submit(BODY)
    assert client.status(report_id).outcome is Outcome.RUNNING
    assert client.location(report_id) is None


def test_an_unknown_id(client: Client) -> None:
    """The list with 500 says that the id is unknown; it is not asked for again."""
    with pytest.raises(UnknownReportError, match="matching query does not exist"):
        client.status("0" * 32)


def test_slots(client: Client, simulator: Simulator) -> None:
    """The third query at once is told that the slots are taken, once."""
    simulator.hold()
    client.submit(BODY)
    client.submit(BODY)
    before = simulator.count("POST", "/Q$")
    with pytest.raises(BusyError, match=r"max concurrent queries per user \(2\) reached"):
        client.submit(BODY)
    assert simulator.count("POST", "/Q$") == before + 1


def test_a_refused_query_is_never_sent_again(client: Client, simulator: Simulator) -> None:
    """A 400 raises QueryError after one request."""
    before = simulator.count("POST", "/Q$")
    with pytest.raises(QueryError, match="is not a valid schema name"):
        client.submit({**BODY, "data": {"Application ExitEvent": {"fields": ["FlowId"]}}})
    assert simulator.count("POST", "/Q$") == before + 1


def test_an_expired_token_is_renewed_once(client: Client, simulator: Simulator) -> None:
    """A 401 in the middle logs in again and goes on; a second 401 is an error."""
    client.schema()
    logins = simulator.count("POST", "authenticate")
    simulator.faults.add(Fault(on="GET /Q", do="answer", status=401, body={"code": 401, "error": "Unauthorized"}))
    assert client.schema() == DOCUMENTED
    assert simulator.count("POST", "authenticate") == logins + 1
    simulator.faults.add(Fault(on="GET /Q", do="answer", times=2, status=401, body={"error": "Unauthorized"}))
    with pytest.raises(AuthError, match="does not accept our token"):
        client.schema()
    assert simulator.count("POST", "authenticate") == logins + 2


def test_threads_share_one_login(simulator: Simulator) -> None:
    """Eight threads that need a token at once log in once."""
    client = Client(settings_for(simulator))
    before = simulator.count("POST", "authenticate")
    threads = [threading.Thread(target=client.schema) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    assert simulator.count("POST", "authenticate") == before + 1


def test_a_wrong_password_is_tried_once(simulator: Simulator) -> None:
    """The login is never repeated: accounts get locked that way."""
    client = Client(settings_for(simulator, password="wrong"))
    before = simulator.count("POST", "authenticate")
    with pytest.raises(AuthError, match='refused the login of "demo"'):
        client.schema()
    client.close()
    assert simulator.count("POST", "authenticate") == before + 1


def test_a_missing_login_says_what_to_set() -> None:
    """Without user and password nothing is sent, and both settings are named."""
    with pytest.raises(ConfigError, match="INSIGHTS_USERNAME and INSIGHTS_PASSWORD"):
        Client(Settings(api_url="http://127.0.0.1:1")).schema()


def test_netrc_does_not_replace_the_token(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A netrc entry for the host changes neither the login nor the bearer token."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    client = Client(settings_for(simulator))
    assert client.schema() == DOCUMENTED
    client.close()


def test_redirects_are_not_followed(client: Client, simulator: Simulator) -> None:
    """A sign-in page's redirect is an error that names the host it points to."""
    headers = {"Location": "https://portal.example/login"}
    simulator.faults.add(Fault(on="GET /Q", do="answer", status=302, body="", headers=headers))
    with pytest.raises(ApiError, match=r"redirect to portal\.example"):
        client.schema()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(on="GET /Q", do="reset"),
        Fault(on="GET /Q", do="reset_after"),
        Fault(on="GET /Q", do="answer", status=502, body="<html>bad gateway</html>"),
        Fault(on="GET /Q", do="answer", status=200, body="<html>sign in</html>"),
        Fault(on="GET /Q", do="cut", at=10),
    ],
    ids=lambda fault: f"{fault.do}-{fault.status}",
)
def test_a_lost_answer_to_a_question_is_asked_again(client: Client, simulator: Simulator, fault: Fault) -> None:
    """Asking does no harm, so a reset, a gateway page or a cut answer is asked again."""
    simulator.faults.add(fault)
    assert client.schema() == DOCUMENTED
    assert len(simulator.faults.struck) >= 1


def test_a_question_is_given_up_in_the_end(client: Client, simulator: Simulator) -> None:
    """Three tries, then an error that may be temporary."""
    simulator.faults.add(Fault(on="GET /Q", do="answer", times=0, status=503, body=""))
    before = simulator.count("GET", "/Q$")
    with pytest.raises(ApiError, match="HTTP 503") as caught:
        client.schema()
    assert caught.value.temporary
    assert simulator.count("GET", "/Q$") == before + 3


@pytest.mark.parametrize("do", ["reset", "reset_after", "answer_after"])
def test_a_query_that_may_have_arrived_is_not_sent_again(client: Client, simulator: Simulator, do: str) -> None:
    """After a reset or a 5xx the query may be running: one POST, and the error says so."""
    simulator.faults.add(Fault(on="POST /Q", do=do, status=502, body=""))
    before = simulator.count("POST", "/Q$")
    with pytest.raises(ApiError) as caught:
        client.submit(BODY)
    assert caught.value.sent
    assert simulator.count("POST", "/Q$") == before + 1


def test_a_query_that_never_left_is_sent_again() -> None:
    """A refused connection is tried three times and says that nothing was sent."""
    pauses: list[float] = []
    settings = Settings(api_url="http://127.0.0.1:1", token=Secret("t"))
    with pytest.raises(ApiError, match=r"no connection to 127\.0\.0\.1:1") as caught:
        Client(settings, sleep=pauses.append).submit(BODY)
    assert not caught.value.sent
    assert len(pauses) == 2


@pytest.mark.parametrize("body", [{}, {"id": ""}, {"id": None}, {"id": 7}, {"id": "a/b"}, [], "x", {"id": "x" * 129}])
def test_an_answer_without_a_usable_id(client: Client, simulator: Simulator, body: Any) -> None:
    """The query was taken, so the error counts as sent and says that a slot may be held."""
    simulator.faults.add(Fault(on="POST /Q", do="answer_after", status=201, body=body if body != "x" else '"x"'))
    with pytest.raises(ApiError, match=r"no usable report id|no JSON") as caught:
        client.submit(BODY)
    assert caught.value.sent


def test_the_documented_31_digit_id_is_taken(client: Client, simulator: Simulator) -> None:
    """Ids are opaque: the vendor's own sample has 31 digits."""
    simulator.faults.add(Fault(on="POST /Q", do="answer", status=201, body={"id": "8dc9054b258c51f9ecf1f69322d69f9"}))
    assert client.submit(BODY) == "8dc9054b258c51f9ecf1f69322d69f9"


def test_an_answer_about_another_report_is_not_used(client: Client, simulator: Simulator) -> None:
    """A status for another guid is an error, not a status."""
    report_id = client.submit(BODY)
    simulator.faults.add(Fault(on="GET /Q/status", do="amend", body={"guid": "other"}))
    with pytest.raises(ApiError, match=r"about another report \(other\)"):
        client.status(report_id)


def test_neither_token_nor_password_is_told(simulator: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    """Errors, their whole tracebacks and chains, reprs and debug logs hold no secret."""
    caplog.set_level(logging.DEBUG)
    settings = settings_for(simulator, token="canary-token", password="canary-password")
    client = Client(settings, sleep=lambda seconds: None)
    simulator.faults.add(Fault(on="GET /Q", do="reset", times=0))
    with pytest.raises(ApiError) as caught:
        client.schema()
    error = caught.value
    assert error.__context__ is None
    assert error.__cause__ is None
    told = "".join(traceback.format_exception(error)) + caplog.text + repr(client) + repr(settings) + repr(vars(error))
    assert "canary" not in told


# --- over a line that breaks -----------------------------------------------------------------------------------------

REPORT = "8dc9054b258c51f9ecf1f69322d69f95"


def anew(client: Client) -> Any:
    """Log in, and ask for the schema."""
    client.close()
    return client.schema()


ASKED: dict[str, tuple[str, Callable[[Client], Any]]] = {
    "login": ("POST /authenticate", anew),
    "schema": ("GET /Q", lambda client: client.schema()),
    "submit": ("POST /Q", lambda client: client.submit(BODY)),
    "status": ("GET /Q/status", lambda client: client.status(REPORT)),
    "location": ("GET /Q/location", lambda client: client.location(REPORT)),
}
ANSWERS = {
    "POST /Q": (201, {"id": REPORT}),
    "GET /Q/status": (200, {"status": "Completed", "guid": REPORT}),
    "GET /Q/location": (
        200,
        {"status": "Process finished. Download: [u'reports/a/b_QueryExport_1__000000000000.csv.gz']", "guid": REPORT},
    ),
}


@pytest.mark.parametrize("what", ["close", "reset"])
@pytest.mark.parametrize("call", list(ASKED))
def test_an_answer_cut_at_any_byte_through_a_proxy(
    simulator: Simulator, call: str, what: Literal["close", "reset"]
) -> None:
    """Closed at every byte, reset at every third: a question is asked again and answered right, a query never."""
    place, ask = ASKED[call]
    for name, (status, body) in ANSWERS.items():
        simulator.faults.add(Fault(on=name, do="answer", times=0, status=status, body=body))
    path = {"login": "authenticate$", "submit": "/Q$"}.get(call, "")
    faults: list[Broken | None] = []
    with proxy(int(simulator.settings["api_url"].rpartition(":")[2]), faults) as via:
        through = {"auth_url" if call == "login" else "api_url": f"http://127.0.0.1:{via.port}"}
        client = Client(settings_for(simulator, **through), sleep=lambda seconds: None)
        wanted = ask(client)
        ask(client)
        length = via.received[-1]
        assert length > 150
        places = range(0, length + 1, 1 if what == "close" else 3)
        for cut in places:
            faults[:] = [*(None for _ in via.received), Broken(cut, what)]
            before = simulator.count("POST", path)
            try:
                outcome = ask(client)
            except ApiError as error:
                outcome = error
            if call != "submit":
                assert outcome == wanted, f"{place} cut at byte {cut}"
                continue
            assert simulator.count("POST", path) == before + 1
            assert outcome == wanted or (isinstance(outcome, ApiError) and outcome.sent and outcome.temporary)
            assert isinstance(outcome, ApiError) or cut == length
    assert len(via.received) >= len(places)


def test_what_a_plain_client_makes_of_a_cut_answer(simulator: Simulator) -> None:
    """The control: a client that tries again whatever broke sends the same query twice."""
    simulator.faults.add(Fault(on="POST /Q", do="cut", at=10))
    before, token = simulator.count("POST", "/Q$"), simulator._api._tokens.issue(simulator.settings)
    for _ in range(2):
        try:
            headers = {"Authorization": f"Bearer {token}"}
            requests.post(f"{simulator.settings['api_url']}/_rest/v4/dwh/Q", json=BODY, headers=headers).json()
            break
        except requests.RequestException:
            continue
    assert simulator.count("POST", "/Q$") == before + 2


def test_a_long_wait_survives_many_expiries(simulator: Simulator) -> None:
    """A hundred polls with a token good for three: one login per expiry, and no poll fails."""
    ticks = itertools.count()
    with service(token_life=3.5, clock=lambda: float(next(ticks)) / 4) as brief:
        brief.faults.add(Fault(on="GET /Q/status", do="amend", times=0, body={"status": "Pending"}))
        client = Client(settings_for(brief), sleep=lambda seconds: None)
        report_id = client.submit(BODY)
        for _ in range(100):
            assert client.status(report_id).outcome is Outcome.RUNNING
        logins, refused = brief.count("POST", "authenticate"), [call for call in brief.calls if call.status == 401]
        assert len(refused) >= 10
        assert logins == len(refused) + 1


def test_threads_share_one_login_after_an_expiry(simulator: Simulator) -> None:
    """Eight threads whose token has ended at once log in once more, or once each round that overlaps at most."""
    client = Client(settings_for(simulator))
    client.schema()
    before = simulator.count("POST", "authenticate")
    gate = threading.Event()
    simulator.faults.add(Fault(on="GET /Q", do="delay", times=8, gate=gate))
    simulator.forget_tokens()
    threads = [threading.Thread(target=client.schema) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert simulator.count("POST", "authenticate") == before + 1


def test_a_query_refused_for_its_token_is_sent_once_more(client: Client, simulator: Simulator) -> None:
    """A 401 proves that the query was not taken: new login, and one more POST."""
    client.schema()
    simulator.forget_tokens()
    posts, logins = simulator.count("POST", "/Q$"), simulator.count("POST", "authenticate")
    assert client.submit(BODY)
    assert simulator.count("POST", "/Q$") == posts + 2
    assert simulator.count("POST", "authenticate") == logins + 1


@pytest.mark.parametrize("do", ["reset", "reset_after", "answer"])
def test_a_lost_login_is_no_lost_query(simulator: Simulator, do: str) -> None:
    """Where the login got no answer the query never left, and is not held for running."""
    client = Client(settings_for(simulator), sleep=lambda seconds: None)
    simulator.faults.add(Fault(on="POST /authenticate", do=do, times=3, status=503, body=""))
    before = simulator.count("POST", "/Q$")
    with pytest.raises(ApiError) as caught:
        client.submit(BODY)
    assert not caught.value.sent
    assert caught.value.temporary
    assert simulator.count("POST", "/Q$") == before
    assert client.submit(BODY)


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "caf\u00e9", "\ud800", "x" * 9000, 7, None])
def test_a_token_no_header_can_hold_is_refused(simulator: Simulator, token: Any) -> None:
    """A login that answers with anything but a plain token is an error, before it is ever put on a request."""
    client = Client(settings_for(simulator), sleep=lambda seconds: None)
    simulator.faults.add(Fault(on="POST /authenticate", do="amend", body={"token": token}))
    with pytest.raises(ApiError, match="no usable token"):
        client.schema()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_question_refused_for_now_may_be_asked_again(client: Client, simulator: Simulator, status: int) -> None:
    """Too many requests and a gateway's troubles do not end a wait: the error is temporary."""
    simulator.faults.add(Fault(on="GET /Q/status", do="answer", status=status, body=""))
    assert client.status(client.submit(BODY)).word
    simulator.faults.add(Fault(on="GET /Q/status", do="answer", times=3, status=status, body=""))
    with pytest.raises(ApiError) as caught:
        client.status(client.submit(BODY))
    assert caught.value.temporary


@pytest.mark.parametrize("status", [200, 201, 202, 204, 408, 500, 504])
def test_an_odd_answer_to_a_query_counts_as_sent(client: Client, simulator: Simulator, status: int) -> None:
    """Any 2xx without an id, and whatever a gateway says of its own troubles, leaves open whether it runs."""
    simulator.faults.add(Fault(on="POST /Q", do="answer_after", status=status, body=""))
    before = simulator.count("POST", "/Q$")
    with pytest.raises(ApiError) as caught:
        client.submit(BODY)
    assert caught.value.sent
    assert simulator.count("POST", "/Q$") == before + 1


def test_the_services_words_are_fit_to_be_shown(client: Client, simulator: Simulator) -> None:
    """Control characters, half characters, length and depth of what the service says stay out of our messages."""
    deep: Any = "bottom"
    for _ in range(400):
        deep = {"message": deep}
    for hostile in ("\x1b]0;owned\x07\nnext", "\ud800\u202e", "x" * 100_000, deep, ["a"] * 10_000):
        simulator.faults.add(Fault(on="POST /Q", do="answer", status=400, body={"code": 400, "message": hostile}))
        with pytest.raises(QueryError) as caught:
            client.submit(BODY)
        assert len(str(caught.value)) < 12_000
        assert str(caught.value).isprintable()
    simulator.faults.add(
        Fault(
            on="GET /Q/status", do="amend", body={"status": "Failed", "messages": ["a\x07b", {"x": "c"}, 7, "\ud800"]}
        )
    )
    assert client.status(client.submit(BODY)).messages == ("a b", "c")


@pytest.mark.parametrize("name", ["", "a\nb", "\ud800", "x" * 1000, "\u202eevil"])
def test_a_schema_with_names_no_one_can_show_is_refused(client: Client, simulator: Simulator, name: str) -> None:
    """Names go into messages and files: what does not print is no name."""
    for body in ({name: {"fields": ["A"]}}, {"E": {"fields": ["A", name]}}):
        simulator.faults.add(Fault(on="GET /Q", do="answer", status=200, body=body))
        with pytest.raises(ApiError, match="unknown form"):
            client.schema()


@pytest.mark.parametrize("years", [-10, 10])
def test_the_machines_clock_means_nothing_to_the_client(
    client: Client, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, years: int
) -> None:
    """With a clock ten years off the same calls are made: a token is good until the service says otherwise."""
    begun = len(simulator.calls)
    finished(client, simulator)
    usual = [(call.method, call.status) for call in simulator.calls[begun:]]
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + years * 365 * 86400)
    client.close()
    begun = len(simulator.calls)
    finished(client, simulator)
    assert [(call.method, call.status) for call in simulator.calls[begun:]] == usual
