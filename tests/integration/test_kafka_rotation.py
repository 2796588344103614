"""Secrets of a Kafka source are replaced: no poll fails while old and new ones are valid."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka.admin import ScramMechanism, UserScramCredentialDeletion

from exporter.collectors.kafka.collector import KafkaCollector
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import CollectError, LogBacklog, Probes, Until
from testbed.kafka import KafkaCluster
from testbed.kafka_data import admin_client, commit_offsets, create_topic, produce
from testbed.waiting import wait_until
from tests.support.rotation import Mount, certificate_files

TOPIC, GROUP, LAG = "rotation", "rotation-readers", 7
REAUTHENTICATE_MS = 1_500
"""The broker closes connections whose login is older, unless they log in again."""
EXPIRES = 20.0
"""Seconds for which the first certificate is valid: enough for a few polls on a busy machine."""
SECONDS = 30.0


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaCluster]:
    with KafkaCluster(1, {"connections.max.reauth.ms": str(REAUTHENTICATE_MS)}) as cluster:
        create_topic(cluster.bootstrap, TOPIC, 1, 1)
        produce(cluster.bootstrap, TOPIC, 0, 10)
        commit_offsets(cluster.bootstrap, GROUP, {(TOPIC, 0): 10 - LAG})
        for user in ("rotation-a", "rotation-b"):
            cluster.add_user(user)
            for kind in ("topic", "group"):
                cluster.allow(user, ["all"], kind, "*")
            cluster.allow(user, ["all"], "broker", "kafka-cluster")
        yield cluster


def login(user: str, password: str | None = None) -> dict[str, str | bytes]:
    return {"user": user, "password": f"{password or user + '-secret'}\n"}


def scram(kafka: KafkaCluster, mount: Mount) -> KafkaCollector:
    """User and password are in files."""
    properties = {
        k: str(v) for k, v in kafka.client_config("sasl", "-", "-", "SCRAM-SHA-512").items()
    }
    del properties["sasl.username"], properties["sasl.password"]
    files = {"sasl.username": mount.path("user"), "sasl.password": mount.path("password")}
    return KafkaCollector(KafkaSettings("rotation", properties, files, probe=True))


def mutual(kafka: KafkaCluster, mount: Mount) -> KafkaCollector:
    """Certificate and key are in files that librdkafka reads."""
    properties = {k: str(v) for k, v in kafka.client_config("mtls").items()}
    properties["ssl.certificate.location"] = str(mount.path("tls.crt"))
    properties["ssl.key.location"] = str(mount.path("tls.key"))
    return KafkaCollector(KafkaSettings("rotation", properties, probe=True))


def run_all(collector: KafkaCollector) -> None:
    """Run each task once; each must return complete data."""
    for task in ("discovery", "backlog", "latency", "consumers", "probe"):
        found = collector.tasks[task](Until(SECONDS))
        assert list(found.problems) == [], task
        if isinstance(found, LogBacklog):
            log, position = found.logs[TOPIC], found.positions[GROUP].offsets[TOPIC][0]
            assert (log.end[0] or 0) - (position or 0) == LAG
        if isinstance(found, Probes):
            assert [each.receive is not None for each in found.probes] == [True]


def probed(collector: KafkaCollector) -> None:
    """Wait until the probe topic exists and a probe came back."""

    def came_back() -> bool:
        collector.backlog(Until(SECONDS))
        probes = collector.probe(Until(SECONDS)).probes
        return bool(probes) and all(each.receive is not None for each in probes)

    wait_until(came_back, "a probe")


def delete_user(kafka: KafkaCluster, user: str) -> None:
    deletion = UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)
    client = admin_client(kafka.bootstrap)
    for done in client.alter_user_scram_credentials([deletion]).values():
        done.result(30)


def refusals(kafka: KafkaCluster) -> int:
    """Return the number of logins that the broker has refused so far."""
    return kafka.log_file(0).read_text().count("Failed authentication")


def test_no_run_fails_when_user_and_password_are_swapped_and_the_old_ones_end(
    kafka: KafkaCluster, tmp_path: Path
) -> None:
    mount = Mount(tmp_path / "secret", login("rotation-a"))
    with closing(scram(kafka, mount)) as collector:
        probed(collector)
        run_all(collector)
        mount.swap(login("rotation-b"))
        run_all(collector)
        delete_user(kafka, "rotation-a")
        before = refusals(kafka)
        # Every connection of the old user has to log in again, and cannot.
        ended = time.monotonic() + 2 * REAUTHENTICATE_MS / 1000
        while time.monotonic() < ended:
            run_all(collector)
        assert refusals(kafka) == before
    kafka.add_user("rotation-a")


def test_only_the_runs_that_the_broker_refuses_fail_when_its_password_changes_first(
    kafka: KafkaCluster, tmp_path: Path
) -> None:
    mount = Mount(tmp_path / "secret", login("rotation-b"))
    with closing(scram(kafka, mount)) as collector:
        probed(collector)
        kafka.add_user("rotation-b", "renewed")

        def is_refused() -> bool:
            try:
                return bool(collector.tasks["backlog"](Until(5)).problems)
            except CollectError as error:
                return error.reason == "unauthorized"

        before = refusals(kafka)
        wait_until(is_refused, "the old password to be refused")
        # The broker writes it to its log a moment later.
        wait_until(lambda: refusals(kafka) > before, "the broker to say so")
        mount.swap(login("rotation-b", "renewed"))
        run_all(collector)
    kafka.add_user("rotation-b")


def test_no_run_fails_when_a_certificate_is_swapped_and_the_old_one_expires(
    kafka: KafkaCluster, tmp_path: Path
) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=EXPIRES)
    mount = Mount(tmp_path / "tls", certificate_files(kafka.certificates, EXPIRES))
    with closing(mutual(kafka, mount)) as collector:
        probed(collector)
        run_all(collector)
        mount.swap(certificate_files(kafka.certificates))
        run_all(collector)
        wait_until(
            lambda: datetime.now(UTC) > ends + timedelta(seconds=1), "the end of the old one"
        )
        kafka.kill(0)
        kafka.restart(0)
        probed(collector)
        run_all(collector)


def test_what_is_in_force_stays_while_key_and_certificate_do_not_go_together(
    kafka: KafkaCluster, tmp_path: Path
) -> None:
    """They are written one after the other, slowly."""
    first, second = (certificate_files(kafka.certificates) for _ in range(2))
    mount = Mount(tmp_path / "tls", first)
    with closing(mutual(kafka, mount)) as collector:
        probed(collector)
        mount.swap({**first, "tls.crt": second["tls.crt"]})
        collector.tasks["backlog"](Until(SECONDS))
        mount.swap(second)
        run_all(collector)
