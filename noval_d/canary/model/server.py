"""Serve HTTP on loopback, a thread for each connection: JSON comes in; JSON or server-sent events go out."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Self

HOST = "127.0.0.1"
STOP_LIMIT_S = 10.0
BODY_LIMIT_BYTES = 1 << 28
POLL_S = 0.05
LAST_CHUNK = b"0\r\n\r\n"


class Unreadable(Exception):
    """A request's body is no JSON map of a length that was said before."""


class Server(ThreadingTCPServer):
    """Asks `answer(hearer, path, body)` for what each POST gets, and for any other request with an empty body.

    `answer` runs in the connection's thread. It may raise ConnectionError: whoever asked has hung up.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, answer: Answerer) -> None:
        self.answer = answer
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((HOST, port), Hearer)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(POLL_S,), name="stub-model", daemon=True
        )

    @classmethod
    def start(cls, port: int, answer: Answerer) -> Self:
        """Serve on `port` (0: a free one) until `stop`. Raises OSError."""
        server = cls(port, answer)
        server._thread.start()
        return server

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def stop(self) -> None:
        """Take no more connections, and hang up those that are there."""
        self.stopping.set()
        self.shutdown()
        self._thread.join(STOP_LIMIT_S)
        self.server_close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # the other end may have closed it
                    connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember a connection, and serve it in its thread."""
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection, and close it."""
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of a defect; that a connection broke is none."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Hearer(BaseHTTPRequestHandler):
    """Who asked, and how it is told the answer. Every writing method may raise ConnectionError."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # events are small, and each is to be seen at once
    server: Server

    @property
    def stopping(self) -> threading.Event:
        """Set when the server stops: nobody waits any longer."""
        return self.server.stopping

    def whole(self, answer: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Answer with one JSON value."""
        text = json.dumps(answer).encode()
        self._head(status, "application/json", {"content-length": str(len(text)), **(headers or {})})
        self.wfile.write(text)

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """Answer with events: those that `event` is given meanwhile."""
        self._head(200, "text/event-stream", {"transfer-encoding": "chunked"})
        yield
        self.wfile.write(LAST_CHUNK)

    def event(self, text: bytes) -> None:
        """Send one event of a stream; an empty one is none."""
        if text:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(text), text))

    def do_GET(self) -> None:
        """Answer; http.server asks for a method of this name."""
        self._hear({})

    def do_POST(self) -> None:
        """Read the body and answer; http.server asks for a method of this name."""
        try:
            body = self._body()
        except Unreadable as problem:
            self.close_connection = True  # what is left of the request is not the next one
            self.whole({"error": str(problem)}, status=400)
        else:
            self._hear(body)

    do_HEAD = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_GET  # noqa: N815  # http.server's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
        """Print nothing: what was asked is for the stub model to remember."""

    def _hear(self, body: dict[str, Any]) -> None:
        try:
            self.server.answer(self, self.path.partition("?")[0], body)
        except ConnectionError:
            self.close_connection = True

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > BODY_LIMIT_BYTES:
            raise Unreadable(f"a body needs a Content-Length of at most {BODY_LIMIT_BYTES}")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except ValueError:
            raise Unreadable("the body is not JSON") from None
        if not isinstance(body, dict):
            raise Unreadable("the body is not a JSON map")
        return body

    def _head(self, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": content_type, **headers}.items():
            self.send_header(name, value)
        self.end_headers()


Answerer = Callable[[Hearer, str, dict[str, Any]], None]
