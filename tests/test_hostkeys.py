"""Which host keys are trusted."""

import base64
import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from insights_nb.hostkeys import Trust, fingerprint, known_hosts, pinned, stranger

KEY = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(range(32))
LINE = f"ssh-ed25519 {base64.b64encode(KEY).decode()} a comment"
SEEN = fingerprint(KEY)


def test_fingerprint_as_openssh_writes_it() -> None:
    """A known key has the fingerprint that ssh-keygen prints."""
    blob = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"  # github.com's, published by it
    assert fingerprint(base64.b64decode(blob)) == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"


def test_pins_may_be_padded_and_spaced() -> None:
    """Padding and spaces around a pinned fingerprint make no difference."""
    assert pinned([f" {SEEN}= ", "SHA256:other"]).accepts(SEEN)
    assert not pinned([]).accepts(SEEN)


def test_names_and_ports() -> None:
    """A plain name counts on port 22 only, a bracketed one on its own port, in any case."""
    text = f"Files.example,192.0.2.7 {LINE}\n[files.example]:2222 {LINE}\n"
    assert known_hosts(text, "files.EXAMPLE", 22).accepts(SEEN)
    assert known_hosts(text, "192.0.2.7", 22).accepts(SEEN)
    assert known_hosts(text, "files.example", 2222).accepts(SEEN)
    assert not known_hosts(text, "files.example", 2022).accepts(SEEN)
    assert not known_hosts(text, "192.0.2.7", 2222).accepts(SEEN)


def test_patterns() -> None:
    """Stars and question marks match, an exclamation mark excludes, brackets stand for themselves."""
    assert known_hosts(f"*.example {LINE}", "files.example", 22).accepts(SEEN)
    assert known_hosts(f"file?.example {LINE}", "files.example", 22).accepts(SEEN)
    assert not known_hosts(f"*.example,!files.example {LINE}", "files.example", 22).accepts(SEEN)
    assert not known_hosts(f"file[s].example {LINE}", "files.example", 22).accepts(SEEN)


def test_hashed_names() -> None:
    """A line made by ``ssh-keygen -H`` is found by its hash."""
    # HMAC-SHA1 of "files.example" under the salt b"0123456789abcdefghij".
    salt = base64.b64encode(b"0123456789abcdefghij").decode()

    digest = base64.b64encode(hmac.new(b"0123456789abcdefghij", b"files.example", hashlib.sha1).digest()).decode()
    assert known_hosts(f"|1|{salt}|{digest} {LINE}", "files.example", 22).accepts(SEEN)
    assert not known_hosts(f"|1|{salt}|{digest} {LINE}", "file.example", 22).accepts(SEEN)


@given(st.text() | st.text("|1*!,[]@= \n\tssh-ed25519"))
def test_any_text_is_read_without_an_error_and_trusts_nobody(text: str) -> None:
    """Lines that cannot be read say nothing."""
    trust = known_hosts(text, "files.example", 22)
    assert not trust.accepts(SEEN)
    assert known_hosts(f"{text}\nfiles.example {LINE}\n", "files.example", 22).accepts(SEEN)


def test_a_stranger_is_described_with_the_setting_that_pins_it() -> None:
    """The error names server, fingerprint and type, and both ways to pin it; each case has its own words."""
    seen = {SEEN: "ssh-ed25519"}
    for trust, words in (
        (pinned(["SHA256:other"]), "not SHA256:other, which is the pinned host key"),
        (Trust("~/.ssh/known_hosts"), "neither a pinned key nor ~/.ssh/known_hosts knows this server"),
        (Trust("~/.ssh/known_hosts", {"SHA256:other": "ssh-ed25519"}), "knows it by SHA256:other: the key has changed"),
        (Trust("~/.ssh/known_hosts", {"SHA256:other": "ssh-rsa"}), "only by a key of another type, SHA256:other"),
        (Trust("~/.ssh/known_hosts", {SEEN: "ssh-ed25519"}, frozenset({SEEN})), "marks as revoked"),
    ):
        error = stranger("files.example:22", trust, seen)
        assert f"files.example:22 shows the host key {SEEN} (ssh-ed25519)" in error.message
        assert words in error.message
        assert f'insights.configure(sftp_host_key="{SEEN}") or INSIGHTS_SFTP_HOST_KEY={SEEN}' in error.hint
        assert not trust.accepts(SEEN)
