"""Config keys of a RabbitMQ source."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ValidationInfo, field_validator

from exporter.config.access import LoginConfig, TlsConfig
from exporter.config.shared import LatencyLimit, Model, NameFilter, SourceConfig
from exporter.config.types import (
    AmqpUrls,
    HttpUrls,
    Name,
    Positive,
    Switch,
    TopicName,
    duration,
    fault,
    not_empty,
)


class RabbitProbe(Model):
    """Test messages of the exporter that measure the cluster's latency."""

    enabled: Switch | None = None
    """Whether to send probes. Default: if `amqp_url` is set."""
    destination: TopicName = "mq-lag-exporter-probe"
    """Prefix of the names of the probe queues. They are deleted with the exporter's connections."""
    vhost: Name = "/"
    """Vhost of the probe queues."""
    deadline: Positive = duration("5s")
    """A probe that takes longer counts as lost."""


class RabbitSource(SourceConfig, LoginConfig):
    """One RabbitMQ cluster."""

    system: Literal["rabbitmq"]
    """Kind of system."""
    management_url: Annotated[HttpUrls, BeforeValidator(not_empty)]
    """Addresses of the management API. If one does not answer, the next one is tried."""
    amqp_url: AmqpUrls = ()
    """AMQP addresses of the nodes to probe."""
    prometheus_url: HttpUrls = ()
    """Addresses of the Prometheus plugin, one for every node.

    If set, the backlog is read from there. This needs only a tenth of the broker's CPU.
    """
    tls: TlsConfig = TlsConfig()
    """TLS files for HTTPS and AMQPS connections."""
    vhosts: NameFilter = NameFilter()
    """Which vhosts are shown."""
    destinations: NameFilter = NameFilter()
    """Which queues are shown."""
    internals: Switch = False
    """Whether to show exclusive and auto-delete queues, `amq.*` queues and those of the
    exporter.
    """
    latency: LatencyLimit = LatencyLimit()
    """Which subscriptions get the histogram `mq_latency_seconds`."""
    probe: RabbitProbe = RabbitProbe()
    """Test messages of the exporter that measure the cluster's latency."""

    @property
    def addresses(self) -> frozenset[str]:
        """Return the addresses of the cluster."""
        return frozenset(self.management_url)

    @field_validator("probe")
    @classmethod
    def _needs_an_address(cls, given: RabbitProbe, info: ValidationInfo) -> RabbitProbe:
        if given.enabled and not info.data.get("amqp_url"):
            raise fault("a probe needs amqp_url, for example amqp://rabbit-1:5672")
        return given

    @property
    def writes(self) -> str | None:
        """What the probe writes to the nodes; None if there is no probe."""
        if self.probe.enabled is False or not self.amqp_url:
            return None
        return (
            f"an exclusive queue {self.probe.destination}.<random> in vhost {self.probe.vhost}: "
            f"a message through each amqp_url every {self.schedule.probe:g} s"
        )
