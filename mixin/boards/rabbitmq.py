"""RabbitMQ: queues, deliveries, streams."""

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
from mixin.recording import AGE, CONSUMED, CONSUMERS, LAG, PRODUCED, merged

OF = f'{IN_CLUSTER},system="rabbitmq",source=~"$source",vhost=~"$vhost"'
NODES = f'{IN_CLUSTER},system="rabbitmq",source=~"$source"'
QUEUE = "{{destination}} {{group}} {{vhost}} · {{source}} {{cluster}}"
UNREAD = f"{LAG}{{{OF}}} > 0 and {CONSUMERS}{{{OF}}} == 0"
BY_QUEUE = "cluster, namespace, source, vhost, destination"


BOARD = Board(
    uid="mq-rabbitmq",
    title="Message queues / RabbitMQ",
    description="Queues and streams of RabbitMQ clusters.",
    system="rabbitmq",
    variables=of_system(
        "rabbitmq",
        (Variable("vhost", f"{LAG}{{{NODES}}}", several=True),),
    ),
    content=(
        stat(
            "Lag",
            "How many messages are ready or unacknowledged, in queues and streams?",
            f"sum({LAG}{{{OF}}})",
        ),
        stat(
            "Oldest message",
            "How old is the oldest message that is not yet processed?",
            f"max({AGE}{{{OF}}})",
            unit="s",
        ),
        stat(
            "Published",
            "How many messages per second are enqueued?",
            f"sum(max by ({BY_QUEUE}) ({PRODUCED}{{{OF}}}))",
            unit="mps",
        ),
        stat(
            "Consumed",
            "How many messages per second are processed?",
            f"sum({CONSUMED}{{{OF}}})",
            unit="mps",
        ),
        stat(
            "Without consumers",
            "How many queues have messages but no consumer?",
            counted(UNREAD, NODES),
            bad=1,
            decimals=0,
        ),
        stat(
            "Nodes down",
            "How many nodes do not run?",
            counted(f"{merged(f'mq_node_up{{{NODES}}}')} == 0", NODES),
            bad=1,
            decimals=0,
        ),
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
            "Messages without a consumer",
            "Which queues have messages but no consumer?",
            (
                Query(
                    placed(f"topk(50, {UNREAD})"),
                    column="messages",
                ),
            ),
            columns=("destination", "group", PLACE, "messages"),
            sorted_by="messages",
            may_be_empty="a queue with messages has no consumer",
        ),
        Row("Deliveries"),
        Panel(
            "line",
            "Publish rate, top 10 queues",
            "How many messages per second are enqueued?",
            (Query(busiest("mq_subscription_produced_messages_total", OF), QUEUE),),
            unit="mps",
        ),
        Panel(
            "line",
            "Consume rate, top 10 queues",
            "How many messages per second are processed?",
            (Query(busiest("mq_consumed_messages_total", OF), QUEUE),),
            unit="mps",
        ),
        Panel(
            "line",
            "Redelivery rate, top 10 queues",
            "Which queues redeliver the most messages per second?",
            (Query(busiest("mq_redelivered_messages_total", OF), QUEUE),),
            unit="mps",
        ),
        Panel(
            "line",
            "Mean message size, top 10 queues",
            "Which queues have the largest messages on average?",
            (
                Query(
                    worst(f"mq_message_size_bytes{{{OF}}}"),
                    "{{destination}} {{vhost}} · {{source}} {{cluster}}",
                ),
            ),
            unit="bytes",
        ),
        Row("Cluster"),
        Panel(
            "states",
            "Nodes up",
            "When was each node running?",
            (
                Query(
                    f"topk(50, {merged(f'mq_node_up{{{NODES}}}')})",
                    "{{node}} · {{source}} {{cluster}}",
                ),
            ),
        ),
        Panel(
            "line",
            "Lag by vhost, top 20",
            "How large is the lag of all queues in each vhost?",
            (
                Query(
                    f"topk(20, sum by (cluster, source, vhost) ({LAG}{{{OF}}}))",
                    "{{vhost}} · {{source}} {{cluster}}",
                ),
            ),
        ),
    ),
)
