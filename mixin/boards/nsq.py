"""NSQ: topics, channels, nsqds."""

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
    of_system,
    placed,
    stat,
    worst,
)
from mixin.recording import AGE, CONSUMED, LAG, PRODUCED, merged

NODES = f'{IN_CLUSTER},system="nsq",source=~"$source"'
OF = f'{NODES},destination=~"$destination"'
CHANNEL = "{{group}} {{destination}} · {{source}} {{cluster}}"
AT = "{{group}} {{destination}} {{partition}} {{cluster}}"
UNHEARD = f'{LAG}{{{OF},group=""}} > 0'
BY_TOPIC = "cluster, namespace, source, destination"


BOARD = Board(
    uid="mq-nsq",
    title="Message queues / NSQ",
    description="NSQ topics and channels on each nsqd.",
    system="nsq",
    variables=of_system(
        "nsq",
        (Variable("destination", f"{LAG}{{{NODES}}}", several=True, title="topic"),),
    ),
    content=(
        stat("Lag", "How many messages wait or are in flight?", f"sum({LAG}{{{OF}}})"),
        stat(
            "Oldest message",
            "How old is the oldest message that is not yet processed?",
            f"max({AGE}{{{OF}}})",
            unit="s",
        ),
        stat(
            "Published",
            "How many messages per second are enqueued?",
            f"sum(max by ({BY_TOPIC}) ({PRODUCED}{{{OF}}}))",
            unit="mps",
        ),
        stat(
            "Finished",
            "How many messages per second are processed?",
            f"sum({CONSUMED}{{{OF}}})",
            unit="mps",
        ),
        stat(
            "Without a channel",
            "How many topics have messages but no channel to deliver them to?",
            counted(UNHEARD, NODES),
            bad=1,
            decimals=0,
        ),
        stat(
            "nsqds down",
            "How many nsqds do not respond?",
            counted(f"{merged(f'mq_node_up{{{NODES}}}')} == 0", NODES),
            bad=1,
            decimals=0,
        ),
        Panel(
            "line",
            "Lag, top 10 channels",
            "Which channels have the largest lag (depth plus in flight)?",
            (Query(worst(f"{LAG}{{{OF}}}"), CHANNEL),),
        ),
        Panel(
            "line",
            "Age of the oldest message, top 10 channels",
            "Which channels have the oldest waiting messages?",
            (Query(worst(f"{AGE}{{{OF}}}"), CHANNEL),),
            unit="s",
        ),
        Panel(
            "line",
            "Lag by nsqd, top 10",
            "On which nsqds do channels have the largest lag?",
            (Query(worst(f"mq_lag_messages{{{OF}}}"), AT),),
        ),
        Panel(
            "table",
            "Messages without a channel",
            "Which topics have messages but no channel to deliver them to?",
            (Query(placed(f"topk(50, {UNHEARD})"), column="messages"),),
            columns=("destination", PLACE, "messages"),
            sorted_by="messages",
            may_be_empty="a topic has messages and no channel",
        ),
        Row("Deliveries"),
        Panel(
            "line",
            "In flight, top 10",
            "Which channels have the most messages that were delivered and are not finished?",
            (Query(worst(f"mq_unacknowledged_messages{{{OF}}}"), AT),),
        ),
        Panel(
            "line",
            "Deferred, top 10",
            "Which channels have the most deferred messages (published or requeued with a delay)?",
            (Query(worst(f"mq_deferred_messages{{{OF}}}"), AT),),
        ),
        Panel(
            "line",
            "Publish rate, top 10 channels",
            "How many messages per second are enqueued?",
            (Query(busiest("mq_subscription_produced_messages_total", OF), CHANNEL),),
            unit="mps",
        ),
        Panel(
            "line",
            "Finish rate, top 10 channels",
            "How many messages per second are processed?",
            (Query(busiest("mq_consumed_messages_total", OF), CHANNEL),),
            unit="mps",
        ),
        Panel(
            "line",
            "Requeue and timeout rate, top 10 channels",
            "Which channels redeliver the most messages per second?",
            (Query(busiest("mq_redelivered_messages_total", OF), CHANNEL),),
            unit="mps",
        ),
        Panel(
            "states",
            "nsqds up",
            "When did each nsqd respond?",
            (
                Query(
                    f"topk(50, {merged(f'mq_node_up{{{NODES}}}')})",
                    "{{node}} · {{source}} {{cluster}}",
                ),
            ),
        ),
    ),
)
