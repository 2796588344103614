"""The alert and recording rules as data, and the files that are generated from them.

`alerts/recording.yml` and `alerts/alerts.yml` are Prometheus rule files.
`deploy/kubernetes/prometheusrule.yaml` contains the same rules for the Prometheus Operator. Each
rule states which labels its alert has (`Scope`); the links, the name in the summary and the cause
lookup follow from that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import yaml

RUNBOOKS = "https://github.com/mq-lag-exporter/mq-lag-exporter/blob/main/docs/runbooks/"
HEAD = (
    "# Generated from mixin/alerts.py by `make generate`. Do not edit. Runbooks: docs/runbooks/.\n"
)

Scope = Literal["subscription", "group", "node", "source", "exporter"]
Severity = Literal["critical", "warning", "info"]

SUB: Scope = "subscription"
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

It uses history, so that neither a restart (no forecast for some time) nor a single outlier changes
the result.
"""
EXPORTERS = "cluster, namespace, system, source"
"""The labels that identify a source. The first two exist if one Prometheus evaluates the rules for
several clusters.
"""
ABANDONED = merged('mq_subscription_status{status="abandoned"}') + " == 1"
"""It has the label `status`, which the `unless` clauses ignore."""
INTERVAL = "subscription:mq_commit_interval_seconds:max30m"
"""The maximum of the last 30 minutes, because the exporter has to learn the interval again after a
restart.
"""
MOVEMENTS = merged(
    "mq_consumed_messages_total + (mq_offset_rewinds_total or 0 * mq_consumed_messages_total)"
)
"""Messages processed plus offset rewinds: it grows with each movement of the position."""
IS_OK = 'max without (instance, pod, status) (mq_subscription_status{status="ok"})'

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
        # The last time at which the position moved or no message was waiting. The rule carries its
        # own value forward, so an exporter restart does not lose it. The position moved if the
        # movements grew since the last evaluation; if the broker counts nothing, a changed backlog
        # counts as movement. After a gap of more than two minutes the time starts again, because
        # consumers need time to come back after an outage. While a partition cannot be read, it is
        # unknown whether the position moves, so that time does not count.
        MOVED,
        "\nor ".join(
            (
                f"0 * ({MOVEMENTS} > last_over_time({MOVES}[1h])) + time()",
                (
                    f"0 * (changes({LAG}[2m]) > 0 unless {merged('mq_consumed_messages_total')}) + "
                    "time()"
                ),
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
                f"0 * ({IS_OK} == 1) + time()",
                f"(last_over_time({OK_AT}[10m]) and {LAG})",
                f"0 * {LAG} + time()",
            )
        ),
    ),
    (STATUSES, f"sum without (vhost, destination, group) ({merged('mq_subscription_status')})"),
    (UP, merged("mq_up")),
    (PROBE, merged("mq_probe_success")),
)

SUBSCRIPTION_NAME = (
    "{{ with $labels.group }}{{ . }} on {{ end }}{{ $labels.destination }}"
    "{{ with $labels.vhost }} in vhost {{ . }}{{ end }} ({{ $labels.source }})"
)
OF_SUBSCRIPTION = (
    "{cluster=%q,namespace=%q,system=%q,source=%q,vhost=%q,destination=%q,group=%q}",
    (
        "$labels.cluster $labels.namespace $labels.system $labels.source $labels.vhost "
        "$labels.destination $labels.group"
    ),
)
NOT_MEANT_TO_BE_READ = f"{merged('mq_consumers_expected')} == 0"


def reason_of(task: str, window: str) -> str:
    """Return a template for the most frequent recent failure reason of a task.

    `task` is a name or a label reference.
    """
    of, labels = ("'" + task + "'", "") if task.isalpha() else ("%q", " " + task)
    return (
        '{{ with printf "topk(1, increase(mq_collect_failures_total'
        f"{{cluster=%q,namespace=%q,source=%q,task={of}}}[{window}]) > 0)"
        '"'
        f" $labels.cluster $labels.namespace $labels.source{labels} | query }}}}"
        ' Reason: {{ . | first | label "reason" }}.{{ end }}'
    )


def asked(metric: str, text: str, where: str = "") -> str:
    """Return a template that shows `text` if the alert's subscription has a series of the metric.

    `where` is a condition on the series.
    """
    pattern, labels = OF_SUBSCRIPTION
    return f'{{{{ with printf "{metric}{pattern}{where}" {labels} | query }}}}{text}{{{{ end }}}}'


CAUSE = asked(
    "mq_backlog_cause",
    ' Likely cause: {{ . | first | label "cause" | reReplaceAll "_" " " }}.',
)
SECONDS = "{{ . | first | value | humanizeDuration }}"
SEEN_FOR_LONG = f" and {LAG} offset 5m"
"""A five-minute rate is too low until Prometheus has known the series for five minutes."""
RATES = asked(
    CONSUMED, ' Consume rate: {{ . | first | value | printf "%.1f" }}/s.', SEEN_FOR_LONG
) + asked(PRODUCED, ' Produce rate: {{ . | first | value | printf "%.1f" }}/s.', SEEN_FOR_LONG)
WAITING = asked(LAG, ' Lag: {{ . | first | value | printf "%.0f" }} messages.')
OLDEST = asked(AGE, f" Oldest message: {SECONDS} old.")
HELD_BACK = asked(
    DEFERRED,
    ' Deferred for another delivery: {{ . | first | value | printf "%.0f" }} messages.',
    " > 0",
)
CONSUMERS_NOW = asked(CONSUMERS, ' Consumers: {{ . | first | value | printf "%.0f" }}.')

CONSUMERS_IF_KNOWN = CONSUMERS_NOW.removesuffix("{{ end }}") + (
    "{{ else }} The number of consumers is unknown.{{ end }}"
)
NOTHING_SINCE = asked("time() - " + MOVED, f" No message was processed for {SECONDS}.")

PARTLY_READ = asked(
    UNREADABLE,
    ' Unreadable partitions: {{ . | first | value | printf "%.0f" }}; '
    "the actual numbers may be higher.",
)

DASHBOARDS: dict[Scope, tuple[str, tuple[str, ...]]] = {
    "subscription": ("mq-subscription", ("system", "source", "vhost", "destination", "group")),
    "group": ("mq-kafka", ("source", "group")),
    "node": ("mq-probes", ("system", "source", "node")),
    "source": ("mq-overview", ("system", "source")),
    "exporter": ("mq-exporter", ()),
}


@dataclass(frozen=True)
class Alert:
    """One alert rule. `keeps` is how long it keeps firing after the expression no longer holds."""

    name: str
    expr: str
    severity: Severity
    scope: Scope
    summary: str
    description: str
    waits: str | None = None
    keeps: str | None = "5m"
    last: str | None = None
    """The last value of the alert's number, if that number is unknown while a partition cannot be
    read.

    During that time the alert does not start; if it was firing, it keeps firing with the last
    value.
    """
    sound: bool = False
    """Whether the alert may start anyway, because the expression is valid for lower bounds too."""

    @property
    def expression(self) -> str:
        """The whole expression."""
        if self.last is None:
            return self.expr.strip() + "\n"
        begins = self.expr.strip() + ("" if self.sound else f"\nunless {UNREADABLE}")
        return f"""\
(
{begins}
)
or (
  {self.last}
  and {UNREADABLE}
  and ignoring (alertname, alertstate, severity, scope)
    ALERTS{{alertname="{self.name}",alertstate="firing"}}
)
"""

    def rule(self) -> dict[str, Any]:
        """Return the rule as Prometheus reads it."""
        uid, variables = DASHBOARDS[self.scope]
        link = "&".join(f"var-{name}={{{{ $labels.{name} | urlquery }}}}" for name in variables)
        return {
            "alert": self.name,
            "expr": self.expression,
            **({} if self.waits is None else {"for": self.waits}),
            **({} if self.keeps is None else {"keep_firing_for": self.keeps}),
            "labels": {"severity": self.severity, "scope": self.scope},
            "annotations": {
                "summary": self.summary,
                "description": self.description
                + (PARTLY_READ if self.scope == "subscription" else ""),
                "runbook_url": f"{RUNBOOKS}{self.name}.md",
                "dashboard_url": f"/d/{uid}" + (f"?{link}" if link else ""),
            },
        }


PAST_LAG = f"""\
(
  min_over_time({LAG}[5m]) > {merged("mq_threshold_lag_messages")}
  and {LAG} offset 5m
)
unless (
  {INTERVAL} > 300
  and min_over_time({LAG}[1h]) <= {merged("mq_threshold_lag_messages")}
)"""
"""Above the threshold for five minutes, all of them observed; for an hour if the position moves
less often than that.
"""
LEFT_ALONE = f"unless ({DRAINING})\nunless ignoring (status) ({ABANDONED})"
STANDS = f"""\
(
  min_over_time({LAG}[5m]) > 0
  and {LAG} offset 5m
  and time() - {MOVED} > {merged("mq_threshold_stop_seconds")}
)"""


REDELIVERING = merged("rate(mq_redelivered_messages_total[10m])")
CONSUMING = merged("rate(mq_consumed_messages_total[10m])")


def repeated(minutes: int) -> str:
    """Return a condition: redeliveries in each of three successive spans.

    There must be more of them than messages processed.
    """
    redelivered = "mq_redelivered_messages_total"
    span = f"{redelivered}[{minutes}m]"
    spans = [span, *(f"{span} offset {turn * minutes}m" for turn in (1, 2))]
    every = merged(f"increase({redelivered}[{3 * minutes}m])")
    processed = merged(f"increase(mq_consumed_messages_total[{3 * minutes}m])")
    some = [f"{merged(f'increase({each})')} > 0" for each in spans]
    return "\n  and ".join((f"{every} > {processed}", *some))


ALERTS: tuple[Alert, ...] = (
    Alert(
        "MqLagHigh",
        f"{LAG} and (\n{PAST_LAG}\n)\n{LEFT_ALONE}",
        "warning",
        SUB,
        f'{SUBSCRIPTION_NAME}: lag is {{{{ $value | printf "%.0f" }}}} messages',
        "The lag has been above the threshold"
        + asked(
            "mq_threshold_lag_messages",
            ' of {{ . | first | value | printf "%.0f" }} messages',
        )
        + " for at least 5 minutes."
        + WAITING
        + OLDEST
        + RATES
        + CONSUMERS_NOW
        + CAUSE,
        last=last(LAG),
        sound=True,
    ),
    Alert(
        "MqResidenceTimeHigh",
        f"{AGE} and (\n  min_over_time({LATE}[5m]) > 0\n  and {LATE} offset 5m\n)\n{LEFT_ALONE}",
        "warning",
        SUB,
        f"{SUBSCRIPTION_NAME}: oldest message is {{{{ $value | humanizeDuration }}}} old",
        "The age of the oldest message has been above the threshold"
        + asked("mq_threshold_lag_seconds", f" of {SECONDS}")
        + asked("mq_commit_interval_seconds", f" plus the commit interval of {SECONDS}")
        + " for at least 5 minutes."
        + WAITING
        + OLDEST
        + RATES
        + CONSUMERS_NOW
        + CAUSE,
        last=last(AGE),
        sound=True,
    ),
    Alert(
        "MqConsumeRateLow",
        f"""\
(
  {CONSUMED} / ({PRODUCED} > 0)
    < {merged("mq_threshold_consume_ratio")}
)
and (
{PAST_LAG}
)
{LEFT_ALONE}
""",
        "warning",
        SUB,
        f"{SUBSCRIPTION_NAME}: consume rate is {{{{ $value | humanizePercentage }}}} of the "
        f"produce rate",
        "The lag is above its threshold and growing."
        + WAITING
        + OLDEST
        + RATES
        + CONSUMERS_NOW
        + CAUSE,
        last=f"{last(CONSUMED)} / ({last(PRODUCED)} > 0)",
    ),
    Alert(
        "MqNoConsumers",
        f"""\
{LAG} and {STANDS}
and max_over_time({CONSUMERS}[5m]) == 0
and {merged("mq_consumers_expected")} == 1
unless ignoring (status) ({ABANDONED})
""",
        "critical",
        SUB,
        f'{SUBSCRIPTION_NAME}: no consumers, lag is {{{{ $value | printf "%.0f" }}}} messages',
        "There has been no consumer for at least 5 minutes."
        + WAITING
        + OLDEST
        + NOTHING_SINCE
        + CAUSE,
        waits="1m",  # after an outage of the broker, consumers need some time to come back
        last=last(LAG),
    ),
    Alert(
        "MqStalled",
        f"""\
{LAG} and {STANDS}
and time() - {MOVED} > 1.5 * ({INTERVAL} or 0 * {LAG})
unless max_over_time({CONSUMERS}[5m]) == 0
unless {NOT_MEANT_TO_BE_READ}
unless ignoring (status) ({ABANDONED})
""",
        "critical",
        SUB,
        f'{SUBSCRIPTION_NAME}: stalled, lag is {{{{ $value | printf "%.0f" }}}} messages',
        "Messages are waiting, but none is processed."
        + WAITING
        + OLDEST
        + NOTHING_SINCE
        + CONSUMERS_IF_KNOWN
        + CAUSE,
        waits="1m",
        last=last(LAG),
    ),
    Alert(
        "MqOffsetsRewound",
        f"{merged('increase(mq_offset_rewinds_total[10m])')} > 0",
        "warning",
        SUB,
        f"{SUBSCRIPTION_NAME}: committed offset moved back",
        "A committed offset moved back within the last 10 minutes, so messages are processed again."
        + WAITING
        + OLDEST
        + CONSUMERS_NOW,
    ),
    Alert(
        "MqPositionPastEnd",
        merged("mq_past_end_messages") + " > 0",
        "warning",
        SUB,
        f'{SUBSCRIPTION_NAME}: committed offset is {{{{ $value | printf "%.0f" }}}} messages '
        "past the log end",
        "The topic was truncated or recreated, or the offsets were copied from another cluster. "
        "Unless the offsets "
        'are reset, the next {{ $value | printf "%.0f" }} messages will be skipped.'
        + CONSUMERS_NOW,
        waits="5m",
    ),
    Alert(
        "MqMessagesLost",
        f"""\
{merged("increase(mq_messages_lost_total[10m])")} > 0
unless {NOT_MEANT_TO_BE_READ}
unless ignoring (status) ({ABANDONED})
""",
        "critical",
        SUB,
        f'{SUBSCRIPTION_NAME}: about {{{{ $value | printf "%.0f" }}}} messages lost '
        "before they were processed",
        "Within the last 10 minutes, messages were deleted or dropped before they were processed."
        + WAITING
        + OLDEST
        + RATES
        + CONSUMERS_NOW
        + CAUSE,
    ),
    Alert(
        "MqRetentionNear",
        f"""\
max_over_time({LOSS}[5m]) < 3600
and {LAG} > 0
unless ignoring (status) ({ABANDONED})
unless {NOT_MEANT_TO_BE_READ}
""",
        "critical",
        SUB,
        f"{SUBSCRIPTION_NAME}: unread messages will be deleted in {{{{ $value | humanizeDuration "
        f"}}}}",
        "At the current rates, retention will reach the first unread message within an hour."
        + WAITING
        + OLDEST
        + RATES
        + CONSUMERS_NOW
        + CAUSE,
        last=last(LOSS),
    ),
    Alert(
        "MqWillLoseMessages",
        f"""\
max_over_time({LOSS}[15m]) < 86400
and {LOSS} < {DRAIN}
unless ignoring (status) ({ABANDONED})
unless {NOT_MEANT_TO_BE_READ}
""",
        "warning",
        SUB,
        f"{SUBSCRIPTION_NAME}: retention will delete unread messages, starting in {{{{ $value | "
        f"humanizeDuration }}}}",
        "At the current rates, retention will reach the first unread message within a day, "
        "before the backlog is drained." + WAITING + OLDEST + RATES + CONSUMERS_NOW + CAUSE,
        waits="5m",
        last=last(LOSS),
    ),
    Alert(
        "MqWillNotDrain",
        f"""\
{LAG} and (
  predict_linear({LAG}[30m], 86400) > 0
  and predict_linear({LAG}[10m], 14400) > 0
  and min_over_time({LAG}[30m]) > {merged("mq_threshold_lag_messages")}
  and {LAG} offset 30m
)
unless max_over_time({UNREADABLE}[30m])
unless ignoring (status) ({ABANDONED})
unless {NOT_MEANT_TO_BE_READ}
""",
        "warning",
        SUB,
        f'{SUBSCRIPTION_NAME}: the backlog of {{{{ $value | printf "%.0f" }}}} messages '
        "will not drain",
        "At the rate of the last 30 minutes, the backlog will not drain within a day."
        + WAITING
        + OLDEST
        + RATES
        + CONSUMERS_NOW
        + CAUSE,
        last=last(LAG),
    ),
    Alert(
        "MqRedeliveryLoop",
        f"""\
{merged("increase(mq_redelivered_messages_total[1h])")} and (
  (
  {REDELIVERING} > {CONSUMING}
  and {merged("rate(mq_redelivered_messages_total[5m])")} > 0.05
  and {merged("mq_redelivered_messages_total offset 5m")}
  )
  or (
  {repeated(10)}
  )
  or (
  {repeated(20)}
  )
)
""",
        "warning",
        SUB,
        f'{SUBSCRIPTION_NAME}: {{{{ $value | printf "%.0f" }}}} redeliveries in the last hour',
        "Most deliveries are repeats: messages are requeued or time out, and are delivered again."
        + WAITING
        + OLDEST
        + HELD_BACK
        + CAUSE,
    ),
    Alert(
        "MqRebalanceStorm",
        f"""\
{merged("increase(mq_group_rebalances_total[15m])")}
and {merged("increase(mq_group_rebalances_total[5m])")} > 1.5
and {merged("increase(mq_group_rebalances_total[5m] offset 5m)")} > 1.5
and {merged("increase(mq_group_rebalances_total[5m] offset 10m)")} > 1.5
""",
        "warning",
        "group",
        "{{ $labels.group }} ({{ $labels.source }}): the group keeps rebalancing",
        'At least {{ $value | printf "%.0f" }} rebalances in the last 15 minutes, '
        "several in each 5 minutes. "
        "Consumers stop processing during each rebalance.",
    ),
    Alert(
        "MqProbeFailing",
        # A node that is no longer probed, for example in maintenance mode, has no series.
        f"max_over_time({PROBE}[2m]) == 0\nand {PROBE}\nand {PROBE} offset 2m",
        "critical",
        "node",
        "{{ $labels.node }} ({{ $labels.source }}): probe messages do not come back",
        "For 2 minutes, no probe message came back from this node in time. Producers and consumers "
        "that use this node "
        "are probably affected too.",
    ),
    Alert(
        "MqProbeSlow",
        f"""\
histogram_quantile(
  0.5,
  sum without (instance, pod) (rate(mq_probe_latency_seconds_bucket{{stage="receive"}}[5m]))
)
> on ({EXPORTERS}) group_left () max by ({EXPORTERS}) (mq_threshold_probe_seconds)
""",
        "warning",
        "node",
        "{{ $labels.node }} ({{ $labels.source }}): probe messages take {{ $value | "
        "humanizeDuration }} end to end",
        "Half of the probe messages of the last 5 minutes took {{ $value | humanizeDuration }} or "
        "longer from send to receive.",
        waits="2m",
    ),
    Alert(
        "MqSourceDown",
        f"max_over_time({UP}[2m]) == 0\nand {UP} offset 2m",
        "critical",
        "source",
        "{{ $labels.source }} ({{ $labels.system }}): cannot be read",
        "No exporter has reached the source for 2 minutes. Its last values are shown for a limited "
        "time, then they are "
        "absent. Until the source is reached again, its subscriptions have no reliable alerts."
        + reason_of("backlog", "5m"),
    ),
    Alert(
        "MqSourceUnwatched",
        f"""\
{merged("last_over_time(mq_up[1d]) and on (job, instance) max_over_time(up[5m]) == 0")}
unless on ({EXPORTERS}) max_over_time({UP}[5m])
""",
        "critical",
        "source",
        "{{ $labels.source }} ({{ $labels.system }}): its exporter cannot be scraped",
        "For 5 minutes, Prometheus could not scrape the exporter that monitors this source, and no "
        "other exporter "
        "monitors it. Its queues are not monitored. Other sources may still be monitored.",
        keeps=None,
    ),
    Alert(
        "MqExporterDown",
        "absent(mq_exporter_build_info)",
        "critical",
        "exporter",
        "No mq-lag-exporter is being scraped",
        "For 5 minutes, Prometheus could not scrape any exporter. No queue is monitored.",
        waits="5m",
    ),
    Alert(
        "MqDataStale",
        f"""\
time() - {merged("mq_collect_last_success_timestamp_seconds")} > 900
and on ({EXPORTERS}) {UP} == 1
""",
        "warning",
        "source",
        "{{ $labels.source }} ({{ $labels.system }}): task {{ $labels.task }} has returned "
        "incomplete data for {{ $value | humanizeDuration }}",
        "The source responds, but a part of it cannot be read. The last values of that part are "
        "shown for a limited time, "
        "then they are absent." + reason_of("$labels.task", "15m"),
    ),
    Alert(
        "MqConfigRefused",
        "mq_config_last_reload_successful == 0",
        "warning",
        "exporter",
        "{{ $labels.instance }}: config reload was rejected",
        "A config reload was rejected; the previous config is still in use. If the exporter "
        "restarts before the file is "
        "fixed, it will not start.",
        waits="5m",
    ),
    Alert(
        "MqSeriesDropped",
        f"{merged('mq_series_dropped')} > 0",
        "info",
        "source",
        "{{ $labels.source }} ({{ $labels.system }}): "
        '{{ $value | printf "%.0f" }} series are left out',
        "The source has more series than max_series allows. The subscriptions with the least lag "
        "are not exposed and have no "
        "alerts.",
        waits="15m",
    ),
)


class _Text(str):
    """A text that is written as a YAML block."""

    __slots__ = ()


def _block(dumper: yaml.SafeDumper, text: _Text) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")


class _Dumper(yaml.SafeDumper):
    """Writes PromQL as blocks, and no aliases."""

    def ignore_aliases(self, _: Any) -> bool:
        """Write everything out."""
        return True


_Dumper.add_representer(_Text, _block)


def _written(data: Any) -> str:
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
    return HEAD + text


def _rules(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**rule, "expr": _Text(rule["expr"])} for rule in rules]


def recording_groups() -> list[dict[str, Any]]:
    """Return the recording rules."""
    rules = [{"record": name, "expr": expr + "\n"} for name, expr in RECORDING]
    return [{"name": "mq-lag-exporter.recording", "rules": _rules(rules)}]


def alert_groups() -> list[dict[str, Any]]:
    """Return the alert rules, one group per scope."""
    scopes = list(dict.fromkeys(alert.scope for alert in ALERTS))
    return [
        {
            "name": f"mq-lag-exporter.{scope}",
            "rules": _rules([alert.rule() for alert in ALERTS if alert.scope == scope]),
        }
        for scope in scopes
    ]


def files() -> dict[str, str]:
    """Return the text of each file by its path."""
    groups = [*recording_groups(), *alert_groups()]
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "mq-lag-exporter",
            "labels": {"app.kubernetes.io/name": "mq-lag-exporter"},
        },
        "spec": {"groups": groups},
    }
    return {
        "alerts/recording.yml": _written({"groups": recording_groups()}),
        "alerts/alerts.yml": _written({"groups": alert_groups()}),
        "deploy/kubernetes/prometheusrule.yaml": _written(resource),
    }
