"""Gzip members: all of their text or an error, by either library."""

import gzip
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insights_nb import gunzip
from insights_nb.errors import IntegrityError
from insights_nb.gunzip import Members
from tests.test_check import CSV


@pytest.mark.parametrize("library", [zlib, gunzip._inflater], ids=["zlib", "default"])
@given(
    st.lists(st.binary(max_size=40).map(lambda unit: unit * 70_000), max_size=3),
    st.integers(1, 5000),
    st.sampled_from([b"", b"\0" * 9]),
)
@settings(max_examples=60, deadline=None)
def test_both_libraries_inflate_any_members_cut_anywhere(
    library: Any, texts: list[bytes], cut: int, padding: bytes
) -> None:
    """Some megabytes in a few bytes, several members, in pieces of any size: all of it comes out, by isal and zlib."""
    packed = b"".join(gzip.compress(text) for text in [b"A\n", *texts]) + padding
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gunzip, "_inflater", library)
        members = Members("shard")
        found = [text for at in range(0, len(packed), cut) for text in members.feed(packed[at : at + cut])]
        members.finish()
    assert b"".join(found) == b"A\n" + b"".join(texts)
    assert max(map(len, found)) <= 1 << 20


@pytest.mark.parametrize("library", [zlib, gunzip._inflater], ids=["zlib", "default"])
def test_both_libraries_notice_every_flipped_byte_of_the_trailer(library: Any) -> None:
    """CRC and length are checked by either."""
    packed = gzip.compress(CSV, mtime=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gunzip, "_inflater", library)
        for place in range(1, 9):
            members = Members("shard")
            harmed = packed[: len(packed) - place] + bytes([packed[-place] ^ 1]) + packed[len(packed) - place + 1 :]
            with pytest.raises(IntegrityError, match="incorrect"):
                list(members.feed(harmed))
