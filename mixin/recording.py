"""The recording rules: one series per subscription instead of one per partition and exporter."""

from __future__ import annotations

LAG = "subscription:mq_lag_messages:sum"
AGE = "subscription:mq_lag_seconds:max"
LATE = "subscription:mq_lag_seconds:late"
DRAIN = "subscription:mq_time_to_drain_seconds:max"
LOSS = "subscription:mq_time_to_loss_seconds:min"
CONSUMED = "subscription:mq_consumed_messages:rate5m"
PRODUCED = "subscription:mq_produced_messages:rate5m"
CONSUMERS = "subscription:mq_consumers:max"
DEFERRED = "subscription:mq_deferred_messages:sum"
MOVED = "subscription:mq_moved:timestamp_seconds"
MOVES = "subscription:mq_moves:max"
OK_AT = "subscription:mq_ok:timestamp_seconds"
UNREADABLE = "subscription:mq_unreadable_partitions:max"
STATUSES = "source:mq_subscription_status:sum"
UP = "source:mq_up:max"
PROBE = "node:mq_probe_success:max"


def merged(metric: str) -> str:
    """Merge the series of exporters that read the same source into one."""
    return f"max without (instance, pod) ({metric})"


def last(metric: str) -> str:
    """Return the last value of a series, if it is at most an hour old."""
    return f"last_over_time({metric}[1h])"


DRAINING = f"quantile_over_time(0.5, {DRAIN}[10m]) < 900"
"""Most forecasts of the last ten minutes say that the backlog will be drained within 15 minutes.

It uses history, so that neither a restart (no forecast for some time) nor a single outlier changes the result.
"""
EXPORTERS = "cluster, namespace, system, source"
"""The labels that identify a source. The first two exist if one Prometheus evaluates the rules for several clusters."""
AWAKE = "subscription:mq_awake:timestamp_seconds"
SILENT = "subscription:mq_silent:max"
INTERVAL = "subscription:mq_commit_interval_seconds:max30m"
"""The maximum of the last 30 minutes, because the exporter has to learn the interval again after a restart."""
MOVEMENTS = merged(
    "mq_consumed_messages_total + (mq_offset_rewinds_total or 0 * mq_consumed_messages_total)"
)
"""Messages processed plus offset rewinds: a number that grows with each movement of the position."""


def _has_status(matcher: str) -> str:
    """Return a condition: the subscription has a status that the matcher matches."""
    return f"max without (instance, pod, status) (mq_subscription_status{{status{matcher}}}) == 1"


HAS_KNOWN_STATUS = _has_status('!~"dormant|unknown"')
IS_OK = _has_status('="ok"')
IS_ABANDONED = _has_status('="abandoned"')
IS_DORMANT = _has_status('="dormant"')

RECORDING: tuple[tuple[str, str], ...] = (
    (LAG, "max without (instance, pod) (sum without (partition) (mq_lag_messages))"),
    (
        # Nothing is missing if another exporter reads all partitions.
        UNREADABLE,
        f"""\
{merged("mq_unreadable_partitions")}
unless {merged("sum without (partition) (mq_lag_messages) unless mq_unreadable_partitions")}""",
    ),
    (AGE, "max without (instance, pod, partition) (mq_lag_seconds)"),
    (INTERVAL, merged("max_over_time(mq_commit_interval_seconds[30m])")),
    (
        LATE,
        f"""\
{AGE}
  - (
    {merged("mq_threshold_lag_seconds")}
    + ({INTERVAL} or 0 * {merged("mq_threshold_lag_seconds")})
  )""",
    ),
    (CONSUMED, merged("rate(mq_consumed_messages_total[5m])")),
    (PRODUCED, merged("rate(mq_subscription_produced_messages_total[5m])")),
    (CONSUMERS, merged("mq_consumers")),
    (DEFERRED, "max without (instance, pod) (sum without (partition) (mq_deferred_messages))"),
    (DRAIN, merged("mq_time_to_drain_seconds")),
    (LOSS, "min without (instance, pod) (mq_time_to_loss_seconds)"),
    (
        # The last time at which the position moved or no message was waiting. The rule carries its own value forward, so an
        # exporter restart does not lose it. The position moved if the movements grew since the last evaluation; if the broker
        # counts nothing, a changed backlog counts as movement. After a gap of more than two minutes the time starts again,
        # because consumers need time to come back after an outage. While a partition cannot be read, it is unknown whether
        # the position moves, so that time does not count.
        MOVED,
        "\nor ".join(
            (
                f"0 * ({MOVEMENTS} > last_over_time({MOVES}[1h])) + time()",
                f"0 * (changes({LAG}[2m]) > 0 unless {merged('mq_consumed_messages_total')}) + time()",
                f"0 * ({LAG} == 0 unless {UNREADABLE}) + time()",
                f"({MOVED} + (time() - timestamp({MOVED})) and {UNREADABLE})",
                f"(last_over_time({MOVED}[2m]) and {LAG})",
                f"0 * {LAG} + time()",
            )
        ),
    ),
    (MOVES, MOVEMENTS),
    (
        # The last time at which the status was ok. The rule carries its own value forward.
        OK_AT,
        "\nor ".join(
            (
                f"0 * ({IS_OK}) + time()",
                f"(last_over_time({OK_AT}[10m]) and {LAG})",
                f"0 * {LAG} + time()",
            )
        ),
    ),
    (
        # The last time at which the subscription was neither dormant nor unknown. After a restart the exporter does not know
        # what it saw before, and calls a stopped group dormant. Prometheus knows better.
        AWAKE,
        "\nor ".join(
            (
                f"0 * ({HAS_KNOWN_STATUS}) + time()",
                f"(last_over_time({AWAKE}[10m]) and {LAG})",
            )
        ),
    ),
    (
        # Subscriptions without alerts: the group reads other topics only, or it was dead before anybody watched it.
        SILENT,
        f"""\
({IS_ABANDONED})
or (({IS_DORMANT}) unless {AWAKE})""",
    ),
    (STATUSES, f"sum without (vhost, destination, group) ({merged('mq_subscription_status')})"),
    (UP, merged("mq_up")),
    (PROBE, merged("mq_probe_success")),
)
