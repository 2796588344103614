"""The demo: the daemon with an embedded cluster, and a live table in the terminal."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from exporter import logging_setup
from exporter.collectors.kafka.collector import KafkaCollector
from exporter.collectors.kafka.from_config import kafka_settings
from exporter.collectors.making import make_collector
from exporter.config import SourceConfig, parse
from exporter.config.kafka import KafkaSource
from exporter.daemon import Daemon
from exporter.demo.kafka import READERS, TOPICS, DemoWorkload, EmbeddedKafka
from exporter.demo.nsq import EmbeddedNsq
from exporter.demo.rabbitmq import EmbeddedRabbit
from exporter.model import Collector
from exporter.show.top import watch
from exporter.signals import Signals

CONFIG = """
listen: "{listen}"
log: {{format: console, level: error}}
thresholds: [{{stop_seconds: 30s}}]
sources:
  - name: demo
    system: kafka
    bootstrap_servers: "{bootstrap_servers}"
    groups: {{names: {groups}}}
    schedule: {{backlog: 1s, latency: 1s, consumers: 10s}}
    rate_window: 20s
"""
FAILED = 1
STOP_SECONDS = 1.5
"""Time to stop everything after Ctrl-C. After that the process exits in any case."""
OTHERS = (EmbeddedNsq, EmbeddedRabbit)
"""Servers that join the demo if they are installed."""


def run_demo(signals: Signals, *, listen: str, seconds: float | None, console: Console) -> int:
    """Run until Ctrl-C, or for `seconds`; return an exit code."""
    stop = threading.Event()
    signals.deliver(stop=stop.set)
    logging_setup.configure("console", "error")
    cluster = EmbeddedKafka()
    others = [kind() for kind in OTHERS if kind.found()]
    text = CONFIG.format(
        listen=free(listen),
        bootstrap_servers=cluster.bootstrap_servers,
        groups=[reader.group for reader in READERS],
    )
    text += "".join(other.source() for other in others)
    config = parse(text, "demo", os.environ)
    cluster.make_topic(config.sources[0].probe.destination)
    workload = DemoWorkload(cluster.bootstrap_servers, TOPICS, READERS)
    daemon = Daemon(config, make=demo_collector)
    workload.start()
    daemon.start()
    folder = Path(tempfile.mkdtemp(prefix="mq-lag-exporter-demo-"))
    code = FAILED
    try:
        for other in others:
            other.start(folder / other.name)
        _introduce(console, config.listen, cluster.bootstrap_servers, others)
        if seconds is not None:
            timer = threading.Timer(seconds, stop.set)
            timer.daemon = True
            timer.start()

        def fetch() -> dict[str, Any]:
            return daemon.overview()

        title = f"http://{config.listen}/metrics"
        code = watch(fetch, title=title, interval=1.0, stop=stop, console=console)
        console.print("Stopping.")
    finally:
        # Needed even if the terminal is gone: the servers are separate processes and would go on
        # running.
        ender = threading.Timer(STOP_SECONDS, lambda: os._exit(code))
        ender.daemon = True
        ender.start()
        for source in daemon.sources.values():
            source.stop(0.0)
        for other in others:
            other.stop()
        shutil.rmtree(folder, ignore_errors=True)
        workload.stop(STOP_SECONDS)
        daemon.stop()
    return code


def free(listen: str) -> str:
    """Return the address, with another port if its own is in use."""
    host, _, port = listen.rpartition(":")
    if not port.isdecimal():
        return listen  # refused with the config
    for candidate in (int(port), *range(int(port) + 1, int(port) + 50)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError:
                continue
            return f"{host}:{candidate}"
    return listen


def demo_collector(config: SourceConfig) -> Collector:
    """Return the collector of a source.

    The collector of the embedded cluster runs in this process and names its partitions.
    """
    if not isinstance(config, KafkaSource):
        return make_collector(config, "console", "error")
    return KafkaCollector(kafka_settings(config), name_partitions=True)


def _introduce(
    console: Console,
    listen: str,
    bootstrap_servers: str,
    others: Sequence[EmbeddedNsq | EmbeddedRabbit],
) -> None:
    console.print(
        f"[bold]mq-lag-exporter demo[/]: an embedded Kafka cluster on {bootstrap_servers}"
    )
    console.print(f"  metrics  http://{listen}/metrics")
    console.print(f"  page     http://{listen}/")
    for reader in READERS:
        console.print(
            f"  group [cyan]{reader.group}[/] reads [cyan]{reader.topic}[/] and {reader.story}"
        )
    for other in others:
        console.print(f"  source [cyan]{other.name}[/] is {other.story}")
    console.print("Press Ctrl-C to stop.\n")
