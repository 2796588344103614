"""The alert rules as a table.

Each rule states which labels its alert has (`Scope`); the links, the name in the summary and the
cause lookup follow from that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from exporter.show.links import RUNBOOKS
from mixin.recording import (
    AGE,
    CONSUMED,
    CONSUMERS,
    DRAIN,
    DRAINING,
    EXPORTERS,
    INTERVAL,
    LAG,
    LATE,
    LOSS,
    MOVED,
    PROBE,
    PRODUCED,
    SILENT,
    UNREADABLE,
    UP,
    last,
    merged,
)
from mixin.texts import (
    CAUSE,
    CONSUMERS_IF_KNOWN,
    CONSUMERS_NOW,
    COUNT,
    DURATION,
    HELD_BACK,
    NOTHING_SINCE,
    NUMBER,
    OLDEST,
    PARTLY_READ,
    PERCENT,
    RATES,
    SECONDS,
    SUBSCRIPTION_NAME,
    VALUE_DURATION,
    VALUE_NUMBER,
    WAITING,
    asked,
    reason_of,
)

Scope = Literal["subscription", "group", "node", "source", "exporter"]
Severity = Literal["critical", "warning", "info"]

SUB: Scope = "subscription"
CLUSTER_LINK = "".join(
    f"{{{{ with $labels.{name} }}}}var-{name}={{{{ . | urlquery }}}}&{{{{ end }}}}"
    for name in ("cluster", "namespace")
)
"""Variables of labels that exist only if Prometheus or the scrape adds them."""
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
    """The last value of the alert's number, if that number is unknown while a partition cannot be read.

    During that time the alert does not start; if it was firing, it keeps firing with the last value.
    """
    situation: str = ""
    """The numbers of the subscription: a template that follows the description."""
    resolved: str = ""
    """What a notification says when the alert ends. Its numbers would be old, so it has none."""
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
        situation = self.situation + (PARTLY_READ if self.scope == "subscription" else "")
        return {
            "alert": self.name,
            "expr": self.expression,
            **({} if self.waits is None else {"for": self.waits}),
            **({} if self.keeps is None else {"keep_firing_for": self.keeps}),
            "labels": {"severity": self.severity, "scope": self.scope},
            "annotations": {
                "summary": self.summary,
                "description": self.description + situation,
                "resolved": self.resolved,
                "runbook_url": f"{RUNBOOKS}{self.name}.md",
                "dashboard_url": f"/d/{uid}" + (f"?{CLUSTER_LINK}{link}" if link else ""),
            },
        }


NOT_MEANT_TO_BE_READ = f"{merged('mq_consumers_expected')} == 0"
PAST_LAG = f"""\
(
  min_over_time({LAG}[5m]) > {merged("mq_threshold_lag_messages")}
  and {LAG} offset 5m
)
unless (
  {INTERVAL} > 300
  and min_over_time({LAG}[1h]) <= {merged("mq_threshold_lag_messages")}
)"""
"""Above the threshold for five minutes, all of them observed; for an hour if the position moves less often than that."""
LEFT_ALONE = f"unless ({DRAINING})\nunless {SILENT}"
STANDS = f"""\
(
  min_over_time({LAG}[5m]) > 0
  and {LAG} offset 5m
  and time() - {MOVED} > {merged("mq_threshold_stop_seconds")}
)"""


def repeated(minutes: int) -> str:
    """Return a condition: redeliveries in each of three successive spans, and more of them than messages processed."""
    redelivered = "mq_redelivered_messages_total"
    span = f"{redelivered}[{minutes}m]"
    spans = [span, *(f"{span} offset {turn * minutes}m" for turn in (1, 2))]
    every = merged(f"increase({redelivered}[{3 * minutes}m])")
    processed = merged(f"increase(mq_consumed_messages_total[{3 * minutes}m])")
    some = [f"{merged(f'increase({each})')} > 0" for each in spans]
    return "\n  and ".join((f"{every} > {processed}", *some))


MANY = 10
"""Subscriptions of a source with alerts, from which on there is one notification instead of one each."""
LARGEST = (
    '{{ range printf "topk(3, ' + LAG + "{cluster=%q,namespace=%q,system=%q,source=%q} "
    "and on (cluster, namespace, system, source, vhost, destination, group) "
    "ALERTS{alertname=~'Mq.+',scope='subscription',alertstate='firing'})\" "
    "$labels.cluster $labels.namespace $labels.system $labels.source | query }}"
    ' {{ with label "group" . }}{{ . }} on {{ end }}{{ label "destination" . }}: '
    f"{{{{ . | value | {NUMBER} }}}} messages.{{{{ end }}}}"
)

ALERTS: tuple[Alert, ...] = (
    Alert(
        "MqLagHigh",
        f"{LAG} and (\n{PAST_LAG}\n)\n{LEFT_ALONE}",
        "warning",
        SUB,
        f"{SUBSCRIPTION_NAME}: lag is {{{{ $value | {NUMBER} }}}} messages",
        "The lag has been above the threshold"
        + asked(
            "mq_threshold_lag_messages",
            f" of {COUNT}",
        )
        + " for at least 5 minutes.",
        last=last(LAG),
        sound=True,
        situation=WAITING + OLDEST + RATES + CONSUMERS_NOW + CAUSE,
        resolved=f"{SUBSCRIPTION_NAME}: lag is no longer above the threshold",
    ),
    Alert(
        "MqResidenceTimeHigh",
        f"{AGE} and (\n  min_over_time({LATE}[5m]) > 0\n  and {LATE} > 0\n  and {LATE} offset 5m\n)\n{LEFT_ALONE}",
        "warning",
        SUB,
        f"{SUBSCRIPTION_NAME}: oldest message is {{{{ $value | {DURATION} }}}} old",
        "The age of the oldest message has been above the threshold"
        + asked("mq_threshold_lag_seconds", f" of {SECONDS}")
        + asked("mq_commit_interval_seconds", f" plus the commit interval of {SECONDS}")
        + " for at least 5 minutes.",
        last=last(AGE),
        sound=True,
        situation=WAITING + OLDEST + RATES + CONSUMERS_NOW + CAUSE,
        resolved=f"{SUBSCRIPTION_NAME}: the oldest message is no longer too old",
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
and {LAG}
{LEFT_ALONE}
""",
        "warning",
        SUB,
        f"{SUBSCRIPTION_NAME}: consume rate is {{{{ $value | {PERCENT} }}}} of the produce rate",
        "The lag is above its threshold and growing.",
        last=f"{last(CONSUMED)} / ({last(PRODUCED)} > 0)",
        situation=WAITING + OLDEST + RATES + CONSUMERS_NOW + CAUSE,
        resolved=f"{SUBSCRIPTION_NAME}: consume rate is no longer too low",
    ),
    Alert(
        "MqNoConsumers",
        f"""\
{LAG} and {STANDS}
and max_over_time({CONSUMERS}[5m]) == 0
and {merged("mq_consumers_expected")} == 1
unless {SILENT}
""",
        "critical",
        SUB,
        f"{SUBSCRIPTION_NAME}: no consumers, lag is {{{{ $value | {NUMBER} }}}} messages",
        "There has been no consumer for at least 5 minutes.",
        waits="1m",  # after an outage of the broker, consumers need some time to come back
        last=last(LAG),
        situation=WAITING + OLDEST + NOTHING_SINCE + CAUSE,
        resolved=f"{SUBSCRIPTION_NAME}: messages no longer wait without consumers",
    ),
    Alert(
        "MqStalled",
        f"""\
{LAG} and {STANDS}
and time() - {MOVED} > 1.5 * ({INTERVAL} or 0 * {LAG})
unless max_over_time({CONSUMERS}[5m]) == 0
unless {NOT_MEANT_TO_BE_READ}
unless {SILENT}
""",
        "critical",
        SUB,
        f"{SUBSCRIPTION_NAME}: stalled, lag is {{{{ $value | {NUMBER} }}}} messages",
        "Messages are waiting, but none is processed.",
        waits="1m",
        last=last(LAG),
        situation=WAITING + OLDEST + NOTHING_SINCE + CONSUMERS_IF_KNOWN + CAUSE,
        resolved=f"{SUBSCRIPTION_NAME}: no longer stalled",
    ),
    Alert(
        "MqOffsetsRewound",
        f"{merged('increase(mq_offset_rewinds_total[10m])')} > 0\n"
        f"and {merged('mq_offset_rewinds_total')}\nunless {SILENT}",
        "warning",
        SUB,
        f"{SUBSCRIPTION_NAME}: committed offset moved back",
        "A committed offset moved back within the last 10 minutes, so messages are processed again.",
        situation=WAITING + OLDEST + CONSUMERS_NOW,
        resolved=f"{SUBSCRIPTION_NAME}: no further committed offset moved back",
    ),
    Alert(
        "MqPositionPastEnd",
        f"{merged('mq_past_end_messages')} > 0\nunless {SILENT}",
        "warning",
        SUB,
        f"{SUBSCRIPTION_NAME}: committed offset is {{{{ $value | {NUMBER} }}}} messages past the log end",
        "The topic was truncated or recreated, or the offsets were copied from another cluster. Unless the offsets "
        "are reset, the next " + VALUE_NUMBER + " messages will be skipped.",
        waits="5m",
        situation=CONSUMERS_NOW,
        resolved=f"{SUBSCRIPTION_NAME}: no committed offset is past the log end",
    ),
    Alert(
        "MqMessagesLost",
        f"""\
{merged("increase(mq_messages_lost_total[10m])")} > 0
and {merged("mq_messages_lost_total")}
unless {NOT_MEANT_TO_BE_READ}
and {LAG}
unless {SILENT}
""",
        "critical",
        SUB,
        f"{SUBSCRIPTION_NAME}: about {{{{ $value | {NUMBER} }}}} messages lost before they were processed",
        "Within the last 10 minutes, messages were deleted or dropped before they were processed.",
        situation=WAITING + OLDEST + RATES + CONSUMERS_NOW + CAUSE,
        resolved=f"{SUBSCRIPTION_NAME}: no further messages were lost",
    ),
    Alert(
        "MqRetentionNear",
        f"""\
max_over_time({LOSS}[5m]) < 3600
and {LAG} > 0
unless {SILENT}
unless {NOT_MEANT_TO_BE_READ}
""",
        "critical",
        SUB,
        f"{SUBSCRIPTION_NAME}: unread messages will be deleted in {{{{ $value | {DURATION} }}}}",
        "At the current rates, retention will reach the first unread message within an hour.",
        last=last(LOSS),
        situation=WAITING + OLDEST + RATES + CONSUMERS_NOW + CAUSE,
        resolved=f"{SUBSCRIPTION_NAME}: retention will not delete unread messages within an hour",
    ),
    Alert(
        "MqWillLoseMessages",
        f"""\
max_over_time({LOSS}[15m]) < 86400
and {LOSS} < {DRAIN}
unless {SILENT}
unless {NOT_MEANT_TO_BE_READ}
""",
        "warning",
        SUB,
        f"{SUBSCRIPTION_NAME}: retention will delete unread messages, starting in {{{{ $value | {DURATION} }}}}",
        "At the current rates, retention will reach the first unread message within a day, "
        "before the backlog is drained.",
        waits="5m",
        last=last(LOSS),
        situation=WAITING + OLDEST + RATES + CONSUMERS_NOW + CAUSE,
        resolved=f"{SUBSCRIPTION_NAME}: retention will not delete unread messages within a day",
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
unless {SILENT}
unless {NOT_MEANT_TO_BE_READ}
""",
        "warning",
        SUB,
        f"{SUBSCRIPTION_NAME}: the backlog of {{{{ $value | {NUMBER} }}}} messages will not drain",
        "At the rate of the last 30 minutes, the backlog will not drain within a day.",
        last=last(LAG),
        situation=WAITING + OLDEST + RATES + CONSUMERS_NOW + CAUSE,
        resolved=f"{SUBSCRIPTION_NAME}: the backlog is no longer growing without end",
    ),
    Alert(
        "MqRedeliveryLoop",
        f"""\
{merged("increase(mq_redelivered_messages_total[1h])")}
and {merged("mq_redelivered_messages_total")}
and (
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
        f"{SUBSCRIPTION_NAME}: {{{{ $value | {NUMBER} }}}} redeliveries in the last hour",
        "Most deliveries are repeats: messages are requeued or time out, and are delivered again.",
        situation=WAITING + OLDEST + HELD_BACK + CAUSE,
        resolved=f"{SUBSCRIPTION_NAME}: no longer mostly redeliveries",
    ),
    Alert(
        "MqRebalanceStorm",
        f"""\
{merged("increase(mq_group_rebalances_total[15m])")}
and {merged("mq_group_rebalances_total")}
and {merged("increase(mq_group_rebalances_total[5m])")} > 1.5
and {merged("increase(mq_group_rebalances_total[5m] offset 5m)")} > 1.5
and {merged("increase(mq_group_rebalances_total[5m] offset 10m)")} > 1.5
""",
        "warning",
        "group",
        "{{ $labels.group }} ({{ $labels.source }}): the group keeps rebalancing",
        "At least "
        + VALUE_NUMBER
        + " rebalances in the last 15 minutes, several in each 5 minutes. "
        "Consumers stop processing during each rebalance.",
        resolved="{{ $labels.group }} ({{ $labels.source }}): the group no longer keeps rebalancing",
    ),
    Alert(
        "MqProbeFailing",
        # A node that is no longer probed, for example in maintenance mode, has no series.
        f"max_over_time({PROBE}[2m]) == 0\nand {PROBE}\nand {PROBE} offset 2m",
        "critical",
        "node",
        "{{ $labels.node }} ({{ $labels.source }}): probe messages do not come back",
        "For 2 minutes, no probe message came back from this node in time. Producers and consumers that use this node "
        "are probably affected too.",
        resolved="{{ $labels.node }} ({{ $labels.source }}): probe messages no longer fail",
    ),
    Alert(
        "MqProbeSlow",
        f"""\
histogram_quantile(
  0.5,
  sum without (instance, pod) (rate(mq_probe_latency_seconds_bucket{{stage="receive"}}[5m]))
)
> on ({EXPORTERS}) group_left () max by ({EXPORTERS}) (mq_threshold_probe_seconds)
and ignoring (stage) {PROBE}
""",
        "warning",
        "node",
        "{{ $labels.node }} ({{ $labels.source }}): probe messages take "
        + VALUE_DURATION
        + " end to end",
        "Half of the probe messages of the last 5 minutes took "
        + VALUE_DURATION
        + " or longer from send to receive.",
        waits="2m",
        resolved="{{ $labels.node }} ({{ $labels.source }}): probe messages are no longer slow",
    ),
    Alert(
        "MqSourceDown",
        f"max_over_time({UP}[2m]) == 0\nand {UP} offset 2m",
        "critical",
        "source",
        "{{ $labels.source }} ({{ $labels.system }}): cannot be read",
        "No exporter has reached the source for 2 minutes. Its last values are shown for a limited time, then they are "
        "absent. Until the source is reached again, its subscriptions have no reliable alerts."
        + reason_of("backlog", "5m"),
        keeps="1m",
        resolved="{{ $labels.source }} ({{ $labels.system }}): can be read again",
    ),
    Alert(
        "MqSourceRecovering",
        f"""\
{UP} == 1
and on ({EXPORTERS}) max_over_time(ALERTS{{alertname="MqSourceDown",alertstate="firing"}}[4m])
""",
        "info",
        "source",
        "{{ $labels.source }} ({{ $labels.system }}): can be read again",
        "For about 5 minutes, the alerts of its subscriptions and nodes are not sent, so that consumers can come back and "
        "catch up.",
        keeps=None,
        resolved="{{ $labels.source }} ({{ $labels.system }}): its alerts are sent again",
    ),
    Alert(
        "MqManyLagging",
        f"""\
count by ({EXPORTERS}) (
  count by ({EXPORTERS}, vhost, destination, group)
    (ALERTS{{alertname=~"Mq.+",scope="subscription",alertstate="firing"}})
) >= {MANY}
""",
        "critical",
        "source",
        "{{ $labels.source }} ({{ $labels.system }}): "
        + VALUE_NUMBER
        + " subscriptions have alerts",
        "They are one problem more often than many. Largest lag:" + LARGEST,
        resolved="{{ $labels.source }} ({{ $labels.system }}): fewer than "
        + str(MANY)
        + " subscriptions have alerts",
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
        "For 5 minutes, Prometheus could not scrape the exporter that monitors this source, and no other exporter "
        "monitors it. Its queues are not monitored. Other sources may still be monitored.",
        keeps=None,
        resolved="{{ $labels.source }} ({{ $labels.system }}): is monitored again",
    ),
    Alert(
        "MqExporterDown",
        "absent(mq_exporter_build_info)",
        "critical",
        "exporter",
        "No mq-lag-exporter is being scraped",
        "For 5 minutes, Prometheus could not scrape any exporter. No queue is monitored.",
        waits="5m",
        resolved="An mq-lag-exporter is being scraped again",
    ),
    Alert(
        "MqDataStale",
        f"""\
time() - {merged("mq_collect_last_success_timestamp_seconds")} > 900
and on ({EXPORTERS}) {UP} == 1
""",
        "warning",
        "source",
        "{{ $labels.source }} ({{ $labels.system }}): task {{ $labels.task }} has returned incomplete data for "
        + VALUE_DURATION
        + "",
        "The source responds, but a part of it cannot be read. The last values of that part are shown for a limited time, "
        "then they are absent." + reason_of("$labels.task", "15m"),
        resolved="{{ $labels.source }} ({{ $labels.system }}): task {{ $labels.task }} no longer returns incomplete data",
    ),
    Alert(
        "MqConfigRefused",
        "mq_config_last_reload_successful == 0",
        "warning",
        "exporter",
        "{{ $labels.instance }}: config reload was rejected",
        "A config reload was rejected; the previous config is still in use. If the exporter restarts before the file is "
        "fixed, it will not start.",
        waits="5m",
        resolved="{{ $labels.instance }}: the config is in use again as it is in the file",
    ),
    Alert(
        "MqSeriesDropped",
        f"{merged('mq_series_dropped')} > 0",
        "info",
        "source",
        "{{ $labels.source }} ({{ $labels.system }}): " + VALUE_NUMBER + " series are left out",
        "The source has more series than max_series allows. The subscriptions with the least lag are not exposed and have no "
        "alerts.",
        waits="15m",
        resolved="{{ $labels.source }} ({{ $labels.system }}): no series are left out",
    ),
)
