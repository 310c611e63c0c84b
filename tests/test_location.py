"""The sentence that says where the report's files are."""

import ast
import random
import sys
import time
import warnings
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from insights_nb.errors import ApiError
from insights_nb.location import LONGEST_PATH, MOST_PATHS, is_not_ready, parse_location

DOCUMENTED = "Process finished. Download: [u'reports/guid1/guid2_QueryExport_1579194142011__000000000000.csv.gz']"

segments = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\:~-"), min_size=1, max_size=12
).filter(lambda segment: segment not in {".", ".."} and segment.isprintable())
paths = st.lists(segments, min_size=1, max_size=5).map("/".join)


def python2_repr(path: str) -> str:
    """Write a path as Python 2 wrote a unicode string."""
    body = ""
    for character in path:
        code = ord(character)
        if character in "\\'":
            body += "\\" + character
        elif 32 <= code < 127:
            body += character
        else:
            body += f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    return f"u'{body}'"


def sentence(*items: str) -> str:
    return f"Process finished. Download: [{', '.join(items)}]"


def refused(text: str) -> str:
    with pytest.raises(ApiError) as caught:
        parse_location(text)
    assert caught.value.hint
    assert len(caught.value.message) < 500
    return caught.value.message


def test_the_documented_answer() -> None:
    """The vendor's own sample gives its one path."""
    assert parse_location(DOCUMENTED) == ["reports/guid1/guid2_QueryExport_1579194142011__000000000000.csv.gz"]


@given(st.lists(paths, min_size=1, max_size=6, unique=True))
def test_any_list_of_paths_round_trips(listed: list[str]) -> None:
    """What Python 2 would have written reads back as the same paths in the same order."""
    assert parse_location(sentence(*map(python2_repr, listed))) == listed


@pytest.mark.parametrize(
    "text",
    [
        sentence("'a/b'", '"c"', "U'd'", "b'e'"),
        "  process FINISHED.  download:[ u'a/b' ,u'c',\n u'd', u'e' ]  ",
        "Process finished Download: ['a\\x2fb','c','d','\\u0065']",
    ],
)
def test_what_is_tolerated(text: str) -> None:
    """Prefixes, either quote, case and spacing make no difference."""
    assert parse_location(text) == ["a/b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the words it begins with"),
        ("Process finished.", "the words it begins with"),
        ("Process finished. Download: []", "a quoted file name"),
        ("Process finished. Download: [", "a quoted file name"),
        ("Process finished. Download: [u'a'", "a comma or the end"),
        ("Process finished. Download: [u'a',]", "a quoted file name"),
        ("Process finished. Download: [u'a' u'b']", "a comma or the end"),
        ("Process finished. Download: [u'a", "a closing quote"),
        ("Process finished. Download: [u'a\\", "a known escape"),
        ("Process finished. Download: [u'a\\']", "a closing quote"),
        ("Process finished. Download: [u'\\d']", "a known escape"),
        ("Process finished. Download: [u'\\x4']", "a known escape"),
        ("Process finished. Download: [u'\\x-4']", "a known escape"),
        ("Process finished. Download: [u'\\UFFFFFFFF']", "a known escape"),
        ("Process finished. Download: ['caf\\xc3\\xa9']", "a known escape"),
        ("Process finished. Download: [ur'a']", "a quoted file name"),
        ("Process finished. Download: [open('a')]", "a quoted file name"),
        ("Process finished. Download: [u'a'] and more", "nothing after the list"),
        ("Process finished. Download: [u'a', u'a']", "twice"),
        ("Process finished. Download: " + "-" * 20_000, "the words it begins with"),
        ("Process finished. Download: [" + "[" * 20_000, "a quoted file name"),
    ],
)
def test_other_forms_are_refused_with_what_was_read(text: str, words: str) -> None:
    """Every other form is an ApiError that says what was expected where."""
    assert words in refused(text)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../secret",
        "reports/../../secret",
        "reports//x",
        "reports/./x",
        "reports/",
        "~/x",
        "-oProxyCommand=x",
        "C:/x",
        "a\\b",
        "a\0b",
        "a\nb",
        "a\x1b[31mb",
        "a\u202eb",
        "a\u2066b",
        "a\ud800b",
        "a\ufeffb",
        "x" * 2000,
    ],
)
def test_unsafe_paths_are_refused(path: str) -> None:
    """A path that climbs, starts elsewhere, or hides what it says is refused, and shown harmlessly."""
    assert refused(sentence(python2_repr(path))).isprintable()


def test_a_path_with_an_inner_colon_or_dash_is_fine() -> None:
    """What is harmless inside a name is accepted."""
    assert parse_location(sentence("u'reports/a:b-~c d.csv.gz'")) == ["reports/a:b-~c d.csv.gz"]


@given(st.text())
@example("Process finished. Download: [u'")
def test_garbage_is_only_ever_an_api_error(text: str) -> None:
    """Whatever the text, after the right words or not, a list of safe paths or ApiError comes out."""
    for candidate in (text, "Process finished. Download: [" + text, sentence(f"u'{text}'")):
        try:
            listed = parse_location(candidate)
        except ApiError:
            continue
        assert listed
        for path in listed:
            assert path.isprintable()
            assert not path.startswith(("/", "~", "-"))
            assert not {"", ".", ".."} & set(path.split("/"))


@given(data=st.data())
@settings(max_examples=300)
def test_mutations_are_read_or_refused(data: st.DataObject) -> None:
    """Cutting, doubling or replacing any stretch of a good sentence never does more than raise ApiError."""
    text = sentence(*map(python2_repr, data.draw(st.lists(paths, min_size=1, max_size=3, unique=True))))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 8)))
    put = data.draw(st.sampled_from(["", "'", "\\", "\0", "[", "]", ",", "\\x", "../", text[start:end] * 2]))
    try:
        listed = parse_location(text[:start] + put + text[end:])
    except ApiError:
        return
    assert all(".." not in path.split("/") for path in listed)


def test_time_grows_with_length_only() -> None:
    """Fifty thousand paths, and a megabyte of backslashes, take about a second at the very most."""
    begun = time.perf_counter()
    many = [f"reports/g/{number:012d}.csv.gz" for number in range(50_000)]
    assert parse_location(sentence(*map(python2_repr, many))) == many
    refused(sentence("u'" + "\\\\" * 500_000 + "'"))
    refused(sentence("u'" + "\\x41" * 250_000))
    assert time.perf_counter() - begun < 20  # quadratic time would be minutes


def test_too_many_paths_are_refused() -> None:
    """A list of more than 100,000 files is refused."""
    assert "100,000" in refused(sentence(*(f"'{number}'" for number in range(MOST_PATHS + 1))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Process has not finish yet, please verify the status of your request", True),
        ("  PROCESS has  not finished yet", True),
        (DOCUMENTED, False),
        ("", False),
    ],
)
def test_not_ready(text: str, expected: bool) -> None:
    """The documented sentence, and a mended one, mean that the report is still being made."""
    assert is_not_ready(text) is expected


# --- very many of them -----------------------------------------------------------------------------------------------

LEAD = "Process finished. Download: ["
PIECES = (
    "u'", "'", '"', 'u"', "b'", "U'", "', u'", "','", "]", "[", ",", "\\", "\\x", "\\x41", "\\x2f", "\\x00", "\\u",
    "\\u202e", "\\u002e", "\\ud800", "\\U0001f600", "\\U00110000", "\\n", "\\t", "\\'", "\\N{DIGIT ONE}", "\\056",
    "../", "..", "./", "/", "//", "~", "-", "C:", "c:\\\\", "reports/", "a", "b.csv.gz", "\0", "\n", "\r", "\t", " ",
    "\u00a0", "\u202e", "\u2066", "\ufeff", "\u200b", "\ud800", "\udfff", "é", "％2e", "\uff0f", "\u2024", "(", ")",
    "{", "}", "+", "*", "0", "None", "__import__('os')", "u'a' 'b'", LEAD,
)  # fmt: skip
MARKS = frozenset("\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def hostile(noise: random.Random) -> str:
    """A sentence out of pieces that matter to the parser, or a good one with a few of its stretches changed."""
    if noise.random() < 0.4:
        return LEAD * (noise.random() < 0.9) + "".join(noise.choices(PIECES, k=noise.randrange(12)))
    listed = [
        "/".join(noise.choices(("reports", "a1b2", "x_QueryExport_1__0.csv.gz", "é", "it's"), k=noise.randint(1, 4)))
        for _ in range(noise.randint(1, 3))
    ]
    text = sentence(*map(python2_repr, listed))
    for _ in range(noise.randrange(4)):
        start = noise.randrange(len(text) + 1)
        end = min(len(text), start + noise.randrange(6))
        text = text[:start] + noise.choice(("", text[start:end] * 2, *noise.choices(PIECES, k=3))) + text[end:]
    return text


def unsafe(path: str) -> bool:
    """Whether a path could be anything but a file below the folder it belongs in; written without the parser's code."""
    if not path or len(path) > LONGEST_PATH or path[0] in "/~-\\" or "\\" in path or path[1:2] == ":":
        return True
    if any(ord(letter) < 32 or 127 <= ord(letter) < 160 or 0xD800 <= ord(letter) < 0xE000 for letter in path):
        return True
    parts = path.split("/")
    return bool(MARKS & set(path)) or "" in parts or "." in parts or ".." in parts


def confirmed(inside: str, listed: list[str]) -> bool:
    """Whether Python's own reading of the list, where it reads it at all, says the same; fails where it differs."""
    if "b'" in inside or "\\u" in inside:  # ours means Python 2
        return False
    with warnings.catch_warnings(action="ignore"):
        try:
            read = ast.literal_eval(inside.strip())
        except (SyntaxError, ValueError):
            return False
    assert read == listed, inside
    return True


def tried(count: int, seed: int) -> Counter[str]:
    """Read so many sentences; how many were accepted and refused. Whatever else happens is a failure."""
    noise = random.Random(seed)
    found: Counter[str] = Counter()
    for number in range(count):
        text = hostile(noise)
        try:
            listed = parse_location(text)
        except ApiError:
            found["refused"] += 1
            continue
        found["accepted"] += 1
        assert listed, (number, text)
        assert len(set(listed)) == len(listed), (number, text)
        assert not any(map(unsafe, listed)), (number, text)
        found["confirmed by Python"] += confirmed(text[text.index("[") :], listed)
    return found


def test_fifty_thousand_hostile_sentences() -> None:
    """None raises anything but ApiError, none that is accepted holds an unsafe path, and both outcomes occur."""
    found = tried(50_000, 3)
    assert found["accepted"] > 5_000
    assert found["refused"] > 5_000
    assert found["confirmed by Python"] > found["accepted"] / 2


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_million_hostile_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    """The long form of the same, with other sentences; prints its counts."""
    found = tried(1_000_000, 4)
    with capsys.disabled():
        sys.stdout.write(f"\nlocation sentences: {dict(found)}, uncaught 0, unsafe accepted 0\n")
