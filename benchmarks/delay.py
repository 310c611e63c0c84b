"""A distance in user space: a TCP proxy that hands bytes on after half a round trip, in order, at any rate."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

GULP = 1 << 18


@contextmanager
def distant(port: int, round_trip: float) -> Iterator[int]:
    """Yield the port of a proxy for a port of loopback, ``round_trip`` seconds away.

    It adds delay and no limit of rate or loss: a line whose window is never the kernel's. The proxy itself costs
    processor time that a real distance does not, which all clients pay alike.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", port))
                for source, target in ((near, far), (far, near)):
                    source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    _Lane(source, target, round_trip / 2).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


class _Lane:
    """One direction: a thread that takes in, and one that hands on when it is time."""

    def __init__(self, source: socket.socket, target: socket.socket, delay: float) -> None:
        self._source, self._target, self._delay = source, target, delay
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._some = threading.Condition()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._take, daemon=True).start()
        threading.Thread(target=self._hand_on, daemon=True).start()

    def _take(self) -> None:
        content = b"x"
        while content:
            try:
                content = self._source.recv(GULP)
            except OSError:
                content = b""
            with self._some:
                self._under_way.append((time.monotonic() + self._delay, content))
                self._some.notify()

    def _hand_on(self) -> None:
        while True:
            with self._some:
                while not self._under_way:
                    self._some.wait()
                due, content = self._under_way.popleft()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if not content:
                    self._target.shutdown(socket.SHUT_WR)
                    return
                self._target.sendall(content)
            except OSError:
                return
