"""A TCP proxy that goes wrong on purpose, at an exact byte of what the server sends."""

import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Fault:
    """What happens to one connection.

    Parameters
    ----------
    after : int
        Bytes from the server that pass before it happens.
    what : {"reset", "close", "stall", "call", "flip"}
        Reset the connection; end it in good order; let nothing through any more; call ``act`` and go on; or turn the
        bits of the next byte round and go on.
    act : callable
        For "call", and called before anything else too.
    """

    after: int
    what: Literal["reset", "close", "stall", "call", "flip"] = "reset"
    act: Callable[[], object] = lambda: None


@dataclass
class Proxy:
    """A running proxy; ``received`` holds, for each connection so far, the bytes from the server that passed."""

    port: int
    received: list[int] = field(default_factory=list)


@contextmanager
def proxy(target: int, faults: Sequence[Fault | None] = (), rest: Fault | None = None) -> Iterator[Proxy]:
    """Run a proxy for a port of loopback: its n-th connection suffers the n-th fault, later ones ``rest``."""
    listener = socket.create_server(("127.0.0.1", 0))
    state = Proxy(listener.getsockname()[1])
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def accept() -> None:
        while not ended.is_set():
            if not select.select([listener], [], [], 0.05)[0]:
                continue
            client, _ = listener.accept()
            number = len(state.received)
            state.received.append(0)
            fault = faults[number] if number < len(faults) else rest
            thread = threading.Thread(target=_carry, args=(state, number, fault, client, target, ended), name="proxy")
            threads.append(thread)
            thread.start()

    threads.append(threading.Thread(target=accept, name="proxy"))
    threads[0].start()
    try:
        yield state
    finally:
        ended.set()
        # The first accepts, and may add to the list until it has ended.
        threads[0].join()
        for thread in threads:
            thread.join()
        listener.close()


def _carry(
    state: Proxy, number: int, fault: Fault | None, client: socket.socket, target: int, ended: threading.Event
) -> None:
    """Carry bytes both ways until one side ends, the fault ends it, or the proxy does."""
    flipping = False
    with client, socket.create_connection(("127.0.0.1", target)) as server, suppress(OSError):
        while not ended.is_set():
            ready, _, _ = select.select([client, server], [], [], 0.05)
            if client in ready:
                content = client.recv(1 << 16)
                if not content:
                    return
                server.sendall(content)
            if server in ready:
                room = 1 << 16 if fault is None else min(1 << 16, fault.after - state.received[number])
                content = server.recv(room) if room else b""
                if flipping and content:
                    content, flipping = bytes([content[0] ^ 0xFF]) + content[1:], False
                client.sendall(content)
                state.received[number] += len(content)
                if fault is not None and state.received[number] >= fault.after:
                    fault.act()
                    flipping = fault.what == "flip"
                    if not _goes_on(fault, client, ended):
                        return
                    fault = None
                elif not content:
                    return


def _goes_on(fault: Fault, client: socket.socket, ended: threading.Event) -> bool:
    """Do what the fault says; whether the connection then goes on."""
    if fault.what == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if fault.what == "close":
        client.shutdown(socket.SHUT_WR)
    while fault.what in {"close", "stall"} and not ended.is_set():
        # Only the other side's hanging up ends it; until then it is read, or the end would be a reset.
        if select.select([client], [], [], 0.05)[0] and not client.recv(1 << 16):
            break
    return fault.what in {"call", "flip"}
