"""What a dashboard is made of: panels that answer one question each, queries, variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mixin.alerts import merged

Kind = Literal["line", "stack", "stat", "table", "heat", "states"]
"""Lines over time, areas on each other, one number, rows, a histogram over time, stripes that are there or not."""


@dataclass(frozen=True)
class Query:
    """A PromQL expression, and what its series are called."""

    expr: str
    legend: str = ""
    limit: bool = False
    """Whether it is a threshold, drawn as a dashed line."""
    column: str = ""
    """The heading of its values in a table."""
    unit: str = ""
    """Of its column in a table."""


@dataclass(frozen=True)
class Panel:
    """One question, which the description states, and its answer."""

    kind: Kind
    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = 12
    height: int = 8
    may_be_empty: str = ""
    """When there is nothing to show: what has to have happened."""
    bad: float | None = None
    """In a stat: red from this on, green below, where it is given."""
    words: bool = False
    """Whether a stat shows the series' name instead of its value."""
    good: bool = False
    """Whether what a stripe stands for is as it should be: green instead of orange."""
    hides: tuple[str, ...] = ()
    """Labels that are no columns of a table, beside the scraping side's."""


@dataclass(frozen=True)
class Row:
    """A heading, under which panels stand."""

    title: str


@dataclass(frozen=True)
class Variable:
    """What can be chosen at the top, out of the values of a label."""

    label: str
    metric: str
    """A selector; it may use the variables before."""
    every: bool = True
    """Whether all values may be chosen at once, which is what is chosen at first."""
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
    """The one that it is about, where it is about one."""


SYSTEM = Variable("system", "mq_up", several=True)
SOURCE = Variable("source", 'mq_up{system=~"$system"}', several=True)
CHOSEN = 'system=~"$system",source=~"$source"'
"""Matchers of what is chosen by the two."""

WHO = "{{group}} {{destination}} {{vhost}} ({{source}})"
"""A subscription in a legend; what it lacks is left out."""


def worst(
    selector: str, count: int = 10, *, over: str = "max_over_time", pick: str = "topk"
) -> str:
    """Return an expression for the few series that were worst in the last hour of the selected time range.

    Chosen once for the whole picture (`@ end()`), so that it never shows more than these, however many there are. Exporters side by
    side are taken as one; what is recorded already is.
    """
    now, hour = selector, f"{over}({selector}[1h] @ end())"
    if selector.startswith("mq_"):
        now, hour = merged(now), merged(hour)
    return f"{now} and {pick}({count}, {hour})"


def rate(metric: str, matchers: str, by: str = "") -> str:
    """Return a counter's rate, exporters side by side taken as one."""
    text = merged(f"rate({metric}{{{matchers}}}[$__rate_interval])")
    return f"sum by ({by}) ({text})" if by else text


def busiest(metric: str, matchers: str, by: str = "", count: int = 10) -> str:
    """Return the rates of the few series of a counter that moved most within the last hour of what is looked at."""
    return f"{rate(metric, matchers, by)} and {_most(metric, matchers, by, count)}"


def events(metric: str, matchers: str, window: str = "1h") -> str:
    """Return how many events a counter counted within a window, of the same ten."""
    counted = merged(f"increase({metric}{{{matchers}}}[{window}])")
    return f"{counted} and {_most(metric, matchers)}"


def _most(metric: str, matchers: str, by: str = "", count: int = 10) -> str:
    moved = merged(f"increase({metric}{{{matchers}}}[1h] @ end())")
    return f"topk({count}, sum by ({by}) ({moved}))" if by else f"topk({count}, {moved})"


def buckets(metric: str, matchers: str) -> str:
    """Return how many observations a histogram's buckets got, exporters side by side taken as one."""
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
