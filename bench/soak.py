"""`python -m bench.soak`: all three systems for an hour. Brokers are killed, and every number is compared with the clients' counts.

Meanwhile topics, queues, groups and channels are created and deleted, the config is reloaded, the
password file is replaced, and the process that reads NSQ is killed. Prints a line whenever a broker
is killed or comes back, and a table at the end. Exits with 1 if a number is wrong, a task crashed,
or memory, descriptors or threads grow.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pika
import requests
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.churn import Churn, kinds
from bench.flatness import Flatness
from bench.processes import process_tree
from testbed import nsq_data, rabbit_data
from testbed.consuming import Delivery
from testbed.exporter import Exporter, kafka_source, nsq_source, rabbit_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import create_topic
from testbed.nsq import NsqCluster
from testbed.rabbitmq import RabbitCluster
from testbed.rabbitmq_access import password_of

SWING = (5.0, 75.0)
PERIOD = 67.0
RATE = 42.0
"""Messages a second that a consumer processes: a little more than what comes on average."""
SAMPLE, RELOAD, ROTATE, KILL = 5.0, 20.0, 30.0, 75.0
"""Seconds between two samples, reloads, replacements of the password's file, kills of the process that reads NSQ."""
OFF = 0.05
"""Part by which counted messages may differ from the clients'."""
LOST = {"rabbit": 2_250, "nsq": 750, "kafka": 0}
"""Messages that are not counted when a broker is killed, whose counters are lost: those sent, at the most a second, since
they were read, every 30 s of RabbitMQ and every 10 s of NSQ."""
DEFAULTS = {"schedule": {}, "rate_window": "2m"}
CALM = 45.0
"""Seconds after a broker came back in which numbers may still be held ones."""


class Client(ABC):
    """A producer and a consumer of one destination, each in a thread, which write down what they did."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent: list[float] = []
        """When each message was acknowledged to the producer, in its order of sending; UNIX seconds."""
        self.done: list[float] = []
        """When each message was processed."""
        self._known: set[bytes] = set()
        self.producing = True
        self.running = True
        self.troubles = 0
        self._threads = [
            threading.Thread(target=t, daemon=True) for t in (self._produce, self._consume)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self.running = False
        for thread in self._threads:
            thread.join(30)

    def lag(self, at: float) -> int:
        """How many messages waited at a moment."""
        return bisect.bisect_right(self.sent, at) - bisect.bisect_right(self.done, at)

    def age(self, at: float) -> float:
        """How long the oldest message had waited at a moment; messages are processed in their order."""
        done = bisect.bisect_right(self.done, at)
        if done >= len(self.sent) or self.sent[done] > at:
            return 0.0
        return at - self.sent[done]

    def _produce(self) -> None:
        began = due = time.monotonic()
        send: Callable[[bytes], None] | None = None
        low, high = SWING
        number = itertools.count()
        while self.running and self.producing:
            try:
                if send is None:
                    send = self.sender()
                send(b"%d %.6f" % (next(number), time.time()))
                self.sent.append(time.time())
            except Exception:  # noqa: BLE001 - brokers are killed on purpose
                self.troubles += 1
                send = None
                time.sleep(0.5)
            share = ((time.monotonic() - began) % PERIOD) / PERIOD
            due = max(due, time.monotonic() - 5) + 1.0 / (
                low + (high - low) * (1 - abs(2 * share - 1))
            )
            time.sleep(max(due - time.monotonic(), 0))

    def _consume(self) -> None:
        while self.running:
            with suppress(Exception):
                due = time.monotonic()
                for body in self.messages():
                    due = max(due + 1.0 / RATE, time.monotonic() - 2)
                    time.sleep(max(due - time.monotonic(), 0))
                    self._note(body)
            time.sleep(0.2)

    def _note(self, body: bytes) -> None:
        """Write down that a message was processed, once."""
        if body not in self._known:
            self._known.add(body)
            self.done.append(time.time())

    @abstractmethod
    def sender(self) -> Callable[[bytes], None]: ...

    @abstractmethod
    def messages(self) -> Iterator[bytes]:
        """Yield messages; each is acknowledged when the next one is asked for."""


class KafkaClient(Client):
    """A topic of one partition and its group."""

    def __init__(self, cluster: KafkaCluster, topic: str) -> None:
        super().__init__(topic)
        self._servers = cluster.bootstrap
        create_topic(self._servers, topic, 1, 3, {"min.insync.replicas": "1"})

    def sender(self) -> Callable[[bytes], None]:
        producer = Producer(
            {
                "bootstrap.servers": self._servers,
                "linger.ms": 0,
                "log_level": 0,
                "message.timeout.ms": 30_000,
            }
        )

        def send(body: bytes) -> None:
            failed: list[Any] = []
            producer.produce(self.name, body, on_delivery=lambda error, _: failed.append(error))
            while not failed:
                producer.poll(0.05)
            if failed[0] is not None:
                raise RuntimeError(str(failed[0]))

        return send

    def messages(self) -> Iterator[bytes]:
        consumer = Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": self.name,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        consumer.subscribe([self.name])
        try:
            while self.running:
                message = consumer.poll(0.2)
                if message is None or message.error():
                    continue
                yield message.value() or b""
                place = TopicPartition(
                    self.name, message.partition() or 0, (message.offset() or 0) + 1
                )
                consumer.commit(offsets=[place], asynchronous=False)
        finally:
            consumer.close()


class RabbitClient(Client):
    """A durable classic queue on one node."""

    def __init__(self, cluster: RabbitCluster, queue: str, node: int) -> None:
        super().__init__(queue)
        self._url = cluster.amqp_url(node=node)
        rabbit_data.declare(self._url, queue)

    def sender(self) -> Callable[[bytes], None]:
        channel = pika.BlockingConnection(rabbit_data.parameters(self._url)).channel()
        channel.confirm_delivery()
        properties = pika.BasicProperties(delivery_mode=2)
        return lambda body: channel.basic_publish("", self.name, body, properties, mandatory=True)

    def messages(self) -> Iterator[bytes]:
        connection = pika.BlockingConnection(rabbit_data.parameters(self._url))
        channel = connection.channel()
        channel.basic_qos(prefetch_count=20)
        for method, _, body in channel.consume(self.name, inactivity_timeout=0.2):
            if method is not None and body is not None and method.delivery_tag is not None:
                yield body
                channel.basic_ack(method.delivery_tag)
            if not self.running:
                break
        connection.close()


class NsqClient(Client):
    """A topic and its channel on one nsqd."""

    def __init__(self, cluster: NsqCluster, topic: str, nsqd: str) -> None:
        super().__init__(topic)
        self._url, self._address = cluster.http_url(nsqd), cluster.tcp_address(nsqd)
        nsq_data.create_channel(self._url, topic, topic)

    def sender(self) -> Callable[[bytes], None]:
        session = requests.Session()

        def send(body: bytes) -> None:
            session.post(
                f"{self._url}/pub", params={"topic": self.name}, data=body, timeout=5
            ).raise_for_status()

        return send

    def _consume(self) -> None:
        def outcome(delivery: Delivery) -> Any:
            self._note(delivery.body)
            return "finish"

        while self.running:
            with (
                suppress(Exception),
                nsq_data.NsqConsumer(
                    self._address, self.name, self.name, RATE, max_in_flight=20, outcome=outcome
                ) as consumer,
            ):
                while self.running and consumer._thread.is_alive():
                    time.sleep(0.2)
            time.sleep(0.2)

    def messages(self) -> Iterator[bytes]:
        raise NotImplementedError


class Watch:
    """Compares what the page says with what the clients know, at each look, while nothing is broken."""

    def __init__(self, exporter: Exporter, clients: dict[str, Client]) -> None:
        self._exporter = exporter
        self._clients = clients
        self._known: dict[str, float] = {}
        self.calm_from = 0.0
        """Monotonic; numbers are compared after it."""
        self.ages: dict[str, list[float]] = {name: [] for name in clients}
        self.lags: dict[str, list[float]] = {name: [] for name in clients}
        self.largest: dict[str, float] = dict.fromkeys(clients, 0.0)
        self.kills: Counter[str] = Counter()
        """Of each broker."""

    def look(self) -> None:
        page = self._exporter.scrape()
        began = "mq_collect_last_success_timestamp_seconds"
        for name, client in self._clients.items():
            source = name.split("-")[0]
            task = {"kafka": "latency", "rabbit": "latency", "nsq": "backlog"}[source]
            at = page.value(began, source=source, task=task)
            age, lag = (
                page.find("mq_lag_seconds", destination=name),
                page.find("mq_lag_messages", destination=name),
            )
            if at is None or at == self._known.get(name) or not age or not lag:
                continue
            self._known[name] = at
            if time.monotonic() < self.calm_from:
                continue
            self.ages[name].append(abs(max(age.values()) - client.age(at)))
            self.lags[name].append(abs(sum(lag.values()) - client.lag(at)))
            self.largest[name] = max(self.largest[name], client.age(at))


@dataclass
class _Due:
    """Something to do every so many seconds."""

    name: str
    every: float
    act: Callable[[], None]
    at: float = field(init=False)

    def __post_init__(self) -> None:
        self.at = time.monotonic() + self.every


class Unrest:
    """What else happens to the exporter while it runs."""

    def __init__(self, exporter: Exporter, password: Path) -> None:
        self._exporter, self._password = exporter, password
        self.flatness = Flatness(exporter.pid)
        self.counts = {"samples": 0, "reloads": 0, "rotations": 0, "kills": 0}
        self._due = [
            _Due("samples", SAMPLE, self.flatness.sample),
            _Due("reloads", RELOAD, exporter.hang_up),
            _Due("rotations", ROTATE, self._rotate),
            _Due("kills", KILL, self._kill),
        ]

    def turn(self) -> None:
        """Do what is due."""
        for each in self._due:
            if time.monotonic() >= each.at:
                each.at += each.every
                each.act()
                self.counts[each.name] += 1

    def _rotate(self) -> None:
        """Swap the link, as Kubernetes does it."""
        link = self._password.with_suffix(".new")
        target = self._password.with_suffix(f".{self.counts['rotations'] % 2}")
        target.write_bytes(self._password.read_bytes())
        link.symlink_to(target.name)
        link.replace(self._password)

    def _kill(self) -> None:
        for pid in process_tree(self._exporter.pid):
            with suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text() == "mq/nsq\n":
                    os.kill(pid, signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--turn", type=float, default=180.0, help="seconds between two kills")
    options = parser.parse_args()
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaCluster())
        rabbit = stack.enter_context(RabbitCluster(2))
        nsq = stack.enter_context(NsqCluster(2, 2, {"mem-queue-size": "0"}))
        clients: dict[str, Client] = {
            "kafka-a": KafkaClient(kafka, "kafka-a"),
            "rabbit-0": RabbitClient(rabbit, "rabbit-0", 0),
            "rabbit-1": RabbitClient(rabbit, "rabbit-1", 1),
            "nsq-0": NsqClient(nsq, "nsq-0", "nsqd-0"),
            "nsq-1": NsqClient(nsq, "nsq-1", "nsqd-1"),
        }
        folder = Path(tempfile.mkdtemp(prefix="mq-lag-exporter-soak-"))
        password = folder / "password"
        password.write_text(password_of("admin"))
        by_file = {"password": None, "password_file": str(password)}
        sources = [
            kafka_source(kafka.bootstrap, "kafka"),
            rabbit_source(rabbit, "rabbit", **by_file),
            nsq_source(nsq, "nsq"),
        ]
        exporter = stack.enter_context(Exporter(folder, sources, defaults=DEFAULTS))
        wait = [name for name in clients if name != "kafka-a"]
        exporter.wait(
            lambda p: all(p.find("mq_consumed_messages_total", destination=n) for n in wait),
            "queues",
        )
        watch = Watch(exporter, clients)
        for client in clients.values():
            client.start()
        exporter.wait(
            lambda p: p.find("mq_consumed_messages_total", destination="kafka-a"), "the group"
        )
        watch.calm_from = time.monotonic() + CALM
        churn = Churn(kinds(kafka, rabbit, nsq))
        churn.start()
        unrest = Unrest(exporter, password)
        began = time.monotonic()
        seen = {name: (len(c.sent), len(c.done)) for name, c in clients.items()}

        turns = breakages(kafka, rabbit, nsq)
        due, up_at = began + options.turn, 0.0
        restore: Callable[[], None] | None = None
        while time.monotonic() - began < options.minutes * 60:
            watch.look()
            unrest.turn()
            now = time.monotonic()
            if restore is not None and now >= up_at:
                restore()
                restore = None
                watch.calm_from = time.monotonic() + CALM
                print(f"{now - began:6.0f} s: back", flush=True)
            elif restore is None and now >= due:
                name, kill, restore = next(turns)
                kill()
                watch.kills[name] += 1
                watch.calm_from = float("inf")
                up_at, due = now + 40, now + options.turn
                print(f"{now - began:6.0f} s: {name} killed", flush=True)
            time.sleep(0.25)
        if restore is not None:
            restore()
        return finish(exporter, clients, seen, watch, churn, unrest)


Breakage = tuple[str, Callable[[], None], Callable[[], None]]


def breakages(kafka: KafkaCluster, rabbit: RabbitCluster, nsq: NsqCluster) -> Iterator[Breakage]:
    """Return what is killed, in turn: its name, how, and how it comes back."""

    def kafka_back(broker: int) -> None:
        kafka.restart(broker)
        kafka.wait_broker(broker)

    return itertools.cycle(
        [
            (
                "kafka broker 1",
                lambda: kafka.kill(1),
                lambda: kafka_back(1),
            ),
            ("rabbit node 1", lambda: rabbit.kill(1), lambda: rabbit.restart(1)),
            ("nsqd-1", lambda: nsq.kill("nsqd-1"), lambda: nsq.restart("nsqd-1")),
            ("lookupd-0", lambda: nsq.kill("lookupd-0"), lambda: nsq.restart("lookupd-0")),
            (
                "kafka broker 2",
                lambda: kafka.kill(2),
                lambda: kafka_back(2),
            ),
            ("rabbit node 0", lambda: rabbit.terminate(0), lambda: rabbit.restart(0)),
        ]
    )


def finish(
    exporter: Exporter,
    clients: dict[str, Client],
    seen: dict[str, tuple[int, int]],
    watch: Watch,
    churn: Churn,
    unrest: Unrest,
) -> int:
    """Let everything come to rest, and print the reports; return the exit code."""
    churn.stop()
    for client in clients.values():
        client.producing = False
    exporter.wait(
        lambda p: all(sum(p.find("mq_lag_messages", destination=n).values()) == 0 for n in clients),
        "every backlog to be gone",
        600,
    )
    time.sleep(70)  # the rates' statistics of RabbitMQ, and their task, come after that
    with suppress(TimeoutError):
        exporter.wait(lambda p: not churn.faults(p), "what came and went", 120)
    page = exporter.scrape()
    for client in clients.values():
        client.stop()
    code = report(page, clients, seen, watch, exporter)
    return max(code, report_unrest(churn, churn.faults(page), unrest))


def report_unrest(churn: Churn, faults: Sequence[str], unrest: Unrest) -> int:
    """Print what came and went, and whether anything grew; return the exit code."""
    print(f"\ncreated and deleted: {churn.made}; unclear: {sum(map(len, churn.unclear.values()))}")
    print("\n".join(faults[:20]) or "all lags are correct, and nothing that was deleted is shown")
    print(f"other events: {unrest.counts}")
    lines, flat = unrest.flatness.report()
    print("\n".join(lines))
    return int(bool(faults) or not flat)


def report(
    page: Any,
    clients: dict[str, Client],
    seen: dict[str, tuple[int, int]],
    watch: Watch,
    exporter: Exporter,
) -> int:
    """Print the table; return the exit code."""
    print(
        "\n| | sent | produced_total | done | consumed_total | lag error, mean | age error, mean / largest | largest age | polls |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    wrong: list[str] = []
    for name, client in clients.items():
        produced = sum(page.find("mq_produced_messages_total", destination=name).values())
        consumed = sum(page.find("mq_consumed_messages_total", destination=name).values())
        base = seen[name] if name == "kafka-a" else (0, 0)
        ages, lags = watch.ages[name] or [0.0], watch.lags[name] or [0.0]
        sent, done = len(client.sent) - base[0], len(client.done) - base[1]
        system, _, number = name.partition("-")
        broker = {"rabbit": f"rabbit node {number}", "nsq": f"nsqd-{number}"}.get(system, "")
        lost = LOST[system] * watch.kills[broker]
        wrong += [name] if off(produced, sent, lost) or off(consumed, done, lost) else []
        print(
            f"| {name} | {len(client.sent) - base[0]} | {produced:.0f} | {len(client.done) - base[1]} | {consumed:.0f} "
            f"| {statistics.mean(lags):.1f} | {statistics.mean(ages):.2f} / {max(ages):.2f} s | {watch.largest[name]:.1f} s "
            f"| {len(ages)} |"
        )
    print(f"\nsends that failed: {json.dumps({n: c.troubles for n, c in clients.items()})}")
    for metric in ("mq_up", "mq_probe_success", "mq_collector_restarts_total", "mq_node_up"):
        print(
            metric,
            {
                " ".join(f"{v}" for k, v in labels if k != "system"): value
                for labels, value in page.find(metric).items()
            },
        )
    crashed = exporter.log().count("task.crashed")
    print(f"crashed tasks: {crashed}")
    print(f"processes replaced: {dict(replaced(exporter.log()))}")
    print(f"wrong counters: {', '.join(wrong) or 'none'}")
    return int(crashed > 0 or bool(wrong))


def replaced(log: str) -> Counter[str]:
    """Return why the processes of sources were replaced, and how often."""
    found: Counter[str] = Counter()
    for line in log.splitlines():
        if "worker.replaced" in line:
            event = json.loads(line)
            found[f"{event['source']}: {event['died_of']}"] += 1
    return found


def off(counted: float, known: int, lost: int) -> bool:
    """Tell whether a count is not the clients', of whose messages so many may be lost."""
    return not (1 - OFF) * known - lost <= counted <= (1 + OFF) * known


if __name__ == "__main__":
    sys.exit(main())
