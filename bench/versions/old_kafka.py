"""One Kafka broker of any version since 2.4, with ZooKeeper or KRaft."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from testbed.children import Child
from testbed.kafka_runtime import CLUSTER_ID, find_java
from testbed.ports import PortBlock
from testbed.waiting import wait_until

KRAFT = (3, 3)
"""The first version that runs without ZooKeeper."""
OTHER_BINDINGS = ("slf4j-log4j12", "slf4j-reload4j")
"""SLF4J bindings that are not used here."""
START_SECONDS = 120.0

_COMMON = {
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "8",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "log.cleaner.dedupe.buffer.size": "2097152",
    "num.network.threads": "1",
    "num.io.threads": "4",
}


class OldKafka:
    """A broker on 127.0.0.1 without access control; a context manager."""

    def __init__(self, folder: Path, version: str) -> None:
        """`folder` contains `libs` with the jars."""
        self._libs = folder / "libs"
        self._kraft = tuple(int(part) for part in version.split(".")[:2]) >= KRAFT
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        """Wait until the broker answers."""
        self._folder = Path(tempfile.mkdtemp(prefix="mq-lag-exporter-kafka-"))
        self._ports = PortBlock()
        self._port, self._other = self._ports.take(), self._ports.take()
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._port}"

    def _start(self) -> None:
        properties = self._folder / "server.properties"
        own = self._controller() if self._kraft else self._zookeeper()
        settings = {**_COMMON, **own, "log.dirs": str(self._folder / "data")}
        properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        if self._kraft:
            self._format(properties)
        self._run("broker", "-Xmx512m", "kafka.Kafka", str(properties))
        broker = self._children[-1]
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

        def answers() -> bool:
            for child in self._children:
                if not child.is_running:
                    raise RuntimeError(f"the broker exited; its log:\n{child.log_tail()}")
            try:
                return bool(client.list_topics(timeout=1).brokers)
            except KafkaException:
                return False

        try:
            wait_until(answers, "the broker to answer", START_SECONDS)
        except TimeoutError as late:
            raise TimeoutError(f"{late}; the end of its log:\n{broker.log_tail()}") from late

    def _controller(self) -> dict[str, str]:
        """Return the settings of a broker in KRaft mode that is also the controller."""
        controller = f"127.0.0.1:{self._other}"
        return {
            "process.roles": "broker,controller",
            "node.id": "0",
            "controller.quorum.voters": f"0@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        }

    def _zookeeper(self) -> dict[str, str]:
        """Start a ZooKeeper; return the settings of its broker."""
        config = self._folder / "zookeeper.properties"
        config.write_text(
            f"dataDir={self._folder / 'zookeeper'}\nclientPort={self._other}\n"
            "clientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
        )
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        self._run("zookeeper", "-Xmx128m", main, str(config))
        return {
            "broker.id": "0",
            "zookeeper.connect": f"127.0.0.1:{self._other}",
            "listeners": f"PLAINTEXT://{self.bootstrap}",
        }

    def _format(self, properties: Path) -> None:
        arguments = ("format", "-t", CLUSTER_ID, "-c", str(properties))
        command = self._java("-Xmx128m", "kafka.tools.StorageTool", *arguments)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise RuntimeError(f"formatting Kafka's storage failed:\n{done.stdout}{done.stderr}")

    def _run(self, name: str, *arguments: str) -> None:
        self._children.append(Child(self._java(*arguments), self._folder / f"{name}.log"))

    def _java(self, *arguments: str) -> list[str]:
        jars = [str(jar) for jar in sorted(self._libs.glob("*.jar")) if not _is_other(jar.name)]
        quick = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
        return [find_java(), *quick, "-cp", ":".join(jars), *arguments]

    def _stop(self) -> None:
        for child in reversed(self._children):
            child.kill()
        self._children.clear()
        self._ports.release()
        shutil.rmtree(self._folder, ignore_errors=True)


def _is_other(jar: str) -> bool:
    return jar.startswith(OTHER_BINDINGS)
