"""Reads one NSQ installation: its tasks, and the order of requests in each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from exporter.collectors.access import Login
from exporter.collectors.deadlines import CHEAP_SECONDS, Share
from exporter.collectors.http import HttpClient
from exporter.collectors.nsq.nodes import (
    ANSWER_SHARE,
    MOST_NODES,
    KnownNodes,
    Nsqd,
    discover,
    roster,
)
from exporter.collectors.nsq.probe import NsqProber
from exporter.collectors.nsq.selection import TopicSelection
from exporter.collectors.nsq.settings import NsqSettings
from exporter.collectors.nsq.stats import Finished, NodeStats, read_stats
from exporter.collectors.nsq.survey import survey_of
from exporter.collectors.nsq.trust import NodeTrust, host_of
from exporter.collectors.parallel import FairPool, Pool
from exporter.collectors.process.hazards import Hazards
from exporter.model import (
    CollectError,
    Deadline,
    Facts,
    Finding,
    Observation,
    Probes,
    Problem,
    QueueBacklog,
    Survey,
)

SHARE, SILENT = 0.5, 0.15
"""Fraction of a run's time that one nsqd may take; less if it did not answer last time. The numbers
of the other nodes wait for it.
"""


class NsqCollector:
    """The tasks of one NSQ source.

    `discovery` finds the nsqds, `backlog` reads them, `probe` measures their response times. `http`
    replaces both HTTP clients, the one with the login and the one without.
    """

    system = "nsq"
    follows: Mapping[str, str] = {}

    def __init__(self, settings: NsqSettings, http: HttpClient | None = None) -> None:
        every: Mapping[str, Callable[[Deadline], Observation]] = {
            "discovery": self.discovery,
            "backlog": self.backlog,
            "probe": self.probe,
        }
        self.tasks: Mapping[str, Callable[[Deadline], Observation]] = {
            name: every[name] for name in settings.tasks()
        }
        self._settings = settings
        self._http = http or HttpClient(settings.name, settings.tls, settings.login)
        self._anonymous = http or HttpClient(settings.name, settings.tls, Login())
        self._trust = NodeTrust(settings)
        self._pool = Pool()
        self._nodes = FairPool()
        """Fair because anybody who reaches an nsqlookupd can register nodes that never answer."""
        self._selection = TopicSelection(settings)
        self._finished = Finished()
        self._lock = threading.Lock()
        self._known = KnownNodes()
        self._discovered = False
        self._again_soon = False
        self._silent: frozenset[str] = frozenset()
        """Nodes that did not answer last time."""
        self._prober = NsqProber(settings)

    def due_early(self, task: str) -> bool:
        """Return whether the backlog should be read early: messages wait, and reading is cheap."""
        return task == "backlog" and self._again_soon

    def discovery(self, deadline: Deadline) -> Facts:
        """Find the nsqds."""
        listing = discover(self._settings, self._http, self._pool, deadline)
        with self._lock:
            left_out = self._known.update(listing)
            self._discovered = True
        problems = [*listing.problems, *_too_many(left_out)]
        return Facts(unreadable=listing.unreadable, problems=problems)

    def backlog(self, deadline: Deadline) -> QueueBacklog:
        """Read all nsqds at the same time."""
        self._again_soon = False  # a failed run is not repeated early
        if not self._discovered:
            self.discovery(deadline)
        with self._lock:
            nodes = dict(self._known.nodes)
        at = time.monotonic()
        found = self._nodes.all_at_once(
            {
                name: partial(
                    self._read, node, Share(deadline, SILENT if name in self._silent else SHARE)
                )
                for name, node in sorted(nodes.items(), key=self._is_strange)
            },
            Share(deadline, ANSWER_SHARE),
        )
        stats = {n: a for n, a in found.items() if isinstance(a, NodeStats)}
        faults = {n: a for n, a in found.items() if isinstance(a, CollectError)}
        self._silent = frozenset(faults)
        with self._lock:
            vanished = self._known.drop_silent(stats)
        faults = {name: fault for name, fault in faults.items() if name not in vanished}
        if faults and not stats:
            first = next(iter(faults.values()))
            raise CollectError(first.reason, str(first))
        belonging = [node for name, node in nodes.items() if name not in vanished]
        backlog = replace(
            _backlog_of(at, stats, faults, vanished),
            roster=roster(belonging, self._settings, at),
        )
        self._finished.keep(depth.place for depth in backlog.depths)
        cheap = time.monotonic() - at < CHEAP_SECONDS
        self._again_soon = cheap and any(depth.lag for depth in backlog.depths)
        return backlog

    def probe(self, deadline: Deadline) -> Probes:
        """Send a message to each nsqd and receive it."""
        if not self._discovered:
            self.discovery(deadline)
        with self._lock:
            nodes = list(self._known.nodes.values())
        belonging = roster(nodes, self._settings, time.monotonic())
        return replace(self._prober.run(nodes, deadline), roster=belonging)

    def check(self, deadline: Deadline) -> Sequence[Finding]:
        """Try each feature once."""
        try:
            listing = discover(self._settings, self._http, self._pool, deadline)
        except CollectError as error:
            return [Finding("connection", ok=False, detail=str(error), required=True)]
        findings = [
            Finding("connection", ok=True, detail=f"{len(listing.nodes)} nsqds", required=True),
            *(
                Finding(f"discovery ({p.subject})", ok=False, detail=p.message)
                for p in listing.problems
            ),
        ]
        nodes = listing.nodes
        answers = self._pool.all_at_once(
            {name: partial(self._read, node, deadline) for name, node in nodes.items()}, deadline
        )
        for name, answer in answers.items():
            findings += _findings(name, answer)
        if self._settings.probe:
            findings += self._prober.check(list(nodes.values()), deadline)
        return findings

    def survey(self, deadline: Deadline, seconds: float) -> Survey:  # noqa: ARG002 - unknown to nsqd
        """Return all names; nsqd does not say when a channel last moved."""
        return survey_of(self.backlog(deadline))

    def close(self) -> None:
        """Close all connections. This also deletes the topics of the probes."""
        self._prober.close()
        self._pool.close()
        self._nodes.close()
        self._http.close()
        self._anonymous.close()

    def _is_trusted(self, node: Nsqd) -> bool:
        # If a host name in the config has several addresses, each is asked; all count as
        # configured.
        return node.configured or self._trust.covers(host_of(node.url))

    def _is_strange(self, named: tuple[str, Nsqd]) -> bool:
        """Sort key: nodes that only an nsqlookupd names come last."""
        return not self._is_trusted(named[1])

    def _read(self, node: Nsqd, deadline: Deadline) -> NodeStats:
        params = {"format": "json", "include_mem": "false"}
        if not self._settings.internals:
            # What each client finished is needed only for ephemeral channels.
            params["include_clients"] = "false"
        host = host_of(node.url)
        trusted = self._is_trusted(node)
        client = self._http if trusted else self._anonymous
        try:
            answer: Any = client.get_json(f"{node.url}/stats", deadline, params)
        except CollectError as error:
            raise (error if trusted else self._trust.explained(host, error)) from None
        return read_stats(answer, node.name, self._selection, node.tombstones, self._finished)


def _too_many(left_out: int) -> list[Problem]:
    if not left_out:
        return []
    text = f"more than {MOST_NODES:,} nodes are registered; {left_out:,} are left out"
    return [Problem("invalid", "nodes", text)]


def _backlog_of(
    at: float,
    stats: Mapping[str, NodeStats],
    faults: Mapping[str, CollectError],
    vanished: frozenset[str],
) -> QueueBacklog:
    every = list(stats.values())
    return QueueBacklog(
        at,
        depths=[depth for node in every for depth in node.depths],
        counts=[counts for node in every for counts in node.counts],
        produced=[produced for node in every for produced in node.produced],
        whole=frozenset(name for name, node in stats.items() if not node.rows.nameless),
        vanished=vanished,
        destinations=frozenset().union(*(node.destinations for node in every)),
        nodes={**dict.fromkeys(stats, True), **dict.fromkeys(faults, False)},
        unreadable=sum(node.rows.unreadable for node in every),
        problems=[
            *(Problem(fault.reason, name, str(fault)) for name, fault in faults.items()),
            *(problem for node in every for problem in node.rows.problems()),
        ],
    )


def _findings(name: str, answer: NodeStats | CollectError) -> list[Finding]:
    if isinstance(answer, CollectError):
        return [Finding(f"lag, rates, ages ({name})", ok=False, detail=str(answer), required=True)]
    percentiles = any(counts.wait is not None for counts in answer.counts)
    channels = sum(1 for depth in answer.depths if depth.place.group is not None)
    detail = f"{len(answer.produced)} topics and {channels} channels (excluded ones not counted)"
    unread = answer.rows.problems()
    return [
        Finding(f"lag, rates, ages ({name})", ok=True, detail=detail, required=True),
        *(
            Finding(f"every row ({name})", ok=False, detail=f"{each.subject}: {each.message}")
            for each in unread
        ),
        Finding(
            f"percentiles ({name})",
            ok=True,
            detail="measured by nsqd"
            if percentiles
            else "not measured by nsqd (--e2e-processing-latency-percentile); "
            "ages are estimated from the counters",
        ),
    ]


def nsq_collector(settings: NsqSettings, _: Hazards) -> NsqCollector:
    """Return the collector of a source (`systems.System.collector`)."""
    return NsqCollector(settings)
