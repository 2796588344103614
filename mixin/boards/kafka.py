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
            "Lag, top 10 groups",
            "Which groups have the largest lag, summed over their topics?",
            (
                Query(
                    f"sum by (source, group) ({LAG}{{{GROUP}}}) and "
                    f"topk(10, sum by (source, group) (max_over_time({LAG}{{{GROUP}}}[1h] @ "
                    f"end())))",
                    NAME,
                ),
            ),
        ),
        Panel(
            "line",
            "Produce rate, top 10 topics",
            "Which topics receive the most messages per second?",
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
            "How many groups are in each state?",
            (Query(f"sum by (state) ({merged(f'mq_group_state{{{GROUP}}}')})", "{{state}}"),),
        ),
        Panel(
            "line",
            "Members, top 10 groups",
            "How many members do the groups have?",
            (Query(worst(f"mq_group_members{{{GROUP}}}"), NAME),),
        ),
        Panel(
            "line",
            "Rebalances within 10 minutes, top 10 groups",
            "Which groups keep rebalancing? Consumers stop processing during each rebalance.",
            (
                Query(
                    events("mq_group_rebalances_total", GROUP, "10m"),
                    NAME,
                ),
            ),
        ),
        Panel(
            "table",
            "Partitions without a committed offset",
            "Which groups should read partitions that contain messages, but have no committed "
            "offset for them?",
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
        Row("Offsets and retention"),
        Panel(
            "table",
            "Nearest to retention",
            "How far, in messages and in time, are the positions of the groups from being reached "
            "by retention?",
            (
                Query(
                    f"bottomk(20, {merged(f'mq_retention_margin_messages{{{GROUP}}}')})",
                    column="margin",
                    unit="short",
                ),
                Query(
                    f"{LOSS}{{{GROUP}}} and bottomk(20, "
                    f"{merged(f'mq_retention_margin_messages{{{GROUP}}}')})",
                    column="deleted in",
                    unit="s",
                ),
            ),
        ),
        Panel(
            "line",
            "Messages lost within an hour, top 10",
            "Which groups lost messages that were deleted before they were read?",
            (
                Query(
                    events("mq_messages_lost_total", GROUP),
                    WHO,
                ),
            ),
        ),
        Panel(
            "line",
            "Offset rewinds within an hour, top 10",
            "Which groups moved a committed offset back, so that they read messages again?",
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
            "Which partitions have messages after the start of an open transaction, and how many?",
            (
                Query(
                    f"topk(50, {merged(f'mq_log_end_offset{{{OF}}}')} - "
                    f"{merged(f'mq_last_stable_offset{{{OF}}}')} > 0)",
                    column="messages",
                ),
            ),
            may_be_empty="a transaction is open",
        ),
        Panel(
            "table",
            "Invalid positions",
            "Which groups had a committed offset past the log end or on a deleted topic since the "
            "exporter started?",
            (
                Query(
                    f"topk(50, {merged(f'mq_position_anomalies_total{{{GROUP}}}')} > 0)",
                    column="times",
                ),
            ),
            may_be_empty="a topic was truncated or recreated",
        ),
        Panel(
            "line",
            "Invalid timestamps within 10 minutes",
            "How many message timestamps were in the future, missing or unreadable?",
            (
                Query(
                    f"sum by (source, kind) "
                    f"({merged(f'increase(mq_timestamp_anomalies_total{{{OF}}}[10m])')})",
                    "{{kind}} ({{source}})",
                ),
            ),
        ),
    ),
)
