"""Probes: whether each node passes messages on, and how fast."""

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
    """Return a quantile of the probes' time to a stage, of the twenty slowest nodes."""
    counted = f'mq_probe_latency_seconds_bucket{{{NODE},stage="{stage}"}}'
    by = "sum by (le, system, source, node)"
    now = f"histogram_quantile({part}, {by} (rate({counted}[$__rate_interval])))"
    hour = f"histogram_quantile({part}, {by} (rate({counted}[1h] @ end())))"
    return f"{now} and topk(20, {hour})"


BOARD = Board(
    uid="mq-probes",
    title="Message queues / Probes",
    description="Messages of the exporter's own, sent to each node and received back.",
    variables=(SYSTEM, SOURCE, Variable("node", f"mq_probe_success{{{CHOSEN}}}", several=True)),
    content=(
        Panel(
            "stat",
            "Nodes whose probes fail",
            "From how many nodes did the last message not come back in time?",
            (Query(f"count({PROBE}{{{NODE}}} == 0) or vector(0)"),),
            width=6,
            height=4,
            bad=1,
        ),
        Panel(
            "states",
            "Probes that come back",
            "From which nodes did messages come back when? The fifty that failed most come first to mind: a gap is a failure.",
            (
                Query(
                    f"{PROBE}{{{NODE}}} == 1 and bottomk(50, avg_over_time({PROBE}{{{NODE}}}[1h] @ end()))",
                    "{{node}} ({{source}})",
                ),
            ),
            good=True,
            width=18,
        ),
        Panel(
            "line",
            "End to end, half of the probes",
            "How long does a message take from sending to receipt, as half of the probes have it?",
            (Query(quantile(0.5, "receive"), "{{node}} ({{source}})"), LIMIT),
            unit="s",
        ),
        Panel(
            "line",
            "End to end, the slowest in a hundred",
            "How long does a message take when it takes long?",
            (Query(quantile(0.99, "receive"), "{{node}} ({{source}})"), LIMIT),
            unit="s",
        ),
        Row("Stages"),
        Panel(
            "line",
            "Until the broker has it",
            "How long does the broker take to acknowledge a message?",
            (Query(quantile(0.5, "publish"), "{{node}} ({{source}})"),),
            unit="s",
        ),
        Panel(
            "line",
            "Until it is acknowledged or committed",
            "How long does the broker take to take back a message that was received?",
            (Query(quantile(0.5, "ack"), "{{node}} ({{source}})"),),
            unit="s",
        ),
        Panel(
            "heat",
            "End to end, all nodes",
            "How are the times from sending to receipt distributed?",
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
            "How many probes were sent, came back, were lost, or could not be sent?",
            (Query(rate("mq_probe_messages_total", NODE, "result"), "{{result}}"),),
            unit="cps",
        ),
        Panel(
            "line",
            "Nodes up",
            "Which nodes answer? The fifty that were down most within the last hour.",
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
