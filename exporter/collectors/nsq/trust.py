"""Decides which nsqds are sent the login.

Anybody who reaches an nsqlookupd can register their own host there.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from exporter.collectors.nsq.settings import NsqSettings
from exporter.model import CollectError

ADVICE = (
    "this host is known only from an nsqlookupd, so the login is not sent to it; "
    "if you trust the host, add it to nodes.include"
)


class NodeTrust:
    """Decides by host name. Safe to use from any thread."""

    def __init__(self, settings: NsqSettings) -> None:
        urls = (*settings.lookupds, *settings.nsqds)
        self._hosts = frozenset(urlsplit(url).hostname for url in urls)
        self._allowed = settings.trusted

    def covers(self, host: str) -> bool:
        """Return whether the host is in the config, or allowed by `nodes`."""
        return host.lower() in self._hosts or self._allowed.allows(host)

    def explained(self, host: str, error: CollectError) -> CollectError:
        """Return the error of a node. If it was sent no login and rejected the request, say why."""
        if error.reason != "unauthorized" or self.covers(host):
            return error
        return CollectError("unauthorized", f"{error}; {ADVICE}")


def host_of(url: str) -> str:
    """Return the host of an address."""
    return urlsplit(url).hostname or ""
