"""The demo: the daemon with an embedded cluster, and a live table in the terminal."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from exporter import logging_setup
from exporter.collectors.kafka.collector import KafkaCollector
from exporter.collectors.kafka.from_config import kafka_settings
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.collectors.making import make_collector
from exporter.config import SourceConfig, parse
from exporter.config.kafka import KafkaSource
from exporter.daemon import Daemon, MakeCollector
from exporter.demo.joining import EmbeddedServer, Joiner, config_path
from exporter.demo.kafka import READERS, TOPICS, DemoWorkload, EmbeddedKafka
from exporter.demo.nsq import EmbeddedNsq
from exporter.demo.rabbitmq import EmbeddedRabbit
from exporter.model import Collector, Deadline, Memberships
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
    schedule: {{backlog: 1s, latency: 1s, consumers: 2s}}
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
    text = CONFIG.format(
        listen=free(listen),
        bootstrap_servers=cluster.bootstrap_servers,
        groups=[reader.group for reader in READERS],
    )
    config = parse(text, "demo", os.environ)
    cluster.make_topics(*TOPICS, config.sources[0].probe.destination)
    workload = DemoWorkload(cluster.bootstrap_servers, TOPICS, READERS)
    folder = Path(tempfile.gettempdir(), f"mq-lag-exporter-demo-{secrets.token_hex(8)}")
    daemon = Daemon(config, path=config_path(folder), make=demo_collector(workload))
    servers: list[EmbeddedServer] = [kind() for kind in OTHERS if kind.found()]
    joiner = Joiner(servers, daemon, text, folder)
    workload.start()
    daemon.start()
    code = FAILED
    try:
        folder.mkdir(mode=0o700)
        joiner.start()
        if config.listen != listen:
            console.print(f"{listen} is in use, so the demo listens on {config.listen}.")
        _introduce(console, config.listen, cluster.bootstrap_servers, servers)
        if seconds is not None:
            timer = threading.Timer(seconds, stop.set)
            timer.daemon = True
            timer.start()
        title = f"http://{config.listen}/metrics"
        code = watch(joiner.fetch, title=title, interval=1.0, stop=stop, console=console)
        console.print("Stopping.")
    finally:
        # Needed even if the terminal is gone: the servers are separate processes and would go on
        # running.
        ender = threading.Timer(STOP_SECONDS, lambda: os._exit(code))
        ender.daemon = True
        ender.start()
        for source in daemon.sources.values():
            source.stop(0.0)
        joiner.stop()
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


class EmbeddedKafkaCollector(KafkaCollector):
    """The collector of the embedded cluster: runs in this process and names its partitions.

    It gets the members of groups from the workload.
    """

    def __init__(self, settings: KafkaSettings, workload: DemoWorkload) -> None:
        super().__init__(settings, name_partitions=True)
        self._workload = workload

    def due_early(self, task: str) -> bool:
        """Return whether the last poll of the backlog found work for this task."""
        return task != "consumers" and super().due_early(task)

    def consumers(self, deadline: Deadline) -> Memberships:
        """Return the members of all groups."""
        del deadline
        return Memberships(self._workload.members())


def demo_collector(workload: DemoWorkload) -> MakeCollector:
    """Return a function that makes the collector of a source."""

    def make(config: SourceConfig) -> Collector:
        if not isinstance(config, KafkaSource):
            return make_collector(config, "console", "error")
        return EmbeddedKafkaCollector(kafka_settings(config), workload)

    return make


def _introduce(
    console: Console,
    listen: str,
    bootstrap_servers: str,
    servers: Sequence[EmbeddedServer],
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
    for server in servers:
        console.print(f"  source [cyan]{server.name}[/] is {server.story}")
    console.print("Press Ctrl-C to stop.\n")
