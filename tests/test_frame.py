"""Shards to a typed frame: right or refused, never guessed."""

import csv
import datetime
import gzip
import io
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from insights_nb.catalog import FieldType
from insights_nb.check import inspect_shard
from insights_nb.errors import FrameError, InsightsError, IntegrityError
from insights_nb.frame import read_frame

TEXT = pd.StringDtype(na_value=np.nan)
DTYPES = {
    FieldType.STRING: TEXT,
    FieldType.INTEGER: pd.Int64Dtype(),
    FieldType.BOOLEAN: pd.BooleanDtype(),
    FieldType.TIMESTAMP: pd.DatetimeTZDtype("us", "UTC"),
}
TYPES = {"I": FieldType.INTEGER, "B": FieldType.BOOLEAN, "T": FieldType.TIMESTAMP}


def write(folder: Path, *texts: bytes | str) -> list[Path]:
    paths = []
    for number, text in enumerate(texts):
        path = folder / f"shard-{number:05d}.csv.gz"
        path.write_bytes(gzip.compress(text.encode() if isinstance(text, str) else text, 1))
        paths.append(path)
    return paths


def refused(folder: Path, text: bytes | str, columns: Sequence[str] = ("A", "B")) -> str:
    types = {name: kind for name, kind in TYPES.items() if name in columns and name != "B"}
    with pytest.raises(FrameError) as caught:
        read_frame(write(folder, text), columns, types)
    assert caught.value.hint
    assert caught.value.__context__ is None
    return caught.value.message


def test_types_and_order(tmp_path: Path) -> None:
    """Asked columns come first in asked order, each with its declared dtype, over a RangeIndex."""
    paths = write(
        tmp_path,
        "T,A,I,B\n2020-04-10 21:23:33 UTC,0012,1,TRUE\n2020-04-10 21:23:33.5 UTC,,,\n",
        "T,A,I,B\n,+15555550123,-7,fAlse\n",
    )
    frame = read_frame(paths, ["A", "B", "I", "T"], TYPES, rows=3)
    expected = pd.DataFrame(
        {
            "A": pd.Series(["0012", None, "+15555550123"], dtype=TEXT),
            "B": pd.Series([True, None, False], dtype="boolean"),
            "I": pd.Series([1, None, -7], dtype="Int64"),
            "T": pd.Series(["2020-04-10 21:23:33Z", "2020-04-10 21:23:33.5Z", None], dtype=DTYPES[FieldType.TIMESTAMP]),
        }
    )
    assert_frame_equal(frame, expected)
    assert isinstance(frame.index, pd.RangeIndex)
    assert frame["A"].dtype == "str"


def test_empty_and_full_frames_have_the_same_dtypes(tmp_path: Path) -> None:
    """Header-only shards, no shards and full shards give the same columns and dtypes."""
    full = read_frame(write(tmp_path, "A,I,B,T\nx,1,true,2020-04-10 21:23:33 UTC\n"), ["A", "I", "B", "T"], TYPES)
    header_only = read_frame(write(tmp_path, "A,I,B,T\n", "A,I,B,T"), ["A", "I", "B", "T"], TYPES, rows=0)
    none = read_frame([], ["A", "I", "B", "T"], TYPES, rows=0)
    for frame in (header_only, none):
        assert len(frame) == 0
        assert frame.dtypes.equals(full.dtypes)
        assert isinstance(frame.index, pd.RangeIndex)


@pytest.mark.parametrize("empty", [False, True])
def test_arrow_backend(tmp_path: Path, empty: bool) -> None:
    """With dtype_backend="pyarrow" every column is an ArrowDtype, with the same values."""
    text = "A,I,B,T\n" + ("" if empty else "x,1,true,2020-04-10 21:23:33 UTC\n,,,\n")
    paths = write(tmp_path, text)
    frame = read_frame(paths, ["A", "I", "B", "T"], TYPES, dtype_backend="pyarrow")
    assert [str(dtype) for dtype in frame.dtypes] == [
        "large_string[pyarrow]",
        "int64[pyarrow]",
        "bool[pyarrow]",
        "timestamp[us, tz=UTC][pyarrow]",
    ]
    plain = read_frame(paths, ["A", "I", "B", "T"], TYPES)
    assert frame.isna().equals(plain.isna())
    assert frame.astype(plain.dtypes.to_dict()).equals(plain)


texts = st.text(st.characters(exclude_categories=["Cs"]))
hard = st.sampled_from(
    ["0012", "+15555550123", "NA", "null", "None", "nan", "1e5", "true", '"', '""', ",", "\n", "\r\n", "\r", "\ufeff",
     " ", " x ", "#", "\0", "\\", "'", "=1+1", "0x10", "5dcf01234567890123456789", "-", "1_000", "é", "\U0001f600"]
)  # fmt: skip
strings = st.none() | hard | st.lists(hard, min_size=2, max_size=3).map("".join) | texts
tables = st.integers(1, 4).flatmap(
    lambda width: st.tuples(
        st.lists(texts.filter(bool), min_size=width, max_size=width, unique=True),
        st.lists(st.lists(strings, min_size=width, max_size=width), max_size=8),
        st.integers(1, 3),
    )
)


@given(table=tables, ending=st.sampled_from(["\n", "\r\n"]), mark=st.sampled_from(["", "\ufeff"]))
@settings(max_examples=200)
def test_any_table_of_strings_reads_back_as_it_was(
    table: tuple[list[str], list[list[str | None]], int], ending: str, mark: str
) -> None:
    """What the csv module writes in shards is read back exactly, an empty string as missing."""
    header, rows, shards = table
    # A mark that belongs to the first name cannot be told from the file's own.
    header = [header[0].lstrip("\ufeff") or "first", *header[1:]]
    if len(set(header)) < len(header):
        header = [f"{name}{number}" for number, name in enumerate(header)]
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number in range(shards):
            part = rows[number::shards]
            text = io.StringIO()
            writer = csv.writer(text, lineterminator=ending, quoting=csv.QUOTE_ALL)
            writer.writerows([header, *(["" if cell is None else cell for cell in row] for row in part)])
            path = Path(folder, f"shard-{number:05d}.csv.gz")
            path.write_bytes(gzip.compress((mark + text.getvalue()).encode()))
            assert inspect_shard(path).rows == len(part)
            paths.append(path)
        frame = read_frame(paths, header, {}, rows=len(rows))
    expected = [[cell or None for cell in row] for number in range(shards) for row in rows[number::shards]]
    assert list(frame.columns) == header
    assert frame.astype(object).where(frame.notna(), None).to_numpy().tolist() == expected
    assert all(dtype == TEXT for dtype in frame.dtypes)


instants = st.datetimes(min_value=datetime.datetime(1, 1, 1), max_value=datetime.datetime(9999, 12, 31))
forms = st.tuples(st.sampled_from(" T"), st.sampled_from([" UTC", "Z", ""]), st.integers(0, 6))


@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.booleans(),
            st.none() | st.tuples(instants, forms),
        ),
        min_size=1,
    ),
    case=st.sampled_from([str.lower, str.upper, str.title]),
)
def test_any_table_of_values_reads_back_as_it_was(
    rows: list[tuple[int | None, bool | None, tuple[datetime.datetime, tuple[str, str, int]] | None]],
    case: Callable[[str], str],
) -> None:
    """Integers, booleans and timestamps in any of the written forms read back exactly."""
    lines, expected = ["A,I,B,T"], []
    for integer, boolean, stamp in rows:
        cells = ["x", "" if integer is None else str(integer), "" if boolean is None else case(str(boolean))]
        moment = None
        if stamp:
            when, (between, suffix, digits) = stamp
            moment = when.replace(microsecond=when.microsecond // 10 ** (6 - digits) * 10 ** (6 - digits))
            fraction = f".{moment.microsecond:06d}"[: digits + 1] if digits else ""
            cells.append(f"{moment:%Y-%m-%d}".zfill(10) + between + f"{moment:%H:%M:%S}{fraction}{suffix}")
            moment = moment.replace(tzinfo=datetime.UTC)
        else:
            cells.append("")
        lines.append(",".join(cells))
        expected.append(["x", integer, boolean, moment])
    with tempfile.TemporaryDirectory() as folder:
        frame = read_frame(write(Path(folder), "\n".join(lines)), ["A", "I", "B", "T"], TYPES)
    assert {name: frame[name].dtype for name in "IBT"} == {name: DTYPES[kind] for name, kind in TYPES.items()}
    got = [[None if cell is pd.NA or cell is pd.NaT else cell for cell in row] for row in frame.itertuples(index=False)]
    assert got == expected


shapes = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d{1,6})?( UTC|Z)?")


near = r"[0-2]\d\d\d-\d\d-\d\d[ T]?[0-2]\d:?[0-6]\d:?[0-6]\d(\.\d{0,8})?( UTC|Z|\+01:00| utc| )?"


@given(st.from_regex(near, fullmatch=True) | st.text("0123456789-: TZUC.", min_size=1))
def test_a_timestamp_is_right_or_refused(text: str) -> None:
    """Every text of about the right form is read as the one moment it means, or refused."""
    found = shapes.fullmatch(text)
    moment = None
    if found and text.isascii():
        try:
            moment = datetime.datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00")
            moment += datetime.timedelta(microseconds=int((found[3] or ".")[1:].ljust(6, "0")))
        except ValueError:
            pass
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), f'A,T\nx,"{text}"\n')
        if moment:
            assert read_frame(paths, ["A", "T"], TYPES)["T"][0] == moment
        elif not text.startswith("0000-"):
            with pytest.raises(FrameError, match="row 1 in column T"):
                read_frame(paths, ["A", "T"], TYPES)


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("I", "0x10", "'0x10', not a whole number"),
        ("I", "1.0", "not a whole number"),
        ("I", "1e3", "not a whole number"),
        ("I", " 5", "not a whole number"),
        ("I", "9223372036854775808", "not a whole number of 64 bits"),
        ("B", "yes", "'yes', not true or false"),
        ("B", "1", "not true or false"),
        ("T", "2020-13-04 00:00:00 UTC", "the order is never guessed"),
        ("T", "2020-13-04 00:00:00 UTC", "'2020-13-04 00:00:00 UTC', not a time of the form YYYY-MM-DD"),
        ("T", "2020-04-31 00:00:00 UTC", "not a time"),
        ("T", "2020-04-10 00:00:00.1234567 UTC", "not a time"),
        ("T", "2020-04-10 00:00:00 PST", "not a time"),
        ("T", "2020-04-10 00:00:00+01:00", "not a time"),
        ("T", "2020-04-10", "not a time"),
        ("T", "1586552213", "not a time"),
    ],
)
def test_a_cell_of_another_type_is_refused_with_its_place(tmp_path: Path, column: str, cell: str, words: str) -> None:
    """The message names row, column, shard, the value and what was expected."""
    good = {"I": "1", "B": "true", "T": "2020-04-10 00:00:00 UTC"}[column]
    paths = write(tmp_path, f"A,{column}\nx,{good}\n", f"A,{column}\nx,\nx,{good}\nx,{cell}\n")
    with pytest.raises(FrameError) as caught:
        read_frame(paths, ["A", column], TYPES)
    assert f"row 3 in column {column} of shard-00001.csv.gz" in caught.value.message
    assert words in caught.value.message
    assert caught.value.__context__ is None


def test_signs_and_leading_zeros_of_integers(tmp_path: Path) -> None:
    """A sign and leading zeros are part of a whole number."""
    frame = read_frame(write(tmp_path, "I\n+5\n007\n-0\n"), ["I"], TYPES)
    assert frame["I"].tolist() == [5, 7, 0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A,B\n1,2\n1,2,3\n", "row 2 of shard-00000.csv.gz has 3 cells where its header has 2"),
        ("A,B\n1,2\n1\n", "row 2 of shard-00000.csv.gz has 1 cells where its header has 2"),
        ('A,B\n"a\nb",2\n1,2\n""\n', "row 3 of shard-00000.csv.gz has 1 cells"),
        ("A,B\n1,2\n\n3,4\n", "1 empty lines among its rows"),
        ("A,B\n1,2\n,\n\n", "1 empty lines among its rows"),
        (b"A,B\n1,2\n3,\xff\n", "row 2 of shard-00000.csv.gz has text that is not UTF-8 in column B"),
        (b"A,B\n1,2\n\xc3,4\n", "not UTF-8 in column A"),
        ("A,A\n1,2\n", "more than one column named A"),
        ("A,C\n1,2\n", "lacks B, which the query asked for; its files have A, C"),
    ],
)
def test_what_is_refused_and_how_it_is_said(tmp_path: Path, text: bytes | str, words: str) -> None:
    """Ragged rows, empty lines, bad encodings and bad headers are refused with their place."""
    assert words in refused(tmp_path, text)


def test_a_message_shows_no_row(tmp_path: Path) -> None:
    """The parser's own message, which holds the row, does not reach ours."""
    assert "5555550123" not in refused(tmp_path, "A,B\n+15555550123,2,3\n")


def test_rows_of_nothing_but_commas_are_rows(tmp_path: Path) -> None:
    """A row whose cells are all empty is legitimate."""
    assert len(read_frame(write(tmp_path, "A,B\n,\n1,2\n,\n"), ["A", "B"], {}, rows=3)) == 3


def test_empty_lines_of_a_one_column_file_are_missing_cells(tmp_path: Path) -> None:
    """In a one-column file an empty line is a row."""
    frame = read_frame(write(tmp_path, "A\nx\n\ny\n\n"), ["A"], {}, rows=4)
    assert frame["A"].isna().tolist() == [False, True, False, True]


def test_unlike_headers_are_united_by_name(tmp_path: Path) -> None:
    """Shards with other orders and other columns are united by name; what one lacks is missing."""
    paths = write(tmp_path, "A,I,B\nx,1,true\n", "\ufeffT,A\n2020-04-10 00:00:00 UTC,y\n", "B,A\nfalse,z\n")
    frame = read_frame(paths, ["A", "I", "B", "T"], TYPES, rows=3)
    assert frame["A"].tolist() == ["x", "y", "z"]
    assert frame["I"].isna().tolist() == [False, True, True]
    assert {name: frame[name].dtype for name in "IBT"} == {name: DTYPES[kind] for name, kind in TYPES.items()}


def test_columns_nobody_asked_for_are_kept_as_text_with_a_warning(tmp_path: Path) -> None:
    """Extra columns follow the asked ones as text, and one warning names them."""
    paths = write(tmp_path, "X,A,I\n01,x,2\n", "A,Y\ny,3\n")
    with pytest.warns(UserWarning, match="did not ask for; they are kept as text: X, I, Y") as caught:
        frame = read_frame(paths, ["A"], TYPES)
    assert len(caught) == 1
    assert list(frame.columns) == ["A", "X", "I", "Y"]
    assert frame["X"].tolist()[0] == "01"
    assert all(dtype == TEXT for dtype in frame.dtypes)


def test_another_number_of_rows_than_checked_is_an_integrity_error(tmp_path: Path) -> None:
    """A file that changed since it was checked is not read as if nothing had happened."""
    with pytest.raises(IntegrityError, match="hold 1 rows where the check counted 2"):
        read_frame(write(tmp_path, "A\nx\n"), ["A"], {}, rows=2)


@pytest.mark.parametrize("cut", [1, 9, 40])
def test_a_damaged_file_is_an_integrity_error(tmp_path: Path, cut: int) -> None:
    """Damage that came after the check is noticed while reading, too."""
    path = write(tmp_path, "A,B\n" + "x,y\n" * 100_000)[0]
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(IntegrityError, match="cut short"):
        read_frame([path], ["A", "B"], {})


def test_long_fields_and_long_records(tmp_path: Path) -> None:
    """A field of 128 KiB and a record of over a block are read like any other."""
    long, longer = "x" * 200_000, "y\n" * 6_000_000
    frame = read_frame(write(tmp_path, f'A,B\n{long},1\n"{longer}",2\n'), ["A", "B"], {}, rows=2)
    assert frame["A"].tolist() == [long, longer]


def test_an_error_early_in_a_large_file_leaves_nothing_running(tmp_path: Path) -> None:
    """A refused row at the start of a file of many blocks is reported like one in a small file."""
    text = "A,B\n1,2,3\n" + "1,2\n" * 3_000_000
    assert "row 1 of" in refused(tmp_path, text)


@given(st.binary(max_size=200))
def test_garbage_is_only_ever_our_error(content: bytes) -> None:
    """Whatever text a gzip holds, a frame or one of our errors comes out."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), b"A,B\n" + content)
        try:
            frame = read_frame(paths, ["A", "B"], {})
        except InsightsError:
            return
        assert list(frame.columns) == ["A", "B"]


def test_types_may_name_columns_that_are_not_there(tmp_path: Path) -> None:
    """A declared type for a column nobody asked for means nothing."""
    types: Mapping[str, FieldType] = {"Z": FieldType.INTEGER}
    assert list(read_frame(write(tmp_path, "A\nx\n"), ["A"], types).columns) == ["A"]


def by_the_csv_module(text: bytes) -> tuple[list[str], list[list[str]]]:
    """Header and rows as Python's csv module reads them, strictly; ValueError where it does not."""
    try:
        rows = list(csv.reader(io.StringIO(text.decode("utf-8-sig"), newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(str(error)) from error
    header, *body = rows
    # An empty line is a row of one empty cell to us, and no row to the csv module.
    return header, [row or [""] for row in body]


pieces = st.sampled_from(
    ["a", "b c", ",", ",", "\n", "\n", "\r\n", "\r", '"', '""', '"x"', '"x,y"', '"x\ny"', '"x\r\ny"', '"x""y"', "\0",
     "é", "\ufeff", "#", "'", "\\", '\\"', "NA", "+15555550123", " ", "\t", "\x1a", "\u2028", "\x0b", "\x0c", "\x85"]
)  # fmt: skip


@given(
    st.sampled_from(["A,B\n", "A\n", "\ufeffA,B\r\n", '"A","B"\n', 'A,"B\nC"\n', "A,B,C\n"]),
    st.lists(pieces, max_size=14).map("".join),
    st.sampled_from([b"", b"", b"", b"\xff", b"\xc3", b"\xed\xa0\x80"]),
    st.integers(0, 40),
)
@settings(max_examples=1000, deadline=None)
def test_any_text_is_read_as_csv_says_or_refused(head: str, tail: str, wrong: bytes, at: int) -> None:
    """Against a second reader: where ours accepts a text it reads the same rows, whatever stands in it."""
    text = (head + tail).encode()
    place = min(len(text), len(head.encode()) + at)
    text = text[:place] + wrong + text[place:]
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), text)
        try:
            facts = inspect_shard(paths[0])
            frame = read_frame(paths, facts.header, {}, rows=facts.rows)
        except InsightsError:
            return
    header, rows = by_the_csv_module(text)  # what ours accepts, it accepts
    assert list(facts.header) == header
    assert facts.rows == len(rows)
    found = [
        ["" if cell is None else cell for cell in row]
        for row in frame.astype(object).where(frame.notna(), None).to_numpy()
    ]
    assert found == rows


@given(
    st.lists(st.permutations(["A", "B", "I", "T"]), min_size=1, max_size=4),
    st.lists(st.sampled_from(["", "\ufeff"]), min_size=4, max_size=4),
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
)
def test_shards_in_any_order_of_columns_are_one_table(
    orders: list[list[str]], marks: list[str], counts: list[int]
) -> None:
    """Each shard may have an order of its own, a mark, and no rows: every cell ends up in its column."""
    cells = {"A": "+15555550123", "B": "true", "I": "7", "T": "2020-04-10 21:23:33 UTC"}
    shards = [
        mark + "\n".join([",".join(order), *[",".join(cells[name] for name in order)] * count])
        for order, mark, count in zip(orders, marks, counts, strict=False)
    ]
    with tempfile.TemporaryDirectory() as folder:
        frame = read_frame(write(Path(folder), *shards), ["A", "B", "I", "T"], TYPES)
    assert len(frame) == sum(counts[: len(orders)])
    for name, value in {"A": "+15555550123", "B": True, "I": 7, "T": pd.Timestamp("2020-04-10 21:23:33Z")}.items():
        assert (frame[name] == value).all()
        assert frame[name].dtype == (TEXT if name == "A" else DTYPES[TYPES[name]])


def test_a_header_of_very_many_columns_is_quick_and_short_in_messages(tmp_path: Path) -> None:
    """Forty thousand names, some of them hostile, take no time to speak of and do not fill the message."""
    names = ["\x1b[31mred", *(f"c{number}" for number in range(40_000))]
    begun = time.perf_counter()
    for header in (names, [*names, "c5"]):
        message = refused(tmp_path, ",".join(header))
        assert len(message) < 1000
        assert message.isprintable()
    assert time.perf_counter() - begun < 30  # comparing each with each would take minutes
