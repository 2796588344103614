"""An open connection: what it is doing, until when it may, and how it is ended."""

import asyncio
import math
import socket
import struct
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Literal, Protocol

from tornado.http1connection import HTTP1ConnectionParameters, HTTP1ServerConnection
from tornado.httputil import HTTPServerConnectionDelegate

from exporter.web.server.limits import Limits
from exporter.web.server.messages import head, refused
from exporter.web.server.stream import Stream

Doing = Literal[
    "idle", "handshake", "request", "head", "body", "handler", "response", "closing", "cut"
]
WAITING = frozenset({"idle", "handshake", "request", "head", "body", "closing"})
"""What a connection does while it has not sent a whole request."""
LINGER_SECONDS = 2.0
_LINGER_BYTES = 64 * 1024  # read at once
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Keeper(Protocol):
    """Who keeps the connections."""

    @property
    def limits(self) -> Limits:
        """What a client may take."""
        ...

    def moved(self, connection: "Connection") -> None:
        """The connection does something else now."""
        ...

    def gone(self, connection: "Connection") -> None:
        """The connection's socket is closed."""
        ...


class Connection:
    """What an open connection is doing, and until when it may."""

    def __init__(self, keeper: Keeper, client: str) -> None:
        """Begin without a stream."""
        self.client = client
        self.doing: Doing = "idle"
        self.deadline = math.inf
        self.sending: Sequence[bytes] = ()
        self.sending_since = 0.0
        self.stream: Stream | None = None
        self._keeper = keeper
        self._task: asyncio.Task[None] | None = None
        self._left: socket.socket | None = None

    def begin(self, doing: Doing, seconds: float) -> None:
        """Say what it is doing from now on, for `seconds` at most."""
        self.deadline = time.monotonic() + seconds
        if self.doing not in ("closing", "cut"):
            self.doing = doing
            self._keeper.moved(self)

    def own(self, sock: socket.socket) -> None:
        """Keep a socket that has no stream yet."""
        self._left = sock

    def disown(self) -> socket.socket:
        """Return that socket, which gets a stream now."""
        sock, self._left = self._left, None
        if sock is None:
            raise ConnectionAbortedError
        return sock

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what the connection waits for; it is given up when the connection is cut."""
        self._task = asyncio.get_running_loop().create_task(work)

    def serve(self, stream: Stream, delegate: HTTPServerConnectionDelegate) -> None:
        """Let tornado read requests from the stream."""
        self.stream = stream
        limits = self._keeper.limits
        # No header_timeout: it would not tell an idle connection from one that trickles.
        parameters = HTTP1ConnectionParameters(
            max_header_size=limits.head_bytes, max_body_size=limits.body_bytes
        )
        self.begin("idle", limits.head_seconds)
        HTTP1ServerConnection(stream, parameters).start_serving(delegate)

    def refuse(self, status: int) -> None:
        """Answer with the status, and end the connection."""
        self.begin("closing", LINGER_SECONDS)
        if self.stream is not None:
            self.stream.send_now(_refusal(status))
            self.stream.close()

    def end(self) -> None:
        """End it from this side; what was sent is not lost."""
        self.begin("closing", LINGER_SECONDS)
        if self.stream is not None:
            self.stream.close()

    def cut(self) -> None:
        """End it at once; what the client has not read yet is not kept by the kernel either."""
        reset = self.doing not in ("idle", "closing")
        if self._task is not None and self.doing in ("handler", "handshake"):
            self._task.cancel()
        self.doing, self.sending = "cut", ()
        sock = self.stream.socket if self.stream is not None else None
        if reset and sock is not None:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        if self.stream is not None:
            self.stream.close()
        self._close_left()

    # What the stream tells

    @property
    def answering(self) -> bool:
        """Whether a whole request has come, and the client is waiting for the response."""
        return self.doing in ("handler", "response")

    def received(self) -> None:
        """Some bytes have come: an idle connection has begun a request."""
        if self.doing == "idle":
            self.begin("request", self._keeper.limits.head_seconds)

    def head_received(self) -> None:
        """The head has come whole; the body has the rest of the time."""
        if self.doing in ("idle", "request"):
            self.doing = "head"

    def last_words(self, *, too_large: bool) -> bytes:
        """Return what the client still gets to read when a request ends before it is whole."""
        if self.doing not in ("request", "body"):
            return b""
        self.begin("closing", LINGER_SECONDS)
        return _refusal(431 if too_large else 400)

    def released(self, sock: socket.socket) -> None:
        """Close the socket once the client has closed it too, or has had the time to.

        Closed with input unread, it would take along what was sent last.
        """
        self._left = sock
        if self.doing == "cut":
            self._close_left()
            return
        self.begin("closing", LINGER_SECONDS)
        with suppress(OSError):
            # SSLSocket's own shutdown drops the TLS state.
            socket.socket.shutdown(sock, socket.SHUT_WR)
            asyncio.get_running_loop().add_reader(sock, self._read_on)
            self._read_on()
            return
        self._close_left()

    def _read_on(self) -> None:
        sock = self._left
        if sock is None:
            return
        try:
            ended = not socket.socket.recv(sock, _LINGER_BYTES)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            self._close_left()

    def _close_left(self) -> None:
        sock, self._left = self._left, None
        if sock is not None:
            if sock.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(sock)
            sock.close()
            self.doing = "cut"
            self._keeper.gone(self)


def _refusal(status: int) -> bytes:
    response = refused(status)
    return head(response, (), keep=False) + b"".join(response.chunks)
