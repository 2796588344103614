"""Kafka: topics, groups, positions, retention."""

from __future__ import annotations

from mixin.alerts import LAG, LOSS, merged
from mixin.boards.model import Board, Panel, Query, Row, Variable, busiest, events, of_system, worst

OF = 'system="kafka",source=~"$source"'
GROUP = f'{OF},group=~"$group"'
NAME = "{{group}} ({{source}})"
WHO = "{{group}} on {{destination}}"

BOARD = Board(
    uid="mq-kafka",
    title="Message queues / Kafka",
    description="Topics and consumer groups of Kafka clusters.",
    system="kafka",
    variables=of_system("kafka", (Variable("group", f"mq_group_members{{{OF}}}", several=True),)),
    content=(
        Panel(
            "line",
            "Lag of the ten worst groups",
            "Which groups have the most messages waiting, over all their topics?",
            (
                Query(
                    f"sum by (source, group) ({LAG}{{{GROUP}}}) and "
                    f"topk(10, sum by (source, group) (max_over_time({LAG}{{{GROUP}}}[1h] @ end())))",
                    NAME,
                ),
            ),
        ),
        Panel(
            "line",
            "Produced to the ten busiest topics",
            "How many messages a second come into which topics?",
            (
                Query(
                    busiest("mq_produced_messages_total", OF, "source, destination"),
                    "{{destination}} ({{source}})",
                ),
            ),
            unit="cps",
        ),
        Row("Groups"),
        Panel(
            "stack",
            "Groups by state",
            "How many groups are in which state?",
            (Query(f"sum by (state) ({merged(f'mq_group_state{{{GROUP}}}')})", "{{state}}"),),
        ),
        Panel(
            "line",
            "Members of the ten largest groups",
            "How many members do the groups have?",
            (Query(worst(f"mq_group_members{{{GROUP}}}"), NAME),),
        ),
        Panel(
            "line",
            "Rebalances within ten minutes, the ten most restless groups",
            "Which groups rebalance again and again? Consumers stop at each.",
            (
                Query(
                    events("mq_group_rebalances_total", GROUP, "10m"),
                    NAME,
                ),
            ),
        ),
        Panel(
            "table",
            "Partitions without a position",
            "Which groups have an assignment with messages on it, and have never committed there?",
            (
                Query(
                    f"topk(50, {merged(f'mq_uncommitted_partitions{{{GROUP}}}')} > 0)",
                    column="partitions",
                ),
                Query(
                    f"topk(50, {merged(f'mq_uncommitted_messages{{{GROUP}}}')} > 0)",
                    column="messages",
                ),
            ),
            may_be_empty="a group has not committed yet",
        ),
        Row("Positions and retention"),
        Panel(
            "table",
            "Nearest to retention",
            "By how many messages, and by how much time, are groups ahead of where retention deletes?",
            (
                Query(
                    f"bottomk(20, {merged(f'mq_retention_margin_messages{{{GROUP}}}')})",
                    column="margin",
                    unit="short",
                ),
                Query(
                    f"{LOSS}{{{GROUP}}} and bottomk(20, {merged(f'mq_retention_margin_messages{{{GROUP}}}')})",
                    column="deleted in",
                    unit="s",
                ),
            ),
        ),
        Panel(
            "line",
            "Messages lost within an hour, the ten worst",
            "Of which groups were messages deleted before they were read?",
            (
                Query(
                    events("mq_messages_lost_total", GROUP),
                    WHO,
                ),
            ),
        ),
        Panel(
            "line",
            "Positions moved back within an hour, the ten worst",
            "Which groups read something again?",
            (
                Query(
                    events("mq_offset_rewinds_total", GROUP),
                    WHO,
                ),
            ),
        ),
        Panel(
            "table",
            "Open transactions",
            "In which partitions does an open transaction hold messages back, and how many?",
            (
                Query(
                    f"topk(50, {merged(f'mq_log_end_offset{{{OF}}}')} - {merged(f'mq_last_stable_offset{{{OF}}}')} > 0)",
                    column="held back",
                ),
            ),
            may_be_empty="a transaction is open",
        ),
        Panel(
            "table",
            "Positions that can't be",
            "Which groups have a position past the log's end, or on a topic that does not exist, since the exporter's start?",
            (
                Query(
                    f"topk(50, {merged(f'mq_position_anomalies_total{{{GROUP}}}')} > 0)",
                    column="times",
                ),
            ),
            may_be_empty="a topic was truncated, or made anew",
        ),
        Panel(
            "line",
            "Timestamps that can't be within ten minutes",
            "How many timestamps of messages were in the future, missing or unreadable?",
            (
                Query(
                    f"sum by (source, kind) ({merged(f'increase(mq_timestamp_anomalies_total{{{OF}}}[10m])')})",
                    "{{kind}} ({{source}})",
                ),
            ),
        ),
    ),
)
