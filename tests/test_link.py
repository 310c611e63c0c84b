"""What comes over a channel, before anyone reads it; the rest of the link is tested with the transfer."""

import pytest

from insights_nb.access import PATIENT, Access
from insights_nb.link import Link, _Inbox
from insights_nb.settings import Secret
from tests.service import service


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


def test_the_library_puts_what_comes_into_our_inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that kept its packets elsewhere would only be slower, and nobody would notice."""
    came: list[bytes] = []
    feed = _Inbox.feed

    def seen(inbox: _Inbox, content: bytes) -> None:
        came.append(content)
        feed(inbox, content)

    monkeypatch.setattr(_Inbox, "feed", seen)
    with service(size=5) as simulator:
        found = simulator.settings
        keys = (found["sftp_host_key"],)
        password = Secret(found["sftp_password"])
        link = Link(
            Access(found["sftp_host"], int(found["sftp_port"]), found["sftp_username"], password, None, keys), PATIENT
        )
        try:
            link.session()
        finally:
            link.end()
    assert b"".join(came).startswith(b"\0\0\0")
