"""Where the report's files are: the sentence the service answers with, read as text and never run as code.

The API says (contract, section 1)::

    Process finished. Download: [u'reports/guid1/guid2_QueryExport_1579194142011__000000000000.csv.gz']

a Python-2 list inside a sentence, with one item per shard. Evaluating it, even by ``ast.literal_eval``, would
let the service exhaust our memory, merge two names into one, or smuggle a path out of its folder. The parser
here reads every character once and answers with a list of safe paths or an :class:`ApiError`.
"""

import re

from insights_nb.errors import ApiError

MOST_PATHS = 100_000
LONGEST_PATH = 1024

_EXPECTED = "Process finished. Download: [u'reports/…/….csv.gz', …]"
_HINT = "If the service has changed its answer, this package needs a new version; nothing was downloaded."
_OPENING = re.compile(r"\s*process finished\.?\s*download:\s*\[\s*", re.IGNORECASE)
_SPACE = re.compile(r"\s*")
_PLAIN = {"'": re.compile(r"[^'\\]*"), '"': re.compile(r'[^"\\]*')}
_SIMPLE_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}
_HEX_ESCAPES = {"x": 2, "u": 4, "U": 8}
_HEX = re.compile(r"[0-9A-Fa-f]*")


def is_not_ready(sentence: str) -> bool:
    """Whether the sentence says that the report is still being made.

    The API's words are ``Process has not finish yet, please verify the status of your request`` (sic); case,
    spacing and a mended grammar make no difference.
    """
    return " ".join(sentence.lower().split()).startswith("process has not finish")


def parse_location(sentence: str) -> list[str]:
    """Return the remote paths in the service's sentence, in its order.

    Parameters
    ----------
    sentence : str
        The ``status`` member of ``GET Q/{guid}``.

    Returns
    -------
    list of str
        One or more relative paths, all different. Each is printable, has no empty, ``.`` or ``..`` segment and
        no backslash, and begins with none of ``/ ~ -`` and no drive letter.

    Raises
    ------
    ApiError
        The sentence has another form, lists nothing, lists a path twice or an unsafe one, or lists more than
        100,000.
    """
    opening = _OPENING.match(sentence)
    if opening is None:
        raise _unknown_form(sentence, 0, "the words it begins with")
    at = opening.end()
    paths: dict[str, None] = {}
    while True:
        path, at = _string(sentence, at)
        _check(path)
        if path in paths:
            raise ApiError(f"the service lists the file {_shown(path)} twice.", _HINT)
        paths[path] = None
        if len(paths) > MOST_PATHS:
            raise ApiError(f"the service lists more than {MOST_PATHS:,} files.", _HINT)
        at = _end_of(_SPACE, sentence, at)
        mark = sentence[at : at + 1]
        at = _end_of(_SPACE, sentence, at + 1)
        if mark == "]":
            break
        if mark != ",":
            raise _unknown_form(sentence, at, "a comma or the end of the list")
    if at < len(sentence):
        raise _unknown_form(sentence, at, "nothing after the list")
    return list(paths)


def _string(sentence: str, at: int) -> tuple[str, int]:
    """Return the quoted string that begins at ``at``, unescaped, and where it ends."""
    start = at
    prefix = sentence[at : at + 1]
    if prefix and prefix in "uUbB":
        at += 1
    quote = sentence[at : at + 1]
    if quote not in _PLAIN:
        raise _unknown_form(sentence, start, "a quoted file name")
    at += 1
    parts: list[str] = []
    while True:
        end = _end_of(_PLAIN[quote], sentence, at)
        parts.append(sentence[at:end])
        at = end
        if sentence[at : at + 1] == quote:
            return "".join(parts), at + 1
        if at >= len(sentence):
            raise _unknown_form(sentence, start, "a closing quote")
        character, at = _escape(sentence, at + 1, prefix in "uU")
        parts.append(character)


def _escape(sentence: str, at: int, unicode: bool) -> tuple[str, int]:
    """Return the character an escape stands for, its letter being at ``at``, and where the escape ends."""
    letter = sentence[at : at + 1]
    if letter in _SIMPLE_ESCAPES:
        return _SIMPLE_ESCAPES[letter], at + 1
    length = _HEX_ESCAPES.get(letter)
    if length is None:
        raise _unknown_form(sentence, at, "a known escape")
    digits = sentence[at + 1 : at + 1 + length]
    code = int(digits, 16) if _HEX.fullmatch(digits) and len(digits) == length else -1
    # Without the prefix \x is a byte of some encoding, and past ASCII we do not guess which.
    highest = 0x10FFFF if unicode else 0x7F
    if not 0 <= code <= highest:
        raise _unknown_form(sentence, at, "a known escape")
    return chr(code), at + 1 + length


def _check(path: str) -> None:
    """Refuse a path that could mean anything but a file below the report folder."""
    reason = ""
    if len(path) > LONGEST_PATH:
        reason = f"is longer than {LONGEST_PATH:,} characters"
    elif not path.isprintable():
        # Also surrogates and the marks that turn the direction of writing.
        reason = "holds characters that do not print"
    elif "\\" in path:
        reason = "holds a backslash"
    elif path.startswith(("~", "-")) or path[1:2] == ":":
        reason = "begins like a home folder, an option or a drive"
    elif any(segment in {"", ".", ".."} for segment in path.split("/")):
        reason = "is not a plain relative path"
    if reason:
        raise ApiError(f"the service lists the file {_shown(path)}, whose name {reason}; it is not fetched.", _HINT)


def _end_of(pattern: re.Pattern[str], sentence: str, at: int) -> int:
    """Return where the run of the pattern's characters that begins at ``at`` ends; it may be empty."""
    run = pattern.match(sentence, at)
    return run.end() if run else at


def _unknown_form(sentence: str, at: int, expected: str) -> ApiError:
    """Return the error that says what was read, where it went wrong, and what was expected."""
    return ApiError(
        f"the service said where the report's files are in a form we do not know: {_shown(sentence)}. "
        f"At character {at + 1} we expected {expected}, as in {_EXPECTED}",
        _HINT,
    )


def _shown(text: str) -> str:
    """Return text as it may stand in a message: short, and all of it printable."""
    short = text if len(text) <= 120 else f"{text[:80]}…{text[-30:]}"
    return ascii(short) if not short.isprintable() else repr(short)
