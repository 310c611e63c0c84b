"""The local service over HTTP: every documented answer, verbatim."""

import re
from collections.abc import Iterator

import pytest
import requests

from insights_nb.simulator import Simulator
from tests.simulator_client import UNTIL, Client, query


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Simulator(size=500, until=UNTIL) as simulator, Client(simulator) as client:
        yield client


def test_login_gives_a_token_and_nothing_else(client: Client) -> None:
    """A good login is answered with a token."""
    answer = client.call("POST", "/authenticate", json={"username": "demo", "password": client.settings["password"]})
    assert answer.status_code == 200
    assert list(answer.json()) == ["token"]


@pytest.mark.parametrize("body", [{"username": "demo", "password": "wrong"}, {"username": "demo"}, {}, [], "x"])
def test_a_bad_login_is_unauthorized(client: Client, body: object) -> None:
    """A wrong or incomplete login is answered with the documented 401, whose key is error."""
    answer = client.call("POST", "/authenticate", json=body)
    assert (answer.status_code, answer.json()) == (401, {"code": 401, "error": "Unauthorized"})


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer nonsense", "Basic nonsense"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/dwh/Q"), ("POST", "/dwh/Q"), ("GET", "/dwh/Q/x/status")])
def test_no_call_without_a_token(client: Client, header: str, method: str, path: str) -> None:
    """Every call but the login wants a valid token."""
    answer = requests.request(method, client.base + path, headers={"Authorization": header}, timeout=5)
    assert (answer.status_code, answer.json()) == (401, {"code": 401, "error": "Unauthorized"})


def test_tokens_expire() -> None:
    """A token is good for its life by the service's clock, and a new login gives another."""
    now = [0.0]
    with (
        Simulator(size=100, until=UNTIL, token_life=60, clock=lambda: now[0]) as simulator,
        Client(simulator) as client,
    ):
        now[0] = 59.9
        assert client.call("GET", "/dwh/Q").status_code == 200
        now[0] = 60.0
        assert client.call("GET", "/dwh/Q").status_code == 401
        client.login()
        assert client.call("GET", "/dwh/Q").status_code == 200
        simulator.forget_tokens()
        assert client.call("GET", "/dwh/Q").status_code == 401


def test_available_fields(client: Client) -> None:
    """GET Q lists each event with its own fields only; HEAD Q sends the same headers without them."""
    answer = client.call("GET", "/dwh/Q")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json() == {
        "ApplicationExitEvent": {"fields": ["StartTime", "EndTime", "Path", "ExitReason"]},
        "DtmfEvent": {"fields": ["DtmfInput", "DtmfSource", "ErrorReason"]},
        "CallEvent": {"fields": []},
        "MsgEvent": {"fields": []},
    }
    head = client.call("HEAD", "/dwh/Q")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == answer.headers["Content-Length"]


def test_a_query_is_accepted_with_an_id(client: Client) -> None:
    """POST Q answers 201 with an id of 32 hex digits and the length the vendor's page shows."""
    answer = client.post(query())
    client.simulator.settle()
    assert answer.status_code == 201
    assert list(answer.json()) == ["id"]
    assert len(answer.json()["id"]) == 32
    assert int(answer.json()["id"], 16) >= 0
    assert answer.headers["Content-Length"] == "43"


REFUSED = [
    (
        query() | {"timestamp": {"$gte": "2019-10-19 01:45:36.123Z"}},
        {
            "Date_Filters": {
                "message": "Invalid date filters [2019-10-19 01:45:36.123Z]. They must be in ISO8601 format. "
                "Example: 'YYYY-MM-DDTHH:MM:SSZ'",
                "code": "422-6",
            }
        },
    ),
    (
        query() | {"timestamp": {"gte": "2019-11-25T00:00:00Z", "lte": "2019-11-26T00:00:00Z"}},
        {"Operators": "Invalid operators [gte, lte], try to use any of these ($gte, $lte, $gt, $lt, $ne, $eq)."},
    ),
    (query(event="Application ExitEvent"), "Application ExitEvent is not a valid schema name."),
    (query(["Flow Id"]), "Flow Id is not a valid field."),
]


@pytest.mark.parametrize(("body", "message"), REFUSED)
def test_the_four_documented_refusals(client: Client, body: object, message: object) -> None:
    """Bad dates, operators, events and fields are refused in the vendor's own words."""
    answer = client.post(body)
    assert (answer.status_code, answer.json()) == (400, {"code": 400, "message": message})


def test_a_login_that_cannot_be_read(client: Client) -> None:
    """A login that is no JSON is a bad request; any other unreadable call is unauthorized first."""
    assert client.call("POST", "/authenticate", data=b"{").status_code == 400
    assert requests.post(client.base + "/dwh/Q", data=b"{", timeout=5).status_code == 401


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "[" * 100_000, "\xff"])
def test_a_body_that_is_no_object(client: Client, text: str) -> None:
    """A body that is no JSON object is refused, whatever it is."""
    answer = client.call("POST", "/dwh/Q", data=text.encode("latin-1"))
    assert answer.status_code == 400
    assert answer.json()["code"] == 400


def test_unknown_reports_are_a_500_list(client: Client) -> None:
    """An id nobody knows is answered with status 500 and a list."""
    expected = [
        {"message": "could not get QueryRequest object: QueryRequest matching query does not exist.", "code": 500}
    ]
    for path in ("/dwh/Q/ffff/status", "/dwh/Q/ffff"):
        answer = client.call("GET", path)
        assert (answer.status_code, answer.json()) == (500, expected)


def test_a_report_from_pending_to_its_location(client: Client) -> None:
    """A held report is Pending without a location; released, it is Completed with one in Python 2's spelling."""
    client.simulator.hold()
    guid = client.finish(query())
    assert client.status(guid) == {"status": "Pending", "guid": guid}
    assert client.call("GET", f"/dwh/Q/{guid}").json() == {
        "status": "Process has not finish yet, please verify the status of your request",
        "guid": guid,
    }
    client.simulator.release()
    assert client.status(guid) == {"status": "Completed", "guid": guid}
    answer = client.call("GET", f"/dwh/Q/{guid}")
    assert list(answer.json()) == ["status", "guid"]
    path = rf"reports/{guid}/[0-9a-f]{{32}}_QueryExport_\d{{13}}__000000000000\.csv\.gz"
    assert re.fullmatch(rf"Process finished\. Download: \[u'{path}'\]", answer.json()["status"])
    head = client.call("HEAD", f"/dwh/Q/{guid}")
    assert (head.status_code, head.content) == (200, b"")


def test_no_rows_is_a_failed_report(client: Client) -> None:
    """A query that matches nothing fails with both messages of the vendor's page."""
    guid = client.finish(query() | {"timestamp": {"$gte": "2030-01-01T00:00:00Z"}})
    assert client.status(guid) == {
        "status": "Failed",
        "guid": guid,
        "messages": ["Query range to wide", "All data fields have empty values, advise adding core fields"],
    }


def test_two_slots() -> None:
    """A third running report is refused with 429, until one of the two has ended."""
    with Simulator(size=200, until=UNTIL) as simulator, Client(simulator) as client:
        simulator.hold()
        client.submit(query())
        client.submit(query())
        answer = client.post(query())
        assert answer.status_code == 429
        assert answer.json() == {"code": 429, "message": "max concurrent queries per user (2) reached"}
        simulator.settle()
        simulator.release()
        assert client.post(query()).status_code == 201


def test_pending_lasts_by_the_service_clock() -> None:
    """A report stays Pending for the time set, by the injected clock and without any waiting."""
    now = [0.0]
    with Simulator(size=200, until=UNTIL, pending=30, clock=lambda: now[0]) as simulator, Client(simulator) as client:
        guid = client.finish(query())
        now[0] = 29.9
        assert client.status(guid)["status"] == "Pending"
        now[0] = 30.0
        assert client.status(guid)["status"] == "Completed"


def test_unknown_paths_and_methods(client: Client) -> None:
    """What is no call of the API is 404, and a call with another method 405."""
    assert client.call("GET", "/dwh/R").status_code == 404
    assert client.call("GET", "/dwh/Q/x/status/y").status_code == 404
    assert client.call("DELETE", "/dwh/Q/x").status_code == 405
    assert client.call("GET", "/authenticate").status_code == 405


def test_calls_are_recorded() -> None:
    """The service remembers each request with its body, its answer's status and whether it was authorized."""
    with Simulator(size=100, until=UNTIL, clock=lambda: 5.0) as simulator, Client(simulator) as client:
        client.finish(query())
        requests.get(client.base + "/dwh/Q", timeout=5)
        login, post, listing = simulator.calls
        assert (login.method, login.path, login.status, login.authorized) == (
            "POST",
            "/_rest/v4/authenticate",
            200,
            True,
        )
        assert (post.body, post.status, post.authorized, post.at) == (query(), 201, True, 5.0)
        assert (listing.body, listing.status, listing.authorized) == (None, 401, False)
        assert simulator.count("POST", r"/dwh/Q$") == 1
        assert simulator.count() == 3
