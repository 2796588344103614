"""One subscription: its lag, since when, why, the forecast, and the partitions that lag."""

from __future__ import annotations

from mixin.boards.model import (
    STATUS_COLOURS,
    Board,
    Panel,
    Query,
    Row,
    Variable,
    buckets,
    busiest,
    rate,
    stat,
    word,
    worst,
)
from mixin.recording import (
    AGE,
    CONSUMERS,
    DRAIN,
    INTERVAL,
    LAG,
    LOSS,
    OK_AT,
    merged,
)

ONE_CLUSTER = 'cluster="$cluster",namespace="$namespace"'
"""A label that does not exist is an empty choice, which matches series without it."""
IN_SOURCE = f'{ONE_CLUSTER},system="$system",source="$source"'
OF = f'{IN_SOURCE},vhost="$vhost",destination="$destination"'
SUB = f'{OF},group="$group"'
KNOWN = f"{LAG}{{{IN_SOURCE}"


def largest(metric: str, matchers: str = SUB) -> str:
    """Return a metric, merged over the exporters that read the same source."""
    return merged(f"{metric}{{{matchers}}}")


def positions(metric: str, matchers: str) -> str:
    """Return offsets, merged over exporters and scrape jobs."""
    return f"max without (instance, pod, job) ({metric}{{{matchers}}})"


MOST = f"topk(100, {positions('mq_lag_messages', SUB)})"
"""The hundred partitions with the most lag."""


STATUS = f"{largest('mq_subscription_status')} == 1"
CAUSE = f"{largest('mq_backlog_cause')} == 1"


def threshold(name: str) -> Query:
    """Return the line of a threshold in messages or seconds."""
    return Query(f"max({largest(name)})", "threshold", limit=True)


BOARD = Board(
    uid="mq-subscription",
    title="Message queues / Subscription",
    description="One subscription: a consumer group on a topic, a queue, or a channel.",
    variables=(
        Variable("cluster", "mq_up", every=False),
        Variable("namespace", 'mq_up{cluster="$cluster"}', every=False),
        Variable("system", f"mq_up{{{ONE_CLUSTER}}}", every=False),
        Variable("source", f'mq_up{{{ONE_CLUSTER},system="$system"}}', every=False),
        Variable("vhost", KNOWN + "}", every=False),
        Variable("destination", KNOWN + ',vhost="$vhost"}', every=False),
        Variable("group", KNOWN + ',vhost="$vhost",destination="$destination"}', every=False),
    ),
    content=(
        Panel(
            "stat",
            "Status",
            "Which status does the subscription have now?",
            (Query(word(STATUS, "status", "no data"), "{{status}}"),),
            width=4,
            height=4,
            words=True,
            colours=STATUS_COLOURS,
        ),
        Panel(
            "stat",
            "Likely cause",
            "Why is there a backlog, according to the evidence that the exporter has?",
            (Query(word(CAUSE, "cause", "none"), "{{cause}}"),),
            width=4,
            height=4,
            words=True,
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
            width=3,
            height=4,
            may_be_empty="its status is not ok",
        ),
        stat("Lag", "How many messages are not yet processed?", f"{LAG}{{{SUB}}}", width=3),
        stat(
            "Age",
            "How old is the oldest message that is not yet processed?",
            f"{AGE}{{{SUB}}}",
            unit="s",
            width=3,
        ),
        stat(
            "Drained in",
            "How long will it take to process the backlog at the current rates?",
            f"{DRAIN}{{{SUB}}}",
            unit="s",
            width=3,
        ),
        Panel(
            "stat",
            "Deleted unread in",
            "How soon will retention delete the first unread message?",
            (Query(f"{LOSS}{{{SUB}}}"),),
            unit="s",
            width=4,
            height=4,
            bad_below=3600,
            may_be_empty="it is a log, and the forecast is known",
        ),
        Panel(
            "line",
            "Lag",
            "How many messages are not yet processed, and is that above the threshold?",
            (
                Query(f"{LAG}{{{SUB}}}", "lag"),
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
            "How old is the oldest unprocessed message, how accurate is that, and is it above the threshold plus the commit interval?",
            (
                Query(f"{AGE}{{{SUB}}}", "age"),
                Query(largest("mq_lag_seconds_uncertainty"), "maximum error"),
                Query(
                    f"max({largest('mq_threshold_lag_seconds')} + ({INTERVAL}{{{SUB}}} or 0 * {largest('mq_threshold_lag_seconds')}))",
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
            unit="mps",
        ),
        Panel(
            "heat",
            "Latency of consumed messages",
            "How long did messages wait before they were consumed? One observation each time the position moved.",
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
            (Query(STATUS, "{{status}}"),),
            height=6,
            colours=STATUS_COLOURS,
        ),
        Panel(
            "states",
            "Causes and alerts",
            "Which cause was the most likely one, and which alerts fired, and when?",
            (
                Query(CAUSE, "cause: {{cause}}"),
                Query(
                    f'max by (alertname) (ALERTS{{alertname=~"Mq.+",alertstate="firing",{SUB}}})',
                    "alert: {{alertname}}",
                ),
            ),
            height=6,
            may_be_empty="there was a backlog",
            colours={"/^alert/": "red", "/^cause/": "orange"},
        ),
        Row("Forecast", folded=True),
        Panel(
            "line",
            "Drained in",
            "How long will it take to process the backlog at the current rates? No line while the backlog does not shrink.",
            (Query(f"{DRAIN}{{{SUB}}} < Inf", "drained in"),),
            unit="s",
            may_be_empty="the backlog shrinks",
        ),
        Panel(
            "line",
            "Deleted before it is read in",
            "How long will it take until retention reaches the first unread message? No line if it will not.",
            (Query(f"{LOSS}{{{SUB}}} < Inf", "deleted in"),),
            unit="s",
            may_be_empty="retention will reach unread messages",
        ),
        Row("Consumers", folded=True),
        Panel(
            "line",
            "Consumers",
            "How many consumers read this destination, how many are advised, and how many members does the group have?",
            (
                Query(f"{CONSUMERS}{{{SUB}}}", "consumers"),
                Query(largest("mq_desired_consumers"), "advised consumers"),
                Query(
                    largest("mq_group_members", f'{IN_SOURCE},group="$group"'),
                    "members of the group",
                ),
            ),
            decimals=0,
        ),
        Panel(
            "line",
            "Commit interval",
            "How long is the longest recent gap between two movements of the position? A healthy position is up to this old.",
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
                    "{{partition}}",
                ),
            ),
        ),
        Panel(
            "line",
            "Age of the oldest message, top 20 partitions",
            "Which partitions (NSQ: nsqds) have the oldest waiting messages?",
            (Query(worst(f"mq_lag_seconds{{{SUB}}}", 20), "{{partition}}"),),
            unit="s",
        ),
        Panel(
            "line",
            "Produce rate, top 20 partitions",
            "Is the load evenly distributed over the partitions?",
            (
                Query(
                    busiest("mq_produced_messages_total", OF, count=20),
                    "{{partition}}",
                ),
            ),
            unit="mps",
            width=24,
        ),
        Panel(
            "table",
            "Partitions with the most lag",
            "How far is each partition, and which log start, log end and committed offset does it have?",
            (
                Query(MOST, column="lag"),
                Query(
                    f"{positions('mq_lag_seconds', SUB)} and {MOST}",
                    column="age",
                    unit="s",
                ),
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
            may_be_empty="it has partitions",
            columns=("partition", "lag", "age", "log start", "committed", "log end"),
            sorted_by="lag",
            width=24,
        ),
        Row("Problems and accuracy", folded=True),
        Panel(
            "line",
            "Lost messages, rewinds, invalid positions",
            "How many messages were lost, and how often was a position moved back or invalid, within the last hour?",
            (
                Query(merged(f"increase(mq_messages_lost_total{{{SUB}}}[1h])"), "lost messages"),
                Query(merged(f"increase(mq_offset_rewinds_total{{{SUB}}}[1h])"), "rewinds"),
                Query(
                    f"sum without (kind) ({merged(f'increase(mq_position_anomalies_total{{{SUB}}}[1h])')})",
                    "invalid positions",
                ),
            ),
            decimals=0,
        ),
        Panel(
            "line",
            "Not committed",
            "How many partitions with messages have no committed offset, and how many messages do they contain?",
            (
                Query(largest("mq_uncommitted_partitions"), "partitions"),
                Query(largest("mq_uncommitted_messages"), "messages"),
            ),
            may_be_empty="it is a Kafka group with an assignment",
            decimals=0,
        ),
        Panel(
            "line",
            "Margin to retention",
            "How many messages are between the log start, where retention deletes, and the committed offset?",
            (Query(largest("mq_retention_margin_messages"), "margin"),),
            may_be_empty="it is a Kafka group",
        ),
        Panel(
            "line",
            "Mean message size",
            "How large are messages on average?",
            (Query(largest("mq_message_size_bytes", OF), "mean size"),),
            unit="bytes",
            may_be_empty="messages were read, or the broker counts bytes",
        ),
        Panel(
            "table",
            "Accuracy",
            "Which method found the age, and is the lag exact, an upper bound or a lower bound?",
            (
                Query(largest("mq_lag_seconds_method")),
                Query(largest("mq_lag_upper_bound"), column="lag is an upper bound"),
                Query(largest("mq_unreadable_partitions"), column="unreadable partitions"),
                Query(largest("mq_past_end_messages"), column="messages past the log end"),
            ),
            width=24,
            height=4,
            columns=(
                *("method", "lag is an upper bound"),
                *("unreadable partitions", "messages past the log end"),
            ),
        ),
    ),
)
