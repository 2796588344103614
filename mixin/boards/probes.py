"""Probes: whether each node delivers messages, and how fast."""

from __future__ import annotations

from mixin.alerts import PROBE, merged
from mixin.boards.model import (
    CHOSEN,
    SOURCE,
    SYSTEM,
    Board,
    Panel,
    Query,
    Row,
    Variable,
    buckets,
    rate,
    worst,
)

NODE = f'{CHOSEN},node=~"$node"'
LIMIT = Query(f"max({merged(f'mq_threshold_probe_seconds{{{CHOSEN}}}')})", "threshold", limit=True)


def quantile(part: float, stage: str) -> str:
    """Return a quantile of the probes' time to a stage, for the twenty slowest nodes."""
    counted = f'mq_probe_latency_seconds_bucket{{{NODE},stage="{stage}"}}'
    by = "sum by (le, system, source, node)"
    now = f"histogram_quantile({part}, {by} (rate({counted}[$__rate_interval])))"
    hour = f"histogram_quantile({part}, {by} (rate({counted}[1h] @ end())))"
    return f"{now} and topk(20, {hour})"


BOARD = Board(
    uid="mq-probes",
    title="Message queues / Probes",
    description="Probe messages that the exporter sends to each node and reads back.",
    variables=(SYSTEM, SOURCE, Variable("node", f"mq_probe_success{{{CHOSEN}}}", several=True)),
    content=(
        Panel(
            "stat",
            "Nodes with failing probes",
            "From how many nodes did the last probe message not come back in time?",
            (Query(f"count({PROBE}{{{NODE}}} == 0) or vector(0)"),),
            width=6,
            height=4,
            bad=1,
        ),
        Panel(
            "states",
            "Successful probes",
            "When did probe messages come back from each node? Shows the 50 nodes with the most "
            "failures; a gap is a failure.",
            (
                Query(
                    f"{PROBE}{{{NODE}}} == 1 and bottomk(50, avg_over_time({PROBE}{{{NODE}}}[1h] @ "
                    f"end()))",
                    "{{node}} ({{source}})",
                ),
            ),
            good=True,
            width=18,
        ),
        Panel(
            "line",
            "End-to-end time, median",
            "How long does a probe message take from send to receive (median)?",
            (Query(quantile(0.5, "receive"), "{{node}} ({{source}})"), LIMIT),
            unit="s",
        ),
        Panel(
            "line",
            "End-to-end time, 99th percentile",
            "How long do the slowest 1% of probe messages take from send to receive?",
            (Query(quantile(0.99, "receive"), "{{node}} ({{source}})"), LIMIT),
            unit="s",
        ),
        Row("Stages"),
        Panel(
            "line",
            "Publish time, median",
            "How long does the broker take to acknowledge a published message?",
            (Query(quantile(0.5, "publish"), "{{node}} ({{source}})"),),
            unit="s",
        ),
        Panel(
            "line",
            "Ack time, median",
            "How long does it take from sending a message until its offset is committed or the "
            "message is acknowledged?",
            (Query(quantile(0.5, "ack"), "{{node}} ({{source}})"),),
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
            "How many probe messages per second were sent, received in time, lost, or not "
            "published?",
            (Query(rate("mq_probe_messages_total", NODE, "result"), "{{result}}"),),
            unit="cps",
        ),
        Panel(
            "line",
            "Nodes up",
            "Which nodes respond? Shows the 50 nodes that were down longest in the last hour.",
            (
                Query(
                    worst(f"mq_node_up{{{NODE}}}", 50, over="avg_over_time", pick="bottomk"),
                    "{{node}} ({{source}})",
                ),
            ),
            width=24,
        ),
    ),
)
