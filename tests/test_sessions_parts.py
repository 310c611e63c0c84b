"""The parts the tables are made of: intervals, quantiles, exact grouping of paths, outcome rules."""

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insights_nb.errors import FrameError
from insights_nb.sessions import OutcomeRules
from insights_nb.sessions.columns import NAT
from insights_nb.sessions.core import taken
from insights_nb.sessions.intervals import newcombe, share, wilson
from insights_nb.sessions.packed import distinct, group_quantiles, joined, numbered, sorting, tally
from insights_nb.sessions.variants import Paths, _by_hash, _by_value, _same_as_example, group_paths
from tests.session_spec import quantile


def test_wilson_gives_published_values() -> None:
    """Wilson's bounds are those of Newcombe's paper (1998, table I), and exact at both ends."""
    low, high = wilson([81, 15, 0, 1], [263, 148, 20, 29])
    assert low.round(4).tolist() == [0.2553, 0.0624, 0.0, 0.0061]
    assert high.round(4).tolist() == [0.3662, 0.1605, 0.1611, 0.1718]
    low, high = wilson([0, 7], [0, 7])
    assert np.isnan(low[0])
    assert high[1] == 1


def test_newcombe_gives_published_values() -> None:
    """Newcombe's interval of a difference is that of his second paper (1998, method 10)."""
    low, high = newcombe([56, 9, 10], [70, 10, 10], [48, 3, 0], [80, 10, 10])
    assert low.round(4).tolist() == [0.0524, 0.1705, 0.6075]
    assert high.round(4).tolist() == [0.3339, 0.8090, 1.0]
    assert share([1, 0], [2, 0]).tolist()[0] == 0.5


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2**40)), max_size=60),
    st.sampled_from([1, 1000]),
    st.floats(0, 1),
)
def test_group_quantiles_are_those_of_each_group(pairs: list[tuple[int, int]], grain: int, part: float) -> None:
    """The quantile of a group is that of its values alone, and of none where it has none."""
    groups = np.array([group for group, _ in pairs], dtype=np.int64)
    values = np.array([value * grain for _, value in pairs], dtype=np.int64)
    found = group_quantiles(groups, values, 7, (part,), grain)[0]
    for group in range(7):
        own = values[groups == group].tolist()
        assert found[group] == (quantile(own, part) if own else NAT)


def test_quantiles_of_huge_values_do_not_overflow() -> None:
    """Values too large to be packed beside their group are ranked all the same."""
    values = np.array([2**61, 3, 2**60], dtype=np.int64)
    assert group_quantiles(np.zeros(3, dtype=np.int64), values, 1, (0.0, 0.5, 1.0)) == [3, 2**60, 2**61]


def test_quantiles_are_the_same_however_few_the_groups() -> None:
    """Groups taken one by one, where they are few, give what one sort of all gives."""
    draw = np.random.default_rng(3)
    groups, values = draw.integers(0, 3, 3000), draw.integers(0, 50, 3000)
    shares = (0.0, 0.05, 0.5, 0.95, 1.0)
    few, many = group_quantiles(groups, values, 4, shares), group_quantiles(groups, values, 3000, shares)
    assert [part.tolist() for part in few] == [part[:4].tolist() for part in many]


@given(st.lists(st.integers(0, 2**31 - 1) | st.integers(0, 70_000) | st.integers(0, 3)))
def test_numbers_are_sorted_stably(codes: list[int]) -> None:
    """Sorting 16 bits at a time is the stable sort."""
    array = np.array(codes, dtype=np.int32)
    assert sorting(array).tolist() == np.argsort(array, kind="stable").tolist()


@given(st.lists(st.tuples(st.integers(-1, 9), st.integers(-1, 6))))
def test_two_numbers_joined_come_apart_again(pairs: list[tuple[int, int]]) -> None:
    """No two pairs share a number, whatever the width of what holds them."""
    high, low = (np.array([pair[side] for pair in pairs], dtype=np.int16) for side in (0, 1))
    one = joined(high, low, 8)
    assert list(zip((one // 8 - 1).tolist(), (one % 8 - 1).tolist(), strict=True)) == pairs


@pytest.mark.parametrize("spread", [1, 10**9])
def test_keys_are_numbered_among_the_distinct(spread: int) -> None:
    """With a table and without, a key's number is its place among those that occur."""
    keys = np.array([5, 2, 5, 9], dtype=np.int64) * spread
    assert numbered(keys, distinct(keys)).tolist() == [1, 0, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans())))
def test_slices_are_taken_whole(slices: list[tuple[int, bool]]) -> None:
    """Some slices' positions, where they begin among these, and how far each has moved."""
    lengths, chosen = [size for size, _ in slices], np.array([on for _, on in slices], dtype=bool)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    kept, fresh, moved = taken(offsets, chosen)
    own = [list(range(offsets[i], offsets[i + 1])) for i in np.flatnonzero(chosen)]
    assert kept.tolist() == [place for part in own for place in part]
    assert [kept[low:high].tolist() for low, high in pairwise(fresh)] == own
    assert (offsets[:-1][chosen] - moved).tolist() == fresh[:-1].tolist()


@given(st.lists(st.integers(0, 10**9)))
def test_tallies_count(keys: list[int]) -> None:
    """Distinct keys and how often each occurs, whether a table fits or not."""
    array = np.array(keys, dtype=np.int64)
    held, counts = tally(array, 10**9 + 1)
    expected = np.unique(array, return_counts=True)
    assert held.tolist() == expected[0].tolist() == distinct(array).tolist()
    assert counts.tolist() == expected[1].tolist()


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), max_size=9), min_size=1, max_size=30))
def test_paths_are_grouped_exactly(walks: list[list[int]]) -> None:
    """Grouping by hash, by value and by Python's own equality agree, and ranks follow size and then path."""
    paths = Paths(
        np.array([node for walk in walks for node in walk], dtype=np.int32),
        np.cumsum([0, *(len(walk) for walk in walks)]).astype(np.int64),
    )
    found = group_paths(paths)
    tuples = [tuple(walk) for walk in walks]
    ranked = sorted(set(tuples), key=lambda path: (-tuples.count(path), path))
    assert [ranked.index(path) for path in tuples] == found.rank.tolist()
    assert found.size.tolist() == [tuples.count(path) for path in ranked]
    assert [tuples[one] for one in found.example] == ranked
    by_value, examples = _by_value(paths)
    assert [tuples[examples[group]] for group in by_value] == tuples


def test_a_hash_collision_is_noticed() -> None:
    """Two paths put into one group are found to differ, so the answer never rests on a hash."""
    paths = Paths(np.array([0, 1, 1, 0], dtype=np.int32), np.array([0, 2, 4]))
    length = np.diff(paths.offsets)
    group, example = _by_hash(paths, length, 0)
    assert _same_as_example(paths, length, group, example)
    assert not _same_as_example(paths, length, np.zeros(2, dtype=np.int64), np.array([0]))
    longer = Paths(np.array([0, 1, 1], dtype=np.int32), np.array([0, 2, 3]))
    assert not _same_as_example(longer, np.diff(longer.offsets), np.zeros(2, dtype=np.int64), np.array([0]))


def endings(*rows: tuple[str | None, str | None, str | None]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["exit_reason", "exit_path", "last_action"], dtype="str")
    return frame.assign(action_id=frame["last_action"].str.replace("Chat ▸ ", ""))


@pytest.mark.parametrize(
    ("rule", "held"),
    [
        ("Busy", [True, False, False]),
        (["Busy", "Normal"], [True, True, False]),
        (re.compile("^No"), [False, True, False]),
        ({"last_action": "END"}, [False, True, True]),
        ({"last_action": "Chat ▸ END"}, [False, False, True]),
        ({"exit_reason": "Normal", "exit_path": re.compile("ok", re.IGNORECASE)}, [False, True, False]),
        ([{"exit_path": "x"}, re.compile("usy")], [True, False, False]),
        (lambda ways: ways["exit_path"].isna(), [True, False, True]),
    ],
)
def test_rules_take_values_patterns_mappings_and_callables(rule: Any, held: list[bool]) -> None:
    """Each form of a rule holds where it says."""
    ways = endings(("Busy", None, "DIAL"), ("Normal", "OK", "END"), (None, None, "Chat ▸ END"))
    rules = OutcomeRules({"hit": rule})
    assert rules.classify(ways).tolist() == [0 if hit else 1 for hit in held]
    assert rules.names == ("hit", "unclassified", "unknown")


def test_the_first_rule_that_holds_wins() -> None:
    """An ending that fits several rules has the outcome named first."""
    rules = OutcomeRules({"one": "Busy", "two": re.compile("")})
    assert rules.classify(endings(("Busy", None, None), ("Normal", None, None))).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ({"unknown": "x"}, "cannot bear that name"),
        ({"a": 5}, "is a int"),
        ({"a": {"mood": "x"}}, r"looks at \['mood'\]"),
        ({"a": {}}, "looks at nothing"),
        ({"a": ["x", 5]}, "is a int"),
    ],
)
def test_rules_that_cannot_hold_are_refused_at_once(outcomes: dict[str, Any], words: str) -> None:
    """A rule that makes no sense is refused by its name when it is written."""
    with pytest.raises(FrameError, match=words):
        OutcomeRules(outcomes)


def test_a_callable_must_answer_for_every_ending() -> None:
    """A callable rule that answers with another length is refused."""
    with pytest.raises(FrameError, match="one for each is needed"):
        OutcomeRules({"a": lambda ways: [True]}).classify(endings(("x", None, None), ("y", None, None)))
