"""Servers on loopback that say exactly what a test wants: raw answers, TLS in front of plain HTTP, a CONNECT proxy."""

import datetime
import ipaddress
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Talk = Callable[[socket.socket], None]


@contextmanager
def serving(talk: Talk) -> Iterator[int]:
    """Run a server whose connections are each handed to ``talk`` in a thread; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()
    threads: list[threading.Thread] = []
    open_ones: list[socket.socket] = []

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            talk(connection)

    def accept() -> None:
        while not ended.is_set():
            if select.select([listener], [], [], 0.05)[0]:
                connection, _ = listener.accept()
                open_ones.append(connection)
                threads.append(threading.Thread(target=one, args=(connection,), name="proxy"))
                threads[-1].start()

    accepting = threading.Thread(target=accept, name="proxy")
    accepting.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        ended.set()
        accepting.join()
        for connection in open_ones:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        listener.close()


def request_of(connection: socket.socket) -> bytes:
    """Read a request's head, and its body where it has one."""
    text = b""
    while b"\r\n\r\n" not in text:
        more = connection.recv(1 << 16)
        if not more:
            return text
        text += more
    head, _, body = text.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length and (more := connection.recv(1 << 16)):
        body += more
        text += more
    return text


def answering(raw: bytes, heard: list[bytes] | None = None) -> Talk:
    """Read one request, send these bytes, and hang up."""

    def talk(connection: socket.socket) -> None:
        request = request_of(connection)
        if heard is not None:
            heard.append(request)
        connection.sendall(raw)

    return talk


def joined(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until one side ends."""
    while True:
        pending = [side for side in (one, other) if isinstance(side, ssl.SSLSocket) and side.pending()]
        for side in pending or select.select([one, other], [], [], 10)[0]:
            content = side.recv(1 << 16)
            if not content:
                return
            (other if side is one else one).sendall(content)


def tls_front(target: int, context: ssl.SSLContext) -> Talk:
    """Speak TLS to the client and plain text to a port."""

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as safe, _dialled(target) as server:
            joined(safe, server)

    return talk


@dataclass
class Tunnel:
    """A CONNECT proxy; ``asked`` holds what each connection wanted.

    Parameters
    ----------
    target : int
        The port every connection leads to, whatever it asked for.
    answer : bytes
        What to say to a CONNECT.
    """

    target: int
    answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"
    asked: list[bytes] = field(default_factory=list)

    def __call__(self, connection: socket.socket) -> None:
        """Answer one connection."""
        self.asked.append(request_of(connection))
        connection.sendall(self.answer)
        if b" 200 " in self.answer:
            with _dialled(self.target) as server:
                joined(connection, server)


def _dialled(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port))


def authority(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """Return a certificate authority's file, and what a server needs to prove that it has one of these names."""
    ours, theirs = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "insights_nb test authority")])
    root = _certificate(ca, ca, ours, ours, x509.BasicConstraints(ca=True, path_length=0))
    alternatives = [
        x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names
    ]
    leaf = _certificate(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")]),
        ca,
        theirs,
        ours,
        x509.SubjectAlternativeName(alternatives),
    )
    trusted, chain = folder / "authority.pem", folder / "server.pem"
    trusted.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    chain.write_bytes(
        theirs.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + leaf.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return trusted, context


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    is_root = isinstance(extension, x509.BasicConstraints)
    uses = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(extension, critical=is_root)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root, **uses), critical=True
        )
        .sign(signer, hashes.SHA256())
    )
