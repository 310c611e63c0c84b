"""Queries: from keywords or JSON to one canonical form and its digest."""

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insights_nb.catalog import DOCUMENTED
from insights_nb.errors import QueryError
from insights_nb.spec import Query, build_query, canonical

NOW = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)
RANGE = {"$gte": "2019-11-25T00:00:00Z", "$lte": "2019-11-26T00:00:00Z"}
MINIMAL: dict[str, Any] = {"timestamp": RANGE, "data": {"ApplicationExitEvent": {"fields": ["FlowId"]}}}


def build(source: Any = None, **words: Any) -> Query:
    return build_query(source, DOCUMENTED, now=words.pop("now", NOW), **words)


def problems(source: Any = None, **words: Any) -> str:
    with pytest.raises(QueryError) as caught:
        build(source, **words)
    assert "Nothing was sent" in str(caught.value)
    return "\n".join(caught.value.problems)


def test_keywords_build_the_apis_own_json() -> None:
    """Events, range, where and scope end up in the documented form."""
    query = build(
        events={"ApplicationExitEvent": ["SessionId", "ExitReason"]},
        last="24h",
        where={"FlowId": "5dcf"},
        scope={"ApplicationExitEvent": {"ExitReason": {"$ne": "Completed"}}},
    )
    assert query.body == {
        "timestamp": {"$gte": "2026-11-23T14:00:00Z", "$lte": "2026-11-24T14:00:00Z"},
        "data": {"ApplicationExitEvent": {"fields": ["SessionId", "ExitReason"]}},
        "filters": {"ApplicationExitEvent": {"FlowId": {"$eq": "5dcf"}}},
        "scope": {"filters": {"ApplicationExitEvent": {"ExitReason": {"$ne": "Completed"}}}, "scope": "SessionId"},
    }
    assert query.columns == ("SessionId", "ExitReason")
    assert query.window == (datetime(2026, 11, 23, 14, tzinfo=UTC), NOW)


def test_an_event_alone_means_every_field() -> None:
    """A name, or a list of names, asks for all fields of each."""
    one = build(events="DtmfEvent", last="1h").body["data"]
    assert one == {"DtmfEvent": {"fields": list(DOCUMENTED.fields("DtmfEvent"))}}
    two = build(events=["DtmfEvent", "CallEvent"], last="1h")
    assert list(two.body["data"]) == ["DtmfEvent", "CallEvent"]
    assert two.columns == DOCUMENTED.fields("DtmfEvent")


def test_json_passes_through_and_may_leave_the_range_to_keywords() -> None:
    """The API's own JSON is sent as it is; keywords fill only a missing range."""
    assert build(MINIMAL).body == MINIMAL
    assert build(json.dumps(MINIMAL)) == build(MINIMAL)
    ranged = build({"data": MINIMAL["data"]}, since="2026-11-24", until="2026-11-24T12:00")
    assert ranged.body["timestamp"] == {"$gte": "2026-11-24T00:00:00Z", "$lte": "2026-11-24T12:00:00Z"}


def test_times_in_a_mapping_become_the_apis_form() -> None:
    """A datetime inside a dict is written as the API wants it; numpy scalars become JSON."""
    body = {**MINIMAL, "timestamp": {"$gte": datetime(2019, 11, 25), "$lte": datetime(2019, 11, 26, tzinfo=UTC)}}
    assert build(body).body == MINIMAL
    asked = build(events="DtmfEvent", last="1h", where={"EventVersion": np.int64(1)})
    assert asked.body["filters"]["DtmfEvent"]["EventVersion"] == {"$eq": 1}


def test_a_range_said_twice_is_refused() -> None:
    """JSON with a timestamp and a range in keywords contradict each other."""
    assert "the range is given twice" in problems(MINIMAL, last="1h")


def test_json_and_keywords_do_not_mix() -> None:
    """Only the range may come from keywords."""
    assert "where= and a JSON query are both given" in problems(MINIMAL, where={"FlowId": "x"})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({}, "nothing is asked for"),
        ({"events": "DtmfEvent"}, "no range is given"),
        ({"events": "Dtmf", "last": "1h"}, "data.Dtmf: no such event. Did you mean"),
        ({"events": "DtmfEvent", "last": "soon"}, "'soon' is no length of time"),
        ({"events": {"DtmfEvent": ["Nope"]}, "last": "1h"}, 'DtmfEvent has no field "Nope"'),
        (
            {"events": ["ApplicationExitEvent", "DtmfEvent"], "last": "1h", "where": {"ExitReason": "x"}},
            'where={"ApplicationExitEvent": {"ExitReason": …}}',
        ),
        ({"events": ["ApplicationExitEvent", "DtmfEvent"], "last": "1h", "where": {"Flow": "x"}}, "FlowId"),
        (
            {"events": ["ApplicationExitEvent", "DtmfEvent"], "last": "1h", "scope": {"FlowId": "x"}},
            "scope.FlowId: say which event",
        ),
    ],
)
def test_wrong_keywords_say_what_to_write(words: dict[str, Any], said: str) -> None:
    """Each mistake in keywords is named with what to write instead."""
    assert said in problems(**words)


def test_where_on_a_common_field_filters_every_event() -> None:
    """A field all events have is filtered in all of them."""
    filters = build(events=["DtmfEvent", "CallEvent"], last="1h", where={"FlowId": "x"}).body["filters"]
    assert filters == {event: {"FlowId": {"$eq": "x"}} for event in ("DtmfEvent", "CallEvent")}


def test_the_apis_own_scope_passes_as_keyword() -> None:
    """A scope in its full form is taken as it is."""
    scope = {"filters": {"SessionId": {"$eq": "a"}}, "scope": "SessionId"}
    assert build(events="DtmfEvent", last="1h", scope=scope).body["scope"] == scope


def test_relative_words_are_remembered_and_absolute_ones_are_not() -> None:
    """The same relative words a minute later are another query, but the same asking."""
    first = build(events="DtmfEvent", last="24h")
    later = build(events="DtmfEvent", last="24h", now=NOW.replace(minute=1))
    assert first.digest != later.digest
    assert first.asked == later.asked != ""
    assert build(events="DtmfEvent", last="25h").asked != first.asked
    assert build(MINIMAL).asked == ""


def shuffled(tree: Any, random: Any) -> Any:
    if isinstance(tree, dict):
        keys = list(tree)
        random.shuffle(keys)
        return {key: shuffled(tree[key], random) for key in keys}
    return tree


FIELDS = st.lists(st.sampled_from(DOCUMENTED.fields("DtmfEvent")), min_size=1, max_size=5, unique=True)


@given(FIELDS, FIELDS, st.text(max_size=5), st.randoms())
def test_the_digest_ignores_spelling_and_nothing_else(one: Any, two: Any, value: str, random: Any) -> None:
    """Law: key order and white space do not matter; the order of fields, and any value, does."""
    body = {**MINIMAL, "data": {"DtmfEvent": {"fields": one}}, "filters": {"DtmfEvent": {"FlowId": {"$eq": value}}}}
    query = build(body)
    assert build(json.dumps(shuffled(body, random), indent=3)).digest == query.digest
    assert len(query.digest) == 64
    other = {**body, "data": {"DtmfEvent": {"fields": two}}}
    assert (build(other).digest == query.digest) == (one == two)
    changed = {**body, "filters": {"DtmfEvent": {"FlowId": {"$eq": value + "x"}}}}
    assert build(changed).digest != query.digest


def test_the_canonical_form_is_pinned() -> None:
    """The digest is a promise: caches outlive releases."""
    assert canonical({"b": [2, 1], "a": "é"}) == '{"a":"é","b":[2,1]}'
    assert build(MINIMAL).digest == "1d0c9dee3f8af87e2d4305da5c84ab194da7c7b43afff94093c9bffebba2e5e0"


def test_columns_keep_the_order_asked_across_events() -> None:
    """The union of columns, in the order asked, each once, whatever sorts before what."""
    data = {"DtmfEvent": {"fields": ["FlowId", "SessionId"]}, "CallEvent": {"fields": ["FlowId", "HostId"]}}
    assert build({**MINIMAL, "data": data}).columns == ("FlowId", "SessionId", "HostId")
