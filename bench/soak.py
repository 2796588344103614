"""`python -m bench.soak`: runs all three systems for an hour while brokers are killed.

Every number is compared with the counts of the clients.

Meanwhile topics, queues, groups and channels are created and deleted, the config is reloaded, the
password file is replaced, and the process that reads NSQ is killed. Prints a line whenever a broker
is killed or comes back, and a table at the end. Exits with 1 if a number is wrong, a task crashed,
or memory, descriptors or threads grow.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.churn import Churn, kinds
from bench.clients import Client, KafkaClient, NsqClient, RabbitClient
from bench.flatness import Flatness
from bench.processes import process_tree
from testbed.exporter import Exporter, kafka_source, nsq_source, rabbit_source
from testbed.kafka import KafkaCluster
from testbed.nsq import NsqCluster
from testbed.rabbitmq import RabbitCluster
from testbed.rabbitmq_access import password_of

SAMPLE, RELOAD, ROTATE, KILL = 5.0, 20.0, 30.0, 75.0
"""Seconds between samples, reloads, replacements of the password file, kills of the process that
reads NSQ."""
OFF = 0.05
"""Maximum relative difference between counted messages and the clients' counts."""
LOST = {"rabbit": 2_250, "nsq": 750, "kafka": 0}
"""Messages that are not counted because a killed broker loses its counters: the maximum number sent
since they were last read, every 30 s from RabbitMQ and every 10 s from NSQ."""
DEFAULTS = {"schedule": {}, "rate_window": "2m"}
CALM = 45.0
"""Seconds after the restart of a broker in which values may still be held ones."""


class Comparison:
    """Compares the exposition with the clients at each poll, while no broker is down."""

    def __init__(self, exporter: Exporter, clients: dict[str, Client]) -> None:
        self._exporter = exporter
        self._clients = clients
        self._known: dict[str, float] = {}
        self.calm_from = 0.0
        """Monotonic time after which values are compared."""
        self.ages: dict[str, list[float]] = {name: [] for name in clients}
        self.lags: dict[str, list[float]] = {name: [] for name in clients}
        self.largest: dict[str, float] = dict.fromkeys(clients, 0.0)
        self.kills: Counter[str] = Counter()
        """By broker."""

    def compare(self) -> None:
        scrape = self._exporter.scrape()
        began = "mq_collect_last_success_timestamp_seconds"
        for name, client in self._clients.items():
            source = name.split("-")[0]
            task = {"kafka": "latency", "rabbit": "latency", "nsq": "backlog"}[source]
            at = scrape.value(began, source=source, task=task)
            age, lag = (
                scrape.find("mq_lag_seconds", destination=name),
                scrape.find("mq_lag_messages", destination=name),
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
    """An action that is repeated at an interval in seconds."""

    name: str
    every: float
    act: Callable[[], None]
    at: float = field(init=False)

    def __post_init__(self) -> None:
        self.at = time.monotonic() + self.every


class Unrest:
    """Other disturbances of the running exporter."""

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
        """Run the actions that are due."""
        for each in self._due:
            if time.monotonic() >= each.at:
                each.at += each.every
                each.act()
                self.counts[each.name] += 1

    def _rotate(self) -> None:
        """Swap the symbolic link, like Kubernetes does."""
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
        comparison = Comparison(exporter, clients)
        for client in clients.values():
            client.start()
        exporter.wait(
            lambda p: p.find("mq_consumed_messages_total", destination="kafka-a"), "the group"
        )
        comparison.calm_from = time.monotonic() + CALM
        churn = Churn(kinds(kafka, rabbit, nsq))
        churn.start()
        unrest = Unrest(exporter, password)
        began = time.monotonic()
        seen = {name: (len(c.sent), len(c.done)) for name, c in clients.items()}

        turns = breakages(kafka, rabbit, nsq)
        due, up_at = began + options.turn, 0.0
        restore: Callable[[], None] | None = None
        while time.monotonic() - began < options.minutes * 60:
            comparison.compare()
            unrest.turn()
            now = time.monotonic()
            if restore is not None and now >= up_at:
                restore()
                restore = None
                comparison.calm_from = time.monotonic() + CALM
                print(f"{now - began:6.0f} s: back", flush=True)
            elif restore is None and now >= due:
                name, kill, restore = next(turns)
                kill()
                comparison.kills[name] += 1
                comparison.calm_from = float("inf")
                up_at, due = now + 40, now + options.turn
                print(f"{now - began:6.0f} s: {name} killed", flush=True)
            time.sleep(0.25)
        if restore is not None:
            restore()
        return finish(exporter, clients, seen, comparison, churn, unrest)


Breakage = tuple[str, Callable[[], None], Callable[[], None]]


def breakages(kafka: KafkaCluster, rabbit: RabbitCluster, nsq: NsqCluster) -> Iterator[Breakage]:
    """Return what to kill, in turn: its name, how to kill it, and how to restart it."""

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
    comparison: Comparison,
    churn: Churn,
    unrest: Unrest,
) -> int:
    """Wait until everything is at rest, print the reports, and return the exit code."""
    churn.stop()
    for client in clients.values():
        client.producing = False
    exporter.wait(
        lambda p: all(sum(p.find("mq_lag_messages", destination=n).values()) == 0 for n in clients),
        "every backlog to be gone",
        600,
    )
    time.sleep(70)  # until RabbitMQ's statistics and the task `rates` include everything
    with suppress(TimeoutError):
        exporter.wait(lambda p: not churn.faults(p), "correct lags after the churn", 120)
    scrape = exporter.scrape()
    for client in clients.values():
        client.stop()
    code = report(scrape, clients, seen, comparison, exporter)
    return max(code, report_unrest(churn, churn.faults(scrape), unrest))


def report_unrest(churn: Churn, faults: Sequence[str], unrest: Unrest) -> int:
    """Print the results of churn and growth; return the exit code."""
    print(f"\ncreated and deleted: {churn.made}; unclear: {sum(map(len, churn.unclear.values()))}")
    print("\n".join(faults[:20]) or "all lags are correct, and nothing that was deleted is shown")
    print(f"other events: {unrest.counts}")
    lines, flat = unrest.flatness.report()
    print("\n".join(lines))
    return int(bool(faults) or not flat)


def report(
    scrape: Any,
    clients: dict[str, Client],
    seen: dict[str, tuple[int, int]],
    comparison: Comparison,
    exporter: Exporter,
) -> int:
    """Print the table; return the exit code."""
    print(
        "\n| | sent | produced_total | done | consumed_total | lag error, mean "
        "| age error, mean / largest | largest age | polls |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    wrong: list[str] = []
    for name, client in clients.items():
        produced = sum(scrape.find("mq_produced_messages_total", destination=name).values())
        consumed = sum(scrape.find("mq_consumed_messages_total", destination=name).values())
        base = seen[name] if name == "kafka-a" else (0, 0)
        ages, lags = comparison.ages[name] or [0.0], comparison.lags[name] or [0.0]
        sent, done = len(client.sent) - base[0], len(client.done) - base[1]
        system, _, number = name.partition("-")
        broker = {"rabbit": f"rabbit node {number}", "nsq": f"nsqd-{number}"}.get(system, "")
        lost = LOST[system] * comparison.kills[broker]
        wrong += [name] if off(produced, sent, lost) or off(consumed, done, lost) else []
        print(
            f"| {name} | {sent} | {produced:.0f} | {done} | {consumed:.0f} "
            f"| {statistics.mean(lags):.1f} | {statistics.mean(ages):.2f} / {max(ages):.2f} s "
            f"| {comparison.largest[name]:.1f} s | {len(ages)} |"
        )
    print(f"\nsends that failed: {json.dumps({n: c.troubles for n, c in clients.items()})}")
    for metric in ("mq_up", "mq_probe_success", "mq_collector_restarts_total", "mq_node_up"):
        print(
            metric,
            {
                " ".join(f"{v}" for k, v in labels if k != "system"): value
                for labels, value in scrape.find(metric).items()
            },
        )
    crashed = exporter.log().count("task.crashed")
    print(f"crashed tasks: {crashed}")
    print(f"processes replaced: {dict(replaced(exporter.log()))}")
    print(f"wrong counters: {', '.join(wrong) or 'none'}")
    return int(crashed > 0 or bool(wrong))


def replaced(log: str) -> Counter[str]:
    """Return how often processes of sources were replaced, by source and reason."""
    found: Counter[str] = Counter()
    for line in log.splitlines():
        if "worker.replaced" in line:
            event = json.loads(line)
            found[f"{event['source']}: {event['died_of']}"] += 1
    return found


def off(counted: float, known: int, lost: int) -> bool:
    """Return whether a count differs from the clients', considering lost messages."""
    return not (1 - OFF) * known - lost <= counted <= (1 + OFF) * known


if __name__ == "__main__":
    sys.exit(main())
