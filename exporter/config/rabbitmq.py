"""What a config may say of a RabbitMQ cluster."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ValidationInfo, field_validator

from exporter.config.access import Login, Tls
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
    """Messages of the exporter's own, which time the cluster."""

    enabled: Switch | None = None
    """Whether to send them. Where it is not said: if `amqp_url` is given."""
    destination: TopicName = "mq-lag-exporter-probe"
    """What the names of its queues begin with; they go with the exporter's connections."""
    vhost: Name = "/"
    """Vhost of the queues."""
    deadline: Positive = duration("5s")
    """Time after which a probe is lost."""


class RabbitSource(SourceConfig, Login):
    """One RabbitMQ cluster."""

    system: Literal["rabbitmq"]
    """What it is a cluster of."""
    management_url: Annotated[HttpUrls, BeforeValidator(not_empty)]
    """The management API; several are tried one after the other."""
    amqp_url: AmqpUrls = ()
    """For the probe: the nodes to send a message to and back."""
    prometheus_url: HttpUrls = ()
    """The Prometheus plugin of every node, where the backlog is to be read from there at a tenth of the cost."""
    tls: Tls = Tls()
    """Certificates."""
    vhosts: NameFilter = NameFilter()
    """Which vhosts are shown."""
    destinations: NameFilter = NameFilter()
    """Which queues are shown."""
    internals: Switch = False
    """Whether exclusive and auto-delete queues, `amq.` ones and the exporter's are shown too."""
    latency: LatencyLimit = LatencyLimit()
    """Which subscriptions have a histogram of latencies."""
    probe: RabbitProbe = RabbitProbe()
    """Messages of the exporter's own, which time the cluster."""

    @property
    def addresses(self) -> frozenset[str]:
        """Return what names the cluster."""
        return frozenset(self.management_url)

    @field_validator("probe")
    @classmethod
    def _needs_an_address(cls, given: RabbitProbe, info: ValidationInfo) -> RabbitProbe:
        if given.enabled and not info.data.get("amqp_url"):
            raise fault("a probe needs amqp_url, such as amqp://rabbit-1:5672")
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
