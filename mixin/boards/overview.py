"""All systems: which subscriptions lag, by how much and since when, largest backlog first."""

from __future__ import annotations

from mixin.boards.model import (
    CHOSEN,
    OF_SOURCE,
    PLACE,
    SEVERITY_COLOURS,
    STATUS_COLOURS,
    WHO,
    Board,
    Panel,
    Query,
    Row,
    placed,
    quiet,
    seen,
    stat,
    worst,
)
from mixin.recording import (
    AGE,
    CONSUMED,
    CONSUMERS,
    DRAIN,
    EXPORTERS,
    LAG,
    LOSS,
    OK_AT,
    PRODUCED,
    STATUSES,
    UP,
    merged,
)

GOOD = "ok|uncommitted|abandoned|dormant"
"""Statuses that need no action."""
BAD = merged(f'mq_subscription_status{{{CHOSEN},status!~"{GOOD}"}}') + " == 1"
LAGGING = merged(f'mq_subscription_status{{{CHOSEN},status!~"{GOOD}|unknown"}}') + " == 1"
OF_DEAD_SOURCES = f"and on ({EXPORTERS}) ({UP}{{{CHOSEN}}} == 0)"
"""The series of sources that no exporter can read."""
LAST_LAG = f"({LAG}{{{CHOSEN}}} or (last_over_time({LAG}{{{CHOSEN}}}[1h]) {OF_DEAD_SOURCES}))"
"""The lag. While a source is down, its last known lag of at most an hour ago."""
TROUBLED = (
    f"({BAD} or label_replace(0 * last_over_time({LAG}{{{CHOSEN}}}[1h]) + 1 "
    f'{OF_DEAD_SOURCES}, "status", "unknown", "", ""))'
)
"""Subscriptions whose status is bad or unknown, with the label `status`."""
LARGEST = f"topk(50, {LAST_LAG} > 0 and ignoring (status) {TROUBLED})"
"""The fifty largest backlogs of these."""
QUIET = quiet(CHOSEN, " @ end()")
FIRING = f'ALERTS{{alertname=~"Mq.+",alertstate="firing",{CHOSEN}}}'


def of_largest(metric: str, column: str, unit: str) -> Query:
    """Return a column of the table: a metric of these fifty subscriptions."""
    return Query(placed(f"({metric}{{{CHOSEN}}} and {LARGEST})"), column=column, unit=unit)


BOARD = Board(
    uid="mq-overview",
    title="Message queues / Overview",
    description="Lagging subscriptions of Kafka, RabbitMQ and NSQ: by how much, since when and why.",
    variables=OF_SOURCE,
    content=(
        stat(
            "Lagging or stopped",
            "How many subscriptions are above a threshold, make no progress, or fall behind?",
            f"count({LAGGING}) or vector(0)",
            bad=1,
            decimals=0,
        ),
        stat(
            "Alerts firing",
            "How many alerts of the exporter's rules are firing?",
            f"count({FIRING}) or vector(0)",
            bad=1,
            decimals=0,
        ),
        stat(
            "Sources down",
            "How many sources cannot be read by any exporter?",
            f"count({UP}{{{CHOSEN}}} == 0) or vector(0)",
            bad=1,
            decimals=0,
        ),
        stat(
            "Total lag",
            "How many messages are not yet processed, counted once per group that reads them?",
            f"sum({LAG}{{{CHOSEN}}})",
        ),
        stat(
            "Oldest message",
            "How old is the oldest message that is not yet processed, in a subscription that is neither dormant nor abandoned?",
            f"max({AGE}{{{CHOSEN}}} unless {quiet(CHOSEN)})",
            unit="s",
        ),
        stat(
            "Lost in 24 hours",
            "How many messages were deleted within 24 hours before they were processed?",
            f"sum({merged(f'increase(mq_messages_lost_total{{{CHOSEN}}}[1d])')}) or vector(0)",
            bad=1,
            decimals=0,
        ),
        Panel(
            "table",
            "Lagging subscriptions, largest backlog first",
            "Which subscriptions have a problem, how large is their lag, since when, and what is the most likely cause? "
            "While a source is down, its subscriptions are unknown and show their last lag.",
            (
                Query(placed(LARGEST), column="lag", unit="short"),
                of_largest(AGE, "age", "s"),
                Query(
                    placed(f"(time() - {OK_AT}{{{CHOSEN}}} and {LARGEST})"), column="for", unit="s"
                ),
                of_largest(PRODUCED, "in /s", "short"),
                of_largest(CONSUMED, "out /s", "short"),
                of_largest(CONSUMERS, "consumers", "short"),
                of_largest(DRAIN, "drained in", "s"),
                Query(placed(f"({TROUBLED} and ignoring (status) {LARGEST})")),
                Query(
                    placed(
                        f"({merged(f'mq_backlog_cause{{{CHOSEN}}}')} and ignoring (cause) {LARGEST})"
                    )
                ),
            ),
            width=24,
            height=10,
            may_be_empty="no subscription lags",
            colours=STATUS_COLOURS,
            columns=(
                *("status", "cause", "group", "destination", PLACE),
                *("lag", "age", "for", "in /s", "out /s", "consumers", "drained in"),
            ),
            sorted_by="lag",
        ),
        Panel(
            "table",
            "Firing alerts",
            "Which alerts are firing, what are they about, and for how long?",
            (
                Query(
                    placed(
                        "label_join(topk(100, max by (cluster, namespace, severity, alertname, "
                        "system, source, vhost, destination, group, node, task) (time() - "
                        f'ALERTS_FOR_STATE{{alertname=~"Mq.+",{CHOSEN}}} and ignoring (alertstate) '
                        f'{FIRING})), "subject", " ", "group", "destination", "node", "task")'
                    ),
                    column="for",
                    unit="s",
                ),
            ),
            may_be_empty="an alert fires",
            colours=SEVERITY_COLOURS,
            columns=("severity", "alertname", "subject", PLACE, "for"),
            sorted_by="severity",
            descending=False,
            width=14,
        ),
        Panel(
            "table",
            "Sources",
            "Which sources can be read, and how many of their brokers or nodes respond?",
            (
                Query(placed(f"topk(50, 1 - {UP}{{{CHOSEN}}})"), column="down", unit="bool_yes_no"),
                Query(
                    placed(f"sum by ({EXPORTERS}) ({merged(f'mq_node_up{{{CHOSEN}}}')})"),
                    column="nodes up",
                ),
                Query(
                    placed(
                        "(time() - max by (" + EXPORTERS + ") "
                        f"({merged(f'mq_collect_last_success_timestamp_seconds{{{CHOSEN}}}')}))"
                    ),
                    column="last data",
                    unit="s",
                ),
            ),
            columns=(PLACE, "system", "down", "nodes up", "last data"),
            sorted_by="down",
            width=10,
        ),
        Row("Over time"),
        Panel(
            "line",
            "Lag, top 10",
            "Which subscriptions had the largest lag in the selected time range? Dormant and abandoned ones are left out.",
            (Query(worst(f"{LAG}{{{CHOSEN}}}", without=QUIET), WHO),),
        ),
        Panel(
            "line",
            "Age of the oldest message, top 10",
            "Which subscriptions had the oldest messages in the selected time range? Dormant and abandoned ones are left out.",
            (Query(worst(f"{AGE}{{{CHOSEN}}}", without=QUIET), WHO),),
            unit="s",
        ),
        Panel(
            "line",
            "Produce and consume rate",
            "How many messages per second are enqueued and processed in each system?",
            (
                Query(f"sum by (system) ({PRODUCED}{{{CHOSEN}}})", "produced, {{system}}"),
                Query(f"sum by (system) ({CONSUMED}{{{CHOSEN}}})", "consumed, {{system}}"),
            ),
            unit="mps",
        ),
        Panel(
            "stack",
            "Subscriptions by status",
            "How many subscriptions have each status?",
            (Query(seen(f"{STATUSES}{{{CHOSEN}}}", "status"), "{{status}}"),),
            colours=STATUS_COLOURS,
            decimals=0,
        ),
        Panel(
            "table",
            "Will be deleted before they are read",
            "Which subscriptions will lose unread messages to retention within a day? Dormant and abandoned ones are left out.",
            (
                Query(
                    placed(f"bottomk(20, {LOSS}{{{CHOSEN}}} < 86400 unless {quiet(CHOSEN)})"),
                    column="deleted in",
                    unit="s",
                ),
            ),
            may_be_empty="retention is near",
            columns=("group", "destination", PLACE, "deleted in"),
            sorted_by="deleted in",
            descending=False,
        ),
        Panel(
            "table",
            "Removed while lagging",
            "How many subscriptions disappeared within the last day while they had lag, by reason?",
            (
                Query(
                    placed(
                        f"(sum by ({EXPORTERS}, reason) "
                        f"({merged(f'increase(mq_subscriptions_lost_total{{{CHOSEN}}}[1d])')}) > 0.5)"
                    ),
                    column="subscriptions",
                ),
            ),
            may_be_empty="a subscription was removed",
            columns=(PLACE, "system", "reason", "subscriptions"),
            decimals=0,
        ),
        Panel(
            "line",
            "Nodes up",
            "How many brokers or nodes of each source respond?",
            (
                Query(
                    f"sum by (cluster, source) ({merged(f'mq_node_up{{{CHOSEN}}}')})",
                    "{{source}} {{cluster}}",
                ),
            ),
            decimals=0,
            width=24,
        ),
    ),
)
