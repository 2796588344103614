"""The alert and recording rules as data, and the files that are made of them.

`alerts/recording.yml` and `alerts/alerts.yml` are rule files of Prometheus; `deploy/kubernetes/prometheusrule.yaml` has the same
rules for its operator. Each rule says which labels its alert has (`Scope`), and from that come the links, the naming of
the thing and the look-up of the cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import yaml

RUNBOOKS = "https://github.com/mq-lag-exporter/mq-lag-exporter/blob/main/docs/runbooks/"
HEAD = "# Made from mixin/alerts.py by `make generate`; don't edit. What each alert means: docs/runbooks/.\n"

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
    """Return the series of exporters side by side as one."""
    return f"max without (instance, pod) ({metric})"


def last(metric: str) -> str:
    """Return the last value of a series, if it is not older than an hour."""
    return f"last_over_time({metric}[1h])"


DRAINING = f"quantile_over_time(0.5, {DRAIN}[10m]) < 900"
"""The backlog will be processed within a quarter of an hour, as most forecasts of the last ten minutes have it.

Of history, so that neither a restart, after which no forecast is known for some time, nor a single odd one changes it.
"""
EXPORTERS = "cluster, namespace, system, source"
"""What tells a source from others: the first two are there where one Prometheus evaluates the rules for several clusters."""
ABANDONED = merged('mq_subscription_status{status="abandoned"}') + " == 1"
"""With the label `status`, which the match leaves out."""
INTERVAL = "subscription:mq_commit_interval_seconds:max30m"
"""Of the last half an hour, so that a restart of the exporter, which has to learn it anew, makes nobody late."""
MOVEMENTS = merged(
    "mq_consumed_messages_total + (mq_offset_rewinds_total or 0 * mq_consumed_messages_total)"
)
"""Messages processed, and times that the position went back: a number that grows with each movement."""
IS_OK = 'max without (instance, pod, status) (mq_subscription_status{status="ok"})'

RECORDING: tuple[tuple[str, str], ...] = (
    (LAG, "max without (instance, pod) (sum without (partition) (mq_lag_messages))"),
    (
        # Where an exporter beside it reads all of it, nothing is missing.
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
        # When the position last moved, or nothing waited; kept by the rule itself, so that no restart forgets it. It moved
        # where there are more movements than at the evaluation before; where a broker counts nothing, a backlog that changed. What
        # was hidden for longer than two minutes was not seen to stand still: after an outage, consumers need time to come back.
        # While a partition cannot be read, nobody knows whether the position moves: the time does not count.
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
        # When the status was last ok, kept likewise.
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
    "$labels.cluster $labels.namespace $labels.system $labels.source $labels.vhost $labels.destination $labels.group",
)
NOT_MEANT_TO_BE_READ = f"{merged('mq_consumers_expected')} == 0"


def reason_of(task: str, window: str) -> str:
    """Return a template that shows why a task of the alert's source failed most often of late; `task` may be a label."""
    of, labels = ("'" + task + "'", "") if task.isalpha() else ("%q", " " + task)
    return (
        f'{{{{ with printf "topk(1, increase(mq_collect_failures_total{{cluster=%q,namespace=%q,source=%q,task={of}}}[{window}]) > 0)"'
        f" $labels.cluster $labels.namespace $labels.source{labels} | query }}}}"
        ' Reason: {{ . | first | label "reason" }}.{{ end }}'
    )


def asked(metric: str, text: str, where: str = "") -> str:
    """Return a template that shows `text` for the first series of a metric of the alert's subscription, `where` it holds."""
    pattern, labels = OF_SUBSCRIPTION
    return f'{{{{ with printf "{metric}{pattern}{where}" {labels} | query }}}}{text}{{{{ end }}}}'


CAUSE = asked(
    "mq_backlog_cause",
    ' Likely cause: {{ . | first | label "cause" | reReplaceAll "_" " " }}.',
)
SECONDS = "{{ . | first | value | humanizeDuration }}"
SEEN_FOR_LONG = f" and {LAG} offset 5m"
"""A rate over five minutes of what Prometheus has known for one is a fifth of the truth."""
RATES = asked(
    CONSUMED, ' {{ . | first | value | printf "%.1f" }}/s processed', SEEN_FOR_LONG
) + asked(PRODUCED, ', {{ . | first | value | printf "%.1f" }}/s come in.', SEEN_FOR_LONG)
WAITING = asked(LAG, '{{ . | first | value | printf "%.0f" }} messages wait')
OLDEST = asked(AGE, f", the oldest for {SECONDS}")
HELD_BACK = asked(
    DEFERRED, ', {{ . | first | value | printf "%.0f" }} are deferred for another try', " > 0"
)
CONSUMERS_NOW = asked(CONSUMERS, ' Consumers: {{ . | first | value | printf "%.0f" }}.')

CONSUMERS_IF_KNOWN = CONSUMERS_NOW.removesuffix("{{ end }}") + (
    "{{ else }} How many consumers there are is not known.{{ end }}"
)
NOTHING_SINCE = asked("time() - " + MOVED, f" Nothing was processed for {SECONDS}.")

PARTLY_READ = asked(
    UNREADABLE,
    ' {{ . | first | value | printf "%.0f" }} of its partitions cannot be read: the true numbers may be larger.',
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
    """One alert rule. `keeps` is how long it goes on after the expression no longer holds."""

    name: str
    expr: str
    severity: Severity
    scope: Scope
    summary: str
    description: str
    waits: str | None = None
    keeps: str | None = "5m"
    last: str | None = None
    """The last value of the number that it is about, if that cannot be known while a partition cannot be read.

    Meanwhile the alert goes on if it was firing, with the number's last value, and does not begin.
    """
    sound: bool = False
    """Whether the expression may begin all the same, since it holds for lower bounds too."""

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
"""Past its threshold for five minutes, of which all were seen; for who moves more seldom, for an hour."""
LEFT_ALONE = f"unless ({DRAINING})\nunless ignoring (status) ({ABANDONED})"
STANDS = f"""\
(
  min_over_time({LAG}[5m]) > 0
  and {LAG} offset 5m
  and time() - {MOVED} > {merged("mq_threshold_stop_seconds")}
)"""


def repeated(minutes: int) -> str:
    """Return what holds if there were repeats in each of three successive spans, and more than messages processed."""
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
        f'{SUBSCRIPTION_NAME}: {{{{ $value | printf "%.0f" }}}} messages behind',
        f"{WAITING}{OLDEST}."
        + asked(
            "mq_threshold_lag_messages",
            ' More than {{ . | first | value | printf "%.0f" }} were waiting all the last 5 minutes.',
        )
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
        f"{SUBSCRIPTION_NAME}: messages wait for {{{{ $value | humanizeDuration }}}}",
        f"{WAITING}{OLDEST}."
        + asked("mq_threshold_lag_seconds", f" That is past {SECONDS}")
        + asked(
            "mq_commit_interval_seconds",
            f" and the usual {SECONDS} between two movements, for 5 minutes.",
        )
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
        f"{SUBSCRIPTION_NAME}: consumption is {{{{ $value | humanizePercentage }}}} of production",
        f"The lag is past its threshold, and it grows: {WAITING}{OLDEST}."
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
        f'{SUBSCRIPTION_NAME}: nobody reads, {{{{ $value | printf "%.0f" }}}} messages wait',
        f"No consumer for 5 minutes; {WAITING}{OLDEST}." + NOTHING_SINCE + CAUSE,
        waits="1m",  # behind an outage of the broker consumers need some time to come back
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
        f'{SUBSCRIPTION_NAME}: nothing is processed, {{{{ $value | printf "%.0f" }}}} messages wait',
        f"{WAITING}{OLDEST}." + NOTHING_SINCE + CONSUMERS_IF_KNOWN + CAUSE,
        waits="1m",
        last=last(LAG),
    ),
    Alert(
        "MqOffsetsRewound",
        f"{merged('increase(mq_offset_rewinds_total[10m])')} > 0",
        "warning",
        SUB,
        f"{SUBSCRIPTION_NAME}: its position went back",
        "A committed offset was set back, so messages are processed a second time. "
        + WAITING
        + OLDEST
        + "."
        + CONSUMERS_NOW,
    ),
    Alert(
        "MqPositionPastEnd",
        merged("mq_past_end_messages") + " > 0",
        "warning",
        SUB,
        f'{SUBSCRIPTION_NAME}: its position is {{{{ $value | printf "%.0f" }}}} messages past the log end',
        "The topic was truncated or recreated, or the offsets were copied from another cluster. If nobody resets "
        'the offsets, {{ $value | printf "%.0f" }} new messages will be skipped.' + CONSUMERS_NOW,
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
        f'{SUBSCRIPTION_NAME}: about {{{{ $value | printf "%.0f" }}}} messages were lost unread',
        "They were deleted or dropped before they were processed, within the last 10 minutes. "
        + WAITING
        + OLDEST
        + "."
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
        f"{SUBSCRIPTION_NAME}: unread messages will be deleted in {{{{ $value | humanizeDuration }}}}",
        "At the present rates, retention reaches the first unread message then. "
        + WAITING
        + OLDEST
        + "."
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
        f"{SUBSCRIPTION_NAME}: the backlog will be deleted before it is processed, from {{{{ $value | humanizeDuration }}}} on",
        "Retention reaches the first unread message within a day, and before the backlog is drained. "
        + WAITING
        + OLDEST
        + "."
        + RATES
        + CONSUMERS_NOW
        + CAUSE,
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
        f'{SUBSCRIPTION_NAME}: the backlog of {{{{ $value | printf "%.0f" }}}} messages will not drain',
        f"At the pace of the last 30 minutes it will not be gone within a day. {WAITING}{OLDEST}."
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
  {merged("rate(mq_redelivered_messages_total[10m])")} > {merged("rate(mq_consumed_messages_total[10m])")}
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
        f'{SUBSCRIPTION_NAME}: {{{{ $value | printf "%.0f" }}}} redeliveries within an hour',
        "Most deliveries are repeats: messages are requeued, or time out, and are delivered again. "
        + WAITING
        + HELD_BACK
        + OLDEST
        + "."
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
        "{{ $labels.group }} ({{ $labels.source }}): rebalances without end",
        'At least {{ $value | printf "%.0f" }} rebalances within 15 minutes, some in each 5 of them. Its consumers stop at each.',
    ),
    Alert(
        "MqProbeFailing",
        # A node that is not probed any more, as in maintenance mode, has no series.
        f"max_over_time({PROBE}[2m]) == 0\nand {PROBE}\nand {PROBE} offset 2m",
        "critical",
        "node",
        "{{ $labels.node }} ({{ $labels.source }}): probes do not come back",
        "For 2 minutes no message of the exporter's own came back from this node in time: whoever produces to it or consumes from it "
        "has the same trouble.",
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
        "{{ $labels.node }} ({{ $labels.source }}): messages take {{ $value | humanizeDuration }} from end to end",
        "Half of the probes of the last 5 minutes took {{ $value | humanizeDuration }} or more from sending to receipt.",
        waits="2m",
    ),
    Alert(
        "MqSourceDown",
        f"max_over_time({UP}[2m]) == 0\nand {UP} offset 2m",
        "critical",
        "source",
        "{{ $labels.source }} ({{ $labels.system }}): can't be read",
        "No exporter has reached it for 2 minutes. Its numbers are held for a while and then hidden; alerts of its "
        "subscriptions say nothing meanwhile." + reason_of("backlog", "5m"),
    ),
    Alert(
        "MqSourceUnwatched",
        f"""\
{merged("last_over_time(mq_up[1d]) and on (job, instance) max_over_time(up[5m]) == 0")}
unless on ({EXPORTERS}) max_over_time({UP}[5m])
""",
        "critical",
        "source",
        "{{ $labels.source }} ({{ $labels.system }}): its exporter can't be scraped",
        "For 5 minutes Prometheus got nothing from the exporter that watches it, and no other one does: nothing is known of "
        "its queues. Other sources may be well watched.",
        keeps=None,
    ),
    Alert(
        "MqExporterDown",
        "absent(mq_exporter_build_info)",
        "critical",
        "exporter",
        "No mq-lag-exporter is being scraped",
        "For 5 minutes Prometheus got nothing from any exporter: no queue is watched.",
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
        "{{ $labels.source }} ({{ $labels.system }}): no whole answer to {{ $labels.task }} for {{ $value | humanizeDuration }}",
        "The source answers, but a part of it can't be read: that part is held for a while and then hidden."
        + reason_of("$labels.task", "15m"),
    ),
    Alert(
        "MqConfigRefused",
        "mq_config_last_reload_successful == 0",
        "warning",
        "exporter",
        "{{ $labels.instance }}: its new config was refused",
        "A config was to be read again and is wrong, so the one before is still in force, until the exporter is started anew: then it will not start.",
        waits="5m",
    ),
    Alert(
        "MqSeriesDropped",
        f"{merged('mq_series_dropped')} > 0",
        "info",
        "source",
        '{{ $labels.source }} ({{ $labels.system }}): {{ $value | printf "%.0f" }} series are left out',
        "The source has more series than max_series allows. The least lagging subscriptions are not shown, and have no alerts.",
        waits="15m",
    ),
)


class _Text(str):
    """A text that YAML shows as a block."""

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
    """Return the alert rules, a group a scope."""
    scopes = list(dict.fromkeys(alert.scope for alert in ALERTS))
    return [
        {
            "name": f"mq-lag-exporter.{scope}",
            "rules": _rules([alert.rule() for alert in ALERTS if alert.scope == scope]),
        }
        for scope in scopes
    ]


def files() -> dict[str, str]:
    """Return each file's text by its path."""
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
