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
    description="Topics and channels of NSQ, at each nsqd.",
    system="nsq",
    variables=of_system(
        "nsq",
        (Variable("destination", LAG + '{system="nsq",source=~"$source"}', several=True),),
    ),
    content=(
        Panel(
            "line",
            "Backlog of the ten worst channels",
            "Which channels have the most messages, in depth and in flight together?",
            (Query(worst(f"{LAG}{{{OF}}}"), CHANNEL),),
        ),
        Panel(
            "line",
            "Age of the ten worst channels",
            "In which channels do messages wait for the longest?",
            (Query(worst(f"{AGE}{{{OF}}}"), CHANNEL),),
            unit="s",
        ),
        Panel(
            "line",
            "Where the backlog is, the ten worst",
            "At which nsqds do which channels have the most messages?",
            (Query(worst(f"mq_lag_messages{{{OF}}}"), AT),),
        ),
        Panel(
            "table",
            "Topics that nobody reads",
            "Which topics keep messages and have no channel?",
            (Query(f'topk(50, {LAG}{{{OF},group=""}} > 0)', column="messages"),),
            may_be_empty="a topic has messages and no channel",
        ),
        Row("Deliveries"),
        Panel(
            "line",
            "In flight, the ten largest",
            "Which consumers hold the most messages?",
            (Query(worst(f"mq_unacknowledged_messages{{{OF}}}"), AT),),
        ),
        Panel(
            "line",
            "Deferred, the ten largest",
            "Where are messages held back for later, by a delay or after a failure?",
            (Query(worst(f"mq_deferred_messages{{{OF}}}"), AT),),
        ),
        Panel(
            "line",
            "Published, the ten busiest channels",
            "How many messages a second come in?",
            (Query(busiest("mq_subscription_produced_messages_total", OF), CHANNEL),),
            unit="cps",
        ),
        Panel(
            "line",
            "Finished, the ten busiest channels",
            "How many messages a second are processed?",
            (Query(busiest("mq_consumed_messages_total", OF), CHANNEL),),
            unit="cps",
        ),
        Panel(
            "line",
            "Requeued and timed out, the ten worst channels",
            "Which channels deliver messages again?",
            (Query(busiest("mq_redelivered_messages_total", OF), CHANNEL),),
            unit="cps",
        ),
        Panel(
            "states",
            "nsqds that are up",
            "Which nsqds answered when?",
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
