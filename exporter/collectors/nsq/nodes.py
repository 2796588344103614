"""Finds the nsqds of a source: from its nsqlookupds and from the config."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from exporter.collectors.deadlines import Share
from exporter.collectors.http import HttpClient
from exporter.collectors.nsq.settings import NsqSettings
from exporter.collectors.parallel import Pool
from exporter.collectors.reply_rows import RowError, Rows, host, port, rows_of
from exporter.collectors.resolving import RESOLVER, Addresses
from exporter.model import CollectError, Deadline, Problem, Roster, Until

ANSWER_SHARE = 0.9
"""Fraction of a run's time within which all servers must answer."""
LOOKUP_SHARE = 0.2
"""Fraction of a run's time for the lookups of host names."""
GONE_AFTER = 2
"""A silent node is dropped after this many complete discoveries in a row that do not list it."""

MOST_NODES = 1_000
"""Limit of nodes per source. Anybody who reaches an nsqlookupd can register any number of nodes,
and new ones all the time.
"""


@dataclass(frozen=True)
class Nsqd:
    """One nsqd: its addresses, and what is known about it."""

    url: str
    name: str
    """Broadcast address and HTTP port; the same in every source of information."""
    tcp: tuple[str, int] | None = None
    """Address for client connections (the TCP protocol)."""
    tombstones: frozenset[str] = frozenset()
    """Topics with a tombstone for this node in every nsqlookupd. They are not read from it."""
    configured: bool = False
    """Whether the node is in the config. Only then it is sent the login."""


class NodeListing(NamedTuple):
    """The result of one discovery."""

    nodes: Mapping[str, Nsqd]
    complete: bool
    problems: Sequence[Problem]
    unreadable: int = 0
    """Number of nodes that were left out because their row cannot be read."""


@dataclass
class KnownNodes:
    """The nodes to read, merged from all discoveries so far."""

    nodes: dict[str, Nsqd] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    """Node to the number of complete discoveries in a row that did not list it."""
    answering: frozenset[str] = frozenset()
    """The nodes that answered in the last run of `backlog`."""

    def update(self, listing: NodeListing) -> int:
        """Merge a discovery. Return the number of nodes left out because there are too many.

        Nodes that an incomplete discovery does not list are kept.
        """
        names = {node.url: name for name, node in self.nodes.items()}
        found: dict[str, Nsqd] = {}
        for name, node in listing.nodes.items():
            known = names.get(node.url)
            if known is not None and known != name and node.tcp is None:
                # It does not answer now. Keep the name that it reported before.
                found.setdefault(known, self.nodes[known])
                continue
            if known is not None and known != name:
                # Until it reported its name, it was called by its address in the config.
                self.nodes.pop(known, None)
                self.missing.pop(known, None)
            found[name] = node
        self.nodes |= found
        for name in found:
            self.missing.pop(name, None)
        if listing.complete:
            for name in self.nodes.keys() - found.keys():
                self.missing[name] = self.missing.get(name, 0) + 1
        return self._leave_out(found)

    def _leave_out(self, listed: Container[str]) -> int:
        """Forget nodes beyond `MOST_NODES`; return how many.

        Nodes that are no longer listed go first, then nodes that do not answer, in random order.
        """
        excess = max(len(self.nodes) - MOST_NODES, 0)

        def rank(name: str) -> tuple[bool, bool, bool, float]:
            kept = (self.nodes[name].configured, name in self.answering, name in listed)
            return (*kept, random.random())  # noqa: S311 - a fair choice, not a secret

        for name in sorted(self.nodes, key=rank)[:excess] if excess else ():
            del self.nodes[name]
            self.missing.pop(name, None)
        return excess

    def drop_silent(self, answered: Iterable[str]) -> frozenset[str]:
        """Forget nodes that are neither listed nor answering; return them.

        After a restart an nsqlookupd knows no nodes until they register again, so a node that is
        not listed may still be up.
        """
        self.answering = frozenset(answered)
        gone = frozenset(
            name for name, count in self.missing.items() if count >= GONE_AFTER
        ).difference(self.answering)
        for name in gone:
            self.nodes.pop(name, None)
            self.missing.pop(name, None)
        return gone


def roster(nodes: Iterable[Nsqd], settings: NsqSettings, at: float) -> Roster:
    """Return the nsqds of the installation.

    Nodes with different names and one address are the same node.

    An nsqlookupd forgets an nsqd as soon as it crashes, so a node that is not listed may be down.
    If the config lists all nsqds, a node that is not in the config was removed.
    """
    absent = None if settings.lookupds else frozenset[str]()
    return Roster(at, {node.name: node.url for node in nodes}, absent)


def discover(
    settings: NsqSettings, http: HttpClient, pool: Pool, deadline: Deadline
) -> NodeListing:
    """Ask all nsqlookupds, and each nsqd of the config, at the same time.

    Raises `CollectError` if none answers.
    """
    lookups = Until(deadline.remaining() * LOOKUP_SHARE)
    every = addresses([*settings.lookupds, *settings.nsqds], lookups)
    lookupds = [each for url in settings.lookupds for each in every[url]]
    nsqds = [each for url in settings.nsqds for each in every[url]]
    part = Share(deadline, ANSWER_SHARE)
    asked: dict[str, Callable[[], Any]] = {
        **{url: _get(http, f"{url}/nodes", part) for url in lookupds},
        **{url: _get(http, f"{url}/info", part) for url in nsqds},
    }
    answers = pool.all_at_once(asked, part)
    failures: list[Problem] = []
    unreadable: list[Problem] = []
    left_out = 0
    found: dict[str, list[Nsqd]] = {}
    complete = True
    for url, answer in answers.items():
        try:
            if isinstance(answer, CollectError):
                raise answer
            rows = Rows()
            nodes = _listed(answer, url, rows) if url in lookupds else [_itself(answer, url)]
        except CollectError as error:
            failures.append(Problem(error.reason, _short(url), str(error)))
            complete &= url not in lookupds
            if url in nsqds:
                # It is shown as down, named by its address in the config.
                node = Nsqd(url, _short(url), configured=True)
                found.setdefault(node.name, []).append(node)
            continue
        unreadable += rows.problems()
        left_out += rows.unreadable
        # A row that cannot be read may be any of the known nodes.
        complete &= not rows.unreadable
        for node in nodes:
            found.setdefault(node.name, []).append(node)
    if failures and len(failures) == len(asked):
        raise CollectError(failures[0].reason, failures[0].message)
    merged = {name: _merged(nodes) for name, nodes in found.items()}
    return NodeListing(merged, complete, [*failures, *unreadable], left_out)


def addresses(urls: Sequence[str], deadline: Deadline) -> Mapping[str, list[str]]:
    """Return a URL for each address of the host names, because each may be a different server.

    A URL whose name has one address, or is not resolved by the deadline, is returned unchanged.
    """
    begun = {url: _begin_lookup(url) for url in urls}
    return {url: _urls(url, found, deadline) for url, found in begun.items()}


def _begin_lookup(url: str) -> Future[Addresses] | None:
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        return None  # the certificate is for the name
    return RESOLVER.begin(parts.hostname, parts.port or 80)


def _urls(url: str, lookup: Future[Addresses] | None, deadline: Deadline) -> list[str]:
    if lookup is None:
        return [url]
    try:
        found = lookup.result(max(deadline.remaining(), 0.0))
    except (OSError, UnicodeError):
        return [url]
    hosts = sorted({str(entry[4][0]) for entry in found})
    families = {entry[0] for entry in found}
    if len(families) > 1:
        # Usually one server listens on both families. IPv4 is always available.
        hosts = sorted({str(entry[4][0]) for entry in found if entry[0] == socket.AF_INET})
    if len(hosts) < 2:  # noqa: PLR2004 - one address
        return [url]
    parts = urlsplit(url)
    return [f"http://{_bracketed(host)}:{parts.port or 80}{parts.path}" for host in hosts]


def _get(http: HttpClient, url: str, deadline: Deadline) -> Callable[[], Any]:
    return lambda: http.get_json(url, deadline)


def _listed(answer: Any, url: str, rows: Rows) -> list[Nsqd]:
    """Return the nodes in the response of `/nodes` of an nsqlookupd. Raises `CollectError`.

    Rows that cannot be read are counted in `rows`.
    """
    try:
        producers = rows_of(_data(answer), "producers")
    except RowError as error:
        raise _not_one(url, "/nodes", "nsqlookupd", error) from None
    return list(rows.each(producers, _producer, f"a node of {_short(url)}"))


def _producer(producer: Any) -> Nsqd:
    """Return one node of an nsqlookupd. Raises `RowError`.

    The name is checked: anybody who reaches an nsqlookupd can register any name.
    """
    name = host(producer, "broadcast_address")
    http_port = port(producer, "http_port")
    topics, tombstones = rows_of(producer, "topics"), rows_of(producer, "tombstones")
    dead = frozenset(str(topic) for topic, flag in zip(topics, tombstones, strict=False) if flag)
    tcp = (name, port(producer, "tcp_port"))
    address = f"{_bracketed(name)}:{http_port}"
    return Nsqd(f"http://{address}", address, tcp, dead)


def _itself(answer: Any, url: str) -> Nsqd:
    """Return the node described by `/info` of an nsqd, with its address in the config.

    Raises `CollectError`.
    """
    try:
        data = _data(answer)
        name = f"{_bracketed(host(data, 'broadcast_address'))}:{port(data, 'http_port')}"
        tcp = (urlsplit(url).hostname or "", port(data, "tcp_port"))
    except RowError as error:
        raise _not_one(url, "/info", "nsqd", error) from None
    return Nsqd(url, name, tcp, configured=True)


def _data(answer: Any) -> Any:
    """Return the data of a response; NSQ before 1.0 wraps it in `data`."""
    return answer.get("data", answer) if isinstance(answer, dict) else answer


def _not_one(url: str, path: str, program: str, error: RowError) -> CollectError:
    return CollectError(
        "invalid", f"{url}{path}: unexpected response ({error}); is this an {program}?"
    )


def _merged(nodes: Sequence[Nsqd]) -> Nsqd:
    """Merge what several servers say about one node.

    The address in the config comes last and is used.
    """
    dead = frozenset[str].intersection(*(node.tombstones for node in nodes))
    last = nodes[-1]
    return Nsqd(last.url, last.name, last.tcp, dead, last.configured)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _short(url: str) -> str:
    return urlsplit(url).netloc
