"""What the sources of all systems may say in a config."""

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
"""Says to editors what `not_empty` says to the user."""


class Model(BaseModel):
    """A part of the config: unknown keys are errors, and nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


class Schedule(Model):
    """How often each task runs; a source uses those that its system has."""

    backlog: Interval = duration("10s")
    """Committed offsets and log ends: the lag."""
    consumers: Interval = duration("30s")
    """Members of groups and what they read."""
    discovery: Interval = duration("60s")
    """Facts that change seldom."""
    rates: Interval = duration("30s")
    latency: Interval = duration("10s")
    """Ages and latencies; right after a look at the backlog."""
    probe: Interval = duration("5s")
    """Messages of the exporter's own, which time the cluster."""


class Collection(Model):
    """What `defaults` may set for every source, and each source for itself."""

    schedule: Schedule = Schedule()
    """How often each task runs."""
    deadline: Positive = duration("10s")
    """How long one run of a task may take."""
    hold: Positive = duration("2m")
    """How long the last values stay while they can't be read."""
    rate_window: Positive = duration("2m")
    """The time over which rates are taken."""
    max_series: Count = 500_000
    """Series of a source; past it, whole subscriptions are left out, the least lagging first."""
    labels: Labels = Field(default_factory=dict)
    """Static labels of all series of a source."""


class ProbeSwitch(Protocol):
    """What every system's probe has."""

    @property
    def enabled(self) -> bool | None: ...
    @property
    def destination(self) -> str: ...


class SourceConfig(Collection):
    """One source. Each system's model adds its addresses, filters, probe and latency settings."""

    name: Name
    """Its name, which becomes the label `source`; no other source has it."""
    system: str
    """What it is a cluster of."""

    if TYPE_CHECKING:

        @property
        def probe(self) -> ProbeSwitch: ...
        @property
        def latency(self) -> LatencyLimit: ...

    @property
    def addresses(self) -> frozenset[str]:
        """Return what names the cluster: sources without a common one are different clusters."""
        raise NotImplementedError

    @property
    def writes(self) -> str | None:
        """Return what the probe writes to the brokers; None if it is off."""
        return None

    @property
    def per_partition(self) -> bool:
        """Whether there are series for each partition, or sums over them."""
        return True

    @property
    def age_method(self) -> Method | None:
        """How the ages of queues are found; None chooses the best one for each."""
        return None


class NameFilter(Model):
    """Which names are shown: those that an `include` matches whole, and no `exclude`."""

    include: tuple[Pattern, ...] = (".*",)
    """Regular expressions; one of them has to match the whole name."""
    exclude: tuple[Pattern, ...] = ()
    """Regular expressions; none of them may match the whole name."""

    @cached_property
    def matcher(self) -> NameMatcher:
        """The filter without the model around it."""
        return NameMatcher(self.include, self.exclude)

    def allows(self, name: str) -> bool:
        """Tell whether the name is to be shown."""
        return self.matcher.allows(name)


class GroupFilter(NameFilter):
    """Which groups are shown; `names` where the broker may not list them."""

    names: Annotated[tuple[str, ...] | None, BeforeValidator(not_empty), LISTED] = None
    """Exactly these groups are read, and none is listed."""


class LatencyLimit(Model):
    """Which subscriptions have a histogram of latencies."""

    limit: Limit = 1_000
    """The first so many have one."""

    def always(self, group: str) -> bool:  # noqa: ARG002 - for those that name groups
        """Tell whether the group has one in any case."""
        return False


class Latency(LatencyLimit):
    """Which subscriptions have a histogram of latencies."""

    groups: tuple[Pattern, ...] = ()
    """Regular expressions of groups that have one in any case."""

    @cached_property
    def _matcher(self) -> NameMatcher:
        return NameMatcher(self.groups)

    def always(self, group: str) -> bool:
        """Tell whether the group has one in any case."""
        return self._matcher.allows(group)
