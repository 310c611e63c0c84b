"""One shard: whole gzip, well-formed CSV, and what is in it."""

import csv
import gzip
import hashlib
import io
import itertools
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insights_nb.check import ShardFacts, ShardInspector, inspect_shard, parse_header
from insights_nb.errors import IntegrityError
from insights_nb.gunzip import Members, inflate

CSV = b'SessionId,Path\r\ns1,"a, ""b""\r\nc"\r\ns2,\r\n'


def shard(folder: Path, content: bytes) -> Path:
    path = folder / "shard-00000.csv.gz"
    path.write_bytes(content)
    return path


def refused(folder: Path, content: bytes) -> str:
    with pytest.raises(IntegrityError) as caught:
        inspect_shard(shard(folder, content))
    assert "shard-00000.csv.gz" in caught.value.message
    assert caught.value.hint
    assert caught.value.__context__ is None
    return caught.value.message


def test_facts_of_a_whole_shard(tmp_path: Path) -> None:
    """Sizes, hash, header and rows are those of the file; line ends inside quotes end no row."""
    packed = gzip.compress(CSV)
    facts = inspect_shard(shard(tmp_path, packed))
    assert facts == ShardFacts(len(packed), hashlib.sha256(packed).hexdigest(), len(CSV), 2, ("SessionId", "Path"))


@given(
    header=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=4),
    rows=st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=4, max_size=4)),
    ending=st.sampled_from(["\n", "\r\n"]),
    cuts=st.lists(st.integers(0, 400)),
    step=st.integers(1, 200),
    last_line=st.booleans(),
)
def test_rows_and_header_of_any_table(
    header: list[str], rows: list[list[str]], ending: str, cuts: list[int], step: int, last_line: bool
) -> None:
    """What the csv module writes is counted exactly, however it is split into members and fed in pieces."""
    # The csv module quotes a carriage return only where it is part of the line end.
    how: Any = {} if ending == "\r\n" and step % 2 else {"lineterminator": ending, "quoting": csv.QUOTE_ALL}
    header[0] = header[0].replace("\N{ZERO WIDTH NO-BREAK SPACE}", "x")  # a leading one is a byte order mark
    written = []
    for record in [header, *(row[: len(header)] for row in rows)]:
        buffer = io.StringIO()
        csv.writer(buffer, **how).writerow(record)
        written.append(buffer.getvalue())
    text = "".join(written).encode()
    if not last_line:
        text = text.removesuffix(ending.encode())
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    packed = b"".join(gzip.compress(text[a:b], mtime=0) for a, b in itertools.pairwise(edges))
    inspector = ShardInspector("shard")
    fed: list[tuple[bytes, int]] = []
    for at in range(0, len(packed), step):
        fed += inspector.feed(packed[at : at + step])
    facts = inspector.finish()
    assert facts.header == tuple(header)
    assert facts.rows == len(rows)
    assert facts.inflated == len(text)
    handed_on = b"".join(records for records, _ in fed) + inspector.last
    assert handed_on == text[len(written[0].encode()) :] + (b"" if last_line or not rows else b"\n")
    # Wherever it was cut, a record as the csv module wrote it ended.
    before = 0
    for records, end in fed:
        if end:
            upto = handed_on[: before + end].decode()
            assert upto in itertools.accumulate(written[1:])
        before += len(records)


def test_one_column_files_count_empty_lines_as_rows(tmp_path: Path) -> None:
    """In a one-column file an empty line is a row whose only cell is empty."""
    assert inspect_shard(shard(tmp_path, gzip.compress(b"SessionId\na\n\nb\n"))).rows == 3


def test_header_only_and_byte_order_mark(tmp_path: Path) -> None:
    """A header without rows is whole, and a byte order mark is no part of the first name."""
    facts = inspect_shard(shard(tmp_path, gzip.compress(b"\xef\xbb\xbfSessionId,FlowId\n")))
    assert (facts.rows, facts.header) == (0, ("SessionId", "FlowId"))
    facts = inspect_shard(shard(tmp_path, gzip.compress(b'\xef\xbb\xbf"Session\nId",FlowId\nx,y\n')))
    assert (facts.rows, facts.header) == (1, ("Session\nId", "FlowId"))


def test_members_and_padding(tmp_path: Path) -> None:
    """Concatenated members are one text, and NUL padding at the end is allowed."""
    packed = gzip.compress(CSV[:20]) + gzip.compress(b"") + gzip.compress(CSV[20:]) + b"\0" * 1000
    path = shard(tmp_path, packed)
    assert inspect_shard(path).rows == 2
    assert b"".join(inflate(path)) == CSV


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"\x1f", "binary data"),
        (b"<!DOCTYPE html><p>Jane Doe +15555550123", "an HTML or XML page"),
        (b'{"code": 401}', "JSON"),
        (CSV, "plain text"),
        (b"\0" * 100, "NUL bytes"),
        (b"PK\x03\x04....", "a ZIP archive"),
        (gzip.compress(CSV)[:-1], "cut short"),
        (gzip.compress(CSV)[:-9], "cut short"),
        (gzip.compress(CSV) + gzip.compress(CSV)[:5], "cut short"),
        (gzip.compress(CSV) + b"garbage", "after the end"),
        (gzip.compress(CSV) + b"\0\0" + gzip.compress(CSV), "after the end"),
        (gzip.compress(b""), "is empty"),
        (gzip.compress(b"\n"), "no header"),
        (gzip.compress(b",\n"), "no header"),
        (gzip.compress(b"\xff\xfe\n"), "no header"),
        (gzip.compress(b'A\n"open\n'), "ends inside a quoted field"),
        (gzip.compress(b'A,B\n5" pipe,x\n'), "a quote stands inside a field"),
        (gzip.compress(b'A,B\n"a"b,x\n'), "a quote stands inside a field"),
        (gzip.compress(b'A,B\n"a" "b",x\n'), "a quote stands inside a field"),
        (gzip.compress(b"A,B\na\rb,x\n"), "carriage return"),
        (gzip.compress(b'A,B\na\r"b",x\n'), "inside a field"),
        (gzip.compress(b"A" * (1 << 21) + b"\n"), "header of over"),
        (gzip.compress(b"A\n" + b"x" * (1 << 27)), "line of over"),
    ],
)
def test_what_is_refused_and_how_it_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    """Each kind of damage is refused in its own words, which never show what the file holds."""
    message = refused(tmp_path, content)
    assert words in message
    assert "Jane" not in message
    assert "pipe" not in message


def test_crc_and_length_are_checked(tmp_path: Path) -> None:
    """A wrong CRC and a wrong length are both damage."""
    packed = bytearray(gzip.compress(CSV))
    packed[-5] ^= 1
    assert "incorrect data check" in refused(tmp_path, bytes(packed))
    packed[-5] ^= 1
    packed[-1] ^= 1
    assert "incorrect " in refused(tmp_path, bytes(packed))


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed_or_harmless(position: int, bit: int) -> None:
    """One flipped bit is refused, or is one that says nothing of the text, and then the text is the same."""
    packed = bytearray(gzip.compress(CSV, mtime=0))
    packed[position % len(packed)] ^= 1 << bit
    inspector = ShardInspector("shard")
    try:
        for _ in inspector.feed(bytes(packed)):
            pass
        facts = inspector.finish()
    except IntegrityError:
        return
    # Bits of the header that mean nothing are refused by zlib and overlooked by isal.
    assert b"".join(Members("shard").feed(bytes(packed))) == CSV
    assert facts.rows == 2


@given(st.binary(max_size=300))
def test_garbage_is_only_ever_an_integrity_error(content: bytes) -> None:
    """Whatever the bytes, raw or as a gzip's text, nothing but IntegrityError comes out."""
    for packed in (content, b"\x1f\x8b" + content, gzip.compress(content)):
        inspector = ShardInspector("shard")
        try:
            for _ in inspector.feed(packed):
                pass
            assert inspector.finish().size == len(packed)
        except IntegrityError:
            continue


def test_the_limit_is_absolute(tmp_path: Path) -> None:
    """A text over the limit is refused, and one at the limit is not, whatever the ratio."""
    path = shard(tmp_path, gzip.compress(b"A\n" + b"\n" * 98))
    assert inspect_shard(path, max_inflated=100).rows == 98
    with pytest.raises(IntegrityError, match="more than 99 bytes"):
        inspect_shard(path, max_inflated=99)


def test_memory_stays_small(tmp_path: Path) -> None:
    """A highly compressible shard of 128 MB is counted in a few MiB."""
    path = shard(tmp_path, gzip.compress(b"SessionId\n" + b"abcdefg\n" * (1 << 24), 1))
    tracemalloc.start()
    try:
        assert inspect_shard(path).rows == 1 << 24
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


LIMITED = """
import sys, pathlib, resource, insights_nb.check as c
from insights_nb.errors import IntegrityError
from insights_nb.gunzip import Members, inflate
now = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (160 << 20),) * 2)
try: c.inspect_shard(pathlib.Path(sys.argv[1]))
except IntegrityError as error: print(error.message)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS holds on Linux only")
@pytest.mark.parametrize(
    ("unit", "size", "words"),
    [(b"\0", 512 << 20, "line of over 64 MiB"), (b'"', 60 << 20, "quotes"), (b'"a",', 60 << 20, "quotes")],
)
def test_a_bomb_does_not_fill_the_memory(tmp_path: Path, unit: bytes, size: int, words: str) -> None:
    """A line of NULs without an end, and long ones of quotes, are refused within 160 MiB more than the process had."""
    squeeze = zlib.compressobj(1, zlib.DEFLATED, 31)
    block = unit * (1 << 20)
    packed = squeeze.compress(b"A\n") + b"".join(squeeze.compress(block) for _ in range(size // len(block)))
    path = shard(tmp_path, packed + squeeze.compress(b"\n") + squeeze.flush())
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    assert words in done.stdout


def test_parse_header_reads_quoted_names() -> None:
    """Names may hold commas, quotes and line ends."""
    assert parse_header(b'"a,b","c""d","e\nf"\n', "shard") == ("a,b", 'c"d', "e\nf")
