"""Scaling advice: how many consumers each subscription should have, has, and why."""

from __future__ import annotations

from mixin.boards.model import (
    CHOSEN,
    IN_CLUSTER,
    OF_SOURCE,
    PLACE,
    WHO,
    Board,
    Panel,
    Query,
    Row,
    Variable,
    placed,
    rate,
    stat,
    worst,
)
from mixin.recording import AGE, CONSUMED, CONSUMERS, LAG, PRODUCED, merged

OF = f'{CHOSEN},vhost=~"$vhost",destination=~"$destination",group=~"$group"'
ADVISED = merged(f"mq_desired_consumers{{{OF}}}")
PRESENT = f"({CONSUMERS}{{{OF}}} and {ADVISED})"
HELD = merged(f"mq_scaling_held{{{OF}}}")
BLIND = merged(f'mq_scaling_held{{{OF},reason="blind"}}')
LISTED = f"topk(100, {ADVISED})"
"""The hundred subscriptions with the most consumers, for the table."""
OUT_ABOVE, IN_BELOW = 0.8, 0.6
"""What a config without `out_above` and `in_below` uses."""
OUT, IN = f"add above {OUT_ABOVE} (default)", f"remove below {IN_BELOW} (default)"


def most(count: int = 10) -> str:
    """Return the subscriptions with the most advised consumers in the selected time range."""
    largest = merged(f"max_over_time(mq_desired_consumers{{{OF}}}[$__range] @ end())")
    return f"topk({count}, {largest})"


def listed(series: str, column: str, unit: str = "short") -> Query:
    """Return a column of the table."""
    return Query(placed(f"({series} and {LISTED})"), column=column, unit=unit)


BOARD = Board(
    uid="mq-scaling",
    title="Message queues / Scaling",
    description="Scaling advice: how many consumers each subscription should have, has, and why.",
    variables=(
        *OF_SOURCE,
        Variable("vhost", f"mq_desired_consumers{{{CHOSEN}}}", several=True),
        Variable("destination", f'mq_desired_consumers{{{CHOSEN},vhost=~"$vhost"}}', several=True),
        Variable(
            "group",
            f'mq_desired_consumers{{{CHOSEN},vhost=~"$vhost",destination=~"$destination"}}',
            several=True,
        ),
    ),
    content=(
        stat(
            "Subscriptions",
            "How many subscriptions have advice?",
            f"count({ADVISED}) or vector(0)",
            decimals=0,
        ),
        stat(
            "Advised consumers",
            "How many consumers should they have, all together?",
            f"sum({ADVISED})",
            decimals=0,
        ),
        stat(
            "Actual consumers",
            "How many consumers do they have, all together?",
            f"sum({PRESENT})",
            decimals=0,
        ),
        stat(
            "Too few consumers",
            "How many subscriptions have fewer consumers than advised?",
            f"count({ADVISED} > {PRESENT}) or 0 * count({ADVISED})",
            decimals=0,
        ),
        stat(
            "Held",
            "For how many subscriptions does the advice not follow the load now?",
            f"count({HELD}) or 0 * count({ADVISED})",
            decimals=0,
        ),
        stat(
            "Blind",
            "For how many subscriptions is the advice outdated, because the source cannot be read?",
            f"count({BLIND}) or 0 * count({ADVISED})",
            bad=1,
            decimals=0,
        ),
        Panel(
            "line",
            "Advised and actual consumers, top 5",
            "How many consumers should the subscriptions with the most advised consumers have, and how many do they have? On NSQ, actual ones are connections, one for each nsqd.",
            (
                Query(f"{ADVISED} and {most(5)}", f"advised: {WHO}"),
                Query(f"{CONSUMERS}{{{OF}}} and {most(5)}", f"actual: {WHO}"),
            ),
            decimals=0,
        ),
        Panel(
            "line",
            "Score, top 10",
            "How far is the load from its targets? 1 is at them. Consumers are added only above out_above and removed only below in_below; the lines show the defaults of both.",
            (
                Query(worst(f"mq_scaling_score{{{OF}}}"), WHO),
                Query("vector(1)", "at the targets", limit=True),
                Query(f"vector({OUT_ABOVE})", OUT, limit=True),
                Query(f"vector({IN_BELOW})", IN, limit=True),
            ),
            decimals=2,
            colours={OUT: "orange", IN: "blue"},
        ),
        Panel(
            "states",
            "Held, and why",
            "When did the advice not follow the load, and for which reason? Shows the 20 longest holds. Grey: not readable; blue: passes by itself; orange: more consumers would not help; red: another fault comes first.",
            (
                Query(
                    worst(f"mq_scaling_held{{{OF}}}", 20, over="count_over_time"),
                    f"{{{{reason}}}}: {WHO}",
                ),
            ),
            width=24,
            may_be_empty="an advice is held",
            colours={
                "/^blind/": "#808080",
                "/^(learning|rebalancing)/": "blue",
                "/^(saturated|hot_partition|single_consumer|prefetched)/": "orange",
                "/^(retry_loop|paused|open_transaction|large_messages)/": "red",
            },
        ),
        Panel(
            "line",
            "Capacity of a consumer, top 10",
            "How many messages per second does one consumer process while it has a backlog, as far as that was learned?",
            (
                Query(
                    f"{merged(f'mq_consumer_capacity_messages_per_second{{{OF}}}')} and {most()}",
                    WHO,
                ),
            ),
            unit="mps",
        ),
        Panel(
            "line",
            "Lag, top 10",
            "How many messages are not yet processed, in the subscriptions with the most advised consumers?",
            (Query(f"{LAG}{{{OF}}} and {most()}", WHO),),
        ),
        Panel(
            "line",
            "Produce and consume rate, top 5",
            "Are messages processed as fast as they are enqueued, in the subscriptions with the most advised consumers?",
            (
                Query(
                    f"{rate('mq_subscription_produced_messages_total', OF)} and {most(5)}",
                    f"in: {WHO}",
                ),
                Query(f"{rate('mq_consumed_messages_total', OF)} and {most(5)}", f"out: {WHO}"),
            ),
            unit="mps",
            width=24,
        ),
        Panel(
            "table",
            "Advice for each subscription",
            "What is advised for each subscription, what does the advice follow, and is it held? At most 100 rows.",
            (
                listed(ADVISED, "advised"),
                listed(f"{CONSUMERS}{{{OF}}}", "consumers"),
                listed(merged(f"mq_scaling_score{{{OF}}}"), "score"),
                listed(merged(f"mq_consumer_capacity_messages_per_second{{{OF}}}"), "capacity /s"),
                listed(f"{LAG}{{{OF}}}", "lag"),
                listed(f"{AGE}{{{OF}}}", "age", "s"),
                listed(f"{PRODUCED}{{{OF}}}", "in /s"),
                listed(f"{CONSUMED}{{{OF}}}", "out /s"),
                Query(
                    placed(
                        f'label_replace({HELD} and ignoring (reason) {LISTED}, "held", "$1", "reason", "(.+)")'
                    )
                ),
            ),
            width=24,
            height=10,
            may_be_empty="a line of scaling in the config matches a subscription",
            columns=(
                *("group", "destination", PLACE, "advised", "consumers", "held"),
                *("score", "capacity /s", "lag", "age", "in /s", "out /s"),
            ),
            sorted_by="advised",
        ),
        Row("Inputs", folded=True),
        Panel(
            "line",
            "Failed queries of inputs",
            "How often did a query of a further part of the score fail within 10 minutes, by reason? The score is computed without it.",
            (
                Query(
                    f"sum by (reason) (increase(mq_scaling_input_failures_total{{{IN_CLUSTER}}}[10m]))",
                    "{{reason}}",
                ),
            ),
            width=24,
            may_be_empty="a query failed",
        ),
    ),
)
