"""One subscription: its lag, since when, why, the forecast, and the partitions that lag."""

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
    """Return a metric, merged over the exporters that read the same source."""
    return merged(f"{metric}{{{matchers}}}")


def positions(metric: str, matchers: str) -> str:
    """Return offsets, merged over exporters and scrape jobs."""
    return f"max without (instance, pod, job) ({metric}{{{matchers}}})"


MOST = f"topk(100, {positions('mq_lag_messages', SUB)})"
"""The hundred partitions with the most lag."""


def threshold(name: str) -> Query:
    """Return the line of a threshold in messages or seconds."""
    return Query(f"max({largest(name)})", "threshold", limit=True)


BOARD = Board(
    uid="mq-subscription",
    title="Message queues / Subscription",
    description="One subscription: a consumer group on a topic, a queue, or a channel.",
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
            "Which status does the subscription have now?",
            (Query(f"{largest('mq_subscription_status')} == 1", "{{status}}"),),
            width=4,
            height=4,
            words=True,
        ),
        Panel(
            "stat",
            "Likely cause",
            "Why is there a backlog, according to the evidence that the exporter has?",
            (Query(largest("mq_backlog_cause"), "{{cause}}"),),
            width=4,
            height=4,
            words=True,
            may_be_empty="there is a backlog, and evidence of its cause",
        ),
        Panel(
            "stat",
            "Not ok for",
            "How long has the status been other than ok?",
            (
                Query(
                    f"time() - {OK_AT}{{{SUB}}} unless ignoring (status) "
                    + merged(f'mq_subscription_status{{{SUB},status="ok"}} == 1')
                ),
            ),
            unit="s",
            width=4,
            height=4,
            may_be_empty="its status is not ok",
        ),
        Panel(
            "stat",
            "Lag",
            "How many messages are not yet processed?",
            (Query(f"{LAG}{{{SUB}}}"),),
            width=4,
            height=4,
        ),
        Panel(
            "stat",
            "Oldest message",
            "How old is the oldest message that is not yet processed?",
            (Query(f"{AGE}{{{SUB}}}"),),
            unit="s",
            width=4,
            height=4,
        ),
        Panel(
            "stat",
            "Drained in",
            "How long will it take to process the backlog at the current rates?",
            (Query(f"{DRAIN}{{{SUB}}}"),),
            unit="s",
            width=4,
            height=4,
        ),
        Panel(
            "line",
            "Lag",
            "How many messages are not yet processed, and is that above the threshold?",
            (
                Query(f"{LAG}{{{SUB}}}", "lag {{group}}"),
                Query(
                    f"sum without (partition) ({largest('mq_unacknowledged_messages')})",
                    "delivered, not acknowledged (part of the lag)",
                ),
                Query(
                    f"sum without (partition) ({largest('mq_deferred_messages')})",
                    "deferred (not part of the lag)",
                ),
                threshold("mq_threshold_lag_messages"),
            ),
        ),
        Panel(
            "line",
            "Age of the oldest message",
            "How old is the oldest unprocessed message, how accurate is that, and is it above the "
            "threshold plus the commit interval?",
            (
                Query(f"{AGE}{{{SUB}}}", "age {{group}}"),
                Query(largest("mq_lag_seconds_uncertainty"), "maximum error"),
                Query(
                    f"max({largest('mq_threshold_lag_seconds')} + ({INTERVAL} or 0 * "
                    f"{largest('mq_threshold_lag_seconds')}))",
                    "threshold plus commit interval",
                    limit=True,
                ),
            ),
            unit="s",
        ),
        Panel(
            "line",
            "Produce and consume rate",
            "Are messages processed as fast as they are enqueued?",
            (
                Query(rate("mq_subscription_produced_messages_total", SUB), "produced"),
                Query(rate("mq_consumed_messages_total", SUB), "consumed"),
                Query(rate("mq_redelivered_messages_total", SUB), "redelivered"),
            ),
            unit="cps",
        ),
        Panel(
            "heat",
            "Latency of consumed messages",
            "How long did messages wait before they were consumed? One observation each time the "
            "position moved.",
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
            "Which status did the subscription have, and when?",
            (Query(f"{largest('mq_subscription_status')} == 1", "{{status}}"),),
            height=6,
        ),
        Panel(
            "states",
            "Causes and alerts",
            "Which cause was the most likely one, and which alerts fired, and when?",
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
            "How long will it take to process the backlog at the current rates? No line while the "
            "backlog does not shrink.",
            (Query(f"{DRAIN}{{{SUB}}} < Inf", "drained in"),),
            unit="s",
        ),
        Panel(
            "line",
            "Deleted before it is read in",
            "How long will it take until retention reaches the first unread message? No line if it "
            "will not.",
            (Query(f"{LOSS}{{{SUB}}} < Inf", "deleted in"),),
            unit="s",
            may_be_empty="retention will reach unread messages",
        ),
        Row("Consumers"),
        Panel(
            "line",
            "Consumers",
            "How many consumers read this destination, and how many members does the group have?",
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
            "Commit interval",
            "How long is the longest recent gap between two movements of the position? A healthy "
            "position is up to this old.",
            (Query(largest("mq_commit_interval_seconds"), "commit interval"),),
            unit="s",
        ),
        Row("Partitions"),
        Panel(
            "line",
            "Lag, top 20 partitions",
            "Which partitions (NSQ: nsqds) have the largest lag?",
            (
                Query(
                    worst(f"mq_lag_messages{{{SUB}}}", 20),
                    "{{destination}} {{partition}} {{group}}",
                ),
            ),
        ),
        Panel(
            "line",
            "Age of the oldest message, top 20 partitions",
            "Which partitions (NSQ: nsqds) have the oldest waiting messages?",
            (
                Query(
                    worst(f"mq_lag_seconds{{{SUB}}}", 20), "{{destination}} {{partition}} {{group}}"
                ),
            ),
            unit="s",
        ),
        Panel(
            "line",
            "Produce rate, top 20 partitions",
            "Is the load evenly distributed over the partitions?",
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
            "Offsets",
            "Which log start, log end and committed offset does each partition have (Kafka, "
            "RabbitMQ streams)?",
            (
                Query(
                    f"{positions('mq_committed_offset', SUB)} and {MOST}",
                    column="committed",
                    unit="none",
                ),
                Query(
                    f"{positions('mq_log_start_offset', OF)} and on (source, destination, "
                    f"partition) {MOST}",
                    column="log start",
                    unit="none",
                ),
                Query(
                    f"{positions('mq_log_end_offset', OF)} and on (source, destination, partition) "
                    f"{MOST}",
                    column="log end",
                    unit="none",
                ),
            ),
            may_be_empty="it is a log: a Kafka topic or a stream",
        ),
        Row("Problems"),
        Panel(
            "line",
            "Lost messages, rewinds, invalid positions",
            "How many messages were lost, and how often was a position moved back or invalid, "
            "within the last hour?",
            (
                Query(merged(f"increase(mq_messages_lost_total{{{SUB}}}[1h])"), "lost messages"),
                Query(merged(f"increase(mq_offset_rewinds_total{{{SUB}}}[1h])"), "rewinds"),
                Query(
                    f"sum without (kind) "
                    f"({merged(f'increase(mq_position_anomalies_total{{{SUB}}}[1h])')})",
                    "invalid positions",
                ),
            ),
        ),
        Panel(
            "line",
            "Not committed",
            "How many partitions with messages have no committed offset, and how many messages do "
            "they contain?",
            (
                Query(largest("mq_uncommitted_partitions"), "partitions"),
                Query(largest("mq_uncommitted_messages"), "messages"),
            ),
            may_be_empty="it is a Kafka group with an assignment",
        ),
        Panel(
            "line",
            "Margin to retention",
            "How many messages are between the log start, where retention deletes, and the "
            "committed offset?",
            (Query(largest("mq_retention_margin_messages"), "margin"),),
            may_be_empty="it is a Kafka group",
        ),
        Panel(
            "table",
            "Accuracy",
            "Which method found the age, and is the lag exact, an upper bound or a lower bound?",
            (
                Query(largest("mq_lag_seconds_method"), column="in use"),
                Query(largest("mq_lag_upper_bound"), column="lag is an upper bound"),
                Query(largest("mq_unreadable_partitions"), column="unreadable partitions"),
                Query(largest("mq_past_end_messages"), column="messages past the log end"),
            ),
            hides=("system", "source", "vhost", "destination"),
        ),
        Panel(
            "line",
            "Mean message size",
            "How large are messages on average?",
            (Query(largest("mq_message_size_bytes", f'{OF},vhost=~"$vhost"'), "mean size"),),
            unit="bytes",
            may_be_empty="messages were read, or the broker counts bytes",
        ),
    ),
)
