"""What could be written next in a ``%%insights`` cell: the line's options, and the events and fields of its JSON.

Read from the text before the cursor alone, since a cell that is being written is not JSON yet. Nothing is asked of
the service while somebody types: the schema is the one at hand, or else the documented one.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from insights_nb.body import OPERATORS, PARTS
from insights_nb.catalog import DOCUMENTED, FieldType, Schema, nearest_name, type_of
from insights_nb.connect import account_in_use
from insights_nb.errors import InsightsError

CELL = re.compile(r"\s*%%insights(?:\s|$)")
BOUNDS = ("$gte", "$gt", "$lte", "$lt")
LENGTHS = ("1h", "24h", "7d")
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"?|[\[\]{},:]|[^\s\[\]{},:"]+')
_PROFILE = re.compile(r"--profile[=\s]+(\S+)")
_PLACEHOLDER = re.compile(r"\{\{\s*([^\W\d]\w*)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Offer:
    """What could stand at the cursor.

    Parameters
    ----------
    fragment : str
        The text before the cursor that an offer replaces.
    words : tuple of str
        What could be written in its place, the likeliest first.
    kind : str
        What they are, for the front end: ``event``, ``field``, ``operator``, …
    """

    fragment: str
    words: tuple[str, ...] = ()
    kind: str = ""


@dataclass(slots=True)
class _Frame:
    """An object or a list that is open at the cursor."""

    bracket: str
    key: str = ""
    is_value: bool = False
    used: list[str] = field(default_factory=list)

    def take(self, piece: str) -> None:
        """Go on by one piece that is no bracket."""
        if piece in ":,":
            self.is_value = piece == ":"
        elif piece.startswith('"') and not self.is_value:
            self.key = piece.strip('"')
            self.used.append(self.key)


def offer(text: str, offset: int, options: Sequence[str], names: Callable[[], Sequence[str]]) -> Offer | None:
    """What could stand at a place of a cell.

    Parameters
    ----------
    text : str
        The cell, with its first line.
    offset : int
        Where the cursor is.
    options : sequence of str
        The options of the first line.
    names : callable
        Gives the names a ``{{name}}`` could have.

    Returns
    -------
    Offer or None
        None when it is no ``%%insights`` cell, or a place that is not ours (its first word, the path of a file).
    """
    match = CELL.match(text)
    if match is None or offset < match.end():
        return None
    before, after = text[:offset], text[offset:]
    line, newline, _ = text.partition("\n")
    if "\n" not in before:
        return _in_line(before, text[len(line) :], options, names)
    profile = _PROFILE.search(line)
    frames, piece = _read(before[len(line) + len(newline) :])
    quoted = piece.startswith('"')
    if quoted and piece[1:].lstrip().startswith("{{"):
        inner = piece[piece.index("{{") + 2 :].lstrip()
        close = "" if after.startswith("}}") else "}}" if after.startswith('"') else '}}"'
        return Offer(inner, tuple(f"{name}{close}" for name in _fitting(names(), inner)), "variable")
    words, kind = _in_body(frames, _schema(profile[1] if profile else None))
    fragment = piece[1:] if quoted else piece
    fitting = _fitting(words, fragment)
    if kind == "value":
        return Offer(fragment, () if quoted else fitting, kind)
    close = "" if after.startswith('"') else '"'
    return Offer(fragment, tuple(f"{'' if quoted else chr(34)}{word}{close}" for word in fitting), kind)


def _in_line(before: str, body: str, options: Sequence[str], names: Callable[[], Sequence[str]]) -> Offer | None:
    """Options of the first line, and what some of them take."""
    *earlier, fragment = re.split(r"\s", before)
    option, sign, given = fragment.partition("=")
    option, given = (option, given) if sign and option.startswith("--") else (earlier[-1], fragment)
    if option == "--file":
        return None  # IPython's own completion of paths is for that
    if option in ("-p", "--param"):
        wanted = dict.fromkeys(_PLACEHOLDER.findall(body))
        return Offer(given, tuple(f"{name}=" for name in _fitting(list(wanted), given)), "parameter")
    if option == "--params":
        return Offer(given, _fitting(names(), given), "variable")
    if option == "--last":
        return Offer(given, _fitting(LENGTHS, given), "length")
    if fragment.startswith("-"):
        return Offer(fragment, _fitting(options, fragment.replace("_", "-")), "option")
    return Offer(fragment)


def _read(text: str) -> tuple[list[_Frame], str]:
    """What is open at the end of a piece of JSON, and the piece that is still being written.

    Nothing is open, as far as we are concerned, where no word may follow.
    """
    frames: list[_Frame] = []
    before, last = "", ""
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if match.end() == len(text) and _is_open(piece):
            last = piece
            break
        before = piece
        if piece in "{[":
            frames.append(_Frame(piece))
        elif piece in "}]":
            del frames[-1:]
        elif frames:
            frames[-1].take(piece)
    return (frames if before and before in "{[,:" else []), last


def _is_open(piece: str) -> bool:
    """Whether a piece at the cursor may grow: a bare word, or a string without its closing quote."""
    if piece in "{}[],:":
        return False
    return not (len(piece) > 1 and piece.startswith('"') and piece.endswith('"') and not piece.endswith('\\"'))


def _in_body(frames: Sequence[_Frame], schema: Schema) -> tuple[Sequence[str], str]:
    """Words that fit inside these brackets, without those already there, and what they are."""
    if not frames:
        return (), ""
    path = [frame.key for frame in frames[:-1]]
    top = frames[-1]
    if top.bracket == "[":
        words, kind = _in_list([frame.key for frame in frames[:-1]], schema)
    elif top.is_value:
        return _of_value([*path, top.key])
    else:
        words, kind = _of_key(path, schema)
    return [word for word in words if word not in top.used], kind


def _of_key(path: Sequence[str], schema: Schema) -> tuple[Sequence[str], str]:
    match path:
        case []:
            return PARTS, "part"
        case ["timestamp"]:
            return BOUNDS, "operator"
        case ["scope"]:
            return ("filters", "scope"), "part"
        case ["data", _]:
            return ("fields",), "part"
        case ["data"] | ["filters"]:
            return schema.events, "event"
        case ["scope", "filters"]:
            return (*schema.events, "SessionId"), "event"
        case ["scope", "filters", "SessionId"] | ["filters", _, _] | ["scope", "filters", _, _]:
            return OPERATORS, "operator"
        case ["filters", event] | ["scope", "filters", event]:
            return _fields(event, schema), "field"
    return (), ""


def _in_list(path: Sequence[str], schema: Schema) -> tuple[Sequence[str], str]:
    match path:
        case ["data", event, "fields"]:
            return _fields(event, schema), "field"
        case ["scope", "scope"]:
            return ("SessionId",), "field"
    return (), ""


def _of_value(path: Sequence[str]) -> tuple[Sequence[str], str]:
    match path:
        case ["scope", "scope"]:
            return ("SessionId",), "field"
        case ["filters", _, name, _] | ["scope", "filters", _, name, _] if type_of(name) is FieldType.BOOLEAN:
            return ("true", "false"), "value"
    return (), ""


def _fields(event: str, schema: Schema) -> Sequence[str]:
    """Fields of an event, or of the one that was probably meant."""
    meant = event if event in schema.events else nearest_name(event, schema.events)
    return schema.fields(meant) if meant else schema.all_fields


def _fitting(words: Sequence[str], fragment: str) -> tuple[str, ...]:
    """Words that begin with what is written, then those that hold it; case does not matter."""
    wanted = fragment.casefold()
    begins = [word for word in words if word.casefold().startswith(wanted)]
    return (*begins, *(word for word in words if word not in begins and wanted.lstrip("$-") in word.casefold()))


def _schema(profile: str | None) -> Schema:
    """The schema at hand; the documented one where there is none or the settings are in the way."""
    kept: Any = None
    with suppress(InsightsError):
        kept = account_in_use(profile).kept_schema()
    return kept or DOCUMENTED
