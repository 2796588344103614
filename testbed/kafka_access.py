"""Addresses, credentials, users and ACLs of the tests' Kafka clusters."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

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

from testbed.certificates import Certificates
from testbed.children import Child
from testbed.kafka_config import PASSWORDS, SECURITY_PROTOCOLS, BrokerLayout
from testbed.waiting import wait_until

Listener = Literal["plaintext", "sasl", "ssl", "mtls", "sasl_ssl"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-512", "OAUTHBEARER"]

QUIET = {"log_level": 0, "reconnect.backoff.max.ms": 200}
"""Client properties: no log, and quick reconnects."""


class KafkaAccess:
    """How clients reach a running cluster. Its subclass starts the brokers and sets the fields."""

    _layouts: list[BrokerLayout]
    _children: dict[int, Child]
    _certificates: Certificates

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
        client = self.admin_client()
        for done in client.alter_user_scram_credentials([credentials]).values():
            done.result(30)
        login = self.client_config("sasl", name, password, "SCRAM-SHA-512")
        for broker_id in self._children:
            address = self.address(broker_id, "sasl")
            _wait_login(AdminClient({**login, "bootstrap.servers": address, **QUIET}), name)

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
        client = self.admin_client()
        for done in client.create_acls(bindings).values():
            done.result(30)

    def admin_client(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, **QUIET})


def metadata_of(client: AdminClient) -> ClusterMetadata | None:
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
    wait_until(lambda: metadata_of(client), f"a broker to know {user}", 30)
