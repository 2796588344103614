"""One subscription: how far behind, since when, why, until when, and where in it."""

from __future__ import annotations

from mixin.alerts import (
    AGE,
    CONSUMERS,
    DRAIN,
    INTERVAL,
    LAG,
    LOSS,
    OK_AT,
    merged,
)
from mixin.boards.model import Board, Panel, Query, Row, Variable, buckets, busiest, rate, worst

OF = 'system="$system",source="$source",destination="$destination"'
SUB = f'{OF},vhost=~"$vhost",group=~"$group"'
KNOWN = f'{LAG}{{system="$system",source="$source"'


def largest(metric: str, matchers: str = SUB) -> str:
    """Return a metric with exporters side by side taken as one."""
    return merged(f"{metric}{{{matchers}}}")


def positions(metric: str, matchers: str) -> str:
    """Return offsets, exporters side by side and jobs taken as one."""
    return f"max without (instance, pod, job) ({metric}{{{matchers}}})"


MOST = f"topk(100, {positions('mq_lag_messages', SUB)})"
"""The hundred partitions that lag most."""


def threshold(name: str) -> Query:
    """Return the line of a threshold of messages or seconds."""
    return Query(f"max({largest(name)})", "threshold", limit=True)


BOARD = Board(
    uid="mq-subscription",
    title="Message queues / Subscription",
    description="One consumer group on its topic, one queue or one channel.",
    variables=(
        Variable("system", "mq_up", every=False),
        Variable("source", 'mq_up{system="$system"}', every=False),
        Variable("vhost", KNOWN + "}"),
        Variable("destination", KNOWN + ',vhost=~"$vhost"}', every=False),
        Variable("group", KNOWN + ',vhost=~"$vhost",destination="$destination"}'),
    ),
    content=(
        Panel(
            "stat",
            "Status",
            "How does it fare?",
            (Query(f"{largest('mq_subscription_status')} == 1", "{{status}}"),),
            width=4,
            height=4,
            words=True,
        ),
        Panel(
            "stat",
            "Likeliest cause",
            "Why is it behind, by what the exporter sees?",
            (Query(largest("mq_backlog_cause"), "{{cause}}"),),
            width=4,
            height=4,
            words=True,
            may_be_empty="there is a backlog, and evidence of its cause",
        ),
        Panel(
            "stat",
            "Not ok since",
            "For how long has its status been another one than ok?",
            (
                Query(
                    f"time() - {OK_AT}{{{SUB}}} unless ignoring (status) "
                    + merged(f'mq_subscription_status{{{SUB},status="ok"}} == 1')
                ),
            ),
            unit="s",
            width=4,
            height=4,
            may_be_empty="its status is another one than ok",
        ),
        Panel(
            "stat",
            "Waiting",
            "How many messages wait to be processed?",
            (Query(f"{LAG}{{{SUB}}}"),),
            width=4,
            height=4,
        ),
        Panel(
            "stat",
            "Oldest",
            "How long has the oldest of them been waiting?",
            (Query(f"{AGE}{{{SUB}}}"),),
            unit="s",
            width=4,
            height=4,
        ),
        Panel(
            "stat",
            "Drained in",
            "When will nothing wait any more, if it goes on like now?",
            (Query(f"{DRAIN}{{{SUB}}}"),),
            unit="s",
            width=4,
            height=4,
        ),
        Panel(
            "line",
            "Lag",
            "How many messages wait, and is that past the threshold?",
            (
                Query(f"{LAG}{{{SUB}}}", "lag {{group}}"),
                Query(
                    f"sum without (partition) ({largest('mq_unacknowledged_messages')})",
                    "of these, delivered and not acknowledged",
                ),
                Query(
                    f"sum without (partition) ({largest('mq_deferred_messages')})",
                    "held back for later on purpose",
                ),
                threshold("mq_threshold_lag_messages"),
            ),
        ),
        Panel(
            "line",
            "Age of the oldest waiting message",
            "How long do messages wait, how exactly is that known, and is it past the threshold plus the usual commit interval?",
            (
                Query(f"{AGE}{{{SUB}}}", "age {{group}}"),
                Query(largest("mq_lag_seconds_uncertainty"), "off by at most"),
                Query(
                    f"max({largest('mq_threshold_lag_seconds')} + ({INTERVAL} or 0 * {largest('mq_threshold_lag_seconds')}))",
                    "threshold and commit interval",
                    limit=True,
                ),
            ),
            unit="s",
        ),
        Panel(
            "line",
            "In and out",
            "Does consumption keep up with production?",
            (
                Query(rate("mq_subscription_produced_messages_total", SUB), "in"),
                Query(rate("mq_consumed_messages_total", SUB), "out"),
                Query(rate("mq_redelivered_messages_total", SUB), "delivered again"),
            ),
            unit="cps",
        ),
        Panel(
            "heat",
            "Latency of consumed messages",
            "How long had the messages been waiting that were just consumed? One observation each time the position moved.",
            (
                Query(
                    buckets("mq_latency_seconds_bucket", SUB),
                    "{{le}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            "states",
            "Status",
            "Which status did it have when?",
            (Query(f"{largest('mq_subscription_status')} == 1", "{{status}}"),),
            height=6,
        ),
        Panel(
            "states",
            "Causes and alerts",
            "What was the likeliest cause of its backlog when, and which alerts fired?",
            (
                Query(f"{largest('mq_backlog_cause')} == 1", "cause: {{cause}}"),
                Query(
                    f'max by (alertname) (ALERTS{{alertname=~"Mq.+",alertstate="firing",{SUB}}})',
                    "alert: {{alertname}}",
                ),
            ),
            height=6,
            may_be_empty="there was a backlog",
        ),
        Row("Forecast"),
        Panel(
            "line",
            "Drained in",
            "When will the backlog be gone, at the rates of the moment? No line where it does not shrink.",
            (Query(f"{DRAIN}{{{SUB}}} < Inf", "drained in"),),
            unit="s",
        ),
        Panel(
            "line",
            "Deleted unread in",
            "When will retention reach the first unread message? No line where it will not.",
            (Query(f"{LOSS}{{{SUB}}} < Inf", "deleted in"),),
            unit="s",
            may_be_empty="retention will reach what is unread",
        ),
        Row("Consumers"),
        Panel(
            "line",
            "Consumers",
            "How many read it, and how many members does the group have?",
            (
                Query(f"{CONSUMERS}{{{SUB}}}", "consumers"),
                Query(
                    largest(
                        "mq_group_members", 'system="$system",source="$source",group=~"$group"'
                    ),
                    "members of {{group}}",
                ),
            ),
        ),
        Panel(
            "line",
            "How often it moves",
            "How long does the position stand still at the longest while it is moving? So stale is it when all is well.",
            (Query(largest("mq_commit_interval_seconds"), "commit interval"),),
            unit="s",
        ),
        Row("Where in it"),
        Panel(
            "line",
            "Lag of the twenty worst partitions",
            "Which partitions (NSQ: nsqds) hold the backlog?",
            (
                Query(
                    worst(f"mq_lag_messages{{{SUB}}}", 20),
                    "{{destination}} {{partition}} {{group}}",
                ),
            ),
        ),
        Panel(
            "line",
            "Age of the twenty worst partitions",
            "In which partitions do messages wait for the longest?",
            (
                Query(
                    worst(f"mq_lag_seconds{{{SUB}}}", 20), "{{destination}} {{partition}} {{group}}"
                ),
            ),
            unit="s",
        ),
        Panel(
            "line",
            "Produced by partition, the twenty busiest",
            "Is the load spread evenly over the partitions?",
            (
                Query(
                    busiest("mq_produced_messages_total", f'{OF},vhost=~"$vhost"', count=20),
                    "{{destination}} {{partition}}",
                ),
            ),
            unit="cps",
        ),
        Panel(
            "table",
            "Positions",
            "Where does the log begin and end, and where does the group stand (Kafka, streams of RabbitMQ)?",
            (
                Query(
                    f"{positions('mq_committed_offset', SUB)} and {MOST}",
                    column="committed",
                    unit="none",
                ),
                Query(
                    f"{positions('mq_log_start_offset', OF)} and on (source, destination, partition) {MOST}",
                    column="log start",
                    unit="none",
                ),
                Query(
                    f"{positions('mq_log_end_offset', OF)} and on (source, destination, partition) {MOST}",
                    column="log end",
                    unit="none",
                ),
            ),
            may_be_empty="it is a log: a Kafka topic or a stream",
        ),
        Row("What went wrong"),
        Panel(
            "line",
            "Lost, moved back, delivered to nobody",
            "Were messages deleted unread, or did the position go back, within the last hour?",
            (
                Query(merged(f"increase(mq_messages_lost_total{{{SUB}}}[1h])"), "lost"),
                Query(merged(f"increase(mq_offset_rewinds_total{{{SUB}}}[1h])"), "moved back"),
                Query(
                    f"sum without (kind) ({merged(f'increase(mq_position_anomalies_total{{{SUB}}}[1h])')})",
                    "positions that can't be",
                ),
            ),
        ),
        Panel(
            "line",
            "Not committed yet",
            "On how many partitions does the group have no position though they hold messages, and how many messages is that?",
            (
                Query(largest("mq_uncommitted_partitions"), "partitions"),
                Query(largest("mq_uncommitted_messages"), "messages"),
            ),
            may_be_empty="it is a Kafka group with an assignment",
        ),
        Panel(
            "line",
            "Margin to retention",
            "By how many messages is the position ahead of where retention deletes?",
            (Query(largest("mq_retention_margin_messages"), "margin"),),
            may_be_empty="it is a Kafka group",
        ),
        Panel(
            "table",
            "How the numbers were found",
            "By which method is the age known, and is the lag an upper or a lower bound?",
            (
                Query(largest("mq_lag_seconds_method"), column="method is"),
                Query(largest("mq_lag_upper_bound"), column="lag is an upper bound"),
                Query(largest("mq_unreadable_partitions"), column="partitions that cannot be read"),
                Query(largest("mq_past_end_messages"), column="messages past the log end"),
            ),
            hides=("system", "source", "vhost", "destination"),
        ),
        Panel(
            "line",
            "Size of messages",
            "How large is a message on average?",
            (Query(largest("mq_message_size_bytes", f'{OF},vhost=~"$vhost"'), "mean size"),),
            unit="bytes",
            may_be_empty="messages were read, or the broker counts bytes",
        ),
    ),
)
