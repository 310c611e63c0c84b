"""Sockets that listen on this machine only, and connections that end in a reset."""

import socket
import struct

_ABORT = struct.pack("ii", 1, 0)  # linger for no time: closing then sends RST instead of FIN


def abort(connection: socket.socket) -> None:
    """Make a connection end in RST once its last user closes it."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        connection.close()
    except OSError:
        pass  # the other side was quicker


def listening(port: int) -> socket.socket:
    """Return a socket that listens on 127.0.0.1; raises OSError if the port is taken.

    Parameters
    ----------
    port
        The port, 0 for any free one.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        bound.listen(128)
    except OSError:
        bound.close()
        raise
    return bound
