"""Tokens by OIDC client credentials: the request, valid answers, and errors for all others."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from exporter.collectors.kafka.login import oidc
from exporter.collectors.kafka.login.mechanisms import CALLBACK, KafkaLogin, fetcher, shape
from exporter.collectors.kafka.login.tokens import Tokens
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import CollectError
from testbed.oidc import CLIENT, SECRET, Answer, Issuer
from testbed.ports import PortBlock


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    ports = PortBlock()
    with Issuer(ports.take()) as running:
        yield running
    ports.release()


def properties(issuer: Issuer, **more: str) -> dict[str, str]:
    return {
        "bootstrap.servers": "kafka-1:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": issuer.token_url,
        "sasl.oauthbearer.client.id": CLIENT,
        "sasl.oauthbearer.client.secret": SECRET,
        **{name.replace("_", "."): value for name, value in more.items()},
    }


def test_the_request_for_a_token(issuer: Issuer) -> None:
    given = properties(
        issuer,
        sasl_oauthbearer_scope="kafka read",
        sasl_oauthbearer_extensions="logicalCluster=lkc-1, identityPoolId=pool-1",
    )
    token = oidc.fetch(given)
    assert issuer.forms == [{"grant_type": "client_credentials", "scope": "kafka read"}]
    assert token.value.count(".") == 2
    assert (token.lifetime, token.principal) == (3600.0, CLIENT)
    assert token.extensions == {"logicalCluster": "lkc-1", "identityPoolId": "pool-1"}


def jwt(**claims: object) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + ".x"


@pytest.mark.parametrize(
    ("answer", "lifetime", "principal"),
    [
        ({"access_token": "opaque", "expires_in": 60}, 60.0, ""),
        ({"access_token": "opaque", "expires_in": "3599"}, 3599.0, ""),
        ({"access_token": jwt(sub="a", exp=1060, iat=1000)}, 60.0, "a"),
        ({"access_token": jwt(sub=7, exp=1060, iat=1000), "expires_in": 30}, 30.0, ""),
    ],
)
def test_a_lifetime_is_read_from_the_answer_or_the_token(
    issuer: Issuer, answer: dict[str, Any], lifetime: float, principal: str
) -> None:
    issuer.answer = lambda: (200, answer)
    token = oidc.fetch(properties(issuer))
    assert (token.lifetime, token.principal) == (lifetime, principal)


def test_a_lifetime_uses_the_clock_if_the_token_has_no_issue_time(
    issuer: Issuer,
) -> None:
    issuer.answer = lambda: (200, {"access_token": jwt(exp=time.time() + 60)})
    assert 50 < oidc.fetch(properties(issuer)).lifetime <= 60


BASIC = base64.b64encode(f"{CLIENT}:{SECRET}".encode())


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        ((401, {"error": "invalid_client", "x": SECRET}), "unauthorized", "401 (invalid_client)"),
        ((400, {"error": SECRET}), "unauthorized", "client.id"),
        ((403, BASIC), "unauthorized", "403"),
        ((404, b""), "invalid", "right address"),
        ((302, b""), "invalid", "302"),
        ((500, BASIC), "unreachable", "500"),
        ((200, b"<html>"), "invalid", "no access_token"),
        ((200, b"[" * 100_000), "invalid", "no access_token"),
        ((200, []), "invalid", "no access_token"),
        ((200, {"access_token": 7}), "invalid", "no access_token"),
        ((200, {"access_token": f"a\nAuthorization: {SECRET}"}), "invalid", "no access_token"),
        ((200, {"access_token": "a"}), "invalid", "how long it is valid"),
        ((200, {"access_token": "a", "expires_in": True}), "invalid", "how long it is valid"),
        ((200, {"access_token": "a", "expires_in": "1e999"}), "invalid", "how long it is valid"),
        ((200, {"access_token": "a", "expires_in": 0}), "invalid", "has expired"),
        ((200, b" " * (2 << 20)), "invalid", "larger than"),
    ],
)
def test_any_other_answer_is_an_error_without_a_secret(
    issuer: Issuer, answer: Answer, reason: str, words: str
) -> None:
    issuer.answer = lambda: answer
    with pytest.raises(CollectError) as raised:
        oidc.fetch(properties(issuer))
    text = str(raised.value)
    assert (raised.value.reason, words in text) == (reason, True), text
    assert SECRET not in text
    assert BASIC.decode() not in text
    assert issuer.url in text


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "invalid"),
        ("http://[", "invalid"),
        ("http://127.0.0.1:99999/", "invalid"),
        ("", "invalid"),
    ],
)
def test_an_invalid_url_is_refused(issuer: Issuer, url: str, reason: str) -> None:
    with pytest.raises(CollectError, match=r"token\.endpoint\.url") as raised:
        oidc.fetch(properties(issuer, sasl_oauthbearer_token_endpoint_url=url))
    assert raised.value.reason == reason


def test_a_password_in_the_url_is_neither_used_nor_shown(issuer: Issuer) -> None:
    url = issuer.token_url.replace("http://", f"http://u:{SECRET}@") + f"?key={SECRET}"
    given = properties(issuer, sasl_oauthbearer_token_endpoint_url=url)
    issuer.stop()
    with pytest.raises(CollectError) as raised:
        oidc.fetch(given)
    assert raised.value.reason == "unreachable"
    assert f"token endpoint {issuer.token_url}: " in str(raised.value)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sasl.oauthbearer.method", "default"),
        ("sasl.oauthbearer.grant.type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("sasl.oauthbearer.metadata.authentication.type", "azure_imds"),
        ("sasl.oauthbearer.assertion.file", "/a"),
        ("sasl.mechanism", "PLAIN"),
    ],
)
def test_unknown_properties_leave_tokens_to_librdkafka(
    issuer: Issuer, name: str, value: str
) -> None:
    assert fetcher(properties(issuer)) is not None
    given = {**properties(issuer), name: value}
    assert fetcher(given) is None
    settings = KafkaSettings("s", given)
    assert KafkaLogin(settings).properties() == given
    assert shape(settings) == given


def test_librdkafka_gets_a_callback_and_no_secret(issuer: Issuer) -> None:
    given = KafkaLogin(KafkaSettings("s", properties(issuer))).properties()
    assert isinstance(given.pop(CALLBACK), Tokens)
    assert given == {
        "bootstrap.servers": "kafka-1:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "OAUTHBEARER",
    }


def test_a_secret_in_a_file_is_read_for_each_token(issuer: Issuer, tmp_path: Any) -> None:
    file = tmp_path / "secret"
    file.write_text("wrong\n")
    given = properties(issuer)
    del given["sasl.oauthbearer.client.secret"]
    login = KafkaLogin(KafkaSettings("s", given, {"sasl.oauthbearer.client.secret": file}))
    with pytest.raises(CollectError, match="invalid_client"):
        login.properties()
    file.write_text(f"{SECRET}\n")
    again = KafkaLogin(KafkaSettings("s", given, {"sasl.oauthbearer.client.secret": file}))
    assert CALLBACK in again.properties()
    file.unlink()
    with pytest.raises(CollectError, match=r"client_files.sasl.oauthbearer.client.secret"):
        KafkaLogin(
            KafkaSettings("s", given, {"sasl.oauthbearer.client.secret": file})
        )._tokens.get()  # type: ignore[union-attr]
