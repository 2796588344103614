"""Which nsqds there are: those that the nsqlookupds know, and those that the config names."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from exporter.collectors.deadlines import Share
from exporter.collectors.http import HttpClient
from exporter.collectors.nsq.settings import NsqSettings
from exporter.collectors.parallel import Pool
from exporter.collectors.reply_rows import RowError, Rows, host, port, rows_of
from exporter.model import CollectError, Deadline, Problem, Roster

ANSWER_SHARE = 0.9
"""Part of a run's time in which all have to answer."""
GONE_AFTER = 2
"""Complete discoveries in a row without a node before it is none of the installation's any more, if it is silent too."""

MOST_NODES = 1_000
"""Nodes of one source: anybody who reaches an nsqlookupd can register any number, and new ones all the time."""


@dataclass(frozen=True)
class Nsqd:
    """One nsqd: where it is asked, and what it says of itself."""

    url: str
    name: str
    """Broadcast address and HTTP port: the same whoever tells of it."""
    tcp: tuple[str, int] | None = None
    """Where clients connect to."""
    tombstones: frozenset[str] = frozenset()
    """Topics of which every nsqlookupd says that this node is not to be read any more."""
    configured: bool = False
    """Whether the config names it, so that it gets the login."""


class NodeListing(NamedTuple):
    """What one discovery found."""

    nodes: Mapping[str, Nsqd]
    complete: bool
    problems: Sequence[Problem]
    unreadable: int = 0
    """Nodes that were left out."""


@dataclass
class KnownNodes:
    """The nodes that are asked for their statistics: those of the last discoveries."""

    nodes: dict[str, Nsqd] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    """Nodes that complete discoveries lack now, and how many in a row."""
    answering: frozenset[str] = frozenset()
    """Those of them that answered the last time."""

    def take(self, listing: NodeListing) -> int:
        """Take a discovery: what an incomplete one lacks stays. Return how many nodes are left out, since there are too many."""
        names = {node.url: name for name, node in self.nodes.items()}
        found: dict[str, Nsqd] = {}
        for name, node in listing.nodes.items():
            known = names.get(node.url)
            if known is not None and known != name and node.tcp is None:
                # It does not answer now, and was called by the name that it told.
                found.setdefault(known, self.nodes[known])
                continue
            if known is not None and known != name:
                # It was called by the address of the config, before it told its name.
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
        """Forget nodes beyond `MOST_NODES`: those first that are listed no more, then others that do not answer, by chance."""
        excess = max(len(self.nodes) - MOST_NODES, 0)

        def rank(name: str) -> tuple[bool, bool, bool, float]:
            kept = (self.nodes[name].configured, name in self.answering, name in listed)
            return (*kept, random.random())  # noqa: S311 - gives each its turn, guards nothing

        for name in sorted(self.nodes, key=rank)[:excess] if excess else ():
            del self.nodes[name]
            self.missing.pop(name, None)
        return excess

    def drop_silent(self, answered: Iterable[str]) -> frozenset[str]:
        """Forget the nodes that the discoveries lack and that don't answer either; return them.

        An nsqlookupd that was restarted knows no node until they tell it of themselves.
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
    """Return which nsqds belong to the installation; one that is called by another name is the same at its address.

    An nsqlookupd forgets an nsqd the moment it crashes, so what it lacks may be down. Where all nsqds are in the config, what
    is not among them was removed.
    """
    absent = None if settings.lookupds else frozenset[str]()
    return Roster(at, {node.name: node.url for node in nodes}, absent)


def discover(
    settings: NsqSettings, http: HttpClient, pool: Pool, deadline: Deadline
) -> NodeListing:
    """Ask all nsqlookupds, and each nsqd of the config, at the same time. Raises `CollectError` where none answers."""
    lookupds = [each for url in settings.lookupds for each in addresses(url)]
    nsqds = [each for url in settings.nsqds for each in addresses(url)]
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
                # Shown as down by the address that is known of it.
                node = Nsqd(url, _short(url), configured=True)
                found.setdefault(node.name, []).append(node)
            continue
        unreadable += rows.problems()
        left_out += rows.unreadable
        # What cannot be read may be any of the nodes that are known.
        complete &= not rows.unreadable
        for node in nodes:
            found.setdefault(node.name, []).append(node)
    if failures and len(failures) == len(asked):
        raise CollectError(failures[0].reason, failures[0].message)
    merged = {name: _merged(nodes) for name, nodes in found.items()}
    return NodeListing(merged, complete, [*failures, *unreadable], left_out)


def addresses(url: str) -> list[str]:
    """Return the URL for each address that its host name has, where there are several: all of them are meant.

    A name with one address, or with none that is found now, stays as it is.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        return [url]  # a certificate is for the name
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    except OSError:
        return [url]
    hosts = sorted({str(entry[4][0]) for entry in found})
    families = {entry[0] for entry in found}
    if len(families) > 1:
        # One server listens on both families as a rule; IPv4 is there in any case.
        hosts = sorted({str(entry[4][0]) for entry in found if entry[0] == socket.AF_INET})
    if len(hosts) < 2:  # noqa: PLR2004 - one address
        return [url]
    return [f"http://{_bracketed(host)}:{parts.port or 80}{parts.path}" for host in hosts]


def _get(http: HttpClient, url: str, deadline: Deadline) -> Callable[[], Any]:
    return lambda: http.get_json(url, deadline)


def _listed(answer: Any, url: str, rows: Rows) -> list[Nsqd]:
    """Return the nodes of an nsqlookupd's `/nodes`; `rows` counts those that cannot be read. Raises `CollectError`."""
    try:
        producers = rows_of(_data(answer), "producers")
    except RowError as error:
        raise _not_one(url, "/nodes", "nsqlookupd", error) from None
    return list(rows.each(producers, _producer, f"a node of {_short(url)}"))


def _producer(producer: Any) -> Nsqd:
    """Return one node; whoever can reach an nsqlookupd can register any name. Raises `RowError`."""
    name = host(producer, "broadcast_address")
    http_port = port(producer, "http_port")
    topics, tombstones = rows_of(producer, "topics"), rows_of(producer, "tombstones")
    dead = frozenset(str(topic) for topic, flag in zip(topics, tombstones, strict=False) if flag)
    tcp = (name, port(producer, "tcp_port"))
    address = f"{_bracketed(name)}:{http_port}"
    return Nsqd(f"http://{address}", address, tcp, dead)


def _itself(answer: Any, url: str) -> Nsqd:
    """Return the node of an nsqd's `/info`; it is asked at the address of the config. Raises `CollectError`."""
    try:
        data = _data(answer)
        name = f"{_bracketed(host(data, 'broadcast_address'))}:{port(data, 'http_port')}"
        tcp = (urlsplit(url).hostname or "", port(data, "tcp_port"))
    except RowError as error:
        raise _not_one(url, "/info", "nsqd", error) from None
    return Nsqd(url, name, tcp, configured=True)


def _data(answer: Any) -> Any:
    """Return what an answer holds; nsq before 1.0 wraps it."""
    return answer.get("data", answer) if isinstance(answer, dict) else answer


def _not_one(url: str, path: str, program: str, error: RowError) -> CollectError:
    return CollectError(
        "invalid", f"{url}{path}: unexpected response ({error}); is this an {program}?"
    )


def _merged(nodes: Sequence[Nsqd]) -> Nsqd:
    """Return one node of what several say of it; the config's address, which comes last, is the one to ask."""
    dead = frozenset[str].intersection(*(node.tombstones for node in nodes))
    last = nodes[-1]
    return Nsqd(last.url, last.name, last.tcp, dead, last.configured)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _short(url: str) -> str:
    return urlsplit(url).netloc
