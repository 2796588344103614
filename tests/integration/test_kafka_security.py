"""Every kind of security, the faults of each, limited rights, and secrets that stay hidden."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from confluent_kafka import Consumer

from exporter.collectors.kafka.settings import KafkaSettings
from exporter.task_log import gist
from testbed.exporter import Exporter, Scrape, kafka_source
from testbed.kafka import KafkaCluster
from testbed.kafka_access import Listener
from testbed.kafka_data import commit_offsets, create_topic, produce, produce_transaction
from testbed.waiting import wait_until

Key = tuple[str, str, int]
Properties = Mapping[str, str | int | float | bool]

MARK = "hunter2"
"""Part of every password of these tests, and not of any value of a property."""
OUT_OF_RANGE = "987654321"
SCRAPE_SECONDS = 2.0
"""More than any scrape takes on a busy machine, and less than any wait for a broker."""


class PlainExporter(Exporter):
    """Requests uncompressed pages.

    urllib3 2.8 repeats bytes if a gzip member fills its buffer to the end.
    """

    def get(self, path: str, **headers: str) -> requests.Response:
        return super().get(path, **{"Accept-Encoding": "identity", **headers})


@dataclass
class Seen:
    """What a daemon exposed and logged while it ran."""

    page: Scrape
    sources: Mapping[str, dict[str, Any]]
    shown: str
    log: str
    slowest: float
    before: Scrape | None

    @staticmethod
    def of(exporter: Exporter, slowest: float = 0.0, before: Scrape | None = None) -> Seen:
        """Return what is exposed now; `before` is a scrape whose failures are not counted."""
        paths = ("/metrics", "/", "/api/v1/subscriptions?partitions=1", "/-/ready")
        answers = {path: exporter.get(path).text for path in paths}
        rows = json.loads(answers[paths[2]])["sources"]
        return Seen(
            page=exporter.scrape(),
            sources={row["source"]: row for row in rows},
            shown="\n".join(answers.values()),
            log=exporter.log(),
            slowest=slowest,
            before=before,
        )

    def failures(self, source: str, task: str = "backlog") -> set[str]:
        """Return the reasons for which the task has failed."""
        which = {"source": source, "task": task}
        found = self.page.find("mq_collect_failures_total", **which)
        old = self.before.find("mq_collect_failures_total", **which) if self.before else {}
        return {
            dict(labels)["reason"] for labels, count in found.items() if count > old.get(labels, 0)
        }

    def succeeded(self, source: str) -> dict[str, bool]:
        """Return each task, and whether its last poll was complete."""
        found = self.page.find("mq_collect_success", source=source)
        return {dict(labels)["task"]: bool(value) for labels, value in found.items()}

    def bounds(self, source: str) -> set[tuple[str, str]]:
        """Groups and topics whose lag is marked as an upper bound."""
        found = map(dict, self.page.find("mq_lag_upper_bound", source=source))
        return {(labels["group"], labels["destination"]) for labels in found}

    def lines(self, source: str, level: str) -> list[dict[str, Any]]:
        """The log's lines of one source at one level."""
        lines = map(json.loads, self.log.splitlines())
        return [line for line in lines if (line.get("source"), line["level"]) == (source, level)]

    def events(self, source: str, level: str) -> list[str]:
        """The log's events of one source at one level."""
        return [line["event"] for line in self.lines(source, level)]


@dataclass
class Printed:
    """The output of a command, and its exit code."""

    code: int
    out: str
    err: str
    findings: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Return each feature of `check`, `ok` or `missing`, and its text."""


def run(command: str, folder: Path, sources: list[dict[str, Any]]) -> Printed:
    """Run a command of the exporter with a config of these sources."""
    config = folder / f"{command}.yaml"
    config.write_text(json.dumps({"sources": sources}))
    option = [] if command == "check" else ["--config"]
    done = subprocess.run(
        [sys.executable, "-m", "exporter", command, *option, str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    lines = re.findall(r"^  (ok|missing) +([^:]+): (.*)$", done.stdout, re.MULTILINE)
    findings = {feature: (mark, detail) for mark, feature, detail in lines}
    return Printed(done.returncode, done.stdout, done.stderr, findings)


def source(name: str, client: Properties, *without: str, **more: Any) -> dict[str, Any]:
    """A source with these client properties."""
    properties = {key: str(value) for key, value in client.items() if key not in without}
    bootstrap = properties.pop("bootstrap.servers")
    return kafka_source(bootstrap, name, client=properties, **more)


def only(*prefixes: str) -> dict[str, Any]:
    """Filters for a source that sees more than the topics and groups of this test."""
    include = [f"{prefix}.*" for prefix in prefixes]
    return {"destinations": {"include": include}, "groups": {"include": include}}


def password(user: str) -> str:
    return f"{MARK}-{user}"


def key_lines(pem: str) -> list[str]:
    """Return the lines with the content of a private key."""
    return [line for line in pem.splitlines() if line and not line.startswith("-----")]


def secrets_of(kafka: KafkaCluster) -> list[str]:
    return [
        MARK,
        OUT_OF_RANGE,
        "admin-secret",
        "alice-secret",
        *key_lines(kafka.client_key_file.read_text()),
    ]


def found_secrets(kafka: KafkaCluster, *texts: str) -> set[str]:
    """Return the secrets that occur in the texts, each only by its first letters."""
    return {secret[:12] for secret in secrets_of(kafka) for text in texts if secret in text}


# Data


@pytest.fixture(scope="module")
def lags(local_kafka: KafkaCluster) -> dict[Key, int]:
    """Check a topic with two groups, which every source that may see it must show."""
    bootstrap, topic = local_kafka.bootstrap, "security-topic"
    create_topic(bootstrap, topic, 2, 3)
    produce(bootstrap, topic, 0, 10)
    produce(bootstrap, topic, 1, 20)
    commit_offsets(bootstrap, "security-behind", {(topic, 0): 3, (topic, 1): 0})
    commit_offsets(bootstrap, "security-done", {(topic, 0): 10, (topic, 1): 20})
    return {
        ("security-behind", topic, 0): 7,
        ("security-behind", topic, 1): 20,
        ("security-done", topic, 0): 0,
        ("security-done", topic, 1): 0,
    }


# Kinds of security

KINDS = ("plaintext", "plain", "scram", "tls", "mtls", "plain-tls", "scram-tls", "token", "pem")


def kinds(kafka: KafkaCluster) -> list[dict[str, Any]]:
    kafka.add_user("security-admin", password("security-admin"))
    kafka.allow("security-admin", ["describe", "describe_configs", "read"], "topic", "*")
    kafka.allow("security-admin", ["describe"], "group", "*")

    def scram(listener: Listener) -> Properties:
        login = password("security-admin")
        return kafka.client_config(listener, "security-admin", login, "SCRAM-SHA-512")

    mtls = kafka.client_config("mtls")
    pem = {
        **kafka.client_config("ssl"),
        "bootstrap.servers": kafka.mtls_bootstrap,
        "ssl.certificate.pem": kafka.client_cert_file.read_text(),
        "ssl.key.pem": kafka.client_key_file.read_text(),
    }
    clients: dict[str, Properties] = {
        "plaintext": kafka.client_config("plaintext"),
        "plain": kafka.client_config("sasl"),
        "scram": scram("sasl"),
        "tls": kafka.client_config("ssl"),
        "mtls": mtls,
        "plain-tls": kafka.client_config("sasl_ssl"),
        "scram-tls": scram("sasl_ssl"),
        "token": kafka.client_config("sasl", mechanism="OAUTHBEARER"),
        "pem": pem,
    }
    return [source(name, clients[name], **only("security-")) for name in KINDS]


@pytest.fixture(scope="module")
def secured(
    local_kafka: KafkaCluster, lags: dict[Key, int], tmp_path_factory: pytest.TempPathFactory
) -> Seen:
    """The output of one daemon that reads the cluster with every kind of security."""
    folder = tmp_path_factory.mktemp("kinds")
    with PlainExporter(folder, kinds(local_kafka), log_level="debug") as exporter:
        wait_until(lambda: exporter.get("/-/ready").ok, "every source to be read", 120)
        for name in KINDS:
            exporter.cycles(2, name)
        return Seen.of(exporter)


@pytest.mark.parametrize("kind", KINDS)
def test_lag_is_true_over_every_kind_of_security(
    secured: Seen, lags: dict[Key, int], kind: str
) -> None:
    assert secured.page.lags(kind) == lags
    assert secured.page.value("mq_up", source=kind) == 1


# Faults

FAULTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "wrong-password": ("unauthorized", ("Authentication failed", "sasl.password")),
    "wrong-scram-password": ("unauthorized", ("Authentication failed", "sasl.password")),
    "unknown-user": ("unauthorized", ("Authentication failed", "sasl.username")),
    "other-mechanism": ("unauthorized", ("SCRAM-SHA-256", "PLAIN,SCRAM-SHA-512", "sasl.mechanism")),
    "closed-port": ("unreachable", ("refused", "bootstrap_servers")),
    "unknown-host": ("unreachable", ("kafka.invalid", "host names in bootstrap_servers")),
    "plaintext-on-tls": ("unreachable", ("expects TLS", "security.protocol")),
    "tls-on-plaintext": ("unreachable", ("SSL", "security.protocol")),
    "other-ca": ("unreachable", ("SSL", "certificate verify failed", "ssl.ca.location")),
    "no-certificate": ("unreachable", ("SSL", "certificate", "ssl.*")),
    "unknown-property": ("invalid", ("`client`", "no.such.property")),
    "no-number": ("invalid", ("`client`", "socket.timeout.ms")),
    "out-of-range": ("invalid", ("`client`", "socket.timeout.ms")),
    "no-choice": ("invalid", ("`client`", "security.protocol")),
    "no-mechanism": ("invalid", ("`client`", "mechanism")),
    "no-kerberos": (
        "invalid",
        ("GSSAPI", "pip install --no-binary confluent-kafka", "docs/kafka.md"),
    ),
    "no-key": ("invalid", ("`client`", "ssl.key.pem")),
    "no-token": ("unauthorized", ("sasl.oauthbearer.config",)),
    "no-file": ("invalid", ("client_files.sasl.password", "absent", "No such file")),
}
"""Each fault, its reason, and words that the message must contain."""


def faulty(kafka: KafkaCluster, folder: Path, closed_port: int) -> list[dict[str, Any]]:
    """A source for each fault."""
    kafka.add_user("security-nobody", password("security-nobody"))
    trustme.CA().cert_pem.write_to_path(str(folder / "other-ca.pem"))
    plaintext = kafka.client_config("plaintext")
    sasl, ssl = kafka.client_config("sasl"), kafka.client_config("ssl")
    wrong = password("wrong")
    clients: dict[str, Properties] = {
        "wrong-password": kafka.client_config("sasl", "alice", wrong),
        "wrong-scram-password": kafka.client_config(
            "sasl", "security-nobody", wrong, "SCRAM-SHA-512"
        ),
        "unknown-user": kafka.client_config("sasl", "security-unknown", wrong),
        "other-mechanism": {**sasl, "sasl.mechanism": "SCRAM-SHA-256"},
        "closed-port": {"bootstrap.servers": f"127.0.0.1:{closed_port}"},
        "unknown-host": {"bootstrap.servers": "kafka.invalid:9092"},
        "plaintext-on-tls": {"bootstrap.servers": kafka.ssl_bootstrap},
        "tls-on-plaintext": {**ssl, "bootstrap.servers": kafka.bootstrap},
        "other-ca": {**ssl, "ssl.ca.location": str(folder / "other-ca.pem")},
        "no-certificate": {**ssl, "bootstrap.servers": kafka.mtls_bootstrap},
        "unknown-property": {**plaintext, "no.such.property": password("value")},
        "no-number": {**plaintext, "socket.timeout.ms": password("value")},
        "out-of-range": {**plaintext, "socket.timeout.ms": OUT_OF_RANGE},
        "no-choice": {**plaintext, "security.protocol": password("value")},
        "no-mechanism": {**sasl, "sasl.mechanism": password("value")},
        "no-kerberos": {**sasl, "sasl.mechanism": "GSSAPI"},
        "no-key": {
            **ssl,
            "ssl.certificate.pem": kafka.client_cert_file.read_text(),
            "ssl.key.pem": password("key"),
        },
        "no-token": {
            **kafka.client_config("sasl", mechanism="OAUTHBEARER"),
            "sasl.oauthbearer.config": password("token"),
        },
        "no-file": sasl,
    }
    sources = [source(name, clients[name]) for name in FAULTS]
    del sources[-1]["client"]["sasl.password"]
    sources[-1]["client_files"] = {"sasl.password": str(folder / "absent")}
    return sources


@pytest.fixture(scope="module")
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and which nobody else can take."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(scope="module")
def broken(
    local_kafka: KafkaCluster,
    lags: dict[Key, int],
    closed_port: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> Seen:
    """The output of one daemon with every fault, and one healthy source."""
    folder = tmp_path_factory.mktemp("faults")
    sources = faulty(local_kafka, folder, closed_port)
    healthy = source("healthy", local_kafka.client_config("plaintext"), **only("security-"))
    slowest = 0.0
    with PlainExporter(folder, [*sources, healthy], log_level="debug") as exporter:

        def all_failed_twice() -> bool:
            nonlocal slowest
            seconds, page = exporter.timed_scrape()
            slowest = max(slowest, seconds)
            metric = "mq_collect_failures_total"
            return page.lags("healthy") == lags and all(
                sum(page.find(metric, source=name, task=task).values()) >= 2
                for name in FAULTS
                for task in ("backlog", "discovery")
            )

        wait_until(all_failed_twice, "every fault to be noticed twice", 180)
        return Seen.of(exporter, slowest)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_its_reason_and_says_what_to_do(broken: Seen, name: str) -> None:
    reason, words = FAULTS[name]
    shown = broken.sources[name]
    assert [word for word in words if word not in shown["message"]] == [], shown["message"]
    assert (shown["up"], shown["reason"]) == (False, reason)
    assert broken.failures(name) == {reason}


@pytest.mark.parametrize("name", FAULTS)
def test_a_source_with_a_fault_is_down_in_all_it_shows(broken: Seen, name: str) -> None:
    assert broken.page.value("mq_up", source=name) == 0
    assert broken.page.value("mq_series", source=name) == 0
    assert set(broken.succeeded(name).values()) == {False}, broken.succeeded(name)


@pytest.mark.parametrize("name", FAULTS)
def test_each_problem_of_a_task_is_logged_once(broken: Seen, name: str) -> None:
    assert set(broken.events(name, "warning")) == {"task.failed"}
    said = [
        (line["task"], line["reason"], gist(line["error"]))
        for line in broken.lines(name, "warning")
    ]
    assert len(said) == len(set(said))
    assert broken.events(name, "error") == []


def test_faults_do_no_harm_to_the_source_beside_them(broken: Seen, lags: dict[Key, int]) -> None:
    assert broken.page.lags("healthy") == lags
    assert broken.page.value("mq_up", source="healthy") == 1
    assert broken.slowest < SCRAPE_SECONDS


def test_a_source_recovers_when_its_password_file_appears_or_is_corrected(
    local_kafka: KafkaCluster, lags: dict[Key, int], tmp_path: Path
) -> None:
    login = local_kafka.client_config("sasl", "security-late", "-", "SCRAM-SHA-512")
    local_kafka.add_user("security-late", password("security-late"))
    for kind in ("topic", "group"):
        local_kafka.allow("security-late", ["describe"], kind, "security-", prefixed=True)
    files = {name: tmp_path / name for name in ("absent", "wrong")}
    files["wrong"].write_text(password("wrong\n"))
    sources = [
        source(name, login, "sasl.password", client_files={"sasl.password": str(path)})
        for name, path in files.items()
    ]
    with PlainExporter(tmp_path, sources, log_level="debug") as exporter:
        exporter.wait(
            lambda page: all(
                sum(page.find("mq_collect_failures_total", source=name, task="backlog").values())
                >= 2
                for name in files
            ),
            "two failures of each",
        )
        for path in files.values():
            path.write_text(password("security-late\n"))
        exporter.wait(
            lambda page: (
                all(page.lags(name) == lags for name in files)
                and set(page.find("mq_collect_success").values()) == {1.0}
            ),
            "both to recover",
            60,
        )
        seen = Seen.of(exporter)
    assert {name: row["up"] for name, row in seen.sources.items()} == dict.fromkeys(files, True)
    assert found_secrets(local_kafka, seen.shown, seen.log) == set()


# Rights

RIGHTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "full": (("describe", "describe_configs", "read"), ("rights-",)),
    "fewest": (("describe",), ("rights-",)),
    "reads": (("describe", "read"), ("rights-",)),
    "configs": (("describe", "describe_configs"), ("rights-",)),
    "named": (("describe",), ("rights-a",)),
    "nothing": ((), ()),
}
"""Each user's operations on the topics `rights-*`.

And the prefix of the groups that the user may describe.
"""
LAGS: dict[Key, int] = {
    ("rights-a", "rights-plain", 0): 7,
    ("rights-a", "rights-plain", 1): 0,
    ("rights-a", "rights-compacted", 0): 7,
    ("rights-a", "rights-marker", 0): 0,
    ("rights-b", "rights-plain", 0): 9,
    ("rights-classic", "rights-plain", 0): 8,
    ("rights-consumer", "rights-plain", 0): 6,
}
UNREAD = {**LAGS, ("rights-a", "rights-marker", 0): 1}
"""Without Read it cannot be known that only a transaction's marker is left."""
COMPACTED = {("rights-a", "rights-compacted")}


def lags_of(group: str) -> dict[Key, int]:
    return {key: lag for key, lag in UNREAD.items() if key[0] == group}


@pytest.fixture(scope="module")
def users(local_kafka: KafkaCluster) -> Iterator[None]:
    """The users, topics and groups; two groups have members that read a hidden topic too."""
    bootstrap = local_kafka.bootstrap
    create_topic(bootstrap, "rights-plain", 2, 3)
    create_topic(bootstrap, "rights-compacted", 1, 3, {"cleanup.policy": "compact"})
    create_topic(bootstrap, "rights-marker", 1, 3)
    create_topic(bootstrap, "hidden-rights", 1, 3)
    produce(bootstrap, "rights-plain", 0, 10)
    produce(bootstrap, "rights-plain", 1, 20)
    produce(bootstrap, "rights-compacted", 0, 9, key=b"key")
    produce_transaction(bootstrap, "rights-marker", 0, 5)
    produce(bootstrap, "hidden-rights", 0, 8)
    plain, hidden = ("rights-plain", 0), ("hidden-rights", 0)
    positions: dict[str, dict[tuple[str, int], int]] = {
        "rights-a": {
            plain: 3,
            ("rights-plain", 1): 20,
            ("rights-compacted", 0): 2,
            ("rights-marker", 0): 5,
            hidden: 5,
        },
        "rights-b": {plain: 1},
        "rights-classic": {plain: 2, hidden: 2},
        "rights-consumer": {plain: 4, hidden: 4},
        "hidden-rights": {plain: 6},
    }
    for group, offsets in positions.items():
        commit_offsets(bootstrap, group, offsets)
    for name, (operations, groups) in RIGHTS.items():
        user = f"rights-{name}"
        local_kafka.add_user(user, password(user))
        if operations:
            local_kafka.allow(user, operations, "topic", "rights-", prefixed=True)
        for prefix in groups:
            local_kafka.allow(user, ["describe"], "group", prefix, prefixed=True)
    members = [member(bootstrap, protocol) for protocol in ("classic", "consumer")]
    yield
    for each in members:
        each.close()


def member(bootstrap: str, protocol: str) -> Consumer:
    """A member of the group `rights-PROTOCOL`.

    It reads a topic that is hidden and one that is not.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"rights-{protocol}",
            "group.protocol": protocol,
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    consumer.subscribe(["rights-plain", "hidden-rights"])

    def has_its_share() -> bool:
        consumer.poll(0.1)
        return bool(consumer.assignment())

    wait_until(has_its_share, "the member to have its share")
    return consumer


def as_user(kafka: KafkaCluster, user: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    """A source that logs in as one of the users; `more` are fields of the source."""
    login = f"rights-{user}"
    client = kafka.client_config("sasl", login, password(login), "SCRAM-SHA-512")
    return source(name or user, client, **more)


@pytest.fixture(scope="module")
def allowed(
    local_kafka: KafkaCluster, users: None, tmp_path_factory: pytest.TempPathFactory
) -> Seen:
    """The output of one daemon that logs in as each of the users."""
    named: dict[str, list[str]] = {
        "by-name": ["rights-a"],
        "denied": ["rights-a", "rights-b"],
    }
    sources = [
        *(as_user(local_kafka, user) for user in RIGHTS if user != "named"),
        *(as_user(local_kafka, "named", name, groups={"names": g}) for name, g in named.items()),
    ]
    lookers = [row["name"] for row in sources if row["name"] not in ("denied", "nothing")]
    folder = tmp_path_factory.mktemp("rights")
    with PlainExporter(folder, sources, log_level="debug") as exporter:
        wait_until(lambda: exporter.get("/-/ready").ok, "every source to be read", 120)
        exporter.wait(
            lambda page: all(
                page.value("mq_lag_messages", source=name, destination="rights-marker") == 0
                for name in ("full", "reads")
            ),
            "markers to be seen",
        )
        exporter.wait(
            lambda page: all(
                page.find("mq_lag_upper_bound", source=name) for name in ("full", "configs")
            ),
            "compaction to be seen",
        )
        before = exporter.scrape()
        for name in lookers:
            exporter.cycles(3, name)
        return Seen.of(exporter, before=before)


@pytest.mark.parametrize(
    ("name", "expected", "bounds"),
    [
        ("full", LAGS, COMPACTED),
        ("reads", LAGS, set()),
        ("configs", UNREAD, COMPACTED),
        ("fewest", UNREAD, set()),
        ("by-name", lags_of("rights-a"), set()),
        ("denied", lags_of("rights-a"), set()),
        ("nothing", {}, set()),
    ],
)
def test_what_may_be_seen_is_seen_and_true(
    allowed: Seen, name: str, expected: dict[Key, int], bounds: set[tuple[str, str]]
) -> None:
    assert allowed.page.lags(name) == expected
    assert allowed.bounds(name) == bounds
    assert allowed.page.value("mq_up", source=name) == 1


@pytest.mark.parametrize("name", ["full", "reads", "configs", "fewest", "by-name"])
def test_a_right_that_is_not_given_is_no_failure(allowed: Seen, name: str) -> None:
    tasks = KafkaSettings.TASKS
    assert allowed.succeeded(name) == dict.fromkeys(tasks, True)
    assert [allowed.failures(name, task) for task in tasks] == [set()] * len(tasks)
    assert allowed.sources[name]["message"] == ""
    # A source that failed for a moment on a busy machine logs that it has recovered.
    ends = {"task.recovered", "task.problem_ended"}
    told = [event for event in allowed.events(name, "info") if event not in ends]
    assert len(told) == len(set(told)), "each once"
    about = f'"source": "{name}"'
    lines = [line for line in allowed.log.splitlines() if about in line and '"warning"' in line]
    assert [line for line in lines if "authorization" in line] == []


@pytest.mark.parametrize("name", ["full", "fewest"])
def test_members_are_seen_as_far_as_the_broker_shows_them(allowed: Seen, name: str) -> None:
    """The broker shows no member of a consumer-protocol group that reads a hidden topic too."""
    members = allowed.page.find("mq_group_members", source=name)
    assert {dict(labels)["group"]: count for labels, count in members.items()} == {
        "rights-a": 0,
        "rights-b": 0,
        "rights-classic": 1,
    }
    consumers = allowed.page.find("mq_consumers", source=name, destination="rights-plain")
    assert {dict(labels)["group"]: count for labels, count in consumers.items()} == {
        "rights-a": 0,
        "rights-b": 0,
        "rights-classic": 1,
    }


def test_what_is_hidden_is_nowhere(allowed: Seen) -> None:
    assert "hidden-rights" not in allowed.shown


def test_a_group_by_name_without_the_right_is_counted_and_named(allowed: Seen) -> None:
    assert allowed.failures("denied") == {"partial"}
    assert allowed.succeeded("denied")["backlog"] is False
    message = allowed.sources["denied"]["message"]
    assert [w for w in ("rights-b", "Describe on the group") if w not in message] == [], message
    assert "rights-a" not in message
    assert set(allowed.events("denied", "warning")) == {"task.partial"}
    assert len(allowed.events("denied", "warning")) == 2
    subjects = [line["subjects"] for line in allowed.lines("denied", "warning")]
    assert all("rights-b" in " ".join(named) for named in subjects)


def test_a_source_without_any_right_does_not_look_like_an_empty_cluster(allowed: Seen) -> None:
    shown = allowed.sources["nothing"]
    assert (shown["up"], shown["reason"]) == (True, "partial")
    words = ("no topics are visible", "Describe on the topics")
    assert [word for word in words if word not in shown["message"]] == [], shown["message"]
    assert allowed.succeeded("nothing")["backlog"] is False
    assert allowed.events("nothing", "warning") == ["task.partial"]


# The output of the commands

READING = "exact ages, bounds, transaction markers"
FEATURES = (
    "connection",
    "groups",
    "positions (lag)",
    "offsets topic",
    "log ends (lag)",
    "consumers",
    "recreated topics",
    "compacted topics",
    "ages",
    READING,
    "streams and share groups",
    "probe",
)
COMMITS = ("probe's stage ack", "probe's clean-up")
"""What `check` reports on the probe's groups, if a probe can be sent."""
PROBE = {"probe": "Create, Read and Write on the topic"}
"""What is missing if the probe topic may be neither seen nor created."""


@pytest.mark.parametrize(
    ("user", "code", "missing"),
    [
        ("full", 0, PROBE),
        ("reads", 0, {**PROBE, "compacted topics": "DescribeConfigs on the topics"}),
        ("configs", 0, {**PROBE, READING: "Read on the topics"}),
        (
            "fewest",
            0,
            {
                **PROBE,
                "compacted topics": "DescribeConfigs on the topics",
                READING: "Read on the topics",
            },
        ),
    ],
)
def test_check_says_which_right_is_missing(
    local_kafka: KafkaCluster,
    users: None,
    tmp_path: Path,
    user: str,
    code: int,
    missing: dict[str, str],
) -> None:
    printed = run("check", tmp_path, [as_user(local_kafka, user)])
    marks = {feature: mark for feature, (mark, _) in printed.findings.items()}
    assert marks == {f: "missing" if f in missing else "ok" for f in FEATURES}, printed.out
    for feature, right in missing.items():
        detail = printed.findings[feature][1]
        assert re.findall(r"give the user (.+? on the \w+)", detail) == [right], detail
    assert printed.code == code
    assert found_secrets(local_kafka, printed.out, printed.err) == set()


@pytest.mark.parametrize(
    ("on_groups", "missing"),
    [
        (("describe",), {COMMITS[0]: "Read", COMMITS[1]: "Delete"}),
        (("describe", "read", "delete"), {}),
    ],
)
def test_check_says_what_the_probes_groups_lack(
    local_kafka: KafkaCluster,
    users: None,
    tmp_path: Path,
    on_groups: tuple[str, ...],
    missing: dict[str, str],
) -> None:
    user, topic = f"rights-probes-{len(on_groups)}", f"rights-probes-{len(on_groups)}"
    create_topic(local_kafka.bootstrap, topic, 3, 1)
    local_kafka.add_user(user, password(user))
    local_kafka.allow(
        user, ["describe", "describe_configs", "read", "write"], "topic", "rights-", prefixed=True
    )
    local_kafka.allow(user, ["describe"], "group", "rights-", prefixed=True)
    local_kafka.allow(user, on_groups, "group", f"{topic}-", prefixed=True)
    source = as_user(local_kafka, user.removeprefix("rights-"), probe={"destination": topic})
    printed = run("check", tmp_path, [source])
    assert printed.findings["probe"][0] == "ok", printed.out
    for feature in COMMITS:
        mark, detail = printed.findings[feature]
        assert mark == ("missing" if feature in missing else "ok"), printed.out
        assert missing.get(feature, "") in detail


def test_check_without_any_right_fails_and_says_what_to_give(
    local_kafka: KafkaCluster, users: None, tmp_path: Path
) -> None:
    printed = run("check", tmp_path, [as_user(local_kafka, "nothing")])
    assert printed.findings["connection"][0] == "ok"
    for feature in ("topics", "groups"):
        mark, detail = printed.findings[feature]
        assert mark == "missing"
        assert f"Describe on the {feature}" in detail
    assert printed.code == 1


def test_check_of_a_group_by_name_without_the_right_fails(
    local_kafka: KafkaCluster, users: None, tmp_path: Path
) -> None:
    denied = as_user(local_kafka, "named", groups={"names": ["rights-a", "rights-b"]})
    printed = run("check", tmp_path, [denied])
    mark, detail = printed.findings["groups"]
    assert mark == "missing"
    assert printed.findings["positions (lag)"][0] == "ok"
    assert [word for word in ("rights-b", "Describe on the group") if word not in detail] == []
    assert printed.code == 1


@pytest.mark.parametrize(
    "name", ["wrong-password", "closed-port", "other-ca", "no-number", "no-file"]
)
def test_check_says_why_there_is_no_connection(
    local_kafka: KafkaCluster, closed_port: int, tmp_path: Path, name: str
) -> None:
    sources = faulty(local_kafka, tmp_path, closed_port)
    printed = run("check", tmp_path, [row for row in sources if row["name"] == name])
    assert list(printed.findings) == ["connection"], printed.out
    mark, detail = printed.findings["connection"]
    assert mark == "missing"
    assert [word for word in FAULTS[name][1] if word not in detail] == [], detail
    assert printed.code == 1
    assert printed.err == ""
    assert found_secrets(local_kafka, printed.out) == set()


def test_once_prints_what_it_got_and_names_what_it_could_not_reach(
    local_kafka: KafkaCluster, lags: dict[Key, int], closed_port: int, tmp_path: Path
) -> None:
    healthy = source("healthy", local_kafka.client_config("plaintext"), **only("security-"))
    sources = [healthy, *faulty(local_kafka, tmp_path, closed_port)]
    printed = run("once", tmp_path, sources)
    text = "\n".join(line for line in printed.out.splitlines() if line.startswith("mq_lag_mess"))
    assert sum(float(line.split()[-1]) for line in text.splitlines()) == sum(lags.values())
    reasons = dict(re.findall(r"^([\w-]+): (\w+): ", printed.err, re.MULTILINE))
    assert reasons == {name: reason for name, (reason, _) in FAULTS.items()}
    assert printed.code == 1
    assert found_secrets(local_kafka, printed.out, printed.err) == set()


# Secrets


def test_the_log_of_the_faults_is_a_talkative_one(broken: Seen) -> None:
    assert set(FAULTS) == {name for name in FAULTS if broken.events(name, "debug")}


def test_no_secret_is_shown_or_logged(
    local_kafka: KafkaCluster, secured: Seen, broken: Seen, allowed: Seen
) -> None:
    for seen in (secured, broken, allowed):
        assert found_secrets(local_kafka, seen.shown) == set()
        assert found_secrets(local_kafka, seen.log) == set()


def test_the_search_for_secrets_finds_them(local_kafka: KafkaCluster) -> None:
    text = f"a {password('x')} b {local_kafka.client_key_file.read_text()}"
    assert found_secrets(local_kafka, text) >= {MARK}
    assert len(found_secrets(local_kafka, text)) > 2
