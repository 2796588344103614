"""Ends an HTTP request at its deadline.

A socket's timeout limits only a single read. A server that sends one byte a second keeps each read
short and the whole request running: in the TLS handshake, in the headers, in the size of a chunk.
Here a thread shuts down the connection at the deadline, and the read that waits for it returns.
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

from exporter.collectors.resolving import LEAST_SECONDS, LookupTimeoutError, connect
from exporter.model import Deadline


class RequestWatch:
    """A running request of one thread."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.is_cut = False
        """Whether the request was ended at its deadline."""
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []

    def see(self, connection: socket.socket) -> None:
        """Note that the request uses this connection."""
        # After TLS has taken over a socket, its first object can no longer be used, but a copy of
        # the descriptor can. `dup` of the object would create another one of its class, which TLS
        # does not allow.
        descriptor = os.dup(connection.fileno())
        copy = socket.socket(
            connection.family, connection.type, connection.proto, fileno=descriptor
        )
        with self._lock:
            self._sockets.append(copy)
            if self.is_cut:
                _shut(copy)

    def cut(self) -> None:
        """Shut down the request's connections."""
        with self._lock:
            self.is_cut = True
            for each in self._sockets:
                _shut(each)

    def close(self) -> None:
        """Forget the request, which has ended."""
        with self._lock:
            for each in self._sockets:
                each.close()
            self._sockets.clear()


class Watchdog:
    """Cuts requests at their deadlines. One thread per process, started at the first request."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[RequestWatch, float] = {}
        self._next = 0.0
        """When the thread wakes up next; 0 if it is not started."""
        self._current = threading.local()

    @contextmanager
    def watch(self, deadline: Deadline) -> Iterator[RequestWatch]:
        """Watch the request that this thread makes within the context."""
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
        """The request of the calling thread."""
        found: RequestWatch | None = getattr(self._current, "watch", None)
        return found

    def _add(self, watch: RequestWatch, due: float) -> None:
        with self._changed:
            self._due[watch] = due
            if not self._next:
                threading.Thread(target=self._run, name="deadlines", daemon=True).start()
                self._next = due
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
    """A connection cannot be made.

    The text is the reason only, without urllib3's name of the connection.
    """

    def __init__(self, connection: HTTPConnection, reason: str) -> None:
        super().__init__(connection, reason)
        self._said = reason

    def __str__(self) -> str:
        return self._said


class _Watched(HTTPConnection):
    """A connection that is shut down at the deadline of the current request."""

    def _new_conn(self) -> socket.socket:
        """Connect to one of the host's addresses.

        Together they get the time that the request has left.
        """
        watch = WATCHDOG.current
        if watch is None:
            return super()._new_conn()
        try:
            made = connect(
                self._dns_host, self.port, watch.deadline, list(self.socket_options or ())
            )
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except UnicodeError:
            raise _NotConnectedError(self, "not a valid host name") from None
        except LookupTimeoutError as error:
            raise _NotConnectedError(self, str(error)) from None
        except TimeoutError:
            raise ConnectTimeoutError(self, f"{self.host} does not respond in time") from None
        except OSError as error:
            raise _NotConnectedError(self, error.strerror or str(error)) from None
        watch.see(made)
        return made

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request. The connection may be a reused one."""
        watch = WATCHDOG.current
        if watch is not None and isinstance(self.sock, socket.socket):
            watch.see(self.sock)
        super().request(*args, **kwargs)


class _WatchedTls(_Watched, HTTPSConnection):
    """The same with TLS."""


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


def watched(manager: PoolManager) -> None:
    """Let the manager make connections that are watched."""
    manager.pool_classes_by_scheme = {"http": _WatchedPool, "https": _TlsPool}


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
