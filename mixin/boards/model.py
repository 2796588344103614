"""The parts of a dashboard: variables, rows, panels that answer one question each, and queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mixin.recording import EXPORTERS, SILENT, UP, merged

Kind = Literal["line", "stack", "stat", "table", "heat", "states"]
"""Time series, stacked areas, one number, a table, a histogram over time, a state timeline."""


@dataclass(frozen=True)
class Query:
    """A PromQL expression and how its series are named."""

    expr: str
    legend: str = ""
    limit: bool = False
    """Draw it as a threshold: a dashed red line."""
    column: str = ""
    """Heading of the value's column in a table. Without it, only the labels are shown."""
    unit: str = ""
    """Unit of the column."""


@dataclass(frozen=True)
class Panel:
    """One question, which the description states, and its answer."""

    kind: Kind
    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = 12
    """In units of the grid: 24 is the whole width."""
    height: int = 9
    """A list of ten names fits beside a diagram of this height."""
    may_be_empty: str = ""
    """When there is data to show. Such a panel says "none" instead of "No data"."""
    bad: float | None = None
    """Stat: red from this value on, green below."""
    doubtful: float | None = None
    """Stat: orange from this value on, below `bad`."""
    bad_below: float | None = None
    """Stat: red below this value."""
    words: bool = False
    """Stat: show the series' name instead of its value."""
    named: bool = False
    """Stat: show the series' name and its value."""
    decimals: int | None = None
    colours: Mapping[str, str] = field(default_factory=dict)
    """Fixed colours of series, or of a table's words, by name."""
    columns: tuple[str, ...] = ()
    """Table: the columns from left to right, labels and headings of queries. Others are hidden."""
    descending: bool = True
    """Table: whether the largest value of `sorted_by` comes first."""
    sorted_by: str = ""


@dataclass(frozen=True)
class Row:
    """A heading above panels."""

    title: str
    folded: bool = False
    """Whether the panels up to the next row are hidden until somebody opens it."""


@dataclass(frozen=True)
class Variable:
    """A choice at the top of a dashboard: the values of a label."""

    label: str
    metric: str
    """A selector; it may use the variables before."""
    every: bool = True
    """Whether "All" can be chosen, which is the default then."""
    several: bool = False
    title: str = ""
    """What it is called on the dashboard, if that is not the label."""


@dataclass(frozen=True)
class Board:
    """A dashboard."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    content: tuple[Row | Panel, ...]
    system: str = ""
    """The system, if the dashboard is about one."""


IN_CLUSTER = 'cluster=~"$cluster",namespace=~"$namespace"'
"""Labels that Prometheus adds. A source may have the same name in two clusters.

Grafana's "All" is `.*` here, which also matches series without the label.
"""
CLUSTER = Variable("cluster", "mq_up", several=True)
NAMESPACE = Variable("namespace", 'mq_up{cluster=~"$cluster"}', several=True)
SYSTEM = Variable("system", f"mq_up{{{IN_CLUSTER}}}", several=True)
SOURCE = Variable("source", f'mq_up{{{IN_CLUSTER},system=~"$system"}}', several=True)
OF_SOURCE = (CLUSTER, NAMESPACE, SYSTEM, SOURCE)
CHOSEN = f'{IN_CLUSTER},system=~"$system",source=~"$source"'
"""Matchers of the chosen sources."""

WHO = "{{group}} {{destination}} {{vhost}} · {{source}} {{cluster}}"
"""A subscription in a legend. Labels that it lacks are left out."""
PLACE = "place"
"""A label for tables: cluster, source and vhost in one column. See `placed`."""

STATUS_COLOURS = {
    "ok": "green",
    "uncommitted": "super-light-green",
    "abandoned": "blue",
    "dormant": "blue",
    "unknown": "#808080",
    "lagging": "orange",
    "falling_behind": "yellow",
    "rewound": "purple",
    "past_end": "dark-orange",
    "retry_loop": "semi-dark-orange",
    "stalled": "red",
    "stopped": "dark-red",
}
"""Green is good, red needs action, blue is known and needs none, grey is unknown."""
SEVERITY_COLOURS = {"critical": "red", "warning": "orange", "info": "blue"}


def stat(
    title: str,
    description: str,
    expr: str,
    *,
    unit: str = "short",
    bad: float | None = None,
    bad_below: float | None = None,
    decimals: int | None = None,
    width: int = 4,
) -> Panel:
    """Return a number of the first line of a dashboard."""
    return Panel(
        "stat",
        title,
        description,
        (Query(expr),),
        unit,
        width=width,
        height=4,
        bad=bad,
        bad_below=bad_below,
        decimals=decimals,
    )


def counted(condition: str, sources: str) -> str:
    """Return how many series fulfil a condition; 0 if none does, absent without sources."""
    return f"count({condition}) or 0 * count({UP}{{{sources}}})"


def placed(expr: str) -> str:
    """Return the expression with one more label, for tables: where the series comes from."""
    return f'label_join({expr}, "{PLACE}", " ", "cluster", "source", "vhost")'


def quiet(matchers: str, at: str = "") -> str:
    """Return the dormant and abandoned subscriptions.

    While a source is down, they are those of at most an hour ago. `at` is a PromQL modifier.
    """
    return (
        f"({SILENT}{{{matchers}}}{at} or (last_over_time({SILENT}{{{matchers}}}[1h]{at}) "
        f"and on ({EXPORTERS}) ({UP}{{{IN_CLUSTER}}}{at} == 0)))"
    )


def worst(
    selector: str,
    count: int = 10,
    *,
    over: str = "max_over_time",
    pick: str = "topk",
    without: str = "",
) -> str:
    """Return an expression for the series that were worst in the selected time range.

    They are chosen once for the whole panel (`@ end()`), so it never shows more than `count`
    series. Exporters that read the same source are merged; recorded series already are. `without`
    are series to leave out.
    """
    now, range_ = selector, f"{over}({selector}[$__range] @ end())"
    if selector.startswith("mq_"):
        now, range_ = merged(now), merged(range_)
    if without:
        range_ += f" unless {without}"
    return f"{now} and {pick}({count}, {range_})"


def rate(metric: str, matchers: str, by: str = "") -> str:
    """Return the rate of a counter; exporters that read the same source are merged."""
    text = merged(f"rate({metric}{{{matchers}}}[$__rate_interval])")
    return f"sum by ({by}) ({text})" if by else text


def busiest(metric: str, matchers: str, by: str = "", count: int = 10) -> str:
    """Return the rates of the series of a counter that grew most in the selected time range."""
    return f"{rate(metric, matchers, by)} and {_most(metric, matchers, by, count)}"


def events(metric: str, matchers: str, window: str = "1h") -> str:
    """Return how much the ten series that grew most grew within a window."""
    counted = merged(f"increase({metric}{{{matchers}}}[{window}])")
    return f"{counted} and {_most(metric, matchers)}"


def _most(metric: str, matchers: str, by: str = "", count: int = 10) -> str:
    moved = merged(f"increase({metric}{{{matchers}}}[$__range] @ end())")
    return f"topk({count}, sum by ({by}) ({moved}))" if by else f"topk({count}, {moved})"


def buckets(metric: str, matchers: str) -> str:
    """Return how many observations each bucket of a histogram got."""
    counted = merged(f"increase({metric}{{{matchers}}}[$__rate_interval])")
    return f"sum by (le) ({counted})"


def seen(selector: str, by: str) -> str:
    """Return sums by a label, without those that were zero in the whole time range."""
    now, largest = merged(selector), merged(f"max_over_time({selector}[$__range] @ end())")
    return f"sum by ({by}) ({now}) and sum by ({by}) ({largest}) > 0"


def word(series: str, label: str, otherwise: str) -> str:
    """Return the series for a panel that shows the value of a label, or one with another word."""
    return f'{series} or label_replace(vector(1) unless on () ({series}), "{label}", "{otherwise}", "", "")'


def of_system(system: str, extra: tuple[Variable, ...] = ()) -> tuple[Variable, ...]:
    """Return the variables of a dashboard of one system."""
    source = Variable("source", f'mq_up{{{IN_CLUSTER},system="{system}"}}', several=True)
    return (CLUSTER, NAMESPACE, source, *extra)


LINKS: Mapping[str, str] = {
    "mq-overview": "Overview",
    "mq-subscription": "Subscription",
    "mq-scaling": "Scaling",
    "mq-kafka": "Kafka",
    "mq-rabbitmq": "RabbitMQ",
    "mq-nsq": "NSQ",
    "mq-probes": "Probes",
    "mq-exporter": "Exporter",
}
"""Dashboards by uid, in the order of the links on each."""
