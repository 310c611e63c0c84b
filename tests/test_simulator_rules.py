"""The service's own reading of a query: what it takes, what it refuses, and what comes first."""

from datetime import datetime
from typing import Any

import pytest

from insights_nb.simulator.rules import Criterion, RefusalError, verdict
from insights_nb.simulator.schema import documented
from tests.simulator_client import RANGE, query

SCHEMA = documented()


def refusal(body: object) -> Any:
    with pytest.raises(RefusalError) as caught:
        verdict(body, SCHEMA)
    body = caught.value.body
    assert isinstance(body, dict)
    assert body["code"] == 400
    return body["message"]


def test_a_full_query_is_understood() -> None:
    """Range, columns, scope and filters come out typed and in the order asked."""
    plan = verdict(
        {
            "timestamp": {"$gte": "2026-01-02T03:04:05Z", "$lt": "2026-01-03T00:00:00Z"},
            "data": {
                "DtmfEvent": {"fields": ["SessionId", "DtmfInput", "SessionId"]},
                "MsgEvent": {"fields": ["FlowId"]},
            },
            "scope": {"filters": {"CallEvent": {"EventVersion": {"$eq": "1"}}}, "scope": "SessionId"},
            "filters": {"DtmfEvent": {"IsTriggerAction": {"$ne": True}, "TimeStamp": {"$gt": "2026-01-02T03:04:05Z"}}},
        },
        SCHEMA,
    )
    assert plan.window == (
        Criterion("TimeStamp", "$gte", datetime(2026, 1, 2, 3, 4, 5)),
        Criterion("TimeStamp", "$lt", datetime(2026, 1, 3)),
    )
    assert plan.fields() == ("SessionId", "DtmfInput", "FlowId")
    assert plan.fields("MsgEvent") == ("FlowId",)
    assert plan.scope == (("CallEvent", (Criterion("EventVersion", "$eq", 1),)),)
    assert plan.filters["DtmfEvent"][0] == Criterion("IsTriggerAction", "$ne", True)


@pytest.mark.parametrize("scope", ["SessionId", ["SessionId"]])
@pytest.mark.parametrize("filters", [{"SessionId": {"$eq": "x"}}, {"DtmfEvent": {"DtmfInput": {"$eq": "0"}}}])
def test_scope_spellings(scope: object, filters: object) -> None:
    """A scope may be a word or a list, and its filters may name an event or SessionId itself."""
    assert verdict(query(scope={"scope": scope, "filters": filters}), SCHEMA).scope


REFUSED: list[tuple[object, str]] = [
    ({"data": query()["data"]}, "timestamp is a required attribute."),
    ({"timestamp": RANGE}, "data is a required attribute."),
    (query() | {"timestamp": {}}, "timestamp is a required attribute."),
    (query() | {"data": {"DtmfEvent": {"fields": []}}}, "data of DtmfEvent must be an object with a list of fields."),
    (query() | {"data": {"DtmfEvent": ["FlowId"]}}, "data of DtmfEvent must be an object with a list of fields."),
    (query() | {"filter": {}}, "filter is not a valid attribute."),
    (query(scope={"scope": "SessionId"}), "scope must have both filters and scope: filters is missing."),
    (
        query(scope={"filters": {"SessionId": {"$eq": "x"}}}),
        "scope must have both filters and scope: scope is missing.",
    ),
    (
        query(scope={"scope": "FlowId", "filters": {"SessionId": {"$eq": "x"}}}),
        "scope is limited to the common field SessionId.",
    ),
    (query(filters={"DtmfEvent": {"EventVersion": {"$eq": "one"}}}), '"one" is not a valid value for EventVersion.'),
    (query(filters={"DtmfEvent": {"EventVersion": {"$eq": True}}}), "true is not a valid value for EventVersion."),
    (query(filters={"DtmfEvent": {"DtmfInput": {"$eq": None}}}), "null is not a valid value for DtmfInput."),
    (query(filters={"DtmfEvent": {"DtmfInput": {"$eq": ["1"]}}}), '["1"] is not a valid value for DtmfInput.'),
    (query(filters={"DtmfEvent": {"TimeStamp": {"$eq": "noon"}}}), '"noon" is not a valid value for TimeStamp.'),
    (query(filters={"DtmfEvent": {"FlowId": {"$eq": "\ud800"}}}), '"\\ud800" is not a valid value for FlowId.'),
    (query(filters={"Dtmf": {"FlowId": {"$eq": "x"}}}), "Dtmf is not a valid schema name."),
    (query(filters={"DtmfEvent": {"Path": {"$eq": "x"}}}), "Path is not a valid field."),
    (query(["Path"], "DtmfEvent"), "Path is not a valid field."),
    (query(["sessionid"]), "sessionid is not a valid field."),
]


@pytest.mark.parametrize(("body", "message"), REFUSED)
def test_refusals_the_page_does_not_print(body: object, message: str) -> None:
    """Missing and misshapen parts are refused with a sentence that names them."""
    assert refusal(body) == message


@pytest.mark.parametrize(
    "date",
    [
        "2026-02-30T00:00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01",
        "2026-01-01T00:00:00+00:00",
        " x",
        7,
        None,
        "２026-01-01T00:00:00Z",
    ],
)
def test_only_one_form_of_date(date: object) -> None:
    """A date is YYYY-MM-DDTHH:MM:SSZ and exists, or it is refused."""
    assert "Date_Filters" in refusal(query() | {"timestamp": {"$gte": date}})


def test_all_bad_dates_and_operators_are_listed() -> None:
    """Every date and every operator at fault is listed, each operator once, in the order of the body."""
    dates = refusal(query() | {"timestamp": {"$gte": "a", "$lte": "b"}})
    assert "[a, b]" in dates["Date_Filters"]["message"]
    operators = refusal(
        query(
            scope={"scope": "SessionId", "filters": {"SessionId": {"in": "x"}}},
            filters={"DtmfEvent": {"FlowId": {"$regex": "x", "in": "y"}}},
        )
    )
    assert "[in, $regex]" in operators["Operators"]


def test_the_order_of_checks() -> None:
    """Dates come before operators, operators before events, events before fields, fields before values."""
    body = query(["Nope"], "Nope") | {"timestamp": {"gte": "x"}}
    assert "Date_Filters" in refusal(body)
    body["timestamp"] = {"gte": "2026-01-01T00:00:00Z"}
    assert "Operators" in refusal(body)
    body["timestamp"] = RANGE
    assert refusal(body) == "Nope is not a valid schema name."
    body = query(["Nope"], filters={"DtmfEvent": {"EventVersion": {"$eq": "x"}}})
    assert refusal(body) == "Nope is not a valid field."
