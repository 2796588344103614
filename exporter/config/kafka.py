"""Config keys of a Kafka source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from exporter.config.properties import PropertyName, PropertyValue, SecretPath
from exporter.config.shared import GroupFilter, Latency, Model, NameFilter, SourceConfig
from exporter.config.types import (
    Name,
    Pattern,
    Positive,
    Ratio,
    Servers,
    Switch,
    TopicName,
    duration,
    fault,
)
from exporter.secret_files import with_secrets


class ToleranceConfig(Model):
    """How exact an age must be: the larger of the two limits applies."""

    seconds: Positive = duration("1s")
    """Allowed error, independent of the age."""
    ratio: Ratio = 0.01
    """Allowed error as a fraction of the age."""


class Timestamps(Model):
    """How the exporter finds ages."""

    method: Literal["auto", "time_index", "record"] = "auto"
    """time_index: timestamp lookups. record: reads the records. auto: chooses the better one."""
    header: Name | None = None
    """Record header with the producer's timestamp. If it is set, records are read."""
    tolerance: ToleranceConfig = ToleranceConfig()
    """How exact an age must be."""

    @field_validator("header")
    @classmethod
    def _read_from_records(cls, given: str | None, info: ValidationInfo) -> str | None:
        if given is not None and info.data.get("method") == "time_index":
            raise fault("header needs record reads, so method must not be time_index")
        return given


class Probe(Model):
    """Test messages of the exporter that measure the cluster's latency."""

    enabled: Switch | None = None
    """Whether to send probes. Default: only if the user has the rights."""
    destination: TopicName = "mq-lag-exporter-probe"
    """Topic for probes, used by nothing else. The exporter creates it if it has the right."""
    deadline: Positive = duration("5s")
    """A probe that takes longer counts as lost."""


class KafkaSource(SourceConfig):
    """One Kafka cluster."""

    system: Literal["kafka"]
    """Kind of system."""
    bootstrap_servers: Servers
    """Brokers for the first contact: `host:port`, several separated by commas or as a list."""
    client: dict[PropertyName, PropertyValue] = Field(default_factory=dict)
    """Any property of librdkafka."""
    client_files: dict[PropertyName, SecretPath] = Field(default_factory=dict)
    """librdkafka properties whose values are read from files, again when a file changes."""
    destinations: NameFilter = NameFilter()
    """Which topics are shown."""
    groups: GroupFilter = GroupFilter()
    """Which groups are shown."""
    internals: Switch = False
    """Whether to show internal topics of Kafka and of the exporter."""
    isolation: Literal["read_uncommitted", "read_committed"] = "read_uncommitted"
    """read_uncommitted: lag counts up to the high watermark. read_committed: up to the last stable
    offset.
    """
    read_committed_groups: tuple[Pattern, ...] = ()
    """Regular expressions of groups whose lag counts up to the last stable offset."""
    offsets: Literal["auto", "admin", "stream"] = "auto"
    """admin: committed offsets are read from the group coordinators. stream: from the topic
    `__consumer_offsets`, verified by the coordinators. auto: the cheaper way.
    """
    granularity: Literal["partition", "subscription"] = "partition"
    """partition: one series per partition. subscription: sums over the partitions (seconds: the
    maximum).
    """

    timestamps: Timestamps = Timestamps()
    """How the exporter finds ages."""
    latency: Latency = Latency()
    """Which subscriptions get the histogram `mq_latency_seconds`."""
    probe: Probe = Probe()
    """Test messages of the exporter that measure the cluster's latency."""

    @property
    def addresses(self) -> frozenset[str]:
        """Return the addresses of the cluster."""
        return frozenset({self.bootstrap_servers})

    @property
    def per_partition(self) -> bool:
        """Whether there is one series per partition, instead of sums over the partitions."""
        return self.granularity == "partition"

    @field_validator("client_files")
    @classmethod
    def _beside_the_config(cls, given: dict[str, Path], info: ValidationInfo) -> dict[str, Path]:
        folder = (info.context or {}).get("folder", Path())
        return {name: folder / path for name, path in given.items()}

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Leave out the values of client properties, because they may be secrets."""
        for key, value in super().__repr_args__():
            yield key, dict.fromkeys(value, "…") if key == "client" else value

    @property
    def writes(self) -> str | None:
        """What the probe writes to the brokers; None if it is switched off."""
        if self.probe.enabled is False:
            return None
        rights = "" if self.probe.enabled else "if the user has the rights: "
        topic = self.probe.destination
        return (
            f"{rights}topic {topic} (created if missing): a message to each broker every "
            f"{self.schedule.probe:g} s; offset commits of groups {topic}-<number>"
        )

    def client_properties(self) -> dict[str, str]:
        """Return librdkafka's properties, with the current contents of the files.

        Raises `SecretFileError`, which names the key and the file, if one cannot be read.
        """
        given = {**self.client, "bootstrap.servers": self.bootstrap_servers}
        return with_secrets(self.name, given, self.client_files)
