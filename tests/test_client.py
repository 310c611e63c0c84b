"""The HTTP client against the local service, and against answers nobody documented."""

import logging
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from insights_nb.answers import Outcome
from insights_nb.catalog import DOCUMENTED
from insights_nb.client import Client
from insights_nb.errors import ApiError, AuthError, BusyError, ConfigError, QueryError, UnknownReportError
from insights_nb.settings import Secret, Settings
from insights_nb.simulator import Fault, Simulator
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
