"""Starts one version of a broker, with its source in the exporter's config and its load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.versions.catalogue import Version
from bench.versions.clients import KafkaMember, RabbitSender, StreamReader, kafka_sender
from bench.versions.old_kafka import OldKafka
from bench.versions.samples import Limits, Names
from testbed import kafka_data, nsq_data, rabbit_data
from testbed.consuming import PacedConsumer
from testbed.exporter import kafka_source, nsq_source, rabbit_source
from testbed.nsq import NsqCluster
from testbed.rabbitmq import RabbitCluster
from testbed.rabbitmq_access import password_of
from testbed.rabbitmq_config import PLUGINS

RATE = 40.0
"""Messages a second that the consumers of a destination process together: the mean load."""
AHEAD = 2
"""Maximum prefetch of a consumer, so that several consumers finish nearly in order."""
GROUP = "readers"
EARLY = 5
"""Messages through a queue or stream before the exporter starts.

Without them a stream's reader has no offset, and RabbitMQ 4 has no statistics of a queue, so its
rates are unknown.
"""
KAFKA = Limits(lag=0, mean_age=1.0, age=1.0, rate=0.03)
QUEUE = Limits(lag=0, mean_age=2.0, age=5.0, rate=0.1)
"""The statistics of RabbitMQ are up to 5 s old, which is a fraction of the rate window."""
STREAM = Limits(lag=3, mean_age=2.0, age=5.0, rate=0.1)
"""RabbitMQ reports what was sent to the reader: the present message, the next one, and a chunk in
transit."""
CHANNEL = Limits(lag=0, mean_age=1.0, age=3.0, rate=0.03)


@dataclass
class Line:
    """One destination, its producer and its consumers."""

    kind: str
    names: Names
    send: Callable[[bytes], None]
    consumers: Sequence[PacedConsumer[Any]]
    limits: Limits
    early: int = 0
    """Messages that are sent and processed before the exporter starts."""


@dataclass
class Site:
    """A running broker."""

    version: str
    """As the broker reports it."""
    source: dict[str, Any]
    load_seconds: float
    lines: list[Line] = field(default_factory=list)


def kafka_site(stack: ExitStack, folder: Path, version: Version) -> Site:
    """Start a broker with a group of each protocol. `folder` has the jars."""
    kafka = stack.enter_context(OldKafka(folder, version.origin))
    source = kafka_source(kafka.bootstrap, schedule={"consumers": "5s"})
    site = Site(version.origin, source, load_seconds=45.0)
    for protocol in version.kinds:
        topic, group = f"topic-{protocol}", f"{GROUP}-{protocol}"
        kafka_data.create_topic(kafka.bootstrap, topic, 2)
        kafka_data.commit_offsets(kafka.bootstrap, group, {(topic, 0): 0, (topic, 1): 0})
        settings = {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "log_level": 0,
            "group.protocol": protocol,
        }
        names = Names({"destination": topic, "group": group}, "latency")
        members = [KafkaMember(settings, topic, RATE / 2) for _ in range(2)]
        site.lines.append(
            Line(protocol, names, kafka_sender(kafka.bootstrap, topic), members, KAFKA)
        )
    return site


def rabbit_site(stack: ExitStack, release: str, version: Version) -> Site:
    """Start a node of a Debian release with a queue of each kind."""
    kinds = version.kinds
    plugins = [name for name in PLUGINS if "stream" in kinds or "stream" not in name]
    rabbit = stack.enter_context(RabbitCluster(release=release, plugins=plugins))
    exact = str(rabbit.api("GET", "overview")["rabbitmq_version"])
    site = Site(exact, rabbit_source(rabbit), load_seconds=70.0)
    url = rabbit.amqp_url()
    for kind in kinds:
        rabbit_data.declare(url, kind, kind)  # type: ignore[arg-type]
        send = RabbitSender(url, kind)
        stack.callback(send.close)
        if kind != "stream":
            consumers: Sequence[PacedConsumer[Any]] = [
                rabbit_data.RabbitConsumer(url, kind, RATE / 2, prefetch=AHEAD) for _ in range(2)
            ]
            names = Names({"destination": kind}, "latency")
            site.lines.append(Line(kind, names, send, consumers, QUEUE, EARLY))
            continue
        login = {
            "host": "127.0.0.1",
            "port": rabbit.port("stream"),
            "username": "admin",
            "password": password_of("admin"),
        }
        reader = StreamReader(login, kind, GROUP, RATE)
        names = Names({"destination": kind, "group": GROUP}, "backlog")
        site.lines.append(Line(kind, names, send, [reader], STREAM, EARLY))
    return site


def nsq_site(stack: ExitStack, folder: Path) -> Site:
    """Start an nsqd and an nsqlookupd, with one channel. `folder` has the programs."""
    nsq = stack.enter_context(NsqCluster(folder=folder))
    http, address = nsq.http_url(), nsq.tcp_address()
    nsq_data.create_channel(http, "topic", "channel")
    consumers = [
        nsq_data.NsqConsumer(address, "topic", "channel", RATE / 2, max_in_flight=AHEAD)
        for _ in range(2)
    ]
    names = Names({"destination": "topic"}, "backlog")
    line = Line(
        "channel", names, lambda body: nsq_data.publish(http, "topic", body), consumers, CHANNEL
    )
    exact = str(nsq_data.stats(http)["version"])
    return Site(exact, nsq_source(nsq), load_seconds=60.0, lines=[line])
