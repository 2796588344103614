"""Every metric: name, type, unit, labels, help, in one table.

`docs/metrics.md` is generated from it, and the page is rendered in its order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]

SUBSCRIPTION = ("system", "source", "vhost", "destination", "group")
DESTINATION = ("system", "source", "vhost", "destination")
LOG = ("system", "source", "destination")
GROUP = ("system", "source", "group")
SOURCE = ("system", "source")
LATENCY_BUCKETS = (1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0)
PROBE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the catalogue.

    Rows with `per_partition` carry the label `partition` too, unless the source's granularity is `subscription`.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    section: str
    per_partition: bool = False
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, without +Inf."""


def _rows() -> tuple[Metric, ...]:
    sub, dest, log, group, source = SUBSCRIPTION, DESTINATION, LOG, GROUP, SOURCE
    backlog, rates, consumers, own = "Backlog", "Rates", "Consumers", "The exporter"
    time, probe, judgement = "Time", "Probes", "Judgement"
    return (
        Metric(
            "mq_lag_messages",
            "gauge",
            sub,
            "Messages enqueued and not yet processed.",
            backlog,
            per_partition=True,
        ),
        Metric(
            "mq_unacknowledged_messages",
            "gauge",
            sub,
            "Of the lag, messages delivered and awaiting an acknowledgement (RabbitMQ unacked, NSQ in flight).",
            backlog,
            per_partition=True,
        ),
        Metric(
            "mq_deferred_messages",
            "gauge",
            sub,
            "Beside the lag, messages held back: requeued or published with a delay (NSQ), waiting for a retry or a dead-letter target (RabbitMQ quorum queues).",
            backlog,
            per_partition=True,
        ),
        Metric(
            "mq_uncommitted_partitions",
            "gauge",
            sub,
            "Partitions that the group should read, that hold messages, and that have no committed offset.",
            backlog,
        ),
        Metric(
            "mq_uncommitted_messages",
            "gauge",
            sub,
            "Messages on partitions that the group should read and that have no committed offset.",
            backlog,
        ),
        Metric(
            "mq_unreadable_partitions",
            "gauge",
            sub,
            "Partitions whose lag cannot be read, so that sums over the others are lower bounds; absent if there are none.",
            backlog,
        ),
        Metric(
            "mq_past_end_messages",
            "gauge",
            sub,
            "Messages by which committed offsets are past the log end: new messages up to there may be skipped; absent if there are none.",
            backlog,
        ),
        Metric(
            "mq_log_start_offset",
            "gauge",
            log,
            "Offset of the oldest message that the log still has.",
            backlog,
            per_partition=True,
        ),
        Metric(
            "mq_log_end_offset",
            "gauge",
            log,
            "Offset that the next message will get (the high watermark).",
            backlog,
            per_partition=True,
        ),
        Metric(
            "mq_committed_offset",
            "gauge",
            sub,
            "Offset of the next message that the group will process.",
            backlog,
            per_partition=True,
        ),
        Metric(
            "mq_last_stable_offset",
            "gauge",
            log,
            "Offset of the first message of an open transaction, present while there is one.",
            backlog,
            per_partition=True,
        ),
        Metric(
            "mq_lag_upper_bound",
            "gauge",
            sub,
            "1 where the lag counts offsets that may hold no message (compacted topic, transactions, stored offsets of a stream).",
            backlog,
        ),
        Metric(
            "mq_message_size_bytes",
            "gauge",
            dest,
            "Mean size of the messages that were read lately (Kafka), that wait (RabbitMQ), or that came in (NSQ).",
            backlog,
        ),
        Metric(
            "mq_produced_messages_total",
            "counter",
            dest,
            "Messages enqueued since the exporter first saw the log.",
            rates,
            per_partition=True,
        ),
        Metric(
            "mq_subscription_produced_messages_total",
            "counter",
            sub,
            "Messages enqueued on the partitions that the group reads.",
            rates,
        ),
        Metric(
            "mq_consumed_messages_total",
            "counter",
            sub,
            "Messages processed: by the committed offsets (Kafka), acknowledgements (RabbitMQ), the counters (NSQ).",
            rates,
        ),
        Metric(
            "mq_redelivered_messages_total",
            "counter",
            sub,
            "Messages delivered again (RabbitMQ redeliveries, NSQ requeues and timeouts).",
            rates,
        ),
        Metric(
            "mq_produced_messages_per_second",
            "gauge",
            dest,
            "Messages enqueued a second, over the rate window.",
            rates,
            per_partition=True,
        ),
        Metric(
            "mq_subscription_produced_messages_per_second",
            "gauge",
            sub,
            "Messages enqueued a second on the partitions that the group reads, over the rate window.",
            rates,
        ),
        Metric(
            "mq_consumed_messages_per_second",
            "gauge",
            sub,
            "Messages processed a second, over the rate window.",
            rates,
        ),
        Metric(
            "mq_consumed_messages_per_second_lower_bound",
            "gauge",
            sub,
            "Messages a second that left the queue at the least, where the broker does not count consumption (RabbitMQ).",
            rates,
        ),
        Metric(
            "mq_lag_seconds",
            "gauge",
            sub,
            "Age of the oldest message not yet processed; 0 with no lag.",
            time,
            per_partition=True,
        ),
        Metric(
            "mq_lag_seconds_uncertainty",
            "gauge",
            sub,
            "Most seconds by which the subscription's largest age may be off, where that can be told.",
            time,
        ),
        Metric(
            "mq_lag_seconds_method",
            "gauge",
            (*sub, "method"),
            "1 for the method by which the subscription's age is found.",
            time,
        ),
        Metric(
            "mq_latency_seconds",
            "histogram",
            sub,
            "Seconds from the enqueueing of a message to its consumption, one observation per seen movement.",
            time,
            buckets=LATENCY_BUCKETS,
        ),
        Metric(
            "mq_commit_interval_seconds",
            "gauge",
            sub,
            "Longest of the recent gaps between movements of the position while there was something to process.",
            time,
        ),
        Metric(
            "mq_timestamp_anomalies_total",
            "counter",
            (*source, "kind"),
            "Timestamps in the future, missing, or unreadable (not between the years 2000 and 3000 included).",
            time,
        ),
        Metric(
            "mq_time_to_loss_seconds",
            "gauge",
            sub,
            "Seconds until retention reaches the first unread message at the present rates; +Inf where it will not.",
            time,
        ),
        Metric(
            "mq_probe_latency_seconds",
            "histogram",
            (*source, "node", "stage"),
            "Seconds from the sending of a probe to the stage: publish, receive, ack.",
            probe,
            buckets=PROBE_BUCKETS,
        ),
        Metric(
            "mq_probe_messages_total",
            "counter",
            (*source, "node", "result"),
            "Probes sent, received in time, lost, and failed to be published.",
            probe,
        ),
        Metric(
            "mq_probe_success",
            "gauge",
            (*source, "node"),
            "1 if the last due probe came back in time.",
            probe,
        ),
        Metric(
            "mq_consumers",
            "gauge",
            sub,
            "Members, consumers or clients that read the destination; while a group rebalances, the last stable count.",
            consumers,
        ),
        Metric("mq_group_members", "gauge", group, "Members of the consumer group.", consumers),
        Metric(
            "mq_group_state",
            "gauge",
            (*group, "state"),
            "1 for the state that the group is in, 0 for the others.",
            consumers,
        ),
        Metric(
            "mq_group_rebalances_total",
            "counter",
            group,
            "Rebalances seen between looks: a lower bound.",
            consumers,
        ),
        Metric(
            "mq_messages_lost_total",
            "counter",
            sub,
            "Messages deleted or dropped before they were processed.",
            consumers,
        ),
        Metric(
            "mq_retention_margin_messages",
            "gauge",
            sub,
            "Committed offset minus log start offset, the smallest of the partitions.",
            consumers,
        ),
        Metric(
            "mq_offset_rewinds_total",
            "counter",
            sub,
            "Times that a partition's committed offset moved back.",
            consumers,
        ),
        Metric(
            "mq_position_anomalies_total",
            "counter",
            (*sub, "kind"),
            "Times that a position was first seen past the log end or on a deleted topic.",
            consumers,
        ),
        Metric(
            "mq_subscriptions_lost_total",
            "counter",
            (*source, "reason"),
            "Subscriptions that went away while lagging.",
            consumers,
        ),
        Metric(
            "mq_subscription_status",
            "gauge",
            (*sub, "status"),
            "1 for the status that the subscription has, 0 for the others.",
            judgement,
        ),
        Metric(
            "mq_backlog_cause",
            "gauge",
            (*sub, "cause"),
            "1 for the likeliest cause of the backlog, while there is one and the evidence speaks for one.",
            judgement,
        ),
        Metric(
            "mq_threshold_lag_messages",
            "gauge",
            sub,
            "Messages of lag that the subscription is compared with; absent where switched off.",
            judgement,
        ),
        Metric(
            "mq_threshold_lag_seconds",
            "gauge",
            sub,
            "Age of the backlog that the subscription is compared with; absent where switched off.",
            judgement,
        ),
        Metric(
            "mq_threshold_consume_ratio",
            "gauge",
            sub,
            "Part of the production that the subscription has to consume; absent where switched off.",
            judgement,
        ),
        Metric(
            "mq_threshold_stop_seconds",
            "gauge",
            sub,
            "How long the subscription may stand still while messages wait; absent where switched off.",
            judgement,
        ),
        Metric(
            "mq_threshold_probe_seconds",
            "gauge",
            source,
            "Seconds from end to end that the source's probes are compared with; absent where switched off.",
            judgement,
        ),
        Metric(
            "mq_consumers_expected",
            "gauge",
            sub,
            "1 where nobody reading is a fault, 0 where it is not.",
            judgement,
        ),
        Metric(
            "mq_time_to_drain_seconds",
            "gauge",
            sub,
            "Seconds until the backlog is processed at the present rates; +Inf where it does not shrink, 0 with no lag.",
            judgement,
        ),
        Metric(
            "mq_groups_not_shown",
            "gauge",
            (*source, "kind"),
            "Groups that exist and that the exporter cannot read, by kind.",
            own,
        ),
        Metric("mq_up", "gauge", source, "1 if the last backlog task reached the source.", own),
        Metric(
            "mq_node_up",
            "gauge",
            (*source, "node"),
            "1 if the node answers; one that is down stays at 0 for a day, one that was removed or renamed ends.",
            own,
        ),
        Metric(
            "mq_collect_success",
            "gauge",
            (*source, "task"),
            "1 if the last run of the task got a whole answer.",
            own,
        ),
        Metric(
            "mq_collect_duration_seconds",
            "gauge",
            (*source, "task"),
            "Duration of the last run of the task.",
            own,
        ),
        Metric(
            "mq_collect_last_success_timestamp_seconds",
            "gauge",
            (*source, "task"),
            "When the task last got a whole answer; the daemon's start until it first did.",
            own,
        ),
        Metric(
            "mq_collect_failures_total",
            "counter",
            (*source, "task", "reason"),
            "Runs of the task that failed, or that got a part of the answer only (reason partial).",
            own,
        ),
        Metric(
            "mq_collector_restarts_total",
            "counter",
            source,
            "Times that the process which reads the source ended by itself and was replaced.",
            own,
        ),
        Metric(
            "mq_log_lines_dropped_total",
            "counter",
            (),
            "Log lines that could not be written, those of the processes that read the sources included.",
            own,
        ),
        Metric(
            "mq_rows_unreadable_total",
            "counter",
            (*source, "task"),
            "Rows of the brokers' replies that were left out because a field was not what it must be.",
            own,
        ),
        Metric(
            "mq_values_out_of_range_total",
            "counter",
            (),
            "Values left out because they were not a number or above 2^63; counted at each update.",
            own,
        ),
        Metric("mq_series", "gauge", source, "Series exposed for the source.", own),
        Metric("mq_series_dropped", "gauge", source, "Series left out because of max_series.", own),
    )


CATALOGUE: tuple[Metric, ...] = _rows()
BY_NAME: dict[str, Metric] = {metric.name: metric for metric in CATALOGUE}

ANOMALIES = ("past_end", "deleted_topic")
LOSSES = ("expired", "deleted", "node_gone")
