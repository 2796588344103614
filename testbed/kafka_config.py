"""The configuration of the tests' Kafka brokers: listeners, users, certificates, quick settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testbed.certificates import CLIENT, Certificates

SECURITY_PROTOCOLS = {
    "plaintext": "PLAINTEXT",
    "sasl": "SASL_PLAINTEXT",
    "ssl": "SSL",
    "mtls": "SSL",
    "sasl_ssl": "SASL_SSL",
}
"""The clients' listeners on every broker, and the security protocol of each."""

LISTENERS = (*SECURITY_PROTOCOLS, "controller")

PASSWORDS = {"admin": "admin-secret", "alice": "alice-secret", "bob": "bob-secret"}
"""Users that can log in by PLAIN from the start; only `admin` may do anything without an ACL."""

MTLS_USER = CLIENT
"""The brokers' name for the owner of `Certificates.client_cert`; a super user."""


@dataclass(frozen=True)
class BrokerLayout:
    """The id, the folder and the ports (for each of LISTENERS) of one broker."""

    broker_id: int
    folder: Path
    ports: Mapping[str, int]
    advertised: Mapping[str, str] = field(default_factory=dict)
    """Listener to the advertised host:port, if not the true one; empty: none is advertised."""

    def address(self, listener: str) -> str:
        return f"127.0.0.1:{self.ports[listener]}"


def broker_properties(
    broker: BrokerLayout,
    all_brokers: Sequence[BrokerLayout],
    certificates: Certificates,
    overrides: Mapping[str, str],
) -> str:
    """The server.properties of one broker."""
    properties = {
        **_network(broker, all_brokers),
        **_security(certificates),
        **_replication(len(all_brokers)),
        **_QUICK,
        **_SMALL,
        "log.dirs": str(broker.folder / "data"),
        **overrides,
    }
    return "".join(f"{key}={value}\n" for key, value in properties.items())


def _network(broker: BrokerLayout, all_brokers: Sequence[BrokerLayout]) -> dict[str, str]:
    listeners = [f"{name.upper()}://{broker.address(name)}" for name in LISTENERS]
    advertised = [
        f"{name.upper()}://{broker.advertised.get(name, broker.address(name))}"
        for name in SECURITY_PROTOCOLS
        if broker.advertised.get(name) != ""
    ]
    protocols = {**SECURITY_PROTOCOLS, "controller": "PLAINTEXT"}
    return {
        "process.roles": "broker,controller",
        "node.id": str(broker.broker_id),
        "controller.quorum.voters": ",".join(
            f"{b.broker_id}@{b.address('controller')}" for b in all_brokers
        ),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": ",".join(listeners),
        "advertised.listeners": ",".join(advertised),
        "listener.security.protocol.map": ",".join(
            f"{name.upper()}:{protocols[name]}" for name in LISTENERS
        ),
    }


def _security(certificates: Certificates) -> dict[str, str]:
    super_users = ["ANONYMOUS", "admin", MTLS_USER]
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": ";".join(f"User:{name}" for name in super_users),
        "allow.everyone.if.no.acl.found": "false",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificates.server),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificates.ca),
        "ssl.principal.mapping.rules": r"RULE:^.*CN=([^,]+).*$/$1/",
        "listener.name.mtls.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512,OAUTHBEARER",
    }
    users = " ".join(f'user_{name}="{password}"' for name, password in PASSWORDS.items())
    modules = {
        "plain": f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};",
        "scram-sha-512": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        "oauthbearer": (
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"
            ' unsecuredLoginStringClaim_sub="broker";'
        ),
    }
    for listener in ("sasl", "sasl_ssl"):
        for mechanism, module in modules.items():
            properties[f"listener.name.{listener}.{mechanism}.sasl.jaas.config"] = module
    return properties


def _replication(brokers: int) -> dict[str, str]:
    """Settings of internal topics that stay available if one broker of three is dead."""
    factor, in_sync = str(min(3, brokers)), str(min(2, brokers))
    return {
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": factor,
        "transaction.state.log.replication.factor": factor,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": factor,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


_QUICK = {
    # Groups
    "group.coordinator.rebalance.protocols": "classic,consumer,share,streams",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "500",
    "group.share.min.session.timeout.ms": "1000",
    "group.share.session.timeout.ms": "6000",
    "group.share.min.heartbeat.interval.ms": "100",
    "group.share.heartbeat.interval.ms": "500",
    "group.streams.min.session.timeout.ms": "1000",
    "group.streams.session.timeout.ms": "6000",
    "group.streams.min.heartbeat.interval.ms": "100",
    "group.streams.heartbeat.interval.ms": "500",
    "group.streams.initial.rebalance.delay.ms": "0",
    "offsets.retention.check.interval.ms": "1000",
    # A dead or silent broker is noticed within seconds, and others lead its partitions
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "replica.lag.time.max.ms": "4000",
    "replica.fetch.backoff.ms": "200",
    "replica.fetch.wait.max.ms": "1500",
    "controller.quorum.election.backoff.max.ms": "200",
    "controller.quorum.fetch.timeout.ms": "1500",
    "controller.quorum.request.timeout.ms": "1000",
    "controller.socket.timeout.ms": "2000",
    "replica.socket.timeout.ms": "2000",
    # Retention, compaction and deletion act within a second, and their results survive SIGKILL
    "log.initial.task.delay.ms": "500",
    "log.retention.check.interval.ms": "500",
    "log.segment.delete.delay.ms": "500",
    "log.cleaner.backoff.ms": "300",
    "log.flush.start.offset.checkpoint.interval.ms": "500",
    "log.flush.offset.checkpoint.interval.ms": "1000",
    "replica.high.watermark.checkpoint.interval.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    "auto.create.topics.enable": "false",
}

_SMALL = {
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "2",
    "num.network.threads": "1",
    "num.io.threads": "4",
    "background.threads": "2",
    "num.recovery.threads.per.data.dir": "1",
    "group.coordinator.threads": "1",
    "log.cleaner.dedupe.buffer.size": "2097152",
    "log.index.size.max.bytes": "1048576",
    "metric.reporters": "",
}
