"""An open connection: what it is doing, until when it may, and how it is ended."""

import math
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

_LINGER_SECONDS = 2.0
_LINGER_BYTES = 256 * 1024  # read at once
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

_Doing = Literal["idle", "handshake", "request", "handler", "response", "closing", "cut"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take."""

    connections: int = 64
    head_seconds: float = 10.0  # to send a request, to finish the TLS handshake, to begin at all
    idle_seconds: float = 120.0  # between two requests
    piece_seconds: float = 30.0  # to take each piece of a response
    response_seconds: float = 300.0  # to take all of it
    head_bytes: int = 32 * 1024
    body_bytes: int = 64 * 1024  # bodies are read and ignored


class Connection:
    """An open connection, what it is doing, and until when it may."""

    __slots__ = ("client", "deadline", "doing", "sock")

    def __init__(self, sock: socket.socket, client: str) -> None:
        self.sock, self.client = sock, client
        self.doing: _Doing = "idle"
        self.deadline = math.inf

    def begin(self, doing: _Doing, seconds: float) -> None:
        """Say what it is doing from now on, for `seconds` at most."""
        self.deadline = time.monotonic() + seconds
        self.doing = doing

    def cut(self) -> None:
        """Wake the thread that reads or writes here: it finds the connection ended."""
        with suppress(OSError):
            if self.doing != "idle":
                # What was not read in time is not kept by the kernel either.
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            # SSLSocket's own shutdown drops the TLS state that its thread is working with.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
        self.doing = "cut"

    def linger(self) -> None:
        """End it from this side, and read on for a moment.

        Closed with input unread, the connection would take along what was sent last.
        """
        self.begin("closing", _LINGER_SECONDS)
        with suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
            while socket.socket.recv(self.sock, _LINGER_BYTES):
                pass
