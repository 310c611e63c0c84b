"""What comes over a channel, before anyone reads it; the rest of the link is tested with the transfer."""

import pytest

from insights_nb.link import _Inbox


def test_packets_come_out_whole_and_in_order_and_the_end_stays() -> None:
    """An empty packet is not the end; after the end there is nothing, however often it is asked."""
    inbox = _Inbox()
    for content in (b"one", b"", b"two"):
        inbox.feed(content)
    inbox.close()
    assert [inbox.read(2) for _ in range(4)] == [b"one", b"two", b"", b""]


def test_an_inbox_in_which_nothing_comes() -> None:
    """Waiting ends with the time allowed."""
    with pytest.raises(TimeoutError):
        _Inbox().read(1, timeout=0.001)
