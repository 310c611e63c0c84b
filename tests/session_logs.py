"""Small generated logs for the session tests: invented, seeded, with planted cuts."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

DAY = 1_700_006_400  # 2023-11-15T00:00:00Z
EXIT_FIELDS = ("StartTime", "EndTime", "Path", "ExitReason")
NEXT = {
    "INBOUND_CALL_1": ["PLAY_1"],
    "PLAY_1": ["MENU_1", "MENU_1", "PLAY_2"],
    "MENU_1": ["MENU_1", "COLLECT_1", "TRANSFER_1", "PLAY_2"],
    "COLLECT_1": ["TRANSFER_1", "PLAY_2", "COLLECT_1"],
    "PLAY_2": ["MENU_1", "END_CALL"],
    "TRANSFER_1": ["END_CALL"],
}


def session_id(start: int, number: int) -> str:
    """An id in the API's form, whose first ten digits are the start."""
    return f"{start:010d}-1022008-SR-000-{number:013d}-{number * 2654435761 % 2**32:08X}"


def _walk(draw: np.random.Generator) -> list[str]:
    steps = ["INBOUND_CALL_1"]
    while steps[-1] in NEXT and len(steps) < 14:
        steps.append(str(draw.choice(NEXT[steps[-1]])))
    return [*steps, "END_CALL"] if steps[-1] != "END_CALL" else steps


def make_log(
    sessions: int = 40, seed: int = 0, *, per: str = "action", whole_seconds: bool = False, span: int = 3600
) -> pd.DataFrame:
    """Events of whole sessions, sorted by time.

    Parameters
    ----------
    sessions : int
        How many.
    seed : int
        Which.
    per : {"action", "flow"}
        One ApplicationExitEvent per action, or one at the end of the session.
    whole_seconds : bool
        Round times down to seconds, so that some are equal.
    span : int
        Sessions start within this many seconds.
    """
    draw = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for number in range(sessions):
        begin = DAY + int(draw.integers(0, span))
        at = begin * 1_000_000 + int(draw.integers(0, 400_000))
        name, walk = session_id(begin, number), _walk(draw)
        for step, action in enumerate(walk):
            last = step == len(walk) - 1
            took = int(draw.integers(1_200_000, 20_000_000))
            common = {
                "SessionId": name,
                "FlowId": "5dcf02f4a11b",
                "FlowName": "Pharmacy",
                "ActionId": action,
                "ActionName": action.rsplit("_", 1)[0].title(),
                "IsTriggerAction": step == 0,
                "TransactionId": f"CP1-{begin}-{number:04X}-{step:04X}",
                "ApplicationRegion": "US:US-CA" if number % 3 else "US:US-TX",
            }
            if action.startswith(("MENU", "COLLECT")):
                kind = draw.choice(["ok", "ok", "No Input", "No Match", "Gateway"])
                rows.append(
                    common
                    | {
                        "EventName": "DtmfEvent",
                        "TimeStamp": at + took // 2,
                        "DtmfInput": None if kind == "No Input" else "0" * (step % 2) + str(step),
                        "ErrorReason": None if kind == "ok" else str(kind),
                    }
                )
            elif per == "flow" or action.startswith("INBOUND"):
                rows.append(common | {"EventName": "CallEvent", "TimeStamp": at + 1000})
            if per == "action" or last:
                reason = "Call Successful" if last else str(draw.choice(["Normal", "Normal", "Timeout"]))
                rows.append(
                    common
                    | {
                        "EventName": "ApplicationExitEvent",
                        "TimeStamp": at + took,
                        "StartTime": at if per == "action" else begin * 1_000_000,
                        "EndTime": at + took,
                        "Path": "" if last else "Next",
                        "ExitReason": reason,
                    }
                )
            at += took + 1000
    frame = pd.DataFrame(rows).reindex(
        columns=list(dict.fromkeys([*rows[0], "DtmfInput", "ErrorReason", *EXIT_FIELDS]))
    )
    for name in ("TimeStamp", "StartTime", "EndTime"):
        ticks = frame[name].astype("Int64")
        if whole_seconds:
            ticks = ticks // 1_000_000 * 1_000_000
        frame[name] = pd.to_datetime(ticks, unit="us", utc=True).astype("datetime64[us, UTC]")
    for name in ("SessionId", "FlowId", "ActionId", "EventName", "DtmfInput", "ErrorReason", "Path", "ExitReason"):
        frame[name] = frame[name].astype("str")
    frame["IsTriggerAction"] = frame["IsTriggerAction"].astype("boolean")
    return frame.sort_values("TimeStamp", kind="stable", ignore_index=True)


def fetched(
    frame: pd.DataFrame, start: Any, end: Any, *, events: tuple[str, ...] | None = None, **query: Any
) -> pd.DataFrame:
    """The frame as ``query()`` would give it for a window: cut to it, and noted in ``attrs``."""
    low, high = (pd.Timestamp(edge, unit="s", tz="UTC") if isinstance(edge, int) else edge for edge in (start, end))
    cut = frame[frame["TimeStamp"].between(low, high)].reset_index(drop=True)
    names = events or ("ApplicationExitEvent", "DtmfEvent", "CallEvent", "MsgEvent")
    edges = [f"{edge:%Y-%m-%dT%H:%M:%SZ}" for edge in (low, high)]
    cut.attrs["insights"] = {
        "query": {
            "timestamp": {"$gte": edges[0], "$lte": edges[1]},
            "data": {name: {"fields": list(frame.columns)} for name in names},
            **query,
        },
        "window": edges,
        "rows": len(cut),
        "cached": False,
    }
    return cut


@cache
def demo_frame(size: int = 20_000, seed: int = 7) -> pd.DataFrame:
    """The demo's invented events, as ``query()`` would give them for its seven days."""
    return demo_log(size, seed)[0].copy()


@cache
def demo_log(size: int = 20_000, seed: int = 7) -> tuple[pd.DataFrame, Any]:
    """The demo's invented events with what ``query()`` notes on a frame, and the truths planted in them."""
    import pyarrow as pa

    from insights_nb.simulator.callers import invent
    from insights_nb.simulator.schema import documented

    table, truths = invent(documented(), seed=seed, size=size, until="2026-03-08T00:00:00Z")
    plain: Any = {
        name: table[name].cast(pa.string()) if pa.types.is_dictionary(table[name].type) else table[name]
        for name in table.column_names
    }
    frame = pa.table(plain).to_pandas()
    for name in ("TimeStamp", "StartTime", "EndTime"):
        if frame[name].dt.tz is None:
            frame[name] = frame[name].dt.tz_localize("UTC")
    return fetched(frame, pd.Timestamp(str(truths.since)), pd.Timestamp(str(truths.until))), truths
