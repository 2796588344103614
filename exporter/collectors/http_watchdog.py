"""Ends an HTTP request at its deadline, wherever it stands.

The timeout of a socket is for one read. A server that sends one byte a second keeps each read short and the whole request
going: in the TLS handshake, in the headers, in the size of a chunk. Here a thread shuts the request's connection
down at the deadline, and the read that waits for it returns.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from exporter.model import Deadline

LEAST_SECONDS = 0.05
"""Given to each part of a request, even at its deadline."""


class RequestWatch:
    """One request under way, in the thread that made it."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.is_cut = False
        """Whether the request did not end by itself."""
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []

    def see(self, connection: socket.socket) -> None:
        """The request uses this connection."""
        # A socket that TLS takes over is not usable any more by its first object: a copy of the descriptor is.
        # `dup` would make another one of its class, which TLS does not allow.
        descriptor = os.dup(connection.fileno())
        copy = socket.socket(
            connection.family, connection.type, connection.proto, fileno=descriptor
        )
        with self._lock:
            self._sockets.append(copy)
            if self.is_cut:
                _shut(copy)

    def cut(self) -> None:
        """Shut the connections down."""
        with self._lock:
            self.is_cut = True
            for each in self._sockets:
                _shut(each)

    def close(self) -> None:
        """The request has ended."""
        with self._lock:
            for each in self._sockets:
                each.close()
            self._sockets.clear()


class Watchdog:
    """Cuts requests at their deadlines; one thread for all of a process, started at the first request."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[RequestWatch, float] = {}
        self._next = 0.0
        """When the thread looks next; 0 while it is not there."""
        self._current = threading.local()

    @contextmanager
    def watch(self, deadline: Deadline) -> Iterator[RequestWatch]:
        """Watch the request that this thread makes meanwhile."""
        watch = self._current.watch = RequestWatch(deadline)
        self._add(watch, time.monotonic() + max(deadline.remaining(), LEAST_SECONDS))
        try:
            yield watch
        finally:
            self._current.watch = None
            with self._changed:
                self._due.pop(watch, None)
            watch.close()

    @property
    def current(self) -> RequestWatch | None:
        """The request of this thread."""
        found: RequestWatch | None = getattr(self._current, "watch", None)
        return found

    def _add(self, watch: RequestWatch, due: float) -> None:
        with self._changed:
            self._due[watch] = due
            if not self._next:
                self._next = due
                threading.Thread(target=self._run, name="deadlines", daemon=True).start()
            elif due < self._next:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                self._next = min(self._due.values(), default=float("inf"))
                if self._next > now:
                    self._changed.wait(min(self._next - now, threading.TIMEOUT_MAX))
                    continue
                over = [watch for watch, due in self._due.items() if due <= now]
                for watch in over:
                    del self._due[watch]
            for watch in over:
                watch.cut()


WATCHDOG = Watchdog()


class _NotConnectedError(NewConnectionError):
    """There is no connection; its text is only the reason, without the connection's own name."""

    def __init__(self, connection: HTTPConnection, reason: str) -> None:
        super().__init__(connection, reason)
        self._said = reason

    def __str__(self) -> str:
        return self._said


class _Watched(HTTPConnection):
    """A connection that its request's watch knows."""

    def _new_conn(self) -> socket.socket:
        """Connect to one of the host's addresses; all of them together get the time of the request."""
        watch = WATCHDOG.current
        if watch is None:
            return super()._new_conn()
        try:
            host = self._dns_host.strip("[]")
            found = socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except UnicodeError:
            raise _NotConnectedError(self, "not a valid host name") from None
        fault: Exception = _NotConnectedError(self, "the name has no address")
        for turn, (family, kind, protocol, _, address) in enumerate(found):
            seconds = watch.deadline.remaining() / (len(found) - turn)
            made = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    made.setsockopt(*option)
                made.settimeout(max(seconds, LEAST_SECONDS))
                made.connect(address)
                made.settimeout(max(watch.deadline.remaining(), LEAST_SECONDS))
                watch.see(made)
            except TimeoutError:
                fault = ConnectTimeoutError(self, f"{self.host} does not respond in time")
                made.close()
            except OSError as error:
                fault = _NotConnectedError(self, error.strerror or str(error))
                made.close()
            else:
                return made
        raise fault

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request, on a connection that may be of an earlier one."""
        watch = WATCHDOG.current
        if watch is not None and isinstance(self.sock, socket.socket):
            watch.see(self.sock)
        super().request(*args, **kwargs)


class _WatchedTls(_Watched, HTTPSConnection):
    """The same by TLS."""


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


def watched(manager: PoolManager) -> None:
    """Let the manager make connections that end with the watch of their request."""
    manager.pool_classes_by_scheme = {"http": _WatchedPool, "https": _TlsPool}


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
