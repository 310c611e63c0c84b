"""Reading over SFTP from servers of every temper, none of them on a network."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insights_nb.errors import IntegrityError, TransferError
from insights_nb.sftp import BLOCK, Attributes, LinkLostError, Session

CONTENT = random.Random(1).randbytes(3 * BLOCK + 12345)


class Server:
    """Answers requests from memory; as a pipe, hands its answers out in pieces.

    Parameters
    ----------
    content : bytes
        The one file's.
    seed : int
        Decides the order of answers and the size of pieces.
    longest : int
        Bytes it sends at most for one request.
    attributes : bytes
        What it says of the file; by default its size, an owner, that it is a regular file, and its times.
    refusal : int
        The status it answers to the opening of a file, 0 letting it be opened.
    """

    def __init__(
        self,
        content: bytes = CONTENT,
        seed: int = 0,
        longest: int = BLOCK,
        attributes: bytes | None = None,
        refusal: int = 0,
    ) -> None:
        self.refusal = refusal
        self.content = content
        self.random = random.Random(seed)
        self.longest = longest
        self.attributes = attributes or struct.pack(">IQIIIII", 15, len(content), 0, 0, 0o100600, 5, 7)
        self.answers: list[bytes] = []
        self.out = b""
        self.most_waiting = 0

    def send(self, content: bytes) -> None:
        """Take a request."""
        kind, body = content[4], content[5:]
        number, rest = body[:4], body[4:]
        if kind == 1:
            return self.answer(2, struct.pack(">I", 3))
        length = int.from_bytes(rest[:4], "big")
        name, rest = rest[4 : 4 + length], rest[4 + length :]
        if kind in {8, 17} and name != b"missing":
            self.answer(105, number + self.attributes)
        elif kind == 3 and not self.refusal:
            self.answer(102, number + struct.pack(">I", 6) + b"handle")
        elif kind == 5:
            offset, wanted = struct.unpack(">QI", rest)
            block = self.content[offset : offset + min(wanted, self.longest)]
            if block:
                self.answer(103, number + struct.pack(">I", len(block)) + block)
            else:
                self.answer(101, number + struct.pack(">III", 1, 0, 0))
        else:
            self.answer(101, number + struct.pack(">III", 2 if name == b"missing" else self.refusal, 0, 0))
        return None

    def answer(self, kind: int, body: bytes) -> None:
        """Put an answer among those waiting."""
        self.answers.append(struct.pack(">IB", len(body) + 1, kind) + body)
        self.most_waiting = max(self.most_waiting, len(self.answers))

    def receive(self) -> bytes:
        """Hand out the next bytes."""
        if not self.out:
            if not self.answers:
                raise LinkLostError("nothing more comes")
            self.out = self.answers.pop(self.random.randrange(len(self.answers)))
        cut = self.random.randint(1, len(self.out)) if self.random.random() < 0.5 else len(self.out)
        piece, self.out = self.out[:cut], self.out[cut:]
        return piece


def session(server: Server, ahead: int = 4) -> Session:
    made = Session(server, ahead)
    made.greet()
    return made


@given(
    seed=st.integers(0, 1000),
    longest=st.sampled_from([1000, 40_000, BLOCK]),
    ahead=st.integers(1, 8),
    start=st.integers(0, len(CONTENT)),
    length=st.integers(0, len(CONTENT)),
)
def test_any_stretch_is_read_right_whatever_the_order_of_answers(
    seed: int, longest: int, ahead: int, start: int, length: int
) -> None:
    """Answers out of order, in pieces and shorter than asked for still make the right bytes, within the limit."""
    server = Server(seed=seed, longest=longest)
    end = min(start + length, len(CONTENT))
    assert b"".join(session(server, ahead).open("x").read(start, end)) == CONTENT[start:end]
    assert server.most_waiting <= ahead


def test_what_came_before_the_connection_broke_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no more can be asked, the answers to what was asked still come out, and then the loss is told."""
    server = Server()
    blocks = session(server, 2).open("x").read(0, len(CONTENT))
    came = bytes(next(blocks))

    def broken(_: bytes) -> None:
        raise LinkLostError("broken")

    monkeypatch.setattr(server, "send", broken)
    came += bytes(next(blocks))
    assert came == CONTENT[: 2 * BLOCK]
    with pytest.raises(LinkLostError, match="broken"):
        next(blocks)


def test_many_stats_go_out_together() -> None:
    """Attributes come back in the order asked for, many requests being under way at once."""
    server = Server()
    assert list(session(server, 8).stat(["a"] * 20)) == [Attributes(len(CONTENT), 7)] * 20
    assert server.most_waiting == 8


def test_the_end_of_a_file() -> None:
    """A file that ends early is an IntegrityError, and whether it goes on can be asked."""
    file = session(Server()).open("x")
    with pytest.raises(IntegrityError, match=f"ends at byte {len(CONTENT):,}, before"):
        list(file.read(0, len(CONTENT) + 1))
    file = session(Server()).open("x")
    assert file.goes_on(len(CONTENT) - 1)
    assert not file.goes_on(len(CONTENT))
    assert file.attributes().size == len(CONTENT)
    file.close()


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        (struct.pack(">IQI", 5, 10, 0o040755), "no regular file"),
        (struct.pack(">IQI", 5, 10, 0o120777), "no regular file"),
        (struct.pack(">II", 4, 0o100600), "no regular file of known size"),
        (struct.pack(">I", 0), "no regular file of known size"),
    ],
)
def test_only_regular_files_of_known_size_will_do(attributes: bytes, words: str) -> None:
    """A folder, a link, and a file whose size the server keeps to itself are refused."""
    with pytest.raises(IntegrityError, match=words):
        next(session(Server(attributes=attributes)).stat(["x"]))


def test_a_server_may_say_nothing_but_the_size() -> None:
    """Mode and times are optional in the protocol."""
    answer = struct.pack(">IQ", 1, 10)
    assert next(session(Server(attributes=answer)).stat(["x"])) == Attributes(10, None)


def test_refusals() -> None:
    """What is missing, what is denied and what fails otherwise are told apart."""
    with pytest.raises(IntegrityError, match="missing is not on the file server"):
        next(session(Server()).stat(["missing"]))
    for code, kind, words in ((3, TransferError, "does not let this user"), (4, LinkLostError, "SFTP status 4")):
        opened = session(Server(refusal=code))
        with pytest.raises(TransferError, match=words) as caught:
            opened.open("x")
        assert type(caught.value) is kind


class Babbler:
    """Sends whatever it was given."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def send(self, content: bytes) -> None:
        """Ignore it."""

    def receive(self) -> bytes:
        """Send all at once, then end."""
        if not self.content:
            raise LinkLostError("nothing more comes")
        content, self.content = self.content, b""
        return content


packets = st.builds(
    lambda kind, body: struct.pack(">IB", len(body) + 1, kind) + body,
    st.sampled_from([2, 101, 102, 103, 105, 200]),
    st.binary(max_size=40) | st.integers(1, 4).map(lambda number: struct.pack(">I", number) + b"\0" * 30),
)


@given(st.binary(max_size=100) | st.lists(packets, max_size=8).map(b"".join), st.booleans())
def test_nonsense_is_only_ever_a_transfer_error(content: bytes, greet: bool) -> None:
    """Whatever bytes a server sends, nothing but our errors comes out, and nothing waits for ever."""
    hello = struct.pack(">IBI", 5, 2, 3) if greet else b""
    try:
        opened = Session(Babbler(hello + content), 2)
        opened.greet()
        file = opened.open("x")
        assert sum(map(len, file.read(0, 10))) == 10
        file.close()
    except TransferError:
        pass


def test_a_packet_of_impossible_length_is_not_waited_for() -> None:
    """A length that no answer has is refused at once."""
    with pytest.raises(LinkLostError, match="impossible length"):
        Session(Babbler(b"\xff\xff\xff\xff"), 1).greet()
