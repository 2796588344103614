"""Real Kafka clusters for tests: brokers as local processes that can be killed and paused."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from confluent_kafka.admin import (
    AdminClient,
)

from testbed import kafka_data
from testbed.certificates import make_certificates
from testbed.children import Child
from testbed.kafka_access import QUIET, KafkaAccess, Listener, metadata_of
from testbed.kafka_config import (
    LISTENERS,
    BrokerLayout,
    broker_properties,
)
from testbed.kafka_runtime import (
    broker_command,
    class_archive,
    format_storage,
    run_tool,
    use_archive,
)
from testbed.ports import PortBlock
from testbed.waiting import wait_until


class Kafka(Protocol):
    """A Kafka cluster on which anonymous clients may do anything."""

    @property
    def bootstrap(self) -> str: ...


@dataclass(frozen=True)
class ExternalKafka:
    """An external cluster, which tests use but do not break."""

    bootstrap: str


class KafkaCluster(KafkaAccess):
    """Brokers 0 to N-1, each also a controller, on 127.0.0.1, with data in one temporary folder.

    Every broker has five listeners for clients. On `plaintext` and `ssl` everyone is anonymous and
    may do anything. `mtls` requires the client certificate. `sasl` and `sasl_ssl` accept PLAIN (the
    users of PASSWORDS), SCRAM-SHA-512 (the users of `add_user`) and OAUTHBEARER with unsecured
    tokens (any user); all but `admin` need ACLs.
    """

    def __init__(
        self,
        brokers: int = 3,
        settings: Mapping[str, str] | None = None,
        java_options: Mapping[int, str] | None = None,
        advertised: Mapping[int, Mapping[Listener, str]] | None = None,
        system_properties: Mapping[str, str] | None = None,
    ) -> None:
        """`settings` are for server.properties, `system_properties` are Java's.

        `java_options` replace the archive of classes. `advertised` maps a listener to the address
        that a broker advertises instead of its true one; an empty address is not advertised.
        """
        self._advertised = dict(advertised or {})
        self._size = brokers
        self._settings = dict(settings or {})
        self._java_options = dict(java_options or {})
        self._system_properties = dict(system_properties or {})
        self._layouts: list[BrokerLayout] = []
        self._children: dict[int, Child] = {}

    @staticmethod
    def from_environment() -> ExternalKafka | None:
        """The cluster with the bootstrap address in MQ_TEST_KAFKA, if it is set."""
        address = os.environ.get("MQ_TEST_KAFKA")
        return ExternalKafka(address) if address else None

    # Starting and stopping

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Return when every broker answers and knows all the others."""
        if not self._java_options:
            option = use_archive(class_archive(_record_classes))
            self._java_options = dict.fromkeys(range(self._size), option)
        self._folder = Path(tempfile.mkdtemp(prefix="mq-lag-exporter-kafka-"))
        self._ports = PortBlock()
        try:
            self._certificates = make_certificates(self._folder)
            self._layouts = [
                BrokerLayout(
                    i,
                    self._folder / f"broker-{i}",
                    {name: self._ports.take() for name in LISTENERS},
                    {str(name): at for name, at in self._advertised.get(i, {}).items()},
                )
                for i in range(self._size)
            ]
            for layout in self._layouts:
                format_storage(layout.folder / "data", layout.broker_id)
                self._write_properties(layout)
            self.restart_all()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill the brokers and remove their folder."""
        self.kill_all()
        self._ports.release()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self, broker_id: int) -> None:
        """SIGKILL; the process is gone seconds before the other brokers notice (`wait_fenced`)."""
        self._children.pop(broker_id).kill()

    def kill_all(self) -> None:
        for broker_id in list(self._children):
            self.kill(broker_id)

    def restart(self, broker_id: int) -> None:
        """Start a killed broker again, with the same ports and data; return when it answers."""
        self._launch(broker_id)
        self.wait_broker(broker_id)

    def restart_all(self) -> None:
        """Start all brokers that do not run; return when every broker answers."""
        for broker_id in self.broker_ids:
            if broker_id not in self._children:
                self._launch(broker_id)
        self.wait_ready()

    def pause(self, broker_id: int) -> None:
        """SIGSTOP: connections stay open, the system accepts new ones, but nothing answers.

        Until the others notice (`wait_fenced`), clients send requests to it and wait for long.
        """
        self._children[broker_id].pause()

    def resume(self, broker_id: int) -> None:
        self._children[broker_id].resume()

    def terminate(self, broker_id: int, timeout_seconds: float = 60.0) -> None:
        """A clean shutdown by SIGTERM: the broker hands its partitions over before it stops."""
        self._children.pop(broker_id).terminate(timeout_seconds)

    def move(self, broker_id: int) -> None:
        """Restart a broker at other ports, except the controller's.

        Return when it answers there.
        """
        if broker_id in self._children:
            self.kill(broker_id)
        before = self._layouts[broker_id]
        kept = {"controller": before.ports["controller"]}
        ports = {name: kept.get(name) or self._ports.take() for name in LISTENERS}
        self._layouts[broker_id] = replace(before, ports=ports)
        self._write_properties(self._layouts[broker_id])
        self.restart(broker_id)

    def decommission(self, broker_id: int, leave: Iterable[str] = ()) -> None:
        """Remove a broker: reassign its replicas (except topics in `leave`), unregister it."""
        others = self.addresses_of(other for other in self._children if other != broker_id)
        left = set(leave)
        moves = [
            {"topic": name, "partition": number, "replicas": kept}
            for name, topic in self.admin_client().list_topics(timeout=10).topics.items()
            if name not in left
            for number, partition in topic.partitions.items()
            if broker_id in partition.replicas
            for kept in [[each for each in partition.replicas if each != broker_id] or [0]]
        ]
        plan = self._folder / "reassignment.json"
        plan.write_text(json.dumps({"version": 1, "partitions": moves}))
        reassign = (
            "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
            *("--bootstrap-server", others, "--reassignment-json-file", str(plan)),
        )
        run_tool(*reassign, "--execute")
        wait_until(
            lambda: "still in progress" not in run_tool(*reassign, "--verify"),
            "the replicas to be moved",
            120,
        )
        self.terminate(broker_id)
        self.wait_fenced(broker_id)
        cluster_tool = ("org.apache.kafka.tools.ClusterTool", "unregister")
        run_tool(*cluster_tool, "--bootstrap-server", others, "--id", str(broker_id))

    def _write_properties(self, layout: BrokerLayout) -> None:
        (layout.folder / "server.properties").write_text(
            broker_properties(layout, self._layouts, self._certificates, self._settings)
        )

    def _launch(self, broker_id: int) -> None:
        folder = self._layouts[broker_id].folder
        command = broker_command(
            folder / "server.properties",
            self._java_options.get(broker_id, "-Xshare:auto"),
            *(f"-D{name}={value}" for name, value in self._system_properties.items()),
        )
        self._children[broker_id] = Child(command, folder / "log")

    # Waiting

    def wait_ready(self, timeout_seconds: float = 120.0) -> None:
        """Return when every running broker answers and knows all running brokers."""
        for broker_id in self._children:
            self.wait_broker(broker_id, timeout_seconds)

    def wait_broker(self, broker_id: int, timeout_seconds: float = 120.0) -> None:
        """Return when this broker answers and knows all running brokers."""
        running = set(self._children)
        child = self._children[broker_id]

        def knows_all() -> bool:
            if not child.is_running:
                raise RuntimeError(
                    f"broker {broker_id} ended by itself; the end of its log:\n{child.log_tail()}"
                )
            metadata = metadata_of(client)
            return metadata is not None and running <= set(metadata.brokers)

        client = AdminClient({"bootstrap.servers": self.address(broker_id), **QUIET})
        try:
            wait_until(knows_all, f"broker {broker_id} to know brokers {running}", timeout_seconds)
        except TimeoutError as late:
            raise TimeoutError(f"{late}; the end of its log:\n{child.log_tail()}") from late

    def wait_fenced(self, broker_id: int, timeout_seconds: float = 60.0) -> None:
        """Return when no other running broker lists this dead one: others lead its partitions."""
        for other_id in self._children:
            if other_id != broker_id:
                self._wait_not_listed(broker_id, other_id, timeout_seconds)

    def _wait_not_listed(self, broker_id: int, by: int, timeout_seconds: float) -> None:
        def is_fenced() -> bool:
            metadata = metadata_of(client)
            return metadata is not None and broker_id not in metadata.brokers

        client = AdminClient({"bootstrap.servers": self.address(by), **QUIET})
        wait_until(is_fenced, f"broker {by} to forget broker {broker_id}", timeout_seconds)

    def wait_in_sync(self, timeout_seconds: float = 60.0) -> None:
        """Return when all replicas of every partition are in sync: any one broker may die."""

        def all_in_sync() -> bool:
            metadata = metadata_of(client)
            return metadata is not None and all(
                partition.leader >= 0 and len(partition.isrs) == len(partition.replicas)
                for topic in metadata.topics.values()
                for partition in topic.partitions.values()
            )

        client = AdminClient({"bootstrap.servers": self.bootstrap, **QUIET})
        wait_until(all_in_sync, "all replicas to be in sync", timeout_seconds)


def _record_classes(option: str) -> None:
    """Run a broker with a Java option, and do with it what the tests do with brokers."""
    with KafkaCluster(brokers=1, java_options={0: option}) as cluster:
        kafka_data.create_topic(cluster.bootstrap, "t", partitions=2)
        kafka_data.produce(cluster.bootstrap, "t")
        kafka_data.produce_transaction(cluster.bootstrap, "t", partition=1)
        kafka_data.commit_offsets(cluster.bootstrap, "g", {("t", 0): 1})
        cluster.add_user("alice")
        cluster.allow("alice", ["describe"], "topic", "t")
        for listener in ("ssl", "mtls"):
            AdminClient(cluster.client_config(listener)).list_topics(timeout=30)
        cluster.terminate(0)
