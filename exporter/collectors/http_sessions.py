"""HTTP sessions, each used by one request at a time. Idle connections are closed."""

from __future__ import annotations

import threading
import time
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from exporter.collectors.access import Tls
from exporter.collectors.http_watchdog import watched

IDLE_SECONDS = 90.0
"""A connection is closed after this long without use; longer than any task's interval."""


class Adapter(HTTPAdapter):
    """One connection. It is closed at the deadline of a watched request, and by `close`."""

    def __init__(self, tls: Tls | None = None) -> None:
        self._tls = tls
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if self._tls is not None:
            kwargs["ssl_context"] = self._tls.context()
            if self._tls.server_name is not None:
                kwargs["server_hostname"] = kwargs["assert_hostname"] = self._tls.server_name
        super().init_poolmanager(*args, **kwargs)
        watched(self.poolmanager)

    def close(self) -> None:
        """Close the connection now. urllib3 leaves that to the garbage collector."""
        pools = self.poolmanager.pools
        for key in pools.keys():  # noqa: SIM118 - urllib3's own kind of mapping, which can't be iterated
            pool = pools.get(key)
            if pool is not None:
                pool.close()
        super().close()


class Session(requests.Session):
    """A session with one server."""

    def __init__(self, origin: str, tls: Tls) -> None:
        """Read the certificates. Raises `CollectError`."""
        super().__init__()
        self.origin = origin
        self.used = False
        """Whether a request was answered on it before."""
        self.idle_since = 0.0
        self.tls_mark = tls.mark()
        """Taken first, so that a change while the files are read is detected."""
        self.trust_env = False  # ignore proxies and the .netrc of the user who started us
        self.adapters.clear()
        self.mount(origin, Adapter(tls if origin.startswith("https:") else None))


class Sessions:
    """Keeps sessions for later requests. Safe to use from many threads."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._lock = threading.Lock()
        self._idle: dict[str, list[Session]] = {}
        self._closed = False

    def acquire(self, url: str) -> Session:
        """Return a session for one request to the URL. Raises `CollectError`."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            kept = self._idle.get(origin)
            found = kept.pop() if kept else None
        return found or Session(origin, self._tls)

    def give_back(self, session: Session) -> None:
        """Keep a session whose connection is in order; close sessions that were idle too long."""
        now = time.monotonic()
        session.idle_since = now
        with self._lock:
            old = self._pop_idle(now - IDLE_SECONDS)
            if self._closed:
                old.append(session)
            else:
                self._idle.setdefault(session.origin, []).append(session)
        for each in old:
            each.close()

    def close(self) -> None:
        """Close all idle sessions now, and the others when they are given back."""
        with self._lock:
            self._closed = True
            old = self._pop_idle(time.monotonic())
        for each in old:
            each.close()

    def _pop_idle(self, until: float) -> list[Session]:
        """Remove and return the sessions that were last used before then."""
        old = [each for kept in self._idle.values() for each in kept if each.idle_since <= until]
        if old:
            gone = set(map(id, old))
            left = {
                origin: [each for each in kept if id(each) not in gone]
                for origin, kept in self._idle.items()
            }
            self._idle = {origin: kept for origin, kept in left.items() if kept}
        return old
