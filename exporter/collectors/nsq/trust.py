"""Which nsqds get the login: anybody who reaches an nsqlookupd can register a host of their own there."""

from __future__ import annotations

from urllib.parse import urlsplit

from exporter.collectors.nsq.settings import NsqSettings
from exporter.model import CollectError

ADVICE = (
    "this host is known only from an nsqlookupd, so the login is not sent to it; "
    "if you trust the host, add it to nodes.include"
)


class NodeTrust:
    """Decides by a node's host. Safe to use from any thread."""

    def __init__(self, settings: NsqSettings) -> None:
        urls = (*settings.lookupds, *settings.nsqds)
        self._hosts = frozenset(urlsplit(url).hostname for url in urls)
        self._allowed = settings.trusted

    def covers(self, host: str) -> bool:
        """Tell whether the host is one of the config's addresses, or allowed by `nodes`."""
        return host.lower() in self._hosts or self._allowed.allows(host)

    def explained(self, host: str, error: CollectError) -> CollectError:
        """Return the error of a node; a refusal by one that got no login says why it got none."""
        if error.reason != "unauthorized" or self.covers(host):
            return error
        return CollectError("unauthorized", f"{error}; {ADVICE}")


def host_of(url: str) -> str:
    """Return the host of an address."""
    return urlsplit(url).hostname or ""
