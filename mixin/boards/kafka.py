"""Kafka: topics, groups, offsets, retention."""

from __future__ import annotations

from mixin.boards.model import (
    IN_CLUSTER,
    PLACE,
    Board,
    Panel,
    Query,
    Row,
    Variable,
    busiest,
    counted,
    events,
    of_system,
    placed,
    quiet,
    seen,
    stat,
    worst,
)
from mixin.recording import AGE, CONSUMED, LAG, LOSS, PRODUCED, merged

OF = f'{IN_CLUSTER},system="kafka",source=~"$source"'
TOPIC = f'{OF},destination=~"$destination"'
GROUP = f'{TOPIC},group=~"$group"'
MEMBERS = f'{OF},group=~"$group"'
NAME = "{{group}} · {{source}} {{cluster}}"
WHO = "{{group}} {{destination}} · {{source}} {{cluster}}"
BY_TOPIC = "cluster, namespace, source, destination"
BY_GROUP = "cluster, namespace, source, group"
GROUP_COLOURS = {
    "stable": "green",
    "empty": "blue",
    "dead": "dark-red",
    "preparing_rebalance": "orange",
    "completing_rebalance": "yellow",
    "unknown": "#808080",
}
LOG = "job, instance, pod, cluster, namespace, source, destination, partition"
USED = (
    f"max by ({BY_GROUP}, destination) (mq_lag_messages{{{GROUP}}} / on ({LOG}) group_left () "
    f"(mq_log_end_offset{{{TOPIC}}} - mq_log_start_offset{{{TOPIC}}} > 0))"
)
"""The fraction of a partition's log that a group has not read, of its fullest partition."""
QUIET = quiet(GROUP, " @ end()")
NEAREST = f"bottomk(20, {LOSS}{{{GROUP}}} < Inf unless {quiet(GROUP)})"
MARGIN = merged(f"mq_retention_margin_messages{{{GROUP}}}")
PARTITION_RATE = merged(f"rate(mq_produced_messages_total{{{TOPIC}}}[5m])")
SHARE = (
    f"{PARTITION_RATE} / ignoring (partition) group_left () "
    f"(sum without (partition) ({PARTITION_RATE}) > 0)"
)


BOARD = Board(
    uid="mq-kafka",
    title="Message queues / Kafka",
    description="Topics and consumer groups of Kafka clusters.",
    system="kafka",
    variables=of_system(
        "kafka",
        (
            Variable("destination", f"{LAG}{{{OF}}}", several=True, title="topic"),
            Variable("group", f"mq_group_members{{{OF}}}", several=True),
        ),
    ),
    content=(
        stat("Lag", "How many messages are not yet processed?", f"sum({LAG}{{{GROUP}}})"),
        stat(
            "Oldest message",
            "How old is the oldest message that is not yet processed, by a group that is neither dormant nor abandoned?",
            f"max({AGE}{{{GROUP}}} unless {quiet(GROUP)})",
            unit="s",
        ),
        stat(
            "Produced",
            "How many messages per second are written to topics that a group reads?",
            f"sum(max by ({BY_TOPIC}) ({PRODUCED}{{{GROUP}}}))",
            unit="mps",
        ),
        stat(
            "Consumed",
            "How many messages per second do all groups process?",
            f"sum({CONSUMED}{{{GROUP}}})",
            unit="mps",
        ),
        stat(
            "Brokers down",
            "How many brokers do not respond?",
            counted(f"{merged(f'mq_node_up{{{OF}}}')} == 0", OF),
            bad=1,
            decimals=0,
        ),
        stat(
            "Next loss in",
            "How soon will retention reach the first unread message of any group that is neither dormant nor abandoned?",
            f"min({LOSS}{{{GROUP}}} unless {quiet(GROUP)})",
            unit="s",
            bad_below=3600,
        ),
        Panel(
            "line",
            "Lag, top 10 groups",
            "Which groups have the largest lag, summed over their topics? Dormant and abandoned ones are left out.",
            (
                Query(
                    f"sum by ({BY_GROUP}) ({LAG}{{{GROUP}}}) and topk(10, sum by ({BY_GROUP}) "
                    f"(max_over_time({LAG}{{{GROUP}}}[$__range] @ end()) unless {QUIET}))",
                    NAME,
                ),
            ),
        ),
        Panel(
            "line",
            "Age of the oldest message, top 10 groups",
            "Which groups have the oldest unprocessed messages? Dormant and abandoned ones are left out.",
            (
                Query(
                    f"max by ({BY_GROUP}) ({AGE}{{{GROUP}}}) and topk(10, max by ({BY_GROUP}) "
                    f"(max_over_time({AGE}{{{GROUP}}}[$__range] @ end()) unless {QUIET}))",
                    NAME,
                ),
            ),
            unit="s",
        ),
        Panel(
            "line",
            "Produce rate, top 10 topics",
            "Which topics receive the most messages per second?",
            (
                Query(
                    busiest("mq_produced_messages_total", TOPIC, BY_TOPIC),
                    "{{destination}} · {{source}} {{cluster}}",
                ),
            ),
            unit="mps",
        ),
        Panel(
            "line",
            "Consume rate, top 10 groups",
            "Which groups process the most messages per second?",
            (Query(busiest("mq_consumed_messages_total", GROUP, BY_GROUP), NAME),),
            unit="mps",
        ),
        Row("Retention"),
        Panel(
            "table",
            "Nearest to deletion of unread messages",
            "Which groups will lose unread messages to retention first, and how many messages are left until then? Dormant and abandoned groups are left out.",
            (
                Query(placed(NEAREST), column="deleted in", unit="s"),
                Query(placed(f"({MARGIN} and {NEAREST})"), column="margin", unit="short"),
            ),
            columns=("group", "destination", PLACE, "deleted in", "margin"),
            sorted_by="deleted in",
            descending=False,
            may_be_empty="retention will reach unread messages",
        ),
        Panel(
            "line",
            "Unread part of the log, top 10",
            "How much of a partition's retained log has a group not read? At 100% it loses messages.",
            (
                Query(
                    f"topk(10, {USED})",
                    WHO,
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "line",
            "Messages lost within an hour, top 10",
            "Which groups lost messages that were deleted before they were read?",
            (Query(events("mq_messages_lost_total", GROUP), WHO),),
            decimals=0,
        ),
        Panel(
            "line",
            "Offset rewinds within an hour, top 10",
            "Which groups moved a committed offset back, so that they read messages again?",
            (Query(events("mq_offset_rewinds_total", GROUP), WHO),),
            decimals=0,
        ),
        Row("Groups and partitions"),
        Panel(
            "stack",
            "Groups by state",
            "How many groups are in each state?",
            (Query(seen(f"mq_group_state{{{MEMBERS}}}", "state"), "{{state}}"),),
            colours=GROUP_COLOURS,
            decimals=0,
        ),
        Panel(
            "line",
            "Members, top 10 groups",
            "How many members do the groups have?",
            (Query(worst(f"mq_group_members{{{MEMBERS}}}"), NAME),),
            decimals=0,
        ),
        Panel(
            "line",
            "Rebalances within 10 minutes, top 10 groups",
            "Which groups keep rebalancing? Consumers stop processing during each rebalance.",
            (Query(events("mq_group_rebalances_total", MEMBERS, "10m"), NAME),),
            decimals=0,
        ),
        Panel(
            "table",
            "Hot partitions",
            "Which partitions receive the most messages per second, and which part of their topic's messages is that?",
            (
                Query(placed(f"topk(20, {PARTITION_RATE})"), column="in /s", unit="short"),
                Query(
                    placed(f"({SHARE} and topk(20, {PARTITION_RATE}))"),
                    column="share",
                    unit="percentunit",
                ),
            ),
            columns=("destination", "partition", PLACE, "in /s", "share"),
            sorted_by="in /s",
            decimals=0,
        ),
        Panel(
            "table",
            "Partitions without a committed offset",
            "Which groups should read partitions that contain messages, but have no committed offset for them?",
            (
                Query(
                    placed(f"topk(50, {merged(f'mq_uncommitted_partitions{{{GROUP}}}')} > 0)"),
                    column="partitions",
                ),
                Query(
                    placed(f"topk(50, {merged(f'mq_uncommitted_messages{{{GROUP}}}')} > 0)"),
                    column="messages",
                ),
            ),
            columns=("group", "destination", PLACE, "partitions", "messages"),
            sorted_by="messages",
            may_be_empty="a group has not committed yet",
        ),
        Panel(
            "line",
            "Brokers up",
            "How many brokers respond?",
            (
                Query(
                    f"sum by (cluster, source) ({merged(f'mq_node_up{{{OF}}}')})",
                    "{{source}} {{cluster}}",
                ),
            ),
            decimals=0,
        ),
        Row("Odd positions and timestamps", folded=True),
        Panel(
            "table",
            "Open transactions",
            "Which partitions have messages after the start of an open transaction, and how many?",
            (
                Query(
                    placed(
                        f"topk(50, {merged(f'mq_log_end_offset{{{TOPIC}}}')} - "
                        f"{merged(f'mq_last_stable_offset{{{TOPIC}}}')} > 0)"
                    ),
                    column="messages",
                ),
            ),
            columns=("destination", "partition", PLACE, "messages"),
            sorted_by="messages",
            may_be_empty="a transaction is open",
        ),
        Panel(
            "table",
            "Invalid positions",
            "Which groups had a committed offset past the log end or on a deleted topic since the exporter started?",
            (
                Query(
                    placed(f"topk(50, {merged(f'mq_position_anomalies_total{{{GROUP}}}')} > 0)"),
                    column="times",
                ),
            ),
            columns=("group", "destination", PLACE, "kind", "times"),
            sorted_by="times",
            may_be_empty="a topic was truncated or recreated",
        ),
        Panel(
            "line",
            "Invalid timestamps within 10 minutes",
            "How many message timestamps were in the future, missing or unreadable?",
            (
                Query(
                    f"sum by (cluster, source, kind) ({merged(f'increase(mq_timestamp_anomalies_total{{{OF}}}[10m])')})",
                    "{{kind}} · {{source}} {{cluster}}",
                ),
            ),
            decimals=0,
            width=24,
        ),
    ),
)
