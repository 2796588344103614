"""Probes: whether each node delivers messages, and how fast."""

from __future__ import annotations

from mixin.boards.model import (
    CHOSEN,
    OF_SOURCE,
    Board,
    Panel,
    Query,
    Row,
    Variable,
    buckets,
    rate,
    worst,
)
from mixin.recording import PROBE, merged

NAME = "{{node}} · {{source}} {{cluster}}"
NODE = f'{CHOSEN},node=~"$node"'
LIMIT = Query(f"max({merged(f'mq_threshold_probe_seconds{{{CHOSEN}}}')})", "threshold", limit=True)


def quantile(part: float, stage: str, window: str = "$__rate_interval") -> str:
    """Return a quantile of the time to a stage, of the twenty slowest nodes."""
    counted = f'mq_probe_latency_seconds_bucket{{{NODE},stage="{stage}"}}'
    by = "sum by (le, cluster, namespace, system, source, node)"
    now = f"histogram_quantile({part}, {by} (rate({counted}[{window}])))"
    hour = f"histogram_quantile({part}, {by} (rate({counted}[$__range] @ end())))"
    # A stage that a system does not have counts nothing, and its quantile is no number
    return f"({now} >= 0) and topk(20, {hour} >= 0)"


BOARD = Board(
    uid="mq-probes",
    title="Message queues / Probes",
    description="Probe messages that the exporter sends to each node and reads back.",
    variables=(*OF_SOURCE, Variable("node", f"mq_probe_success{{{CHOSEN}}}", several=True)),
    content=(
        Panel(
            "stat",
            "Nodes with failing probes",
            "From how many nodes did the last probe message not come back in time?",
            (Query(f"count({PROBE}{{{NODE}}} == 0) or vector(0)"),),
            width=6,
            bad=1,
        ),
        Panel(
            "states",
            "Successful probes",
            "When did probe messages come back from each node? Shows the 50 nodes with the most failures. Red is a failure; a gap is unknown.",
            (
                Query(
                    f"{PROBE}{{{NODE}}} and bottomk(50, avg_over_time({PROBE}{{{NODE}}}[$__range] @ end()))",
                    NAME,
                ),
            ),
            width=18,
        ),
        Panel(
            "line",
            "End-to-end time, median",
            "How long does a probe message take from send to receive (median)?",
            (Query(quantile(0.5, "receive"), NAME), LIMIT),
            unit="s",
        ),
        Panel(
            "line",
            "End-to-end time, 99th percentile of the last hour",
            "How long do the slowest 1% of the probe messages of the last hour take? A shorter window has too few of them.",
            (Query(quantile(0.99, "receive", "1h"), NAME), LIMIT),
            unit="s",
        ),
        Row("Stages"),
        Panel(
            "line",
            "Publish time, median",
            "How long does the broker take to acknowledge a published message?",
            (Query(quantile(0.5, "publish"), NAME),),
            unit="s",
        ),
        Panel(
            "line",
            "Ack time, median",
            "How long does it take from sending a message until its offset is committed or the message is acknowledged?",
            (Query(quantile(0.5, "ack"), NAME),),
            unit="s",
        ),
        Panel(
            "heat",
            "End-to-end time, all nodes",
            "How are the times from send to receive distributed?",
            (
                Query(
                    buckets("mq_probe_latency_seconds_bucket", f'{NODE},stage="receive"'),
                    "{{le}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            "line",
            "Probes by result",
            "How many probe messages per second were sent, received in time, lost, or not published?",
            (Query(rate("mq_probe_messages_total", NODE, "result"), "{{result}}"),),
            unit="mps",
        ),
        Panel(
            "states",
            "Nodes up",
            "When did each node respond? Shows the 50 nodes that were down longest in the selected time range.",
            (
                Query(
                    worst(f"mq_node_up{{{NODE}}}", 50, over="avg_over_time", pick="bottomk"),
                    NAME,
                ),
            ),
            width=24,
        ),
    ),
)
