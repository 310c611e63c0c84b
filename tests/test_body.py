"""The JSON body: read as people write it, and everything wrong with it at once."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insights_nb.body import check_body, parse_json, read_body
from insights_nb.catalog import DOCUMENTED
from insights_nb.errors import QueryError

RANGE = {"$gte": "2019-11-25T00:00:00Z", "$lte": "2019-11-26T00:00:00Z"}
MINIMAL = {"timestamp": RANGE, "data": {"ApplicationExitEvent": {"fields": ["FlowId"]}}}


def test_the_vendors_own_queries_pass() -> None:
    """Both requests of the Overview page are queries."""
    second = {
        **MINIMAL,
        "filters": {"ApplicationExitEvent": {"FlowId": {"$eq": "5dcf48b453e0ab04386da7d1"}}},
    }
    assert check_body(MINIMAL, DOCUMENTED) == []
    assert check_body(second, DOCUMENTED) == []


def test_a_body_comes_from_a_mapping_text_or_file(tmp_path: Path) -> None:
    """All three ways give the same body."""
    path = tmp_path / "query.json"
    path.write_text(json.dumps(MINIMAL))
    for source in (MINIMAL, json.dumps(MINIMAL), path, str(path)):
        assert read_body(source) == MINIMAL


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{'a': 1}", "line 1, column 2: JSON wants double quotes"),
        ('{"a": [1,]}', "JSON allows no comma before a closing bracket"),
        ('{"a": 1,}', "JSON allows no comma before a closing bracket"),
        ('{"a": True}', "JSON writes true, false and null"),
        ('{"a": 1 // why\n}', "JSON has no comments"),
        ('{"a": 1\n"b": 2}', "line 2, column 1"),
        ("", "the query is empty"),
        ("[1]", "the query is a JSON list, not an object"),
        ('{"a": 1, "a": 2}', 'says "a" twice'),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_slip_in_the_json_is_named(text: str, said: str) -> None:
    """The usual slips get their own words, with the place."""
    with pytest.raises(QueryError) as caught:
        parse_json(text)
    assert said in str(caught.value)


def test_the_caret_stands_under_the_slip() -> None:
    """The line is shown with a caret at the column."""
    with pytest.raises(QueryError) as caught:
        parse_json("{\n  \"data\": {'x': 1}\n}")
    shown = caught.value.problems[0].splitlines()
    assert shown[2].index("^") == shown[1].index("'x'")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    """The message holds the path."""
    with pytest.raises(QueryError, match="cannot be read"):
        read_body(tmp_path / "none.json")


CASES: list[tuple[dict[str, Any], str]] = [
    ({}, '"timestamp" is missing'),
    ({}, '"data" is missing'),
    ({**MINIMAL, "filter": {}}, '"filter" is no part of a query. Did you mean "filters"?'),
    ({**MINIMAL, "timestamp": "today"}, "timestamp: expected"),
    (
        {**MINIMAL, "timestamp": {"$gte": "2019-10-19 01:45:36.123Z", "$lte": RANGE["$lte"]}},
        'timestamp.$gte: "2019-10-19 01:45:36.123Z" is not of the form YYYY-MM-DDTHH:MM:SSZ',
    ),
    ({**MINIMAL, "timestamp": {"$gte": RANGE["$gte"]}}, "the range needs one end"),
    ({**MINIMAL, "timestamp": {**RANGE, "$gt": RANGE["$gte"]}}, "the range needs one start, $gte or $gt; found 2"),
    ({**MINIMAL, "timestamp": {"gte": 1, "lte": 2}}, 'timestamp: "gte" is no bound of a range'),
    ({**MINIMAL, "timestamp": {"$gte": RANGE["$lte"], "$lte": RANGE["$gte"]}}, "after its end"),
    ({**MINIMAL, "data": {}}, "with at least one event"),
    (
        {**MINIMAL, "data": {"Application ExitEvent": {"fields": ["FlowId"]}}},
        'data.Application ExitEvent: no such event. Did you mean "ApplicationExitEvent"?',
    ),
    ({**MINIMAL, "data": {"DtmfEvent": {"fields": []}}}, "data.DtmfEvent: expected"),
    ({**MINIMAL, "data": {"DtmfEvent": ["FlowId"]}}, "data.DtmfEvent: expected"),
    ({**MINIMAL, "data": {"DtmfEvent": {"fields": ["FlowId"], "x": 1}}}, 'only "fields" belongs here'),
    (
        {**MINIMAL, "data": {"DtmfEvent": {"fields": ["Flow Id"]}}},
        'data.DtmfEvent.fields[0]: DtmfEvent has no field "Flow Id". Did you mean "FlowId"?',
    ),
    (
        {**MINIMAL, "data": {"DtmfEvent": {"fields": ["ExitReason"]}}},
        "It belongs to ApplicationExitEvent.",
    ),
    ({**MINIMAL, "data": {"DtmfEvent": {"fields": ["FlowId", "FlowId"]}}}, '"FlowId" is asked for twice'),
    ({**MINIMAL, "data": {"DtmfEvent": {"fields": [7]}}}, "has no field 7"),
    ({**MINIMAL, "filters": []}, "filters: expected"),
    ({**MINIMAL, "scope": {"filters": {}, "scope": "SessionId"}}, "scope.filters: expected"),
    ({**MINIMAL, "filters": {"X": {"FlowId": {"$eq": "a"}}}}, "filters.X: no such event"),
    ({**MINIMAL, "filters": {"DtmfEvent": {}}}, "filters.DtmfEvent: expected"),
    ({**MINIMAL, "filters": {"DtmfEvent": {"Flow": {"$eq": "a"}}}}, 'Did you mean "FlowId"?'),
    ({**MINIMAL, "filters": {"DtmfEvent": {"FlowId": "a"}}}, 'expected an operator, as {"$eq": "a"}'),
    ({**MINIMAL, "filters": {"DtmfEvent": {"FlowId": {"gte": "a"}}}}, '"gte" is no operator'),
    ({**MINIMAL, "filters": {"DtmfEvent": {"FlowId": {"$eq": 5}}}}, 'FlowId is STRING, 5 is not; write "5"'),
    ({**MINIMAL, "filters": {"DtmfEvent": {"EventVersion": {"$eq": "1"}}}}, "EventVersion is INTEGER"),
    ({**MINIMAL, "filters": {"DtmfEvent": {"EventVersion": {"$eq": True}}}}, "EventVersion is INTEGER"),
    ({**MINIMAL, "filters": {"DtmfEvent": {"IsTriggerAction": {"$eq": 1}}}}, "IsTriggerAction is BOOLEAN"),
    ({**MINIMAL, "filters": {"DtmfEvent": {"FlowId": {"$eq": None}}}}, "null is not"),
    ({**MINIMAL, "scope": "SessionId"}, "scope: expected"),
    ({**MINIMAL, "scope": {"scope": "SessionId"}}, 'scope: "filters" is missing'),
    ({**MINIMAL, "scope": {"filters": {"DtmfEvent": {"FlowId": {"$eq": "a"}}}}}, 'scope: "scope" is missing'),
    (
        {**MINIMAL, "scope": {"filters": {"DtmfEvent": {"FlowId": {"$eq": "a"}}}, "scope": "FlowId"}},
        'scope.scope: only "SessionId" can be expanded',
    ),
    (
        {**MINIMAL, "scope": {"filters": {"SessionId": {"eq": "a"}}, "scope": "SessionId"}},
        'scope.filters.SessionId: "eq" is no operator',
    ),
]


@pytest.mark.parametrize(("body", "said"), CASES)
def test_each_problem_has_its_path(body: dict[str, Any], said: str) -> None:
    """Every kind of mistake is named with its JSON path and the nearest valid name."""
    assert any(said in problem for problem in check_body(body, DOCUMENTED)), check_body(body, DOCUMENTED)


def test_all_problems_come_at_once() -> None:
    """Three mistakes in three parts give three problems."""
    body = {
        "timestamp": {"$gte": "x", "$lte": RANGE["$lte"]},
        "data": {"Nope": {"fields": ["FlowId"]}},
        "filters": {"DtmfEvent": {"FlowId": {"eq": "a"}}},
    }
    assert len(check_body(body, DOCUMENTED)) == 3


def test_scope_in_both_documented_spellings_passes() -> None:
    """SessionId as text or in a list, filters by event or directly by SessionId."""
    for filters in ({"DtmfEvent": {"SessionId": {"$eq": "a"}}}, {"SessionId": {"$eq": "a"}}):
        for word in ("SessionId", ["SessionId"]):
            assert check_body({**MINIMAL, "scope": {"filters": filters, "scope": word}}, DOCUMENTED) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
PARTS = st.sampled_from(["timestamp", "data", "filters", "scope", "DtmfEvent", "fields", "FlowId", "$eq", "$gte"])
TREES = st.recursive(
    JSON, lambda inner: st.dictionaries(PARTS, inner, max_size=4) | st.lists(inner, max_size=2), max_leaves=20
)


@given(st.dictionaries(PARTS, TREES, max_size=4))
def test_any_json_is_judged_without_falling_over(body: dict[str, Any]) -> None:
    """Law: the check returns texts for whatever tree it is given."""
    assert all(isinstance(problem, str) and problem for problem in check_body(body, DOCUMENTED))


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused_in_our_words(text: str) -> None:
    """Law: only a QueryError ever comes out of the parser."""
    with suppress(QueryError):
        assert isinstance(parse_json(text), dict)


def test_fields_under_a_misspelt_event_are_checked_too() -> None:
    """A slip in an event's name hides no slip below it: fields and filters are checked against the nearest event."""
    problems = check_body(
        {
            "timestamp": {"$gte": "2026-11-13T00:00:00Z", "$lte": "2026-11-20T00:00:00Z"},
            "data": {"DtmfEvnt": {"fields": ["SessionId", "ErorReason"]}, "Zzz": {"fields": ["whatever"]}},
            "filters": {"DtmfEvnt": {"FlowId": {"eq": "x"}, "FlowNme": {"$eq": "x"}}},
        },
        DOCUMENTED,
    )
    assert [problem.split(":")[0] for problem in problems] == [
        "data.DtmfEvnt",
        "data.DtmfEvnt.fields[1]",
        "data.Zzz",
        "filters.DtmfEvnt",
        "filters.DtmfEvnt.FlowId",
        "filters.DtmfEvnt",
    ]
    assert 'DtmfEvent has no field "ErorReason". Did you mean "ErrorReason"?' in problems[1]
