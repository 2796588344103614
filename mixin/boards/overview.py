"""All systems: what is behind, by how much, since when, the worst first."""

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
"""The fifty largest backlogs that are one."""


def behind(metric: str, column: str, unit: str) -> Query:
    """Return a column of the table: a metric of the fifty."""
    return Query(f"{metric}{{{CHOSEN}}} and {BEHIND}", column=column, unit=unit)


BOARD = Board(
    uid="mq-overview",
    title="Message queues / Overview",
    description="Which consumers of Kafka, RabbitMQ and NSQ are behind, by how much, since when and why.",
    variables=(SYSTEM, SOURCE),
    content=(
        Panel(
            "stat",
            "Behind",
            "How many subscriptions are past a threshold, stand still or fall behind?",
            (Query(f"count({TROUBLED}) or vector(0)"),),
            width=4,
            height=4,
            bad=1,
        ),
        Panel(
            "stat",
            "Alerts firing",
            "How many alerts of the exporter's rules fire?",
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
            "How many clusters can't be read by any exporter?",
            (Query(f"count({UP}{{{CHOSEN}}} == 0) or vector(0)"),),
            width=4,
            height=4,
            bad=1,
        ),
        Panel(
            "stat",
            "Messages waiting",
            "How many messages are enqueued and not yet processed, counted once for each group that is to read them?",
            (Query(f"sum({LAG}{{{CHOSEN}}})"),),
            width=4,
            height=4,
        ),
        Panel(
            "stat",
            "Oldest message",
            "How long has the message been waiting that has been waiting for the longest?",
            (Query(f"max({AGE}{{{CHOSEN}}})"),),
            unit="s",
            width=4,
            height=4,
        ),
        Panel(
            "stat",
            "Lost in the last day",
            "How many messages were deleted before they were processed?",
            (
                Query(
                    f"sum({merged(f'increase(mq_messages_lost_total{{{CHOSEN}}}[1d])')}) or vector(0)"
                ),
            ),
            width=4,
            height=4,
            bad=1,
        ),
        Panel(
            "table",
            "What is behind, the largest backlog first",
            "Which subscriptions are not well, by how much, since when, and what is the likeliest cause?",
            (
                Query(BEHIND, column="lag", unit="short"),
                behind(AGE, "age", "s"),
                Query(f"time() - {OK_AT}{{{CHOSEN}}} and {BEHIND}", column="since", unit="s"),
                behind(PRODUCED, "in", "cps"),
                behind(CONSUMED, "out", "cps"),
                behind(CONSUMERS, "consumers", "short"),
                behind(DRAIN, "drained in", "s"),
                Query(f"{TROUBLED} and ignoring (status) {BEHIND}"),
                Query(merged(f"mq_backlog_cause{{{CHOSEN}}}") + f" and ignoring (cause) {BEHIND}"),
            ),
            width=24,
            height=10,
            may_be_empty="nobody is behind",
        ),
        Row("Over time"),
        Panel(
            "line",
            "Lag of the ten worst",
            "How many messages wait for those that had the largest backlogs within the last hour?",
            (Query(worst(f"{LAG}{{{CHOSEN}}}"), WHO),),
        ),
        Panel(
            "line",
            "Age of the ten worst",
            "For how long has the oldest message been waiting, of those that were the latest within the last hour?",
            (Query(worst(f"{AGE}{{{CHOSEN}}}"), WHO),),
            unit="s",
        ),
        Panel(
            "line",
            "In and out",
            "How many messages a second come in and are processed, of each system?",
            (
                Query(f"sum by (system) ({PRODUCED}{{{CHOSEN}}})", "in {{system}}"),
                Query(f"sum by (system) ({CONSUMED}{{{CHOSEN}}})", "out {{system}}"),
            ),
            unit="cps",
        ),
        Panel(
            "stack",
            "Subscriptions by status",
            "How many subscriptions have which status?",
            (Query(f"sum by (status) ({STATUSES}{{{CHOSEN}}})", "{{status}}"),),
        ),
        Panel(
            "states",
            "Alerts",
            "Which alerts fired when?",
            (
                Query(
                    f'max by (alertname, source, destination, group) (ALERTS{{alertname=~"Mq.+",alertstate="firing",{CHOSEN}}}) '
                    "and topk(30, count by (alertname, source, destination, group) "
                    f'(last_over_time(ALERTS{{alertname=~"Mq.+",alertstate="firing",{CHOSEN}}}[1h] @ end())))',
                    "{{alertname}} {{group}} {{destination}} ({{source}})",
                ),
            ),
            may_be_empty="an alert fired",
        ),
        Panel(
            "table",
            "Will be deleted unread",
            "Of which subscriptions will retention delete messages within a day before they are read?",
            (Query(f"bottomk(20, {LOSS}{{{CHOSEN}}} < 86400)", column="deleted in", unit="s"),),
            may_be_empty="retention is near",
        ),
        Panel(
            "table",
            "Went away while lagging",
            "How many subscriptions ended within the last day though messages waited, and how?",
            (
                Query(
                    f"sum by (system, source, reason) ({merged(f'increase(mq_subscriptions_lost_total{{{CHOSEN}}}[1d])')})",
                    column="subscriptions",
                ),
            ),
        ),
        Panel(
            "line",
            "Nodes up",
            "How many brokers and nodes of each source answer?",
            (Query(f"sum by (source) ({merged(f'mq_node_up{{{CHOSEN}}}')})", "{{source}}"),),
        ),
    ),
)
