"""Results of the probes of one source, by node."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from exporter.analysis.families import Family
from exporter.analysis.histogram import Histogram
from exporter.analysis.nodes import Labeler, Membership, forget_most
from exporter.catalogue import BY_NAME
from exporter.model import PROBE_RESULTS, STAGES, NodeProbe, ProbeResult, Probes, Roster

NODE_KEPT = 86_400.0
"""Seconds for which a node that is no longer probed is shown if its removal cannot be detected."""
BUCKETS = BY_NAME["mq_probe_latency_seconds"].buckets


class ProbedNode:
    """Counters and histograms of one node."""

    __slots__ = (
        "counts",
        "histograms",
        "label",
        "membership",
        "resting",
        "result_labels",
        "seen",
        "success",
    )

    def __init__(self, node: str, labeler: Labeler) -> None:
        self.label = labeler({"node": node})
        self.result_labels = tuple(
            labeler({"node": node, "result": result}) for result in PROBE_RESULTS
        )
        self.histograms = {
            stage: Histogram(BUCKETS, labeler, {"node": node, "stage": stage}) for stage in STAGES
        }
        self.counts: dict[ProbeResult, int] = dict.fromkeys(PROBE_RESULTS, 0)
        self.success = False
        self.resting = False
        """Whether it rejects clients on purpose: then its success is unknown and not exposed."""
        self.seen = 0.0
        self.membership = Membership()

    def observe(self, probe: NodeProbe, now: float) -> None:
        """Count one probe."""
        self.seen = now
        self.success = probe.receive is not None
        self.counts["sent"] += probe.sent
        if self.success:
            self.counts["received"] += 1
        elif probe.publish is None:
            self.counts["failed"] += 1
        else:
            self.counts["lost"] += 1
        for stage in STAGES:
            seconds = getattr(probe, stage)
            if seconds is not None:
                self.histograms[stage].observe(seconds)


class ProbeState:
    """The probed nodes of one source. Not thread-safe."""

    def __init__(self, labeler: Labeler) -> None:
        self._labeler = labeler
        self.nodes: dict[str, ProbedNode] = {}

    def observe(self, probes: Probes, now: float) -> None:
        """Count one run of the probe task; `now` in monotonic seconds."""
        for probe in probes.probes:
            node = self.nodes.get(probe.node)
            if node is None:
                node = self.nodes[probe.node] = ProbedNode(probe.node, self._labeler)
            node.observe(probe, now)
        for name, node in self.nodes.items():
            node.resting = name in probes.resting
        self._forget(probes.roster, now)

    def _forget(self, roster: Roster | None, now: float) -> None:
        """Drop nodes that are gone. A node that is down and cannot be probed has no success."""
        for name, node in list(self.nodes.items()):
            over = node.membership.is_over(name, roster, proven=node.counts["received"] > 0)
            if over or now - node.seen > NODE_KEPT:
                del self.nodes[name]
            elif roster is not None and node.seen < now and name not in roster.nodes:
                node.success = False
        forget_most(self.nodes, now)

    def families(self) -> Sequence[Family]:
        """Return the series of all nodes."""
        nodes = list(self.nodes.values())
        histograms = [histogram for node in nodes for histogram in node.histograms.values()]
        return (
            Family(
                "mq_probe_latency_seconds",
                list(chain.from_iterable(h.labels for h in histograms)),
                list(chain.from_iterable(h.values() for h in histograms)),
            ),
            Family(
                "mq_probe_messages_total",
                list(chain.from_iterable(node.result_labels for node in nodes)),
                [node.counts[result] for node in nodes for result in PROBE_RESULTS],
            ),
            Family(
                "mq_probe_success",
                [node.label for node in nodes if not node.resting],
                [int(node.success) for node in nodes if not node.resting],
            ),
        )
