"""Templates of the texts that alerts have: names, numbers as people write them, the situation.

Prometheus evaluates them (Go templates) when an alert fires.
"""

from __future__ import annotations

from mixin.recording import AGE, CONSUMED, CONSUMERS, DEFERRED, LAG, MOVED, PRODUCED, UNREADABLE

SUBSCRIPTION_NAME = (
    "{{ with $labels.group }}{{ . }} on {{ end }}{{ $labels.destination }}"
    "{{ with $labels.vhost }} in vhost {{ . }}{{ end }} ({{ $labels.source }})"
)
OF_SUBSCRIPTION = (
    "{cluster=%q,namespace=%q,system=%q,source=%q,vhost=%q,destination=%q,group=%q}",
    "$labels.cluster $labels.namespace $labels.system $labels.source $labels.vhost $labels.destination $labels.group",
)


def reason_of(task: str, window: str) -> str:
    """Return a template for the most frequent recent failure reason of a task; `task` is a name or a label reference."""
    of, labels = ("'" + task + "'", "") if task.isalpha() else ("%q", " " + task)
    return (
        f'{{{{ with printf "topk(1, increase(mq_collect_failures_total{{cluster=%q,namespace=%q,source=%q,task={of}}}[{window}]) > 0)"'
        f" $labels.cluster $labels.namespace $labels.source{labels} | query }}}}"
        ' Reason: {{ . | first | label "reason" }}.{{ end }}'
    )


def _replaced(*pairs: tuple[str, str]) -> str:
    """Return template functions that apply regular expressions, one after the other."""
    return "".join(f' | reReplaceAll "{pattern}" "{text}"' for pattern, text in pairs)


NUMBER = 'printf "%.0f"' + _replaced(
    (r"^(\\d+)(\\d{3})$", "$1,$2"),
    (r"^(\\d+)(\\d{3}),", "$1,$2,"),
    (r"^(\\d+)(\\d{3}),", "$1,$2,"),
)
"""12,866 for 12866.4."""
DURATION = "humanizeDuration" + _replaced(
    (r"^(\\d+d \\d+h) .*$", "$1"),
    (r"^(\\d+h \\d+m) .*$", "$1"),
    (r"^(\\d+m) .*$", "$1"),
    (r"^([0-9.]+)(ms|s)$", "$1 $2"),
    (r"(\\d)m\\b", "$1 min"),
    (r"(\\d)([dh])\\b", "$1 $2"),
)
"""10 s, 13 min, 2 h 5 min, 3 d 4 h: the two largest units, no seconds from a minute on."""
VALUE_NUMBER = f"{{{{ $value | {NUMBER} }}}}"
VALUE_DURATION = f"{{{{ $value | {DURATION} }}}}"
PERCENT = "humanizePercentage" + _replaced(("%$", " %"))


def asked(metric: str, text: str, where: str = "") -> str:
    """Return a template that shows `text` if the alert's subscription has a series of the metric for which `where` holds."""
    pattern, labels = OF_SUBSCRIPTION
    return f'{{{{ with printf "{metric}{pattern}{where}" {labels} | query }}}}{text}{{{{ end }}}}'


CAUSE = asked(
    "mq_backlog_cause",
    ' Likely cause: {{ . | first | label "cause" | reReplaceAll "_" " " }}.',
)
SECONDS = f"{{{{ . | first | value | {DURATION} }}}}"
COUNT = f"{{{{ . | first | value | {NUMBER} }}}}"
SEEN_FOR_LONG = f" and {LAG} offset 5m"
"""A five-minute rate is too low until Prometheus has known the series for five minutes."""
RATES = asked(
    CONSUMED, ' Consume rate: {{ . | first | value | printf "%.1f" }}/s.', SEEN_FOR_LONG
) + asked(PRODUCED, ' Produce rate: {{ . | first | value | printf "%.1f" }}/s.', SEEN_FOR_LONG)
WAITING = asked(LAG, f" Lag: {COUNT} messages.")
OLDEST = asked(AGE, f" Oldest message: {SECONDS} old.")
HELD_BACK = asked(
    DEFERRED,
    f" Deferred for another delivery: {COUNT} messages.",
    " > 0",
)
CONSUMERS_NOW = asked(CONSUMERS, f" Consumers: {COUNT}.")

CONSUMERS_IF_KNOWN = CONSUMERS_NOW.removesuffix("{{ end }}") + (
    "{{ else }} The number of consumers is unknown.{{ end }}"
)
NOTHING_SINCE = asked("time() - " + MOVED, f" No message was processed for {SECONDS}.")

PARTLY_READ = asked(
    UNREADABLE,
    f" Unreadable partitions: {COUNT}; the actual numbers may be higher.",
)
