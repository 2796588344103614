"""A RabbitMQ node with a small workload for the demo, if RabbitMQ is installed."""

from __future__ import annotations

import random
import secrets
import threading
import time
from pathlib import Path
from typing import Any

import pika
import requests
from pika.exceptions import AMQPError

from exporter.demo.programs import LOOPBACK, Program, find, free_ports
from exporter.demo.rabbitmq_node import SCRIPTS, node_environment

QUEUE, RATE = "invoices", 30.0
CONSUMER_RATE = 24.0
"""Messages per second that the consumer of QUEUE can process."""
DEAD = "invoices.failed"
"""Queue that gets every tenth message and has no consumer."""
QUEUES = (QUEUE, DEAD)
RETRY_SECONDS = 1.0
PATIENCE = 10.0


class EmbeddedRabbit:
    """A node that belongs to the demo. It takes some seconds to start."""

    name = "billing"
    story = (
        "a real RabbitMQ, which joins when it has started: its consumer is too slow, and queue "
        "invoices.failed has no consumer"
    )

    def __init__(self) -> None:
        self._folder = Path()
        self._amqp, self._http, self._distribution, self._epmd = free_ports(4)
        self._password = secrets.token_hex()
        self._programs: list[Program] = []
        self._stop = threading.Event()

    @staticmethod
    def found() -> bool:
        """Return whether RabbitMQ is installed."""
        return find("rabbitmq-server", SCRIPTS) is not None and find("epmd") is not None

    def source(self) -> str:
        """Return the source's lines for a config."""
        return (
            f"  - {{name: {self.name}, system: rabbitmq, management_url: "
            f"'http://{LOOPBACK}:{self._http}', "
            f"amqp_url: 'amqp://{LOOPBACK}:{self._amqp}', username: demo, password: "
            f"'{self._password}', "
            "schedule: {backlog: 1s, latency: 1s, rates: 2s, discovery: 10s}, rate_window: 20s}\n"
        )

    def start(self, folder: Path) -> None:
        """Start the node with data in `folder`."""
        server, epmd = find("rabbitmq-server", SCRIPTS), find("epmd")
        if server is None or epmd is None:
            return
        self._folder = folder
        folder.mkdir()
        self._write_config()
        log = self._folder / "log"
        self._programs = [
            Program([epmd, "-port", str(self._epmd), "-address", LOOPBACK], log),
            Program(
                [server],
                log,
                node_environment(
                    folder,
                    home=folder,
                    name=f"demo@{LOOPBACK}",
                    port=self._distribution,
                    epmd_port=self._epmd,
                ),
            ),
        ]

    def answers(self) -> bool:
        """Return whether the node can be used: it has the queues, and the management API."""
        try:
            connection = pika.BlockingConnection(self._parameters())
            declare(connection.channel())
            connection.close()
            with requests.Session() as session:
                session.trust_env = False
                answer = session.get(
                    f"http://{LOOPBACK}:{self._http}/api/queues",
                    auth=("demo", self._password),
                    timeout=PATIENCE,
                )
                return answer.ok and len(answer.json()) == len(QUEUES)
        except (AMQPError, OSError, ValueError):
            return False

    def ended(self) -> str | None:
        """Return the last line of the node's log if the node has ended by itself."""
        return self._programs[-1].ended() if self._programs else None

    def work(self) -> None:
        """Start the workload."""
        for run in (self._produce, self._consume):
            threading.Thread(target=self._until_stopped, args=(run,), daemon=True).start()

    def stop(self) -> None:
        """Stop the node and the workload."""
        self._stop.set()
        for program in reversed(self._programs):
            program.end()

    def _write_config(self) -> None:
        cookie = self._folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex())
        cookie.chmod(0o400)
        (self._folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        settings = {
            "listeners.tcp.1": f"{LOOPBACK}:{self._amqp}",
            "management.tcp.ip": LOOPBACK,
            "management.tcp.port": str(self._http),
            "default_user": "demo",
            "default_pass": self._password,
            "default_user_tags.administrator": "true",
            "log.file": "false",
            "log.console": "true",
            "disk_free_limit.absolute": "1MB",
            "collect_statistics_interval": "1000",
        }
        lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
        config = self._folder / "rabbitmq.conf"
        config.touch(mode=0o600)
        config.write_text(lines)

    def _parameters(self) -> pika.ConnectionParameters:
        return pika.ConnectionParameters(
            LOOPBACK,
            self._amqp,
            credentials=pika.PlainCredentials("demo", self._password),
            connection_attempts=1,
            blocked_connection_timeout=10,
        )

    def _until_stopped(self, run: Any) -> None:
        """Call `run` with a connection and a channel.

        Repeat it whenever the node is not available.
        """
        while not self._stop.wait(RETRY_SECONDS):
            try:
                connection = pika.BlockingConnection(self._parameters())
                channel = connection.channel()
                declare(channel)
                run(connection, channel)
                connection.close()
            except (AMQPError, OSError):
                continue

    def _produce(self, connection: pika.BlockingConnection, channel: Any) -> None:
        while not self._stop.is_set():
            properties = pika.BasicProperties(timestamp=int(time.time()))
            channel.basic_publish("", QUEUE, random.randbytes(300), properties)  # noqa: S311
            connection.sleep(1.0 / RATE)

    def _consume(self, connection: pika.BlockingConnection, channel: Any) -> None:
        channel.basic_qos(prefetch_count=10)
        number = 0
        for method, _, body in channel.consume(QUEUE, inactivity_timeout=1.0):
            if self._stop.is_set():
                return
            if method is None:
                continue
            number += 1
            if number % 10 == 0:
                channel.basic_publish("", DEAD, body)
            connection.sleep(1.0 / CONSUMER_RATE)
            channel.basic_ack(method.delivery_tag)


def declare(channel: Any) -> None:
    """Create the queues, unless they exist."""
    for queue in QUEUES:
        channel.queue_declare(queue, durable=True)
