"""All systems: which subscriptions lag, by how much and since when, largest backlog first."""

from __future__ import annotations

from mixin.alerts import (
    AGE,
    CONSUMED,
    CONSUMERS,
    DRAIN,
    LAG,
    LOSS,
    OK_AT,
    PRODUCED,
    STATUSES,
    UP,
    merged,
)
from mixin.boards.model import CHOSEN, SOURCE, SYSTEM, WHO, Board, Panel, Query, Row, worst

TROUBLED = (
    merged(f'mq_subscription_status{{{CHOSEN},status!~"ok|unknown|uncommitted|abandoned"}}')
    + " == 1"
)
BEHIND = f"topk(50, {LAG}{{{CHOSEN}}} and ignoring (status) ({TROUBLED}))"
"""The fifty largest backlogs of subscriptions with a bad status."""


def behind(metric: str, column: str, unit: str) -> Query:
    """Return a column of the table: a metric of these fifty subscriptions."""
    return Query(f"{metric}{{{CHOSEN}}} and {BEHIND}", column=column, unit=unit)


BOARD = Board(
    uid="mq-overview",
    title="Message queues / Overview",
    description=(
        "Lagging subscriptions of Kafka, RabbitMQ and NSQ: how far they are behind, since when and "
        "why."
    ),
    variables=(SYSTEM, SOURCE),
    content=(
        Panel(
            "stat",
            "Behind",
            "How many subscriptions are above a threshold, make no progress, or fall behind?",
            (Query(f"count({TROUBLED}) or vector(0)"),),
            width=4,
            height=4,
            bad=1,
        ),
        Panel(
            "stat",
            "Alerts firing",
            "How many alerts of the exporter's rules are firing?",
            (
                Query(
                    'count(ALERTS{alertname=~"Mq.+",alertstate="firing",'
                    + CHOSEN
                    + "}) or vector(0)"
                ),
            ),
            width=4,
            height=4,
            bad=1,
        ),
        Panel(
            "stat",
            "Sources down",
            "How many sources cannot be read by any exporter?",
            (Query(f"count({UP}{{{CHOSEN}}} == 0) or vector(0)"),),
            width=4,
            height=4,
            bad=1,
        ),
        Panel(
            "stat",
            "Total lag",
            "How many messages are not yet processed, counted once per group that reads them?",
            (Query(f"sum({LAG}{{{CHOSEN}}})"),),
            width=4,
            height=4,
        ),
        Panel(
            "stat",
            "Oldest message",
            "How old is the oldest message that is not yet processed?",
            (Query(f"max({AGE}{{{CHOSEN}}})"),),
            unit="s",
            width=4,
            height=4,
        ),
        Panel(
            "stat",
            "Lost in the last 24 hours",
            "How many messages were deleted before they were processed?",
            (
                Query(
                    f"sum({merged(f'increase(mq_messages_lost_total{{{CHOSEN}}}[1d])')}) or "
                    f"vector(0)"
                ),
            ),
            width=4,
            height=4,
            bad=1,
        ),
        Panel(
            "table",
            "Lagging subscriptions, largest backlog first",
            "Which subscriptions have a problem, how large is their lag, since when, and what is "
            "the most likely cause?",
            (
                Query(BEHIND, column="lag", unit="short"),
                behind(AGE, "age", "s"),
                Query(f"time() - {OK_AT}{{{CHOSEN}}} and {BEHIND}", column="not ok for", unit="s"),
                behind(PRODUCED, "produce rate", "cps"),
                behind(CONSUMED, "consume rate", "cps"),
                behind(CONSUMERS, "consumers", "short"),
                behind(DRAIN, "drained in", "s"),
                Query(f"{TROUBLED} and ignoring (status) {BEHIND}"),
                Query(merged(f"mq_backlog_cause{{{CHOSEN}}}") + f" and ignoring (cause) {BEHIND}"),
            ),
            width=24,
            height=10,
            may_be_empty="no subscription lags",
        ),
        Row("Over time"),
        Panel(
            "line",
            "Lag, top 10",
            "How large is the lag of the subscriptions with the largest lag in the last hour?",
            (Query(worst(f"{LAG}{{{CHOSEN}}}"), WHO),),
        ),
        Panel(
            "line",
            "Age of the oldest message, top 10",
            "How old is the oldest message of the subscriptions with the highest age in the last "
            "hour?",
            (Query(worst(f"{AGE}{{{CHOSEN}}}"), WHO),),
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
            unit="cps",
        ),
        Panel(
            "stack",
            "Subscriptions by status",
            "How many subscriptions have each status?",
            (Query(f"sum by (status) ({STATUSES}{{{CHOSEN}}})", "{{status}}"),),
        ),
        Panel(
            "states",
            "Alerts",
            "Which alerts fired, and when?",
            (
                Query(
                    "max by (alertname, source, destination, group) "
                    f'(ALERTS{{alertname=~"Mq.+",alertstate="firing",{CHOSEN}}}) '
                    "and topk(30, count by (alertname, source, destination, group) "
                    f'(last_over_time(ALERTS{{alertname=~"Mq.+",alertstate="firing",{CHOSEN}}}[1h] '
                    "@ end())))",
                    "{{alertname}} {{group}} {{destination}} ({{source}})",
                ),
            ),
            may_be_empty="an alert fired",
        ),
        Panel(
            "table",
            "Will be deleted before they are read",
            "Which subscriptions will lose unread messages to retention within a day?",
            (Query(f"bottomk(20, {LOSS}{{{CHOSEN}}} < 86400)", column="deleted in", unit="s"),),
            may_be_empty="retention is near",
        ),
        Panel(
            "table",
            "Removed while lagging",
            "How many subscriptions disappeared within the last day while they had lag, by reason?",
            (
                Query(
                    f"sum by (system, source, reason) "
                    f"({merged(f'increase(mq_subscriptions_lost_total{{{CHOSEN}}}[1d])')})",
                    column="subscriptions",
                ),
            ),
        ),
        Panel(
            "line",
            "Nodes up",
            "How many brokers or nodes of each source respond?",
            (Query(f"sum by (source) ({merged(f'mq_node_up{{{CHOSEN}}}')})", "{{source}}"),),
        ),
    ),
)
