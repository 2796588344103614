"""What a config may say of a Kafka cluster."""

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


class Probe(Model):
    """Messages of the exporter's own, which time the cluster."""

    enabled: Switch | None = None
    """Whether to send them. Where it is not said: if the rights are there."""
    destination: TopicName = "mq-lag-exporter-probe"
    """Topic to send them to; it is made where that is allowed, and belongs to nobody else."""
    deadline: Positive = duration("5s")
    """Time after which a probe is lost."""


class KafkaSource(SourceConfig):
    """One Kafka cluster."""

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

    @property
    def addresses(self) -> frozenset[str]:
        """Return what names the cluster."""
        return frozenset({self.bootstrap_servers})

    @property
    def per_partition(self) -> bool:
        """Whether there are series for each partition, or sums over them."""
        return self.granularity == "partition"

    @field_validator("client_files")
    @classmethod
    def _beside_the_config(cls, given: dict[str, Path], info: ValidationInfo) -> dict[str, Path]:
        folder = (info.context or {}).get("folder", Path())
        return {name: folder / path for name, path in given.items()}

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Leave out the values of client properties: they may be secrets."""
        for key, value in super().__repr_args__():
            yield key, dict.fromkeys(value, "…") if key == "client" else value

    @property
    def writes(self) -> str | None:
        """What the probe writes to the brokers; None if it is switched off."""
        if self.probe.enabled is False:
            return None
        return (
            f"topic {self.probe.destination} (created if missing): a message to each broker every "
            f"{self.schedule.probe:g} s; offset commits of groups {self.probe.destination}-<number>"
        )

    def client_properties(self) -> dict[str, str]:
        """Return librdkafka's properties, with the contents that the files have now.

        Raises `SecretFileError` naming the key and the file where one can't be read.
        """
        given = {**self.client, "bootstrap.servers": self.bootstrap_servers}
        return with_secrets(self.name, given, self.client_files)
