"""A connection's bytes: tornado's streams, hardened against untrusted clients."""

import re
import socket
import ssl
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError, UnsatisfiableReadError

READ_BYTES = 16 * 1024
BUFFER_BYTES = 1024 * 1024
_PLAIN_ON_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nthis port speaks HTTPS\n"

_OTHER_VERSION = re.compile(rb"[^\r\n ]+ [^\r\n ]+ HTTP/[02-9]\.[0-9]\r\n")

_Error = (
    bool
    | BaseException
    | tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
    | None
)


class Watcher(Protocol):
    """Is informed of what happens to a stream."""

    @property
    def answering(self) -> bool:
        """Whether a complete request was received and the client is waiting for the response."""
        ...

    def received(self) -> None:
        """Some bytes were received."""
        ...

    def head_received(self) -> None:
        """The head of a request is complete."""
        ...

    def refuse(self, status: int) -> None:
        """Respond with the status, and close the connection."""
        ...

    def last_words(self, *, too_large: bool) -> bytes:
        """Return a response for a client whose request ends before it is complete."""
        ...

    def released(self, sock: socket.socket) -> None:
        """The stream is closed; the watcher must close its socket."""
        ...


class Stream(IOStream):
    """A client's connection.

    A head with a line that does not end with CR LF is rejected, an incomplete request gets a
    response that says so, and a client that closes its sending side still gets its response.
    """

    def __init__(self, sock: socket.socket, watcher: Watcher) -> None:
        """Take over `sock`."""
        self._watcher = watcher
        super().__init__(sock, max_buffer_size=BUFFER_BYTES, read_chunk_size=READ_BYTES)

    async def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> bytes:
        """Read the head of a request. HTTP1Connection calls this method for nothing else."""
        head = await super().read_until_regex(regex, max_bytes)
        self._watcher.head_received()
        status = _fault(head)
        if status is not None:
            self._watcher.refuse(status)
            raise StreamClosedError
        return head

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        """Read, and report the first bytes of a request."""
        count = super().read_from_fd(buf)
        if count:
            self._watcher.received()
        elif count == 0 and self._watcher.answering:
            # The client has closed its sending side, not the connection. The socket stays readable,
            # so do not poll it.
            events = IOLoop.WRITE if self.writing() else IOLoop.ERROR
            self.io_loop.update_handler(self.fileno(), events)
            return None
        return count

    def close(self, exc_info: _Error = False) -> None:  # noqa: FBT002 # tornado's signature
        """Close, and tell a client why its request ends here."""
        if not self.closed():
            too_large = isinstance(exc_info, UnsatisfiableReadError)
            if too_large or not exc_info:
                self.send_now(self._watcher.last_words(too_large=too_large))
        super().close(exc_info)

    def close_fd(self) -> None:
        """Release the socket, which is closed once the client has read what was sent."""
        sock, self.socket = self.socket, None  # type: ignore[assignment] # as in the base class
        self._watcher.released(sock)

    def send_now(self, data: bytes) -> None:
        """Send a short text if nothing else is waiting to be sent, as far as there is room."""
        if data and not self.closed():
            with suppress(OSError):
                self.write_to_fd(memoryview(data))


class SecureStream(Stream, SSLIOStream):
    """The same with TLS."""

    def close(self, exc_info: _Error = False) -> None:  # noqa: FBT002 # tornado's signature
        """Close, and tell a client that speaks HTTP here to use HTTPS."""
        if (
            not self.closed()
            and isinstance(exc_info, ssl.SSLError)
            and exc_info.reason == "HTTP_REQUEST"
        ):
            with suppress(OSError):
                socket.socket.send(self.socket, _PLAIN_ON_TLS)
        super().close(exc_info)


def secured(sock: socket.socket, context: ssl.SSLContext, watcher: Watcher) -> SecureStream:
    """Return a stream whose handshake is about to begin."""
    secure = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
    return SecureStream(secure, watcher)


def _fault(head: bytes) -> int | None:
    """Return the status for an invalid head that tornado's parser would accept, or None."""
    if head.count(b"\n") != head.count(b"\r\n"):
        # Some servers treat a lone line feed as the end of a line, and some as a part of it.
        return 400
    return 505 if _OTHER_VERSION.match(head) else None
