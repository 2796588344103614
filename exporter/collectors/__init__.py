"""One folder a system. A new system is an entry in `COLLECTORS`, and one in the worker that runs it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from exporter.collectors import environment
from exporter.collectors.access import Login, Tls
from exporter.collectors.isolated import IsolatedCollector
from exporter.collectors.kafka.settings import FOLLOWS, TASKS, KafkaSettings
from exporter.collectors.nsq.settings import EARLY_AFTER as NSQ_EARLY_AFTER
from exporter.collectors.nsq.settings import NsqSettings
from exporter.collectors.rabbitmq.settings import EARLY_AFTER as RABBIT_EARLY_AFTER
from exporter.collectors.rabbitmq.settings import FOLLOWS as RABBIT_FOLLOWS
from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.collectors.wire import Setup
from exporter.model import Collector
from exporter.names import NOTHING, NameMatcher

if TYPE_CHECKING:
    # The processes of collectors import this package, and not the config's library.
    from exporter.config import KafkaSource, NsqSource, RabbitSource
    from exporter.config.access import Login as LoginConfig
    from exporter.config.access import Tls as TlsConfig

LogFormat = Literal["json", "console"]


def kafka_settings(config: KafkaSource) -> KafkaSettings:
    """Return what the collector is told of the source."""
    return KafkaSettings(
        name=config.name,
        properties={**config.client, "bootstrap.servers": config.bootstrap_servers},
        property_files=config.client_files,
        destinations=config.destinations.matcher,
        groups=config.groups.matcher,
        group_names=config.groups.names,
        internals=config.internals,
        read_committed=config.isolation == "read_committed",
        read_committed_groups=NameMatcher(config.read_committed_groups),
        consumers_interval=config.schedule.consumers,
        latency_interval=config.schedule.latency,
        method=config.timestamps.method,
        header=config.timestamps.header,
        tolerance_seconds=config.timestamps.tolerance.seconds,
        tolerance_ratio=config.timestamps.tolerance.ratio,
        latency_limit=config.latency.limit,
        latency_groups=NameMatcher(config.latency.groups),
        probe=config.probe.enabled,
        probe_topic=config.probe.destination,
        probe_deadline=config.probe.deadline,
    )


def rabbit_settings(config: RabbitSource) -> RabbitSettings:
    """Return what the collector is told of the source."""
    return RabbitSettings(
        name=config.name,
        management=config.management_url,
        prometheus=config.prometheus_url,
        amqp=config.amqp_url,
        tls=_tls(config.tls),
        login=_login(config),
        vhosts=config.vhosts.matcher,
        destinations=config.destinations.matcher,
        internals=config.internals,
        probe=config.probe.enabled is not False and bool(config.amqp_url),
        probe_queue=config.probe.destination,
        probe_vhost=config.probe.vhost,
        probe_deadline=config.probe.deadline,
        probe_interval=config.schedule.probe,
    )


def nsq_settings(config: NsqSource) -> NsqSettings:
    """Return what the collector is told of the source."""
    probe = config.probe
    return NsqSettings(
        name=config.name,
        lookupds=config.nsqlookupd,
        nsqds=config.nsqd,
        tls=_tls(config.tls),
        login=_login(config),
        trusted=NOTHING if config.nodes is None else config.nodes.matcher,
        destinations=config.destinations.matcher,
        groups=config.groups.matcher,
        internals=config.internals,
        probe=probe.enabled,
        probe_topic=probe.destination,
        probe_deadline=probe.deadline,
        probe_tls=probe.tls,
        auth_secret=None if probe.auth_secret is None else probe.auth_secret.get_secret_value(),
        auth_secret_file=probe.auth_secret_file,
    )


def _tls(config: TlsConfig) -> Tls:
    return Tls(config.ca_file, config.cert_file, config.key_file, config.server_name)


def _login(config: LoginConfig) -> Login:
    password = None if config.password is None else config.password.get_secret_value()
    return Login(config.username, password, config.password_file)


def _kafka(config: KafkaSource, log_format: LogFormat, log_level: str) -> Collector:
    settings = kafka_settings(config)
    more = environment.of_source(settings.properties, os.environ)
    setup = Setup("kafka", settings, log_format, log_level, more)
    return IsolatedCollector(setup, TASKS, FOLLOWS)


def _rabbitmq(config: RabbitSource, log_format: LogFormat, log_level: str) -> Collector:
    settings = rabbit_settings(config)
    setup = Setup("rabbitmq", settings, log_format, log_level)
    return IsolatedCollector(setup, settings.tasks(), RABBIT_FOLLOWS, RABBIT_EARLY_AFTER)


def _nsq(config: NsqSource, log_format: LogFormat, log_level: str) -> Collector:
    settings = nsq_settings(config)
    setup = Setup("nsq", settings, log_format, log_level)
    return IsolatedCollector(setup, settings.tasks(), {}, NSQ_EARLY_AFTER)


COLLECTORS: Mapping[str, Callable[[Any, LogFormat, str], Collector]] = {
    "kafka": _kafka,
    "rabbitmq": _rabbitmq,
    "nsq": _nsq,
}
"""By the `system` of a source, which goes with the type of its config."""
