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
            "Backlog of the ten worst queues",
            "Which queues have the most messages, ready and not acknowledged together?",
            (Query(worst(f"{LAG}{{{OF}}}"), QUEUE),),
        ),
        Panel(
            "line",
            "Age of the ten worst queues",
            "In which queues do messages wait for the longest?",
            (Query(worst(f"{AGE}{{{OF}}}"), QUEUE),),
            unit="s",
        ),
        Panel(
            "line",
            "Not acknowledged, the ten worst queues",
            "Which consumers hold messages that they have not finished?",
            (Query(worst(f"mq_unacknowledged_messages{{{OF}}}"), QUEUE),),
        ),
        Panel(
            "table",
            "Nobody reads",
            "Which queues have messages and no consumer?",
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
            "Published to the ten busiest queues",
            "How many messages a second come in?",
            (Query(busiest("mq_subscription_produced_messages_total", OF), QUEUE),),
            unit="cps",
        ),
        Panel(
            "line",
            "Consumed from the ten busiest queues",
            "How many messages a second are processed?",
            (Query(busiest("mq_consumed_messages_total", OF), QUEUE),),
            unit="cps",
        ),
        Panel(
            "line",
            "Delivered again, the ten worst queues",
            "Of which queues are messages given back and delivered again?",
            (Query(busiest("mq_redelivered_messages_total", OF), QUEUE),),
            unit="cps",
        ),
        Panel(
            "line",
            "Size of messages, the ten largest",
            "How large are the messages of which queues on average?",
            (Query(worst(f"mq_message_size_bytes{{{OF}}}"), "{{destination}} in {{vhost}}"),),
            unit="bytes",
        ),
        Row("Cluster"),
        Panel(
            "states",
            "Nodes that are up",
            "Which nodes ran when?",
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
            "Messages in all queues",
            "How many messages does each vhost hold?",
            (Query(f"sum by (source, vhost) ({LAG}{{{OF}}})", "{{vhost}} ({{source}})"),),
        ),
    ),
)
