"""What a config may say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from exporter.config.properties import PropertyName, PropertyValue, SecretPath
from exporter.config.types import (
    Count,
    Interval,
    Labels,
    Limit,
    Listen,
    Name,
    Pattern,
    Positive,
    Ratio,
    Servers,
    Switch,
    TopicName,
    duration,
    fault,
    not_empty,
)
from exporter.names import NameMatcher
from exporter.secrets import with_secrets

SYSTEMS = ("kafka",)
"""Systems that a source can be of; each has a model here."""

_LISTED: Any = Field(json_schema_extra={"minItems": 1})
"""Says to editors what `not_empty` says to the user."""


class Model(BaseModel):
    """A part of the config: unknown keys are errors, and nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


class Log(Model):
    """Logging."""

    format: Literal["json", "console"] = "json"
    """One JSON object a line, or for people."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""


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

    names: Annotated[tuple[str, ...] | None, BeforeValidator(not_empty), _LISTED] = None
    """Exactly these groups are read, and none is listed."""


class Tolerance(Model):
    """How exact an age has to be: within the larger of the two."""

    seconds: Positive = duration("1s")
    """Error that is good enough at any age."""
    ratio: Ratio = 0.01
    """Error that is good enough, as a part of the age."""


class Timestamps(Model):
    """How ages are found."""

    method: Literal["auto", "time_index", "record"] = "auto"
    """Lookups by timestamp, records that are read, or whichever serves better."""
    header: Name | None = None
    """Header of a record with the producer's own timestamp; records are read then."""
    tolerance: Tolerance = Tolerance()
    """How exact an age has to be."""

    @field_validator("header")
    @classmethod
    def _read_from_records(cls, given: str | None, info: ValidationInfo) -> str | None:
        if given is not None and info.data.get("method") == "time_index":
            raise fault("a header is read from records: method can't be time_index with it")
        return given


class Latency(Model):
    """Which subscriptions have a histogram of latencies."""

    limit: Limit = 1_000
    """The first so many have one."""
    groups: tuple[Pattern, ...] = ()
    """Regular expressions of groups that have one in any case."""


class Probe(Model):
    """Messages of the exporter's own, which time the cluster."""

    enabled: Switch | None = None
    """Whether to send them. Where it is not said: if the rights are there."""
    destination: TopicName = "mq-lag-exporter-probe"
    """Topic to send them to; it is made where that is allowed, and belongs to nobody else."""
    deadline: Positive = duration("5s")
    """Time after which a probe is lost."""


class KafkaSource(Collection):
    """One Kafka cluster."""

    name: Name
    """Its name, which becomes the label `source`; no other source has it."""
    system: Literal["kafka"]
    """What it is a cluster of."""
    bootstrap_servers: Servers
    """Brokers to begin with: `host:port`, several separated by commas or as a list."""
    client: dict[PropertyName, PropertyValue] = Field(default_factory=dict)
    """Any property of librdkafka."""
    client_files: dict[PropertyName, SecretPath] = Field(default_factory=dict)
    """Properties whose values are read from files, at each connection anew."""
    destinations: NameFilter = NameFilter()
    """Which topics are shown."""
    groups: GroupFilter = GroupFilter()
    """Which groups are shown."""
    internals: Switch = False
    """Whether Kafka's own topics and the exporter's are shown too."""
    isolation: Literal["read_uncommitted", "read_committed"] = "read_uncommitted"
    """Whether lag ends at the high watermark or at the last stable offset."""
    read_committed_groups: tuple[Pattern, ...] = ()
    """Regular expressions of groups whose lag ends at the last stable offset."""
    granularity: Literal["partition", "subscription"] = "partition"
    """Whether there are series for each partition, or sums over them."""

    timestamps: Timestamps = Timestamps()
    """How ages are found."""
    latency: Latency = Latency()
    """Which subscriptions have a histogram of latencies."""
    probe: Probe = Probe()
    """Messages of the exporter's own, which time the cluster."""

    @field_validator("client_files")
    @classmethod
    def _beside_the_config(cls, given: dict[str, Path], info: ValidationInfo) -> dict[str, Path]:
        folder = (info.context or {}).get("folder", Path())
        return {name: folder / path for name, path in given.items()}

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Leave out the values of client properties: they may be secrets."""
        for key, value in super().__repr_args__():
            yield key, dict.fromkeys(value, "…") if key == "client" else value

    def client_properties(self) -> dict[str, str]:
        """Return librdkafka's properties, with the contents that the files have now.

        Raises `SecretFileError` naming the key and the file where one can't be read.
        """
        given = {**self.client, "bootstrap.servers": self.bootstrap_servers}
        return with_secrets(self.name, given, self.client_files)


def _of_a_known_system(value: Any) -> Any:
    """Refuse other systems before their keys are looked at, which would all be unknown."""
    system = value.get("system") if isinstance(value, dict) else None
    if isinstance(system, str) and system not in SYSTEMS:
        supported = f"not supported by this version; supported: {', '.join(SYSTEMS)}"
        raise fault(supported, f"system {system!r} is {supported}")
    return value


# With a second system: `KafkaSource | …` and Field(discriminator="system") instead of the one model.
Source = Annotated[KafkaSource, BeforeValidator(_of_a_known_system)]


class Config(Model):
    """The whole file."""

    listen: Listen = "0.0.0.0:9877"
    """Where metrics are served."""
    reload_endpoint: Switch = False
    """Whether POST /-/reload reads the config again."""
    log: Log = Log()
    """Logging."""
    defaults: Collection = Collection()
    """What holds for every source that does not say otherwise."""
    sources: Annotated[tuple[Source, ...], BeforeValidator(not_empty), _LISTED]
    """The clusters to read."""
