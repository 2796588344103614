"""Config keys of an NSQ source."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import ValidationInfo, field_validator, model_validator

from exporter.config.access import LoginConfig, Password, TlsConfig, beside_the_config
from exporter.config.properties import SecretPath
from exporter.config.shared import Latency, Model, NameFilter, SourceConfig
from exporter.config.types import HttpUrls, Positive, Switch, TopicName, duration, fault
from exporter.model import Method


class NsqTimestamps(Model):
    """How the exporter finds ages."""

    method: Literal["auto", "estimate", "percentile"] = "auto"
    """estimate: from the message counters. percentile: from nsqd's percentiles. auto: what is
    available.
    """


class NsqProbe(Model):
    """Test messages of the exporter that measure the latency of each nsqd."""

    enabled: Switch = True
    """Whether to send probes."""
    destination: TopicName = "mq-lag-exporter-probe"
    """Prefix of the names of the ephemeral probe topics. They are deleted with the exporter's
    connections.
    """
    deadline: Positive = duration("5s")
    """A probe that takes longer counts as lost."""
    auth_secret: Password | None = None
    """Secret for nsqds that require authentication."""
    auth_secret_file: SecretPath | None = None
    """File with the secret. It is read again at each new connection."""
    tls: Switch = False
    """Whether TCP connections use TLS. It is always used for nsqds that require it."""

    @field_validator("auth_secret_file")
    @classmethod
    def _one_secret(cls, given: Path | None, info: ValidationInfo) -> Path | None:
        if given is not None and info.data.get("auth_secret") is not None:
            raise fault("both auth_secret and auth_secret_file are set; keep one of them")
        return beside_the_config(given, info)


class NsqSource(SourceConfig, LoginConfig):
    """One NSQ installation."""

    system: Literal["nsq"]
    """Kind of system."""
    nsqlookupd: HttpUrls = ()
    """HTTP addresses of nsqlookupds. All nsqds that they know are read."""
    nsqd: HttpUrls = ()
    """HTTP addresses of nsqds to read in addition."""
    nodes: NameFilter | None = None
    """Hosts that get the login and `probe.auth_secret` although only an nsqlookupd names them.
    Default: none.

    Hosts in `nsqlookupd` and `nsqd` always get them.
    """
    tls: TlsConfig = TlsConfig()
    """TLS files for HTTPS and TLS connections."""
    destinations: NameFilter = NameFilter()
    """Which topics are shown."""
    groups: NameFilter = NameFilter()
    """Which channels are shown."""
    internals: Switch = False
    """Whether to show ephemeral topics and channels."""
    granularity: Literal["partition", "subscription"] = "partition"
    """partition: one series per nsqd. subscription: sums over the nsqds (seconds: the maximum)."""
    timestamps: NsqTimestamps = NsqTimestamps()
    """How the exporter finds ages."""
    latency: Latency = Latency()
    """Which subscriptions get the histogram `mq_latency_seconds`."""
    probe: NsqProbe = NsqProbe()
    """Test messages of the exporter that measure the latency of each nsqd."""

    @property
    def addresses(self) -> frozenset[str]:
        """Return the addresses of the cluster."""
        return frozenset({*self.nsqlookupd, *self.nsqd})

    @property
    def per_partition(self) -> bool:
        """Whether there is one series per nsqd, instead of sums over the nsqds."""
        return self.granularity == "partition"

    @property
    def age_method(self) -> Method | None:
        """How ages are found; None chooses the best method for each channel."""
        chosen = self.timestamps.method
        return None if chosen == "auto" else chosen

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        if not self.nsqlookupd and not self.nsqd:
            raise fault("needs the HTTP addresses of nsqlookupd, nsqd or both")
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
