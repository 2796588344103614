"""An open connection: its state, its deadline, and how it is closed."""

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
from exporter.web.server.messages import Chunk, head, pieces, refused
from exporter.web.server.stream import Stream

Doing = Literal[
    "idle", "handshake", "request", "head", "body", "handler", "response", "closing", "cut"
]
WAITING = frozenset({"idle", "handshake", "request", "head", "body", "closing"})
"""States of a connection that has not sent a complete request."""
LINGER_SECONDS = 2.0
_LINGER_BYTES = 64 * 1024  # read at once
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Keeper(Protocol):
    """The owner of the connections."""

    @property
    def limits(self) -> Limits:
        """The limits for clients."""
        ...

    def moved(self, connection: "ClientConnection") -> None:
        """The state of the connection has changed."""
        ...

    def gone(self, connection: "ClientConnection") -> None:
        """The connection's socket is closed."""
        ...


class ClientConnection:
    """The state and the deadline of an open connection."""

    def __init__(self, keeper: Keeper, client: str) -> None:
        """Create the connection without a stream."""
        self.client = client
        self.doing: Doing = "idle"
        self.deadline = math.inf
        self.sending: Sequence[Chunk] = ()
        self.sending_since = 0.0
        self.stream: Stream | None = None
        self._keeper = keeper
        self._task: asyncio.Task[None] | None = None
        self._left: socket.socket | None = None

    def begin(self, doing: Doing, seconds: float) -> None:
        """Change to the state `doing`, for at most `seconds`."""
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
        """Run the work that the connection waits for.

        It is cancelled when the connection is cut.
        """
        self._task = asyncio.get_running_loop().create_task(work)

    def serve(self, stream: Stream, delegate: HTTPServerConnectionDelegate) -> None:
        """Let tornado read requests from the stream."""
        self.stream = stream
        limits = self._keeper.limits
        # No header_timeout: it cannot distinguish an idle connection from a slow sender.
        parameters = HTTP1ConnectionParameters(
            max_header_size=limits.head_bytes, max_body_size=limits.body_bytes
        )
        self.begin("idle", limits.head_seconds)
        HTTP1ServerConnection(stream, parameters).start_serving(delegate)

    def refuse(self, status: int) -> None:
        """Respond with the status, and close the connection."""
        self.begin("closing", LINGER_SECONDS)
        if self.stream is not None:
            self.stream.send_now(_refusal(status))
            self.stream.close()

    def end(self) -> None:
        """Close the connection from this side; data that was sent still arrives."""
        self.begin("closing", LINGER_SECONDS)
        if self.stream is not None:
            self.stream.close()

    def cut(self) -> None:
        """Abort the connection; the kernel drops data that the client has not read."""
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

    # Called by the stream

    @property
    def answering(self) -> bool:
        """Whether a complete request was received and the client is waiting for the response."""
        return self.doing in ("handler", "response")

    def received(self) -> None:
        """Note that bytes were received: an idle connection has begun a request."""
        if self.doing == "idle":
            self.begin("request", self._keeper.limits.head_seconds)

    def head_received(self) -> None:
        """Note that the head is complete; the body has the rest of the time."""
        if self.doing in ("idle", "request"):
            self.doing = "head"

    def last_words(self, *, too_large: bool) -> bytes:
        """Return a response for a client whose request ends before it is complete."""
        if self.doing not in ("request", "body"):
            return b""
        self.begin("closing", LINGER_SECONDS)
        return _refusal(431 if too_large else 400)

    def released(self, sock: socket.socket) -> None:
        """Close the socket once the client has closed it too, or after a timeout.

        If it were closed with unread input, the data that was sent last would be lost.
        """
        self._left = sock
        if self.doing == "cut":
            self._close_left()
            return
        self.begin("closing", LINGER_SECONDS)
        with suppress(OSError):
            # The shutdown of SSLSocket would drop the TLS state.
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
    return b"".join(pieces(head(response, (), keep=False), response.chunks))
