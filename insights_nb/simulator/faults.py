"""What may go wrong on purpose: a list of plain values, and a thread-safe count of what has come by."""

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

_ANSWERED = frozenset(
    {"answer", "answer_after", "amend", "busy", "cut", "delay", "delay_after", "reset", "reset_after"}
)

KINDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "POST /authenticate": _ANSWERED,
        "GET /Q": _ANSWERED,
        "HEAD /Q": _ANSWERED,
        "POST /Q": _ANSWERED | {"cancel", "fail"},
        "GET /Q/status": _ANSWERED,
        "GET /Q/location": _ANSWERED,
        "HEAD /Q/location": _ANSWERED,
        "export": frozenset({"short", "flip", "missing"}),
        "SFTP connect": frozenset({"reset", "stall", "wrong_key"}),
        "SFTP auth": frozenset({"refuse", "delay"}),
        "SFTP stat": frozenset({"missing", "refuse", "size", "directory"}),
        "SFTP open": frozenset({"missing", "refuse", "reset", "delay"}),
        "SFTP read": frozenset({"cut", "flip", "grow", "error", "reset", "stall"}),
    }
)
"""Where a fault may strike, and what it may do there."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, and when.

    Parameters
    ----------
    on
        Where, a key of ``KINDS``: an HTTP call, ``export`` (once per shard written), or a step of SFTP.
        An ``SFTP read`` is counted once per file opened and holds for all reads of that opening.
    do
        What happens there:

        * HTTP, the request is *not* taken: ``answer`` (``status``, ``body``, ``headers``), ``busy`` (the
          documented 429), ``reset`` (RST without an answer);
        * HTTP, the request *is* taken: ``answer_after``, ``reset_after``, ``amend`` (keys of ``body`` replace
          those of the real answer), ``cut`` (the answer ends after ``at`` bytes of its body);
        * ``delay`` before and ``delay_after`` behind the work, for ``seconds`` or until ``gate`` is set;
        * ``POST /Q`` only: ``fail`` and ``cancel`` end the accepted report that way, with ``messages``;
        * ``export``, the file on disk: ``short`` (``at`` bytes left), ``flip`` (one bit of byte ``at``),
          ``missing`` (listed, but not there);
        * ``SFTP connect``: ``reset``, ``stall`` (never a banner), ``wrong_key`` (another host key);
        * ``SFTP auth``: ``refuse``, ``delay``;
        * ``SFTP stat``: ``missing``, ``refuse``, ``size`` (says ``at``), ``directory``;
        * ``SFTP open``: ``missing``, ``refuse``, ``reset``, ``delay``;
        * ``SFTP read``, beyond byte ``at``: ``cut`` (early end of file while the size stays), ``error``,
          ``reset``, ``stall`` (until ``gate`` or the end); ``flip`` (byte ``at``), ``grow`` (``at`` bytes more
          than the size says).
    nth
        The first occurrence it strikes, counted from 1 among those that match ``on`` and ``match``.
    times
        How many occurrences in a row; 0 means every one from ``nth`` on.
    match
        A regular expression searched in the path (or user name, or file name); empty matches all.
    status, body, headers
        The answer to give. A ``str`` or ``bytes`` body is sent as it is (``text/html`` unless ``headers``
        says otherwise), anything else as JSON.
    seconds, gate
        How long to wait; with a gate, until it is set (``seconds`` is then not looked at).
    at
        A byte position, a size or a number of bytes, as told above.
    messages
        What a failed or canceled report says.

    Raises
    ------
    ValueError
        An unknown ``on``, a ``do`` that ``on`` does not know, or a count below its least value.
    """

    on: str
    do: str
    nth: int = 1
    times: int = 1
    match: str = ""
    status: int = 503
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    gate: threading.Event | None = None
    at: int = 0
    messages: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.on not in KINDS:
            raise ValueError(f"unknown fault place {self.on!r}; known: {', '.join(sorted(KINDS))}")
        if self.do not in KINDS[self.on]:
            raise ValueError(f"{self.on!r} cannot {self.do!r}; it can: {', '.join(sorted(KINDS[self.on]))}")
        if self.nth < 1 or self.times < 0 or self.at < 0:
            raise ValueError("nth counts from 1, times from 0 (for ever), at from 0")
        re.compile(self.match)


class FaultPlan:
    """A list of faults and how often each one's place has been passed.

    Parameters
    ----------
    faults
        The faults to begin with; more can be added at any time.
    """

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._passed: list[tuple[Fault, list[int]]] = []
        self._struck: list[tuple[Fault, str]] = []
        self.add(*faults)

    def add(self, *faults: Fault) -> None:
        """Add faults; each counts occurrences from now on."""
        with self._lock:
            self._passed.extend((fault, [0]) for fault in faults)

    def clear(self) -> None:
        """Forget every fault, so that all goes well from now on."""
        with self._lock:
            self._passed.clear()

    def strike(self, on: str, subject: str = "") -> tuple[Fault, ...]:
        """Count one occurrence and return the faults it is due, in the order they were added.

        Parameters
        ----------
        on
            The place passed, a key of ``KINDS``.
        subject
            What ``match`` is searched in.
        """
        due: list[Fault] = []
        with self._lock:
            for fault, count in self._passed:
                if fault.on != on or not re.search(fault.match, subject):
                    continue
                count[0] += 1
                last = fault.nth + fault.times - 1
                if count[0] >= fault.nth and (fault.times == 0 or count[0] <= last):
                    due.append(fault)
                    self._struck.append((fault, subject))
        return tuple(due)

    @property
    def struck(self) -> list[tuple[Fault, str]]:
        """Return what has gone wrong so far: each fault with its subject, in order."""
        with self._lock:
            return list(self._struck)
