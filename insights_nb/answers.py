"""What the API's answers mean: status words, refusals in every documented shape, and whose fault it was.

Pure: an answer in, a verdict out. Source of words and shapes: Overview page and contract §3.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any

from insights_nb.errors import ApiError, AuthError, BusyError, InsightsError, QueryError, UnknownReportError

LONGEST_TEXT = 500
MOST_TEXTS = 20
_DEEPEST = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer: its status, and its JSON body or None when the body is no JSON."""

    status: int
    payload: Any


class Outcome(Enum):
    """What a status word means for us; unknown words mean the report is still running (contract §3)."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class Status:
    """The service's answer about a report.

    Parameters
    ----------
    word : str
        Its status word as sent.
    messages : tuple of str
        Its words about a failure.
    """

    word: str
    messages: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """The word's meaning, whatever its case."""
        word = self.word.strip().lower()
        words = {"completed": Outcome.COMPLETED, "failed": Outcome.FAILED}
        return words.get(word, Outcome.CANCELED if word in {"canceled", "cancelled"} else Outcome.RUNNING)

    @property
    def is_empty(self) -> bool:
        """Whether the service says that no rows matched, rather than that something broke."""
        return self.outcome is Outcome.FAILED and any("empty values" in text.lower() for text in self.messages)


def refusal(answer: Answer, subject: str) -> InsightsError | None:
    """What an answer's status and body say went wrong, in the service's own words (contract §3)."""
    status, words = answer.status, "; ".join(texts(answer.payload))
    said = f': "{words}"' if words else ""
    if 200 <= status < 300:
        if answer.payload is not None:
            return None
        return ApiError(
            f"the answer about {subject} is no JSON (HTTP {status}).",
            "A proxy or sign-in page may be in the way.",
            status=status,
            temporary=True,
            sent=True,
        )
    if status in (400, 422):
        return QueryError([f"the service refused {subject} (HTTP {status}){said}"])
    if status in (401, 403):
        return AuthError(
            f"the service does not accept our token (HTTP {status}){said}.",
            "Check INSIGHTS_USERNAME and INSIGHTS_PASSWORD, or INSIGHTS_TOKEN where it is set.",
            status=status,
        )
    if status == 429:
        return BusyError(
            f"every slot for running queries is taken, or the query is over the size limit of about 1 TB{said}.",
            "Wait for a running report to finish, or narrow the query's range and fields.",
            status=status,
            temporary=True,
        )
    if status == 500 and "does not exist" in words:
        return UnknownReportError(
            f"the service does not know {subject}{said}.",
            "It may have been removed. Ask the query again with refresh=True.",
            status=status,
            sent=True,
        )
    return ApiError(
        f"the service answered HTTP {status} about {subject}{said}.",
        "If it stays so, the service has a problem of its own.",
        status=status,
        # 408 and 425 come from what stands before the service, which knows as little as we do.
        temporary=status >= 500 or status in (408, 425),
        sent=status >= 500 or status in (408, 425),
    )


def texts(payload: Any) -> Iterator[str]:
    """Every text of a body that tells of trouble, whatever its shape: a text, a dict of dicts, or a list of dicts.

    Each is fit for a message (see :func:`printable`), and there are twenty at most.
    """
    return islice(_texts(payload, 0), MOST_TEXTS)


def printable(text: str) -> str:
    """The service's words as they may stand in a message: one line, without control characters, not too long.

    They go to terminals, which obey what they are sent, and to files, which hold no half of a surrogate pair.
    """
    line = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * LONGEST_TEXT])
    line = " ".join(line.split())
    return line if len(line) <= LONGEST_TEXT else f"{line[: LONGEST_TEXT - 1]}…"


def _texts(payload: Any, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        return
    inner: Any = ()
    if isinstance(payload, str):
        if line := printable(payload):
            yield line
    elif isinstance(payload, Mapping):
        found = payload.get("message", payload.get("error", payload.get("messages", payload)))
        inner = found.values() if isinstance(found, Mapping) else [found]
    elif isinstance(payload, list):
        inner = payload
    for value in inner:
        yield from _texts(value, depth + 1)
