"""RabbitMQ: queues, deliveries, streams."""

from __future__ import annotations

from mixin.alerts import AGE, CONSUMERS, LAG, merged
from mixin.boards.model import Board, Panel, Query, Row, Variable, busiest, of_system, worst

OF = 'system="rabbitmq",source=~"$source",vhost=~"$vhost"'
QUEUE = "{{destination}} {{group}} in {{vhost}}"


BOARD = Board(
    uid="mq-rabbitmq",
    title="Message queues / RabbitMQ",
    description="Queues and streams of RabbitMQ clusters.",
    system="rabbitmq",
    variables=of_system(
        "rabbitmq",
        (Variable("vhost", LAG + '{system="rabbitmq",source=~"$source"}', several=True),),
    ),
    content=(
        Panel(
            "line",
            "Lag, top 10 queues",
            "Which queues have the largest lag (ready plus unacknowledged)?",
            (Query(worst(f"{LAG}{{{OF}}}"), QUEUE),),
        ),
        Panel(
            "line",
            "Age of the oldest message, top 10 queues",
            "Which queues have the oldest waiting messages?",
            (Query(worst(f"{AGE}{{{OF}}}"), QUEUE),),
            unit="s",
        ),
        Panel(
            "line",
            "Unacknowledged, top 10 queues",
            "Which queues have the most messages that were delivered and are not acknowledged?",
            (Query(worst(f"mq_unacknowledged_messages{{{OF}}}"), QUEUE),),
        ),
        Panel(
            "table",
            "Queues without consumers",
            "Which queues have messages but no consumer?",
            (
                Query(
                    f"topk(50, {LAG}{{{OF}}} > 0 and {CONSUMERS}{{{OF}}} == 0)", column="messages"
                ),
            ),
            may_be_empty="a queue with messages has no consumer",
        ),
        Row("Deliveries"),
        Panel(
            "line",
            "Publish rate, top 10 queues",
            "How many messages per second are enqueued?",
            (Query(busiest("mq_subscription_produced_messages_total", OF), QUEUE),),
            unit="cps",
        ),
        Panel(
            "line",
            "Consume rate, top 10 queues",
            "How many messages per second are processed?",
            (Query(busiest("mq_consumed_messages_total", OF), QUEUE),),
            unit="cps",
        ),
        Panel(
            "line",
            "Redelivery rate, top 10 queues",
            "Which queues redeliver the most messages per second?",
            (Query(busiest("mq_redelivered_messages_total", OF), QUEUE),),
            unit="cps",
        ),
        Panel(
            "line",
            "Mean message size, top 10 queues",
            "Which queues have the largest messages on average?",
            (Query(worst(f"mq_message_size_bytes{{{OF}}}"), "{{destination}} in {{vhost}}"),),
            unit="bytes",
        ),
        Row("Cluster"),
        Panel(
            "states",
            "Nodes up",
            "When was each node running?",
            (
                Query(
                    merged('mq_node_up{system="rabbitmq",source=~"$source"}') + " == 1",
                    "{{node}} ({{source}})",
                ),
            ),
            good=True,
        ),
        Panel(
            "line",
            "Lag by vhost",
            "How large is the lag of all queues in each vhost?",
            (Query(f"sum by (source, vhost) ({LAG}{{{OF}}})", "{{vhost}} ({{source}})"),),
        ),
    ),
)
