"""Makes the settings of a RabbitMQ collector from its config."""

from __future__ import annotations

from exporter.collectors.access_config import login_of, tls_of
from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.config.rabbitmq import RabbitSource


def rabbit_settings(config: RabbitSource) -> RabbitSettings:
    """Return the settings of the source's collector."""
    return RabbitSettings(
        name=config.name,
        management=config.management_url,
        prometheus=config.prometheus_url,
        amqp=config.amqp_url,
        tls=tls_of(config.tls),
        login=login_of(config),
        vhosts=config.vhosts.matcher,
        destinations=config.destinations.matcher,
        internals=config.internals,
        probe=config.probe.enabled is not False and bool(config.amqp_url),
        probe_queue=config.probe.destination,
        probe_vhost=config.probe.vhost,
        probe_deadline=config.probe.deadline,
        probe_interval=config.schedule.probe,
    )
