"""Logins with a third party.

Tokens of an OIDC issuer that expire within seconds, and tickets of a Kerberos KDC.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from testbed.exporter import Exporter, Scrape, kafka_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import commit_offsets, create_topic, produce
from testbed.kerberos import REALM, SERVICE, Realm, realm
from testbed.oidc import AUDIENCE, CLIENT, LIVES, SECRET, Issuer
from testbed.ports import PortBlock
from testbed.tools import ROOT, cached_folder
from testbed.waiting import wait_until
from tests.support.checking import check

LAGS = {("login-group", "login-topic", 0): 7}


@pytest.fixture(scope="module")
def ports() -> Iterator[PortBlock]:
    block = PortBlock()
    yield block
    block.release()


@pytest.fixture(scope="module")
def issuer(ports: PortBlock) -> Iterator[Issuer]:
    with Issuer(ports.take()) as running:
        yield running


@pytest.fixture(scope="module")
def kerberos(ports: PortBlock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    with realm(tmp_path_factory.mktemp("kerberos"), ports.take()) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(issuer: Issuer, kerberos: Realm) -> Iterator[KafkaCluster]:
    """A broker that verifies tokens with the issuer's keys, and trusts the realm.

    It closes connections when their tokens expire.
    """
    modules = "org.apache.kafka.common.security.oauthbearer"
    of_tokens = {
        "sasl.jaas.config": f"{modules}.OAuthBearerLoginModule required;",
        "sasl.server.callback.handler.class": f"{modules}.OAuthBearerValidatorCallbackHandler",
        "sasl.oauthbearer.jwks.endpoint.url": issuer.keys_url,
        "sasl.oauthbearer.expected.audience": AUDIENCE,
        "sasl.oauthbearer.expected.issuer": issuer.url,
        "sasl.oauthbearer.clock.skew.seconds": "1",
        "connections.max.reauth.ms": "3600000",
    }
    settings = {
        "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN,OAUTHBEARER,GSSAPI",
        "super.users": f"User:ANONYMOUS;User:admin;User:{CLIENT}",
        "sasl.kerberos.service.name": "kafka",
        "listener.name.sasl.gssapi.sasl.jaas.config": (
            "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true"
            f' keyTab="{kerberos.keytab(SERVICE)}" principal="{SERVICE}@{REALM}";'
        ),
        **{f"listener.name.sasl.oauthbearer.{name}": value for name, value in of_tokens.items()},
    }
    java = {
        "org.apache.kafka.sasl.oauthbearer.allowed.urls": issuer.keys_url,
        "java.security.krb5.conf": str(kerberos.config),
    }
    with KafkaCluster(brokers=1, settings=settings, system_properties=java) as running:
        create_topic(running.bootstrap, "login-topic", 1, 1)
        create_topic(running.bootstrap, "narrow-topic", 1, 1)
        for topic in ("login-topic", "narrow-topic"):
            produce(running.bootstrap, topic, 0, 10)
            group = topic.replace("topic", "group")
            commit_offsets(running.bootstrap, group, {(topic, 0): 3})
        yield running


def source(
    cluster: KafkaCluster, name: str, client: Mapping[str, str], **more: Any
) -> dict[str, Any]:
    properties = {"security.protocol": "SASL_PLAINTEXT", **client}
    return kafka_source(cluster.sasl_bootstrap, name, client=properties, **more)


def checked(
    folder: Path, shown: dict[str, Any], environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Return the exit code of `check` and its output, which contains no secret."""
    if environment is not None:
        environment = {"PATH": "/usr/bin:/bin:/usr/sbin", **environment}
    done = check(folder, shown, environment=environment)
    said = done.printed + done.errors
    assert SECRET not in said
    return done.code, said


def failures(page: Scrape, name: str) -> dict[str, float]:
    """Return the failures of a source by task and reason."""
    found = page.find("mq_collect_failures_total", source=name)
    return {"/".join((dict(k)["task"], dict(k)["reason"])): n for k, n in found.items() if n}


# OIDC


def with_tokens(
    cluster: KafkaCluster,
    issuer: Issuer,
    name: str = "oidc",
    scope: str = "kafka",
    **more: Any,
) -> dict[str, Any]:
    client = {
        **cluster.client_config("sasl", mechanism="OAUTHBEARER"),
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": issuer.token_url,
        "sasl.oauthbearer.client.id": CLIENT,
        "sasl.oauthbearer.client.secret": SECRET,
        "sasl.oauthbearer.scope": scope,
    }
    for key in ("enable.sasl.oauthbearer.unsecure.jwt", "sasl.oauthbearer.config"):
        del client[key]
    include = {"destinations": {"include": ["login-.*"]}, "groups": {"include": ["login-.*"]}}
    return kafka_source(
        str(client.pop("bootstrap.servers")), name, client=client, **include, **more
    )


def test_no_run_fails_over_many_tokens_and_an_outage_of_their_issuer(
    cluster: KafkaCluster, issuer: Issuer, tmp_path: Path
) -> None:
    """The broker closes connections when their token of 20 seconds expires.

    So each connection logs in again before that. There are three sources.
    """
    scopes = {name: f"{LIVES}20 {name}" for name in ("s0", "s1", "s2")}
    sources = [with_tokens(cluster, issuer, name, scope) for name, scope in scopes.items()]
    with Exporter(tmp_path, sources) as exporter:
        exporter.wait(lambda page: all(page.lags(name) == LAGS for name in scopes), "the lag")
        exporter.wait(lambda page: all(probed(page, name) for name in scopes), "the probes")
        page = exporter.cycles(1, "s0")
        before = {name: failures(page, name) for name in scopes}
        given = Counter(issuer.given)

        def renewed(times: int) -> bool:
            return all(issuer.given[scope] >= given[scope] + times for scope in scopes.values())

        wait_until(lambda: renewed(1), "new tokens")
        issuer.stop()
        wait_until(lambda: all(missed(exporter, name) for name in scopes), "them to be missed", 60)
        issuer.start()
        wait_until(lambda: renewed(2), "new tokens after the outage")
        for name in scopes:
            exporter.cycles(3, name)
        page = exporter.scrape()
        assert {name: failures(page, name) for name in scopes} == before
        for name in scopes:
            assert (page.lags(name), page.value("mq_up", source=name)) == (LAGS, 1)
        assert SECRET not in exporter.log()


def probed(page: Scrape, name: str) -> bool:
    return bool(page.value("mq_probe_success", source=name))


def missed(exporter: Exporter, name: str) -> bool:
    """Return whether the source reports that it could not renew its token."""
    lines = map(json.loads, exporter.log().splitlines())
    return any((e["event"], e.get("source")) == ("token.not_renewed", name) for e in lines)


def test_an_issuer_that_is_gone_for_longer_than_its_token_is_named_and_waited_for(
    cluster: KafkaCluster, issuer: Issuer, tmp_path: Path
) -> None:
    shown = with_tokens(cluster, issuer, "oidc", f"{LIVES}6", probe={"enabled": False}, hold="1s")
    with Exporter(tmp_path, [shown]) as exporter:
        exporter.wait(lambda page: page.lags("oidc") == LAGS, "the lag")
        issuer.stop()
        exporter.wait(lambda page: page.value("mq_up", source="oidc") == 0, "the source to fail")

        def message() -> str:
            rows = exporter.get("/api/v1/subscriptions").json()["sources"]
            return str(rows[0]["message"])

        wait_until(lambda: issuer.token_url in message(), "the token endpoint to be named")
        assert "backlog/unreachable" in failures(exporter.scrape(), "oidc")
        issuer.start()
        exporter.wait(lambda page: page.value("mq_up", source="oidc") == 1, "the source again")
        assert exporter.wait(lambda page: page.lags("oidc") == LAGS, "the lag again")
        assert SECRET not in exporter.log()


def test_share_and_streams_groups_are_asked_for_with_the_same_token(
    cluster: KafkaCluster, issuer: Issuer, tmp_path: Path
) -> None:
    before = issuer.given["kafka"]
    code, said = checked(tmp_path, with_tokens(cluster, issuer))
    assert code == 0, said
    line = re.search(r"^  ok +streams and share groups: (.*)$", said, re.MULTILINE)
    assert line is not None, said
    assert "librdkafka" not in line[1]
    # One for the check, and one for the reading of all names, in which each pattern is looked for
    assert issuer.given["kafka"] == before + 2, "all clients of a collector share a token"


def test_check_names_the_wrong_secret_and_the_token_that_the_broker_refuses(
    cluster: KafkaCluster, issuer: Issuer, tmp_path: Path
) -> None:
    issuer.secret = "another"
    code, said = checked(tmp_path, with_tokens(cluster, issuer))
    assert (code, "401 (invalid_client)" in said, "client.id" in said) == (1, True, True), said
    issuer.secret = SECRET
    issuer.answer = lambda: (200, {"access_token": "opaque", "expires_in": 60})
    try:
        code, said = checked(tmp_path, with_tokens(cluster, issuer))
    finally:
        issuer.answer = None
    assert (code, "the broker does not accept the token" in said) == (1, True), said


# Kerberos


def has_lags(name: str, expected: dict[tuple[str, str, int], int]) -> Callable[[Scrape], bool]:
    return lambda page: page.lags(name) == expected


def kerberized(cluster: KafkaCluster, keytab: Path, user: str) -> dict[str, Any]:
    client = {
        "sasl.mechanism": "GSSAPI",
        "sasl.kerberos.service.name": "kafka",
        "sasl.kerberos.principal": f"{user}@{REALM}",
        "sasl.kerberos.keytab": str(keytab),
        "sasl.kerberos.min.time.before.relogin": "1000",
    }
    return source(cluster, user, client, probe={"enabled": False})


def kerberos_environment(kerberos: Realm, folder: Path) -> dict[str, str]:
    """The client that has Kerberos, and the realm; tickets go to the folder."""
    binding = re.search(
        r"^confluent-kafka==(\S+)",
        (ROOT / "scripts/librdkafka/requirements.txt").read_text(),
        re.MULTILINE,
    )
    assert binding is not None
    site = cached_folder(f"gssapi-{binding[1]}") / "site"
    return {**kerberos.environment, "PYTHONPATH": str(site), "TMPDIR": str(folder)}


def test_two_principals_log_in_by_kerberos_and_see_what_each_may(
    cluster: KafkaCluster, kerberos: Realm, tmp_path: Path
) -> None:
    """If two sources shared a cache, both would use the tickets of one of them."""
    sources = []
    for user in ("login", "narrow"):
        cluster.allow(user, ["describe", "read"], "topic", f"{user}-", prefixed=True)
        cluster.allow(user, ["describe"], "group", f"{user}-", prefixed=True)
        sources.append(kerberized(cluster, kerberos.keytab(user), user))
    environment = kerberos_environment(kerberos, tmp_path)
    with Exporter(tmp_path, sources, environment=environment) as exporter:
        for user in ("login", "narrow"):
            expected = {(f"{user}-group", f"{user}-topic", 0): 7}
            exporter.wait(has_lags(user, expected), f"{user}'s lag")
        before = {user: failures(exporter.scrape(), user) for user in ("login", "narrow")}
        # Tickets stay valid without the KDC, whatever kinit prints meanwhile.
        kerberos.stop()
        for user in ("login", "narrow"):
            exporter.cycles(3, user)
        kerberos.start()
        page = exporter.cycles(1, "login")
        assert {user: failures(page, user) for user in ("login", "narrow")} == before
        assert before == {"login": {}, "narrow": {}}


def test_check_says_what_kerberos_refuses(
    cluster: KafkaCluster, kerberos: Realm, tmp_path: Path
) -> None:
    old = tmp_path / "old.keytab"
    old.write_bytes(kerberos.keytab("stale").read_bytes())
    kerberos.keytab("stale")
    shown = kerberized(cluster, old, "stale")
    code, said = checked(tmp_path, shown, kerberos_environment(kerberos, tmp_path))
    assert (code, "check sasl.kerberos.principal" in said) == (1, True), said
