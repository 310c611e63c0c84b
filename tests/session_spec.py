"""What the session tables mean, in plain Python over dicts and lists: slow, short, and the oracle of the fast ones."""

import math
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import pandas as pd

EXIT = "ApplicationExitEvent"


def visits_of(frame: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """The visits of every session of a log without equal times: a list of dicts, in order."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    records: Any = frame.to_dict("records")
    for row in records:
        if isinstance(row["SessionId"], str) and row["SessionId"].strip() and row["TimeStamp"] is not pd.NaT:
            rows[row["SessionId"]].append(row)
    found: dict[str, list[dict[str, Any]]] = {}
    for session in sorted(rows):
        visits: list[dict[str, Any]] = []
        previous: dict[str, Any] | None = None
        for row in sorted(rows[session], key=lambda row: row["TimeStamp"]):
            if previous is None or previous["EventName"] == EXIT or previous["ActionId"] != row["ActionId"]:
                visits.append({"action": row["ActionId"], "rows": []})
            visits[-1]["rows"].append(row)
            previous = row
        found[session] = visits
    return found


def walks(frame: pd.DataFrame) -> dict[str, list[str]]:
    """The actions of every session in order."""
    return {session: [visit["action"] for visit in visits] for session, visits in visits_of(frame).items()}


def session_numbers(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The counted columns of the session table."""
    out = {}
    for session, visits in visits_of(frame).items():
        rows = [row for visit in visits for row in visit["rows"]]
        walk = [visit["action"] for visit in visits]
        gaps = [b["TimeStamp"] - a["TimeStamp"] for a, b in pairwise(rows)]
        out[session] = {
            "start": rows[0]["TimeStamp"],
            "end": rows[-1]["TimeStamp"],
            "n_events": len(rows),
            "n_steps": len(walk),
            "n_actions": len(set(walk)),
            "n_exits": sum(row["EventName"] == EXIT for row in rows),
            "n_dtmf": sum(row["EventName"] == "DtmfEvent" for row in rows),
            "n_repeats": len(walk) - len(set(walk)),
            "max_gap": max(gaps, default=pd.NaT),
            "last_action": walk[-1],
        }
    return out


def transition_counts(frame: pd.DataFrame) -> tuple[Counter[tuple[str, str]], dict[tuple[str, str], set[str]]]:
    """How often each pair of actions follows each other, and in which sessions."""
    counts: Counter[tuple[str, str]] = Counter()
    sessions: dict[tuple[str, str], set[str]] = defaultdict(set)
    for session, walk in walks(frame).items():
        for pair in pairwise(walk):
            counts[pair] += 1
            sessions[pair].add(session)
    return counts, sessions


def variant_counts(frame: pd.DataFrame, collapse: bool) -> Counter[tuple[str, ...]]:
    """How many sessions took each path."""
    return Counter(
        tuple(a for i, a in enumerate(walk) if not collapse or i == 0 or walk[i - 1] != a)
        for walk in walks(frame).values()
    )


def action_numbers(frame: pd.DataFrame) -> dict[str, dict[str, int]]:
    """The counted columns of the action table, where every session is complete."""
    out: dict[str, Counter[str]] = defaultdict(Counter)
    for walk in walks(frame).values():
        for action, times in Counter(walk).items():
            out[action]["visits"] += times
            out[action]["sessions"] += 1
            out[action]["repeat_sessions"] += times > 1
            out[action]["max_visits"] = max(out[action]["max_visits"], times)
        out[walk[0]]["first_here"] += 1
        out[walk[-1]]["ended_here"] += 1
    return {action: dict(numbers) for action, numbers in out.items()}


def loop_counts(frame: pd.DataFrame) -> dict[tuple[str, str], tuple[int, int]]:
    """Sessions and repeats of each action and kind of loop."""
    repeats: Counter[tuple[str, str]] = Counter()
    sessions: dict[tuple[str, str], set[str]] = defaultdict(set)
    for session, walk in walks(frame).items():
        for i, action in enumerate(walk):
            if action in walk[:i]:
                kind = "self" if walk[i - 1] == action else "ping_pong" if walk[i - 2] == action else "return"
                repeats[action, kind] += 1
                sessions[action, kind].add(session)
    return {key: (len(sessions[key]), count) for key, count in repeats.items()}


def funnel_counts(frame: pd.DataFrame, steps: list[str], ordered: bool) -> list[int]:
    """Sessions reaching each milestone, where every session is complete."""
    counts = [0] * len(steps)
    for walk in walks(frame).values():
        at = -1
        for number, step in enumerate(steps):
            places = [i for i, action in enumerate(walk) if action == step and (i > at or not ordered)]
            if not places:
                break
            at = places[0]
            counts[number] += 1
    return counts


def matrix_shares(frame: pd.DataFrame, n: int) -> dict[tuple[str, int], float]:
    """Share of sessions at each action after each number of steps, where every session is complete."""
    found = walks(frame)
    counts: Counter[tuple[str, int]] = Counter()
    for walk in found.values():
        for step in range(1, n + 1):
            counts[walk[step - 1] if step <= len(walk) else "(ended)", step] += 1
    return {key: count / len(found) for key, count in counts.items()}


def before_counts(frame: pd.DataFrame, action: str, n: int) -> Counter[tuple[str, ...]]:
    """The ``n`` steps before each session's first visit of an action, where every session is complete."""
    out: Counter[tuple[str, ...]] = Counter()
    for walk in walks(frame).values():
        if action in walk:
            place = walk.index(action)
            head = ["(start)"] if place < n else []
            out[tuple(head + walk[max(0, place - n) : place])] += 1
    return out


def quantile(values: list[int], share: float) -> int:
    """A quantile, interpolated linearly between neighbours and rounded half to even."""
    ranked = sorted(values)
    place = (len(ranked) - 1) * share
    low = math.floor(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + round((ranked[high] - ranked[low]) * (place - low))
