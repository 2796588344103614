"""The parts of a dashboard: panels that answer one question each, queries, variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mixin.alerts import merged

Kind = Literal["line", "stack", "stat", "table", "heat", "states"]
"""Kinds of panels: lines, stacked areas, one number, a table, a histogram over time, a timeline of
states.
"""


@dataclass(frozen=True)
class Query:
    """A PromQL expression, and the name of its series."""

    expr: str
    legend: str = ""
    limit: bool = False
    """Whether it is a threshold, drawn as a dashed line."""
    column: str = ""
    """The heading of its column in a table."""
    unit: str = ""
    """The unit of its column in a table."""


@dataclass(frozen=True)
class Panel:
    """A panel, which answers one question. The description states the question."""

    kind: Kind
    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = 12
    height: int = 8
    may_be_empty: str = ""
    """Text if there is no data: when there will be some."""
    bad: float | None = None
    """In a stat: red from this value on, green below; None for no colours."""
    words: bool = False
    """Whether a stat shows the series' name instead of its value."""
    good: bool = False
    """Whether a timeline's state is good, drawn in green instead of orange."""
    hides: tuple[str, ...] = ()
    """Additional labels that are not shown as columns of a table."""


@dataclass(frozen=True)
class Row:
    """A heading with the panels below it."""

    title: str


@dataclass(frozen=True)
class Variable:
    """A choice at the top of the dashboard, from the values of a label."""

    label: str
    metric: str
    """A selector, which may use earlier variables."""
    every: bool = True
    """Whether all values can be selected at once, which is the default then."""
    several: bool = False


@dataclass(frozen=True)
class Board:
    """A dashboard."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    content: tuple[Row | Panel, ...]
    system: str = ""
    """The system that it is about; None for all."""


SYSTEM = Variable("system", "mq_up", several=True)
SOURCE = Variable("source", 'mq_up{system=~"$system"}', several=True)
CHOSEN = 'system=~"$system",source=~"$source"'
"""Matchers of the values selected by the two variables."""

WHO = "{{group}} {{destination}} {{vhost}} ({{source}})"
"""A subscription in a legend; labels that it does not have are left out."""


def worst(
    selector: str, count: int = 10, *, over: str = "max_over_time", pick: str = "topk"
) -> str:
    """Return an expression for the few series that were worst in the last hour of the time range.

    They are chosen once for the whole panel (`@ end()`), so that it never shows more series than
    these. Series of exporters that read the same source are merged; recorded series already are.
    """
    now, hour = selector, f"{over}({selector}[1h] @ end())"
    if selector.startswith("mq_"):
        now, hour = merged(now), merged(hour)
    return f"{now} and {pick}({count}, {hour})"


def rate(metric: str, matchers: str, by: str = "") -> str:
    """Return a counter's rate, merged over the exporters that read the same source."""
    text = merged(f"rate({metric}{{{matchers}}}[$__rate_interval])")
    return f"sum by ({by}) ({text})" if by else text


def busiest(metric: str, matchers: str, by: str = "", count: int = 10) -> str:
    """Return the rates of the series of a counter that changed most in the range's last hour."""
    return f"{rate(metric, matchers, by)} and {_most(metric, matchers, by, count)}"


def events(metric: str, matchers: str, window: str = "1h") -> str:
    """Return how many events a counter counted within a window, for the same ten series."""
    counted = merged(f"increase({metric}{{{matchers}}}[{window}])")
    return f"{counted} and {_most(metric, matchers)}"


def _most(metric: str, matchers: str, by: str = "", count: int = 10) -> str:
    moved = merged(f"increase({metric}{{{matchers}}}[1h] @ end())")
    return f"topk({count}, sum by ({by}) ({moved}))" if by else f"topk({count}, {moved})"


def buckets(metric: str, matchers: str) -> str:
    """Return the increase of a histogram's buckets, merged over exporters of the same source."""
    counted = merged(f"increase({metric}{{{matchers}}}[$__rate_interval])")
    return f"sum by (le) ({counted})"


def of_system(system: str, extra: tuple[Variable, ...] = ()) -> tuple[Variable, ...]:
    """Return the variables of a dashboard of one system."""
    return (Variable("source", f'mq_up{{system="{system}"}}', several=True), *extra)


LINKS: Mapping[str, str] = {
    "mq-overview": "Overview",
    "mq-subscription": "Subscription",
    "mq-kafka": "Kafka",
    "mq-rabbitmq": "RabbitMQ",
    "mq-nsq": "NSQ",
    "mq-probes": "Probes",
    "mq-exporter": "Exporter",
}
"""Dashboards by uid, in the order of the links on each."""
