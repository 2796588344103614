"""What the probes of one source found, node by node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from exporter.analysis.families import Family
from exporter.analysis.histogram import Histogram
from exporter.analysis.nodes import Membership, forget_most
from exporter.catalogue import BY_NAME
from exporter.model import PROBE_RESULTS, STAGES, NodeProbe, ProbeResult, Probes, Roster

Labeler = Callable[[Mapping[str, str]], str]
NODE_KEPT = 86_400.0
"""Seconds for which a node that is probed no more stays visible, where the source does not say that it was removed."""
BUCKETS = BY_NAME["mq_probe_latency_seconds"].buckets


class ProbedNode:
    """One node's counts and times."""

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
        """Whether it takes no clients on purpose: then it is not known whether it would succeed."""
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
    """All nodes of one source. Not thread-safe."""

    def __init__(self, labeler: Labeler) -> None:
        self._labeler = labeler
        self.nodes: dict[str, ProbedNode] = {}

    def observe(self, probes: Probes, now: float) -> None:
        """Count one round; `now` in monotonic seconds."""
        for probe in probes.probes:
            node = self.nodes.get(probe.node)
            if node is None:
                node = self.nodes[probe.node] = ProbedNode(probe.node, self._labeler)
            node.observe(probe, now)
        for name, node in self.nodes.items():
            node.resting = name in probes.resting
        self._forget(probes.roster, now)

    def _forget(self, roster: Roster | None, now: float) -> None:
        """Drop the nodes that are gone; one that is down and can't be probed any more does not succeed."""
        for name, node in list(self.nodes.items()):
            over = node.membership.is_over(name, roster, proven=node.counts["received"] > 0)
            if over or now - node.seen > NODE_KEPT:
                del self.nodes[name]
            elif roster is not None and node.seen < now and name not in roster.nodes:
                node.success = False
        forget_most(self.nodes, now)

    def families(self) -> Sequence[Family]:
        """Return what is shown."""
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
