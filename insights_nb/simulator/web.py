"""The HTTP socket: bound early, served by threads that all end with it, able to reset a connection."""

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from .sockets import abort

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_POLL = 0.05  # seconds between the server's looks at whether to stop


class _Connection(WSGIRequestHandler):
    """One connection, without a log, and dropped with RST where the application says so."""

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Say nothing: a notebook is no place for a request log."""

    def connection_dropped(self, error: BaseException, environ: "dict[str, Any] | None" = None) -> None:
        """Turn an application's ``ConnectionError`` into a reset."""
        self.close_connection = True
        abort(self.connection)


class _Server(ThreadedWSGIServer):
    """werkzeug's threaded server, except that it knows its connections and threads."""

    def __init__(self, bound: socket.socket, app: "WSGIApplication") -> None:
        self._lock = threading.Lock()
        self._busy: dict[threading.Thread, socket.socket] = {}
        host, port = bound.getsockname()
        super().__init__(host, port, app, _Connection, fd=bound.fileno())

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer one connection in a thread of its own, written down before it starts."""

        def work() -> None:
            try:
                self.process_request_thread(request, client_address)
            finally:
                with self._lock:
                    self._busy.pop(thread, None)

        thread = threading.Thread(target=work, name="simulator-call", daemon=True)
        with self._lock:
            self._busy[thread] = request
        thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that broke: here they are meant to."""

    def end(self) -> None:
        """Break every connection and wait for its thread."""
        with self._lock:
            busy = dict(self._busy)
        for connection in busy.values():
            with contextlib.suppress(OSError):  # closed on its own
                connection.shutdown(socket.SHUT_RDWR)
        for thread in busy:
            thread.join()


class Web:
    """A threaded HTTP server for one application.

    Parameters
    ----------
    bound
        A listening socket; the server takes it over.
    app
        The application.
    """

    def __init__(self, bound: socket.socket, app: "WSGIApplication") -> None:
        self.port = int(bound.getsockname()[1])
        self._server = _Server(bound, app)
        bound.close()  # werkzeug works on a duplicate
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL,), name="simulator-http", daemon=True
        )

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections, break the open ones, and wait for every thread."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.end()
