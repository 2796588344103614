"""NSQ: topics, channels, nsqds."""

from __future__ import annotations

from mixin.alerts import AGE, LAG, merged
from mixin.boards.model import Board, Panel, Query, Row, Variable, busiest, of_system, worst

OF = 'system="nsq",source=~"$source",destination=~"$destination"'
CHANNEL = "{{group}} of {{destination}}"
AT = "{{group}} of {{destination}} at {{partition}}"


BOARD = Board(
    uid="mq-nsq",
    title="Message queues / NSQ",
    description="NSQ topics and channels on each nsqd.",
    system="nsq",
    variables=of_system(
        "nsq",
        (Variable("destination", LAG + '{system="nsq",source=~"$source"}', several=True),),
    ),
    content=(
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
            "Topics without a channel",
            "Which topics have messages but no channel to deliver them to?",
            (Query(f'topk(50, {LAG}{{{OF},group=""}} > 0)', column="messages"),),
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
            unit="cps",
        ),
        Panel(
            "line",
            "Finish rate, top 10 channels",
            "How many messages per second are processed?",
            (Query(busiest("mq_consumed_messages_total", OF), CHANNEL),),
            unit="cps",
        ),
        Panel(
            "line",
            "Requeue and timeout rate, top 10 channels",
            "Which channels redeliver the most messages per second?",
            (Query(busiest("mq_redelivered_messages_total", OF), CHANNEL),),
            unit="cps",
        ),
        Panel(
            "states",
            "nsqds up",
            "When did each nsqd respond?",
            (
                Query(
                    merged('mq_node_up{system="nsq",source=~"$source"}') + " == 1",
                    "{{node}} ({{source}})",
                ),
            ),
            good=True,
        ),
    ),
)
