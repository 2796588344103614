"""Config keys that the sources of all systems have."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from exporter.config.types import (
    Count,
    Interval,
    Labels,
    Limit,
    Pattern,
    Positive,
    duration,
    not_empty,
)
from exporter.names import NameMatcher

LISTED: Any = Field(json_schema_extra={"minItems": 1})
"""Tells editors what `not_empty` tells the user."""


class Model(BaseModel):
    """A part of the config. Unknown keys are errors, and nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


class Schedule(Model):
    """How often each task runs. A source uses the tasks that its system has."""

    backlog: Interval = duration("10s")
    """The lag: committed offsets and log end offsets (Kafka), depths (RabbitMQ, NSQ)."""
    consumers: Interval = duration("30s")
    """Members of groups and their assignments."""
    discovery: Interval = duration("60s")
    """Information that rarely changes, such as topic configuration."""
    rates: Interval = duration("30s")
    """Message rates and statistics (RabbitMQ)."""
    latency: Interval = duration("10s")
    """Ages and latencies. The task runs right after a backlog task."""
    probe: Interval = duration("5s")
    """Test messages of the exporter that measure the cluster's latency."""


class Collection(Model):
    """Keys that `defaults` sets for every source, and that each source can set itself."""

    schedule: Schedule = Schedule()
    """How often each task runs."""
    deadline: Positive = duration("10s")
    """Time limit for one run of a task."""
    hold: Positive = duration("2m")
    """How long the last values stay exposed if they cannot be read."""
    rate_window: Positive = duration("2m")
    """Time window for rates."""
    max_series: Count = 500_000
    """Maximum number of series of a source. Above it, whole subscriptions are left out, those with the least lag first."""
    labels: Labels = Field(default_factory=dict)
    """Static labels for all series of a source."""


class NameFilter(Model):
    """Which names are shown: those that match an `include` pattern and no `exclude` pattern."""

    include: tuple[Pattern, ...] = (".*",)
    """Regular expressions. One of them must match the whole name."""
    exclude: tuple[Pattern, ...] = ()
    """Regular expressions. None of them may match the whole name."""

    @cached_property
    def matcher(self) -> NameMatcher:
        """The filter without the model around it."""
        return NameMatcher(self.include, self.exclude)

    def allows(self, name: str) -> bool:
        """Tell whether the name is to be shown."""
        return self.matcher.allows(name)


class GroupFilter(NameFilter):
    """Which groups are shown. Set `names` if the exporter may not list groups."""

    names: Annotated[tuple[str, ...] | None, BeforeValidator(not_empty), LISTED] = None
    """Read exactly these groups, without listing groups."""


class LatencyLimit(Model):
    """Which subscriptions get the histogram `mq_latency_seconds`."""

    limit: Limit = 1_000
    """Number of subscriptions that get a histogram, in the order in which they are found."""


class Latency(LatencyLimit):
    """Which subscriptions get the histogram `mq_latency_seconds`."""

    groups: tuple[Pattern, ...] = ()
    """Regular expressions of groups that always get a histogram."""
