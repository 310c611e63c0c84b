"""A distance: two network namespaces and a line between them that hands packets on late; or else a proxy.

    python benchmarks/delay.py        # what the line itself carries, at several delays

The line is a TUN device in each namespace, and a program that takes every packet out of the one and puts it into the
other when half a round trip is over. TCP runs from end to end, with the kernel's own windows, congestion control and
segments of an MTU of 1500; the kernel hands them over in bundles (GSO, as network cards take them), which is why Python
keeps up. It needs root, ``ip``, ``unshare``, ``nsenter`` and /dev/net/tun.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

GULP = 1 << 18
BUNDLE = 10 + (1 << 16)  # the header that says how a bundle is to be cut, and the bundle
NEAR, FAR = "10.77.0.2", "10.77.0.1"
_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_TUN, _NO_PI, _VNET_HDR = 0x0001, 0x1000, 0x4000
_CSUM, _TSO4 = 1, 2
_BACKLOG = 0.1  # seconds' worth that a limited line holds before it drops, as a router does


@dataclass(frozen=True)
class Place:
    """One end of a line.

    Parameters
    ----------
    address : str
        Where it is reached from the other end.
    enter : tuple of str
        What a command begins with to be run there.
    """

    address: str
    enter: tuple[str, ...] = ()


def why_no_line() -> str:
    """Say what is missing for a line between namespaces, nothing where all is there."""
    if sys.platform != "linux" or os.geteuid():
        return "it needs root on Linux"
    missing = [tool for tool in ("ip", "unshare", "nsenter") if not shutil.which(tool)]
    if missing or not Path("/dev/net/tun").exists():
        return f"there is no {', '.join(missing) or '/dev/net/tun'}"
    try:
        with line(0.0):
            return ""
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        return str(error)


@contextmanager
def line(round_trip: float, rate: float | None = None) -> Iterator[tuple[Place, Place]]:
    """Yield the near and the far end of a line ``round_trip`` seconds long, each a network namespace of its own.

    Both namespaces, and with them everything in them, are gone when the two processes that hold them are, and these
    end with the pipe to this one, however it ends.

    Parameters
    ----------
    round_trip : float
        Seconds there and back.
    rate : float, optional
        Bits per second in each direction; without it, what the machine can do.
    """
    holders: list[subprocess.Popen[bytes]] = []
    try:
        far = _held(holders, "unshare", "--net", "cat")
        shuttle = [sys.executable, str(Path(__file__).resolve()), "shuttle", str(round_trip), str(rate or 0)]
        near = _held(holders, "unshare", "--net", *shuttle)
        output = holders[-1].stdout
        assert output is not None
        if output.readline() != b"ready\n":
            raise RuntimeError("the line's devices could not be made")
        _run("ip", "link", "set", "far", "netns", str(holders[0].pid), enter=near)
        for enter, name, address, other in ((near, "near", NEAR, FAR), (far, "far", FAR, NEAR)):
            _run("ip", "link", "set", "lo", "up", enter=enter)
            _run("ip", "address", "add", address, "peer", other, "dev", name, enter=enter)
            _run("ip", "link", "set", name, "up", "mtu", "1500", enter=enter)
        yield Place(NEAR, near), Place(FAR, far)
    finally:
        for holder in reversed(holders):  # the line before what hangs on it
            holder.kill()
            holder.communicate()


def _held(holders: list[subprocess.Popen[bytes]], *command: str) -> tuple[str, ...]:
    """Start a process that holds a namespace, and return how to enter that."""
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holders.append(holder)
    ours = os.readlink("/proc/self/ns/net")
    while os.readlink(f"/proc/{holder.pid}/ns/net") == ours:
        if holder.poll() is not None:
            raise RuntimeError("no network namespace could be made")
        time.sleep(0.001)
    return ("nsenter", "--target", str(holder.pid), "--net")


def _run(*command: str, enter: Sequence[str]) -> None:
    subprocess.run([*enter, *command], check=True)


def shuttle(round_trip: float, rate: float) -> None:
    """Make two devices and hand packets from each to the other, late, until standard input ends."""
    devices = [_device(b"near"), _device(b"far")]
    print("ready", flush=True)
    with suppress(OSError):
        os.nice(-10)  # a real line does not wait for a processor
    under_way: list[deque[tuple[float, bytes]]] = [deque(), deque()]
    free = [0.0, 0.0]  # when a limited line has sent what it was given
    while True:
        dues = [way[0][0] for way in under_way if way]
        pause = max(0.0, min(dues) - time.monotonic()) if dues else None
        ready, _, _ = select.select([0, *devices], [], [], pause)
        if 0 in ready:
            return
        for index, device in enumerate(devices):
            other, way = devices[1 - index], under_way[index]
            if device in ready:
                with suppress(BlockingIOError):
                    for _ in range(16):
                        packet = os.read(device, BUNDLE)
                        now = time.monotonic()
                        if rate:
                            if free[index] > now + _BACKLOG:
                                continue
                            free[index] = now = max(free[index], now) + len(packet) * 8 / rate
                        way.append((now + round_trip / 2, packet))
            while way and way[0][0] <= time.monotonic():
                with suppress(OSError):
                    os.write(other, way[0][1])
                way.popleft()


def _device(name: bytes) -> int:
    """Make a TUN device that takes and gives bundles of segments whose checksums are still to be made."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name, _TUN | _NO_PI | _VNET_HDR))
    fcntl.ioctl(device, _TUNSETOFFLOAD, _CSUM | _TSO4)
    return device


def carried(near: Place, far: Place, megabytes: int = 100) -> float:
    """Return the MB/s that one plain TCP connection brings from the far end to the near one, slow start included."""
    here = [sys.executable, str(Path(__file__).resolve())]
    with subprocess.Popen([*far.enter, *here, "give", far.address, str(megabytes)], stdout=subprocess.PIPE) as giver:
        assert giver.stdout is not None
        port = giver.stdout.readline().decode().strip()
        took = subprocess.run(
            [*near.enter, *here, "take", far.address, port], stdout=subprocess.PIPE, check=True, text=True
        )
    return megabytes / float(took.stdout)


def give(address: str, megabytes: int) -> None:
    """Send so much to whoever connects first."""
    with socket.create_server((address, 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        connection, _ = listener.accept()
        with connection:
            for _ in range(megabytes):
                connection.sendall(bytes(1_000_000))


def take(address: str, port: int) -> None:
    """Print how many seconds it takes to receive all there is."""
    began = time.perf_counter()
    with socket.create_connection((address, port)) as connection:
        while connection.recv(1 << 20):
            pass
    print(time.perf_counter() - began)


def kernel() -> str:
    """Say which windows and which congestion control TCP has here, in a line."""
    names = ("tcp_rmem", "tcp_wmem", "tcp_congestion_control")
    return ", ".join(f"{name} {' '.join(Path('/proc/sys/net/ipv4', name).read_text().split())}" for name in names)


@contextmanager
def distant(port: int, round_trip: float) -> Iterator[int]:
    """Yield the port of a proxy for a port of loopback, ``round_trip`` seconds away: for where no line can be made.

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


def main() -> None:
    """Show what a line carries, or be one of the programs at its ends."""
    match sys.argv[1:]:
        case ["shuttle", round_trip, rate]:
            # Ctrl-C is for the benchmark, whose end ends this too.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            shuttle(float(round_trip), float(rate))
        case ["give", address, megabytes]:
            give(address, int(megabytes))
        case ["take", address, port]:
            take(address, int(port))
        case _:
            if reason := why_no_line():
                sys.exit(f"no line can be made here: {reason}")
            print(kernel())
            for round_trip, rate in ((0.0, None), (0.01, None), (0.04, None), (0.12, None), (0.04, 1e9), (0.04, 2e8)):
                with line(round_trip, rate) as (near, far):
                    found = statistics.median(carried(near, far) for _ in range(3))
                print(json.dumps({"ms": round_trip * 1e3, "Mbit": rate and rate / 1e6, "MB/s": round(found, 1)}))


if __name__ == "__main__":
    main()
