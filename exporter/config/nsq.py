"""What a config may say of an NSQ installation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import ValidationInfo, field_validator, model_validator

from exporter.config.access import Login, Password, Tls, beside_the_config
from exporter.config.properties import SecretPath
from exporter.config.shared import Latency, Model, NameFilter, SourceConfig
from exporter.config.types import HttpUrls, Positive, Switch, TopicName, duration, fault
from exporter.model import Method


class NsqTimestamps(Model):
    """How ages are found."""

    method: Literal["auto", "estimate", "percentile"] = "auto"
    """From the exporter's record of the counters, from nsqd's own percentiles, or whichever is there."""


class NsqProbe(Model):
    """Messages of the exporter's own, which time each nsqd."""

    enabled: Switch = True
    """Whether to send them."""
    destination: TopicName = "mq-lag-exporter-probe"
    """What the names of its ephemeral topics begin with; they go with the exporter's connections."""
    deadline: Positive = duration("5s")
    """Time after which a probe is lost."""
    auth_secret: Password | None = None
    """Secret for nsqds that want authentication."""
    auth_secret_file: SecretPath | None = None
    """File with the secret, read again at each new connection."""
    tls: Switch = False
    """Whether the TCP connections change to TLS; nsqds that demand it get it in any case."""

    @field_validator("auth_secret_file")
    @classmethod
    def _one_secret(cls, given: Path | None, info: ValidationInfo) -> Path | None:
        if given is not None and info.data.get("auth_secret") is not None:
            raise fault("the secret is given twice; keep auth_secret or auth_secret_file")
        return beside_the_config(given, info)


class NsqSource(SourceConfig, Login):
    """One NSQ installation."""

    system: Literal["nsq"]
    """What it is."""
    nsqlookupd: HttpUrls = ()
    """HTTP addresses of nsqlookupds, which know the nsqds."""
    nsqd: HttpUrls = ()
    """HTTP addresses of nsqds, besides those that are looked up."""
    nodes: NameFilter | None = None
    """Hosts that get the login and `probe.auth_secret` although only an nsqlookupd names them; none unless given.

    Hosts of the addresses above always get them.
    """
    tls: Tls = Tls()
    """Certificates."""
    destinations: NameFilter = NameFilter()
    """Which topics are shown."""
    groups: NameFilter = NameFilter()
    """Which channels are shown."""
    internals: Switch = False
    """Whether ephemeral topics and channels are shown too."""
    granularity: Literal["partition", "subscription"] = "partition"
    """Whether there are series for each nsqd, or sums over them."""
    timestamps: NsqTimestamps = NsqTimestamps()
    """How ages are found."""
    latency: Latency = Latency()
    """Which subscriptions have a histogram of latencies."""
    probe: NsqProbe = NsqProbe()
    """Messages of the exporter's own, which time each nsqd."""

    @property
    def addresses(self) -> frozenset[str]:
        """Return what names the cluster."""
        return frozenset({*self.nsqlookupd, *self.nsqd})

    @property
    def per_partition(self) -> bool:
        """Whether there are series for each nsqd, or sums over them."""
        return self.granularity == "partition"

    @property
    def age_method(self) -> Method | None:
        """How ages are found; None chooses the best one for each channel."""
        chosen = self.timestamps.method
        return None if chosen == "auto" else chosen

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        if not self.nsqlookupd and not self.nsqd:
            raise fault("needs nsqlookupd, nsqd, or both: their HTTP addresses")
        return self

    @property
    def writes(self) -> str | None:
        """What the probe writes to the nsqds; None if it is switched off."""
        if not self.probe.enabled:
            return None
        return (
            f"an ephemeral topic {self.probe.destination}-<random>: "
            f"a message to each nsqd every {self.schedule.probe:g} s"
        )
