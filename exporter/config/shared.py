"""Config keys that the sources of all systems have."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from exporter.config.types import (
    Count,
    Interval,
    Labels,
    Limit,
    Name,
    Pattern,
    Positive,
    duration,
    not_empty,
)
from exporter.model import Method
from exporter.name_filter import NameMatcher

LISTED: Any = Field(json_schema_extra={"minItems": 1})
"""Lets editors check what `not_empty` checks."""


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
    """Maximum number of series of a source. Above it, whole subscriptions are left out, those with
    the least lag first.
    """
    labels: Labels = Field(default_factory=dict)
    """Static labels for all series of a source."""


class ProbeSwitch(Protocol):
    """The keys that the probe of every system has."""

    @property
    def enabled(self) -> bool | None: ...
    @property
    def destination(self) -> str: ...


class SourceConfig(Collection):
    """One source. Each system's model adds its addresses, filters, probe and latency settings."""

    name: Name
    """Name of the source, used as the label `source`. It must be unique."""
    system: str
    """Kind of system."""

    if TYPE_CHECKING:

        @property
        def probe(self) -> ProbeSwitch: ...
        @property
        def latency(self) -> LatencyLimit: ...

    @property
    def addresses(self) -> frozenset[str]:
        """Return the addresses of the cluster.

        Sources without a common address are different clusters.
        """
        raise NotImplementedError

    @property
    def writes(self) -> str | None:
        """Return what the probe writes to the brokers; None if it is off."""
        return None

    @property
    def per_partition(self) -> bool:
        """Whether there is one series per partition, instead of sums over the partitions."""
        return True

    @property
    def age_method(self) -> Method | None:
        """How the ages of queues are found; None chooses the best method for each queue."""
        return None


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
        """Return whether the name is shown."""
        return self.matcher.allows(name)


class GroupFilter(NameFilter):
    """Which groups are shown. Set `names` if the exporter may not list groups."""

    names: Annotated[tuple[str, ...] | None, BeforeValidator(not_empty), LISTED] = None
    """Read exactly these groups, without listing groups."""


class LatencyLimit(Model):
    """Which subscriptions get the histogram `mq_latency_seconds`."""

    limit: Limit = 1_000
    """Number of subscriptions that get a histogram, in the order in which they are found."""

    def always(self, group: str) -> bool:  # noqa: ARG002 - used by subclasses
        """Return whether the group always gets a histogram."""
        return False


class Latency(LatencyLimit):
    """Which subscriptions get the histogram `mq_latency_seconds`."""

    groups: tuple[Pattern, ...] = ()
    """Regular expressions of groups that always get a histogram."""

    @cached_property
    def _matcher(self) -> NameMatcher:
        return NameMatcher(self.groups)

    def always(self, group: str) -> bool:
        """Return whether the group always gets a histogram."""
        return self._matcher.allows(group)
