"""Looks up host names and connects, both within a deadline.

`getaddrinfo` cannot be interrupted and takes 10 seconds or more if no name server answers. So each
lookup runs in a thread of its own. Who needs the same name waits for the same lookup.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from exporter.model import Deadline

Addresses = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]]
"""What `getaddrinfo` returns."""

LOOKUP_SHARE = 0.8
"""Fraction of the time of a connection for its lookup, so that the reason can still be reported."""
LEAST_SECONDS = 0.05
"""Least time for each step, even at the deadline."""


class LookupTimeoutError(TimeoutError):
    """A name was not looked up in time."""


class Resolver:
    """Looks up names. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[tuple[str, int], Future[Addresses]] = {}

    def addresses(self, host: str, port: int, seconds: float) -> Addresses:
        """Return the addresses for TCP.

        Raises `LookupTimeoutError`, `socket.gaierror` for unknown names and `UnicodeError` for
        invalid ones.
        """
        try:
            return self.begin(host, port).result(max(seconds, LEAST_SECONDS))
        except TimeoutError:
            raise LookupTimeoutError(f"no name server answers in time for {host}") from None

    def begin(self, host: str, port: int) -> Future[Addresses]:
        """Start a lookup, unless the same one is pending, and return its result to wait for."""
        found: Future[Addresses] = Future()
        with contextlib.suppress(OSError, UnicodeError):
            # An address needs no name server.
            found.set_result(_look_up(host, port, socket.AI_NUMERICHOST))
            return found
        key = host, port
        with self._lock:
            if key in self._pending:
                return self._pending[key]
            threading.Thread(
                target=self._run, args=(key, found), name="resolver", daemon=True
            ).start()
            self._pending[key] = found
        return found

    def _run(self, key: tuple[str, int], found: Future[Addresses]) -> None:
        try:
            result = _look_up(*key)
        except Exception as error:  # noqa: BLE001 - raised where the result is read
            self._forget(key)
            found.set_exception(error)
        else:
            self._forget(key)
            found.set_result(result)

    def _forget(self, key: tuple[str, int]) -> None:
        with self._lock:
            del self._pending[key]


def _look_up(host: str, port: int, flags: int = 0) -> Addresses:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)


RESOLVER = Resolver()


def connect(
    host: str,
    port: int,
    deadline: Deadline,
    options: Sequence[tuple[Any, ...]] = (),
) -> socket.socket:
    """Connect to one of the host's addresses. Together they get the time that is left.

    Raises what `Resolver.addresses` raises, `TimeoutError`, and `OSError` with the fault of the
    last address.
    """
    found = RESOLVER.addresses(host.strip("[]"), port, deadline.remaining() * LOOKUP_SHARE)
    fault: OSError = OSError("the name has no address")
    for turn, (family, kind, protocol, _, address) in enumerate(found):
        try:
            made = socket.socket(family, kind, protocol)
        except OSError as error:  # such as a machine without IPv6
            fault = error
            continue
        try:
            for option in options:
                made.setsockopt(*option)
            made.settimeout(max(deadline.remaining() / (len(found) - turn), LEAST_SECONDS))
            made.connect(address)
        except OSError as error:
            fault = error
            made.close()
        else:
            made.settimeout(max(deadline.remaining(), LEAST_SECONDS))
            return made
    raise fault
