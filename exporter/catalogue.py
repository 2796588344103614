"""Every metric in one table: name, type, unit, labels, help.

`docs/metrics.md` is generated from it, and it sets the order of the exposition.
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

    If `per_partition` is set, the metric also has the label `partition`, unless the source's
    granularity is `subscription`.
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
    time, probe, judgement, scaling = "Time", "Probes", "Judgement", "Scaling"
    return (
        Metric(
            "mq_lag_messages",
            "gauge",
            sub,
            "Consumer lag: messages that were enqueued and are not yet processed.",
            backlog,
            per_partition=True,
        ),
        Metric(
            "mq_unacknowledged_messages",
            "gauge",
            sub,
            "The part of the lag that was delivered and awaits an acknowledgement (RabbitMQ: "
            "unacked, NSQ: in flight).",
            backlog,
            per_partition=True,
        ),
        Metric(
            "mq_deferred_messages",
            "gauge",
            sub,
            "Deferred messages, which are not part of the lag (NSQ: requeued or published with a "
            "delay; RabbitMQ quorum queues: waiting for a retry or for their dead-letter target).",
            backlog,
            per_partition=True,
        ),
        Metric(
            "mq_uncommitted_partitions",
            "gauge",
            sub,
            "Non-empty partitions that the group should read but has no committed offset for; "
            "absent if unknown.",
            backlog,
        ),
        Metric(
            "mq_uncommitted_messages",
            "gauge",
            sub,
            "Messages on the partitions that mq_uncommitted_partitions counts; absent if unknown.",
            backlog,
        ),
        Metric(
            "mq_unreadable_partitions",
            "gauge",
            sub,
            "Partitions whose lag cannot be read; absent if there are none. While it is present, "
            "sums over the other partitions are lower bounds.",
            backlog,
        ),
        Metric(
            "mq_past_end_messages",
            "gauge",
            sub,
            "Messages between the log end and committed offsets that are past it; absent if there "
            "are none. That many new messages will be skipped unless the offsets are reset.",
            backlog,
        ),
        Metric(
            "mq_log_start_offset",
            "gauge",
            log,
            "Offset of the oldest message in the log.",
            backlog,
            per_partition=True,
        ),
        Metric(
            "mq_log_end_offset",
            "gauge",
            log,
            "Offset that the next message will get (high watermark).",
            backlog,
            per_partition=True,
        ),
        Metric(
            "mq_committed_offset",
            "gauge",
            sub,
            "Offset of the next message that the group will process (its committed offset).",
            backlog,
            per_partition=True,
        ),
        Metric(
            "mq_last_stable_offset",
            "gauge",
            log,
            "Last stable offset: the offset of the first message of an open transaction; absent if "
            "no transaction is open.",
            backlog,
            per_partition=True,
        ),
        Metric(
            "mq_lag_upper_bound",
            "gauge",
            sub,
            "1 if the lag may include offsets without a message (compacted topics, transactions, "
            "offsets stored in a stream); absent otherwise.",
            backlog,
        ),
        Metric(
            "mq_message_size_bytes",
            "gauge",
            dest,
            "Mean message size in bytes: of messages read recently (Kafka), of messages in the "
            "queue (RabbitMQ), of messages enqueued recently (NSQ). Absent if unknown.",
            backlog,
        ),
        Metric(
            "mq_produced_messages_total",
            "counter",
            dest,
            "Messages enqueued since the exporter first saw the destination.",
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
            "Messages processed, counted from committed offsets (Kafka), acknowledgements "
            "(RabbitMQ) or the broker's counters (NSQ).",
            rates,
        ),
        Metric(
            "mq_redelivered_messages_total",
            "counter",
            sub,
            "Messages delivered again (RabbitMQ: redeliveries, NSQ: requeues and timeouts).",
            rates,
        ),
        Metric(
            "mq_produced_messages_per_second",
            "gauge",
            dest,
            "Messages enqueued per second, over the rate window.",
            rates,
            per_partition=True,
        ),
        Metric(
            "mq_subscription_produced_messages_per_second",
            "gauge",
            sub,
            "Messages enqueued per second on the partitions that the group reads, over the rate "
            "window.",
            rates,
        ),
        Metric(
            "mq_consumed_messages_per_second",
            "gauge",
            sub,
            "Messages processed per second, over the rate window.",
            rates,
        ),
        Metric(
            "mq_consumed_messages_per_second_lower_bound",
            "gauge",
            sub,
            "Lower bound of the messages that leave the queue per second; present only if the "
            "broker does not count consumption (RabbitMQ).",
            rates,
        ),
        Metric(
            "mq_lag_seconds",
            "gauge",
            sub,
            "Age in seconds of the oldest message that is not yet processed; 0 if there is no lag, "
            "absent if unknown.",
            time,
            per_partition=True,
        ),
        Metric(
            "mq_lag_seconds_uncertainty",
            "gauge",
            sub,
            "Upper bound in seconds on the error of the subscription's largest age; absent if no "
            "bound can be given.",
            time,
        ),
        Metric(
            "mq_lag_seconds_method",
            "gauge",
            (*sub, "method"),
            "1 for the method that found the subscription's age.",
            time,
        ),
        Metric(
            "mq_latency_seconds",
            "histogram",
            sub,
            "Seconds from enqueue to consumption; one observation each time the position moves, "
            "for the last message consumed.",
            time,
            buckets=LATENCY_BUCKETS,
        ),
        Metric(
            "mq_commit_interval_seconds",
            "gauge",
            sub,
            "Longest recent gap in seconds between two movements of the position while messages "
            "were waiting; 0 until one was observed. Measured between commits if their times are "
            "known, otherwise between polls.",
            time,
        ),
        Metric(
            "mq_timestamp_anomalies_total",
            "counter",
            (*source, "kind"),
            "Message timestamps that are in the future, missing, or unreadable (outside the years "
            "2000 to 2999).",
            time,
        ),
        Metric(
            "mq_time_to_loss_seconds",
            "gauge",
            sub,
            "Seconds until retention reaches the first unread message at the current rates; +Inf "
            "if it will not, absent if unknown.",
            time,
        ),
        Metric(
            "mq_probe_latency_seconds",
            "histogram",
            (*source, "node", "stage"),
            "Seconds from sending a probe message until the stage was reached: publish "
            "(acknowledged by the broker), receive (read back), ack (offset committed or message "
            "acknowledged).",
            probe,
            buckets=PROBE_BUCKETS,
        ),
        Metric(
            "mq_probe_messages_total",
            "counter",
            (*source, "node", "result"),
            "Probe messages by result: sent, received (back in time), lost (acknowledged, but not "
            "back in time), failed (not published).",
            probe,
        ),
        Metric(
            "mq_probe_success",
            "gauge",
            (*source, "node"),
            "1 if the last probe message that was due came back in time, 0 if not.",
            probe,
        ),
        Metric(
            "mq_consumers",
            "gauge",
            sub,
            "Members, consumers or clients that read the destination; the last stable count while "
            "the group rebalances, absent if unknown.",
            consumers,
        ),
        Metric(
            "mq_group_members",
            "gauge",
            group,
            "Members of the consumer group; absent if unknown.",
            consumers,
        ),
        Metric(
            "mq_group_state",
            "gauge",
            (*group, "state"),
            "1 for the current state of the group, 0 for the other states.",
            consumers,
        ),
        Metric(
            "mq_group_rebalances_total",
            "counter",
            group,
            "Rebalances of the group. A lower bound, because those between two polls are missed, "
            "unless the exporter reads __consumer_offsets.",
            consumers,
        ),
        Metric(
            "mq_messages_lost_total",
            "counter",
            sub,
            "Messages that were deleted or dropped before they were processed.",
            consumers,
        ),
        Metric(
            "mq_retention_margin_messages",
            "gauge",
            sub,
            "Committed offset minus log start offset, the minimum over the partitions; absent if a "
            "partition cannot be read.",
            consumers,
        ),
        Metric(
            "mq_offset_rewinds_total",
            "counter",
            sub,
            "Times that the committed offset of a partition moved back.",
            consumers,
        ),
        Metric(
            "mq_position_anomalies_total",
            "counter",
            (*sub, "kind"),
            "Times that a position was found past the log end (past_end) or on a deleted topic "
            "(deleted_topic).",
            consumers,
        ),
        Metric(
            "mq_subscriptions_lost_total",
            "counter",
            (*source, "reason"),
            "Subscriptions that disappeared while they had lag: expired, deleted, or with their "
            "node (node_gone).",
            consumers,
        ),
        Metric(
            "mq_subscription_status",
            "gauge",
            (*sub, "status"),
            "1 for the current status of the subscription, 0 for the other statuses.",
            judgement,
        ),
        Metric(
            "mq_backlog_cause",
            "gauge",
            (*sub, "cause"),
            "1 for the most likely cause of the backlog; absent if there is no backlog or no cause "
            "was found.",
            judgement,
        ),
        Metric(
            "mq_threshold_lag_messages",
            "gauge",
            sub,
            "Lag threshold of the subscription in messages; absent if switched off.",
            judgement,
        ),
        Metric(
            "mq_threshold_lag_seconds",
            "gauge",
            sub,
            "Age threshold of the subscription in seconds; absent if switched off.",
            judgement,
        ),
        Metric(
            "mq_threshold_consume_ratio",
            "gauge",
            sub,
            "Minimum ratio of the consume rate to the produce rate; absent if switched off.",
            judgement,
        ),
        Metric(
            "mq_threshold_stop_seconds",
            "gauge",
            sub,
            "Seconds without progress, while messages wait, after which the subscription counts as "
            "stopped; absent if switched off.",
            judgement,
        ),
        Metric(
            "mq_threshold_probe_seconds",
            "gauge",
            source,
            "Threshold in seconds for the end-to-end time of the source's probes; absent if "
            "switched off.",
            judgement,
        ),
        Metric(
            "mq_consumers_expected",
            "gauge",
            sub,
            "1 if the subscription is expected to have consumers, 0 if it is not.",
            judgement,
        ),
        Metric(
            "mq_time_to_drain_seconds",
            "gauge",
            sub,
            "Seconds until the backlog is processed at the current rates; 0 if there is no lag, "
            "+Inf if the backlog does not shrink, absent if unknown.",
            judgement,
        ),
        Metric(
            "mq_desired_consumers",
            "gauge",
            sub,
            "Scaling advice: the number of consumers that the subscription needs. Only where a "
            "line of scaling in the config matches.",
            scaling,
        ),
        Metric(
            "mq_scaling_score",
            "gauge",
            sub,
            "Weighted mean of lag, age and rates, each divided by its target; 1 is at the targets.",
            scaling,
        ),
        Metric(
            "mq_scaling_held",
            "gauge",
            (*sub, "reason"),
            "1 while the scaling advice does not follow the load, with the reason. At most one "
            "series per subscription.",
            scaling,
        ),
        Metric(
            "mq_consumer_capacity_messages_per_second",
            "gauge",
            sub,
            "Messages a second that one consumer processes while it has a backlog; absent until it "
            "is known.",
            scaling,
        ),
        Metric(
            "mq_commit_stream_groups",
            "gauge",
            source,
            "Kafka groups whose committed offsets come from the topic __consumer_offsets; those of "
            "the other groups come from their coordinators.",
            own,
        ),
        Metric(
            "mq_commit_stream_disagreements_total",
            "counter",
            source,
            "Groups for which a coordinator returned other offsets than the topic had. Its offsets "
            "were used from then on.",
            own,
        ),
        Metric(
            "mq_commit_stream_unknown_records_total",
            "counter",
            source,
            "Records of __consumer_offsets that could not be decoded. Their groups are read from "
            "the coordinators.",
            own,
        ),
        Metric(
            "mq_groups_not_shown",
            "gauge",
            (*source, "kind"),
            "Groups that exist but cannot be read, by kind.",
            own,
        ),
        Metric(
            "mq_up",
            "gauge",
            source,
            "1 if the last run of the backlog task reached the source, even if its answer was "
            "incomplete; 0 if not.",
            own,
        ),
        Metric(
            "mq_node_up",
            "gauge",
            (*source, "node"),
            "1 if the node responds, 0 if not. A node that is down stays at 0 for a day; the "
            "series of a removed or renamed node ends.",
            own,
        ),
        Metric(
            "mq_collect_success",
            "gauge",
            (*source, "task"),
            "1 if the last run of the task returned complete data, 0 if not.",
            own,
        ),
        Metric(
            "mq_collect_duration_seconds",
            "gauge",
            (*source, "task"),
            "Duration of the last run of the task in seconds.",
            own,
        ),
        Metric(
            "mq_collect_last_success_timestamp_seconds",
            "gauge",
            (*source, "task"),
            "Unix time of the last run of the task that returned complete data; the start time of "
            "the daemon until the first one.",
            own,
        ),
        Metric(
            "mq_collect_failures_total",
            "counter",
            (*source, "task", "reason"),
            "Runs of the task that failed or returned incomplete data (reason partial).",
            own,
        ),
        Metric(
            "mq_collector_restarts_total",
            "counter",
            source,
            "Restarts of the process that reads the source, after a crash or a task that did not "
            "end.",
            own,
        ),
        Metric(
            "mq_scaling_input_failures_total",
            "counter",
            ("reason",),
            "Failed queries of scaling inputs, by reason. The score is computed without them.",
            own,
        ),
        Metric(
            "mq_log_lines_dropped_total",
            "counter",
            (),
            "Log lines that could not be written, including those of the processes that read the "
            "sources.",
            own,
        ),
        Metric(
            "mq_rows_unreadable_total",
            "counter",
            (*source, "task"),
            "Rows of broker responses that were skipped because a field had an invalid value.",
            own,
        ),
        Metric(
            "mq_values_out_of_range_total",
            "counter",
            (),
            "Values that were not exposed because they are not a number or exceed 2^63; counted at "
            "each update.",
            own,
        ),
        Metric(
            "mq_keda_requests_total",
            "counter",
            ("method", "code"),
            "Calls of KEDA that ended, by method and gRPC status code; absent if `keda` is not "
            "configured. A stream counts when it ends.",
            own,
        ),
        Metric("mq_series", "gauge", source, "Series exposed for the source.", own),
        Metric(
            "mq_series_dropped",
            "gauge",
            source,
            "Series of the source that were left out because of max_series.",
            own,
        ),
    )


CATALOGUE: tuple[Metric, ...] = _rows()
BY_NAME: dict[str, Metric] = {metric.name: metric for metric in CATALOGUE}

ANOMALIES = ("past_end", "deleted_topic")
LOSSES = ("expired", "deleted", "node_gone")
