"""From visits to records: every column of every event as arrays, and the planted truths read off them."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from . import flows
from .arrow import Array
from .flows import FLOWS, Exit
from .schema import Schema

if TYPE_CHECKING:
    from .callers import Callers, Graph, Visits

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_DIGITS = np.frombuffer(b"0123456789ABCDEF", dtype=np.uint8)
_SESSION = b"0000000000-1022008-SR-000-0000000000000-00000000"
_TRANSACTION = b"CP1-0000000000-0015A00003Q7KXH-000000000"
_EVENTS = ("ApplicationExitEvent", "DtmfEvent", "CallEvent", "MsgEvent")
_EXIT, _DTMF = 0, 1
_JITTER_MS = 90_000
_SPREAD = 2_654_435_761  # odd, so that multiplying by it modulo 2**32 gives every session another number


def table(
    graph: "Graph",
    rng: np.random.Generator,
    callers: "Callers",
    visits: "Visits",
    schema: Schema,
    *,
    seed: int,
    until_ms: int,
) -> tuple[pa.Table, dict[str, Any]]:
    """Return the records of all visits up to a moment, and the truths that can be counted in them.

    Parameters
    ----------
    graph, rng, callers, visits
        What happened.
    schema
        The types of the fields.
    seed
        Part of the session ids.
    until_ms
        Later records have not been written yet.
    """
    visit, kind, time = _rows(graph, callers, visits)
    written = time <= until_ms
    running = np.unique(visits.session[visit[~written]])
    visit, kind, time = visit[written], kind[written], time[written]
    order = np.argsort(time + rng.integers(0, _JITTER_MS, len(time)), kind="stable")
    visit, kind, time = visit[order], kind[order], time[order]

    ids = _session_ids(callers, seed)
    columns = _columns(graph, callers, visits, visit, kind, time, ids)
    events = pa.table({name: columns[name] for name in schema.types if name in columns})
    return events, _planted(graph, callers, visits, visit, time, ids, running)


def _rows(graph: "Graph", callers: "Callers", visits: "Visits") -> tuple[Ints, Ints, Ints]:
    """Return the visit, kind of event and time of every record."""
    own = [_EVENTS.index(action.record) if action.record else -1 for _, action in graph.places]
    medium = [_EVENTS.index(flow.medium) for flow in FLOWS for _ in flow.actions]
    # A session that breaks off leaves the sign of life its medium gives, and nothing else, from its last action.
    record = np.where(visits.broken, np.array(medium)[visits.node], np.array(own)[visits.node])
    exits = np.flatnonzero(~visits.broken)
    # Who hangs up at a prompt leaves no DtmfEvent.
    answered = (_coded(graph, "pressed")[1] >= 0) | (_coded(graph, "error")[1] >= 0)
    prompts = np.flatnonzero((record == _DTMF) & answered[visits.node, visits.exit])
    signs = np.flatnonzero(record > _DTMF)
    visit = np.concatenate([exits, prompts, signs])
    kind = np.concatenate([np.full(len(exits), _EXIT), np.full(len(prompts), _DTMF), record[signs]])
    time = np.concatenate([visits.end[exits], visits.end[prompts] - 50, visits.start[signs] + 10])
    whole = callers.whole_seconds[visits.session[visit]]
    return visit, kind, np.where(whole, time // 1000 * 1000, time)


def _columns(
    graph: "Graph",
    callers: "Callers",
    visits: "Visits",
    visit: Ints,
    kind: Ints,
    time: Ints,
    ids: npt.NDArray[np.uint8],
) -> dict[str, Array]:
    session, node = visits.session[visit], visits.node[visit]
    exit_ = np.where(visits.broken[visit], 0, visits.exit[visit])
    is_exit, is_prompt = kind == _EXIT, kind == _DTMF
    flow_of = np.array([n for n, flow in enumerate(FLOWS) for _ in flow.actions])[node]
    named = callers.account[session] % 3 == 0
    start, end = visits.start[visit], visits.end[visit]
    whole = callers.whole_seconds[session]
    actions = [action for _, action in graph.places]
    return {
        "EventName": _chosen(_EVENTS, kind),
        "EventVersion": pa.array(np.ones(len(visit), dtype=np.int64)),
        "TimeStamp": _moments(time),
        "CustomerId": _chosen(("10001234",), np.zeros(len(visit), dtype=np.int64)),
        "FlowId": _chosen([flow.flow_id for flow in FLOWS], flow_of),
        "FlowName": _chosen([flow.name for flow in FLOWS], flow_of),
        "ActionId": _chosen([action.action_id for action in actions], node),
        "ActionName": _chosen([action.action_name for action in actions], node),
        "IsTriggerAction": pa.array(np.array([action.trigger for action in actions])[node]),
        "SessionId": _texts(ids[session]),
        "TransactionId": _texts(_transaction_ids(visit, start)),
        "ApplicationRegion": _chosen(list(flows.REGIONS), callers.region[session]),
        "PassthroughVersion": _chosen(("1",), np.zeros(len(visit), dtype=np.int64), named),
        "Passthrough": _chosen(flows.CALLERS, callers.account[session] // 3 % len(flows.CALLERS), named),
        "StartTime": _moments(np.where(whole, start // 1000 * 1000, start), is_exit),
        "EndTime": _moments(np.where(whole, end // 1000 * 1000, end), is_exit),
        "Path": _exit_texts(graph, node, exit_, "path", is_exit),
        "ExitReason": _exit_texts(graph, node, exit_, "reason", is_exit),
        "DtmfInput": _inputs(graph, callers, session, node, exit_, is_prompt),
        "DtmfSource": _chosen(("Keypad",), np.zeros(len(visit), dtype=np.int64), is_prompt),
        "ErrorReason": _exit_texts(graph, node, exit_, "error", is_prompt),
    }


def _exit_texts(graph: "Graph", node: Ints, exit_: Ints, what: str, where: Bools) -> Array:
    words, codes = _coded(graph, what)
    found = codes[node, exit_]
    return _chosen(words or [""], np.maximum(found, 0), where & (found >= 0))


def _coded(graph: "Graph", what: str) -> tuple[list[str], Ints]:
    """Return the different texts of all exits, and for each action and exit the number of its text, -1 for none."""
    texts: list[list[str | None]] = [[_text(exit_, what) for exit_ in action.exits] for _, action in graph.places]
    words = sorted({text for row in texts for text in row if text is not None})
    codes = np.full(graph.bound.shape, -1, dtype=np.int64)
    for n, row in enumerate(texts):
        for e, text in enumerate(row):
            if text is not None:
                codes[n, e] = words.index(text)
    return words, codes


def _text(exit_: Exit, what: str) -> str | None:
    return {"path": exit_.path, "reason": exit_.reason, "error": exit_.error, "pressed": exit_.pressed}[what]


def _inputs(graph: "Graph", callers: "Callers", session: Ints, node: Ints, exit_: Ints, where: Bools) -> Array:
    words, codes = _coded(graph, "pressed")
    found = codes[node, exit_]
    own = found == words.index(flows.ACCOUNT)
    accounts = account_numbers()
    number = np.where(own, len(words) + callers.account[session], np.maximum(found, 0))
    return _chosen([*words, *accounts], number, where & (found >= 0))


def account_numbers() -> list[str]:
    """Return the invented account numbers: eight digits, a tenth of them with leading zeros."""
    from .callers import ACCOUNTS

    mixed = [n * 7_368_787 % 99_999_989 for n in range(1, ACCOUNTS + 1)]
    return [f"{number:08d}" for number in mixed]


def _session_ids(callers: "Callers", seed: int) -> npt.NDArray[np.uint8]:
    ids = np.tile(np.frombuffer(_SESSION, dtype=np.uint8), (len(callers.start), 1))
    number = (np.arange(len(callers.start), dtype=np.int64) * _SPREAD + seed) % 2**32
    _write(ids, 0, 10, callers.start // 1000, 10)
    _write(ids, 40, 8, number, 16)
    return ids


def _transaction_ids(visit: Ints, start: Ints) -> npt.NDArray[np.uint8]:
    ids = np.tile(np.frombuffer(_TRANSACTION, dtype=np.uint8), (len(visit), 1))
    _write(ids, 4, 10, start // 1000, 10)
    _write(ids, 31, 9, visit + 0x4FB32C, 16)
    return ids


def _write(texts: npt.NDArray[np.uint8], at: int, width: int, numbers: Ints, base: int) -> None:
    """Write numbers into fixed places of fixed-width texts, with leading zeros."""
    rest = numbers.copy()
    for place in range(at + width - 1, at - 1, -1):
        rest, digit = np.divmod(rest, base)
        texts[:, place] = _DIGITS[digit]


def _texts(characters: npt.NDArray[np.uint8]) -> Array:
    """Return fixed-width ASCII texts as an Arrow array, without a Python string each."""
    count, width = characters.shape
    # The stubs do not know that an array is a buffer.
    offsets: Any = np.arange(count + 1, dtype=np.int64) * width
    content: Any = np.ascontiguousarray(characters)
    return pa.LargeStringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(content))


def _chosen(words: "list[str] | tuple[str, ...]", numbers: Ints, where: Bools | None = None) -> Array:
    """Return ``words[numbers]``, NULL outside ``where``."""
    mask = None if where is None else ~where
    codes: Any = pa.array(numbers.astype(np.int32), mask=mask)
    return pa.DictionaryArray.from_arrays(codes, pa.array(list(words), type=pa.string()))


def _moments(milliseconds: Ints, where: Bools | None = None) -> Array:
    mask = None if where is None else ~where
    return pa.array(milliseconds * 1000, mask=mask, type=pa.timestamp("us"))


def _planted(
    graph: "Graph",
    callers: "Callers",
    visits: "Visits",
    visit: Ints,
    time: Ints,
    ids: npt.NDArray[np.uint8],
    running: Ints,
) -> dict[str, Any]:
    """Return the truths about sessions, read off the records that have been written."""
    session = visits.session[visit]
    owner, moment = _in_order(session, time)
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    last = np.append(first[1:], len(owner)) - 1
    seen = owner[first]
    tied = owner[1:][(np.diff(owner) == 0) & (np.diff(moment) == 0)]

    def listed(numbers: Ints) -> tuple[str, ...]:
        chosen = np.intersect1d(numbers, seen)
        return tuple(sorted(bytes(row).decode() for row in ids[chosen]))

    words, pressed = _coded(graph, "pressed")
    errors = _coded(graph, "error")[1]
    node, exit_, whole = visits.node[visit], visits.exit[visit], ~visits.broken[visit]
    given = whole & (pressed[node, exit_] >= 0)
    asked = given | (whole & (errors[node, exit_] >= 0))
    own = whole & (pressed[node, exit_] == words.index(flows.ACCOUNT))
    accounts = account_numbers()
    inputs = {accounts[n] for n in np.unique(callers.account[session[own]])}
    inputs |= {words[n] for n in np.unique(pressed[node, exit_][given])}
    named = {n // 3 % len(flows.CALLERS) for n in np.unique(callers.account[seen]).tolist() if n % 3 == 0}
    keys = {graph.places[n][0] for n in np.unique(node)}
    names = {flow.name for flow in FLOWS if flow.key in keys} | {flows.CALLERS[n] for n in named}
    return {
        "silent_sessions": listed(np.setdiff1d(session[asked], session[given])),
        "midnight_sessions": listed(seen[moment[first] // 86_400_000 != moment[last] // 86_400_000]),
        "no_exit_sessions": listed(session[visits.broken[visit]]),
        "running_sessions": listed(running),
        "tied_sessions": listed(tied),
        "two_flow_sessions": listed(session[node == graph.number["messaging", "JUMP_FROM_1"]]),
        "leading_zero_inputs": tuple(sorted(text for text in inputs if len(text) > 1 and text[0] == "0")),
        "names": tuple(sorted(names)),
        "sessions": len(seen),
        "events": len(visit),
    }


def _in_order(session: Ints, time: Ints) -> tuple[Ints, Ints]:
    """Return sessions and times sorted by both, by sorting one packed number instead of two."""
    if not len(session):
        return session, time
    base = int(time.min())
    span = int(time.max()) - base + 1
    key = np.sort(session * span + (time - base))
    return key // span, key % span + base
