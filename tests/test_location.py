"""The sentence that says where the report's files are."""

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from insights_nb.errors import ApiError
from insights_nb.location import MOST_PATHS, is_not_ready, parse_location

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
