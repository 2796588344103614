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
from typing import Literal, Protocol, Self

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ClusterMetadata,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from testbed import kafka_data
from testbed.certificates import Certificates, make_certificates
from testbed.children import Child
from testbed.kafka_config import (
    LISTENERS,
    PASSWORDS,
    SECURITY_PROTOCOLS,
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

Listener = Literal["plaintext", "sasl", "ssl", "mtls", "sasl_ssl"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-512", "OAUTHBEARER"]

_QUIET = {"log_level": 0, "reconnect.backoff.max.ms": 200}


class Kafka(Protocol):
    """A Kafka cluster on which anonymous clients may do anything."""

    @property
    def bootstrap(self) -> str: ...


@dataclass(frozen=True)
class ExternalKafka:
    """An external cluster, which tests use but do not break."""

    bootstrap: str


class KafkaCluster:
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
            for name, topic in self._admin().list_topics(timeout=10).topics.items()
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
            metadata = _metadata(client)
            return metadata is not None and running <= set(metadata.brokers)

        client = AdminClient({"bootstrap.servers": self.address(broker_id), **_QUIET})
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
            metadata = _metadata(client)
            return metadata is not None and broker_id not in metadata.brokers

        client = AdminClient({"bootstrap.servers": self.address(by), **_QUIET})
        wait_until(is_fenced, f"broker {by} to forget broker {broker_id}", timeout_seconds)

    def wait_in_sync(self, timeout_seconds: float = 60.0) -> None:
        """Return when all replicas of every partition are in sync: any one broker may die."""

        def all_in_sync() -> bool:
            metadata = _metadata(client)
            return metadata is not None and all(
                partition.leader >= 0 and len(partition.isrs) == len(partition.replicas)
                for topic in metadata.topics.values()
                for partition in topic.partitions.values()
            )

        client = AdminClient({"bootstrap.servers": self.bootstrap, **_QUIET})
        wait_until(all_in_sync, "all replicas to be in sync", timeout_seconds)

    # Addresses and credentials

    @property
    def broker_ids(self) -> tuple[int, ...]:
        return tuple(layout.broker_id for layout in self._layouts)

    @property
    def bootstrap(self) -> str:
        return self.addresses("plaintext")

    @property
    def sasl_bootstrap(self) -> str:
        return self.addresses("sasl")

    @property
    def ssl_bootstrap(self) -> str:
        return self.addresses("ssl")

    @property
    def mtls_bootstrap(self) -> str:
        return self.addresses("mtls")

    @property
    def certificates(self) -> Certificates:
        return self._certificates

    @property
    def ca_file(self) -> Path:
        return self._certificates.ca

    @property
    def client_cert_file(self) -> Path:
        return self._certificates.client_cert

    @property
    def client_key_file(self) -> Path:
        return self._certificates.client_key

    def address(self, broker_id: int, listener: Listener = "plaintext") -> str:
        """host:port of one broker."""
        return self._layouts[broker_id].address(listener)

    def any_address(self, broker_id: int, listener: str) -> str:
        """host:port of one broker, also of the listener `controller`, which is not for clients."""
        return self._layouts[broker_id].address(listener)

    def addresses(self, listener: Listener) -> str:
        """host:port of all brokers, separated by commas."""
        return self.addresses_of(self.broker_ids, listener)

    def addresses_of(self, broker_ids: Iterable[int], listener: Listener = "plaintext") -> str:
        """host:port of these brokers, separated by commas."""
        return ",".join(self.address(broker_id, listener) for broker_id in broker_ids)

    def log_file(self, broker_id: int) -> Path:
        return self._layouts[broker_id].folder / "log"

    def client_config(
        self,
        listener: Listener = "plaintext",
        user: str = "admin",
        password: str | None = None,
        mechanism: Mechanism = "PLAIN",
    ) -> dict[str, str | int | float | bool]:
        """The librdkafka properties of a client, by default with the right password."""
        config: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.addresses(listener),
            "security.protocol": SECURITY_PROTOCOLS[listener],
        }
        if listener in ("ssl", "mtls", "sasl_ssl"):
            config["ssl.ca.location"] = str(self.ca_file)
        if listener == "mtls":
            config |= {
                "ssl.certificate.location": str(self.client_cert_file),
                "ssl.key.location": str(self.client_key_file),
            }
        if listener in ("sasl", "sasl_ssl"):
            config["sasl.mechanism"] = mechanism
            if mechanism == "OAUTHBEARER":
                config |= {
                    "enable.sasl.oauthbearer.unsecure.jwt": "true",
                    "sasl.oauthbearer.config": f"principal={user}",
                }
            else:
                config |= {
                    "sasl.username": user,
                    "sasl.password": password or PASSWORDS.get(user, f"{user}-secret"),
                }
        return config

    # Users and rights

    def add_user(self, name: str, password: str | None = None) -> None:
        """Add a SCRAM-SHA-512 user, or change the password, and wait until all brokers know.

        The password is NAME-secret by default.
        """
        password = password or PASSWORDS.get(name, f"{name}-secret")
        credentials = UserScramCredentialUpsertion(
            name, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), password.encode()
        )
        client = self._admin()
        for done in client.alter_user_scram_credentials([credentials]).values():
            done.result(30)
        login = self.client_config("sasl", name, password, "SCRAM-SHA-512")
        for broker_id in self._children:
            address = self.address(broker_id, "sasl")
            _wait_login(AdminClient({**login, "bootstrap.servers": address, **_QUIET}), name)

    def allow(
        self,
        user: str,
        operations: Iterable[str],
        resource: Literal["topic", "group", "broker", "transactional_id"],
        name: str,
        *,
        prefixed: bool = False,
    ) -> None:
        """Add ACLs; brokers apply them some milliseconds after this returns.

        Operations are `describe`, `read`, `write`, `describe_configs`, `all`, ...; name `*` means
        every resource of the kind; the cluster is the `broker` with the name `kafka-cluster`.
        """
        pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
        bindings = [
            AclBinding(
                ResourceType[resource.upper()],
                name,
                pattern,
                f"User:{user}",
                "*",
                AclOperation[operation.upper()],
                AclPermissionType.ALLOW,
            )
            for operation in operations
        ]
        client = self._admin()
        for done in client.create_acls(bindings).values():
            done.result(30)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, **_QUIET})


def _metadata(client: AdminClient) -> ClusterMetadata | None:
    """None if no broker answers within a second."""
    try:
        return client.list_topics(timeout=1)
    except KafkaException as failure:
        error = failure.args[0]
        if error.code() in (
            KafkaError._TRANSPORT,
            KafkaError._TIMED_OUT,
            KafkaError._ALL_BROKERS_DOWN,
        ):
            return None
        raise


def _wait_login(client: AdminClient, user: str) -> None:
    wait_until(lambda: _metadata(client), f"a broker to know {user}", 30)


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
