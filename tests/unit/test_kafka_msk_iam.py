"""Tokens for Amazon MSK with IAM: a URL signed with AWS Signature Version 4.

Nothing is sent to AWS.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from confluent_kafka.admin import AdminClient

from exporter.collectors.kafka.login import msk_iam
from exporter.collectors.kafka.login.mechanisms import CALLBACK, KafkaLogin
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import CollectError

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/hunter2/bPxRfiCYEXAMPLEKEY"
BROKERS = "b-1.orders.a1b2c3.c2.kafka.eu-west-1.amazonaws.com:9098"
PROPERTIES = {"bootstrap.servers": BROKERS, "sasl.mechanism": "AWS_MSK_IAM"}


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fixed credentials in the environment, and no others."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def url_of(token: str) -> str:
    """The signed URL in a token."""
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()


def signature(query: dict[str, str], host: str, region: str, secret: str) -> str:
    """The expected signature, computed by the published steps of Signature Version 4."""

    def mac(key: bytes, text: str) -> bytes:
        return hmac.new(key, text.encode(), hashlib.sha256).digest()

    date = query["X-Amz-Date"]
    pairs = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in query.items())
    canonical = "&".join(f"{name}={value}" for name, value in pairs)
    empty = hashlib.sha256(b"").hexdigest()
    request = f"GET\n/\n{canonical}\nhost:{host}\n\nhost\n{empty}"
    scope = f"{date[:8]}/{region}/kafka-cluster/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in (date[:8], region, "kafka-cluster", "aws4_request"):
        key = mac(key, part)
    return mac(key, text).hex()


def test_a_token_is_a_url_signed_with_the_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session/hunter2")
    began = time.time()
    token = msk_iam.fetch(PROPERTIES)
    assert 895 <= token.lifetime <= 901 + time.time() - began
    assert "=" not in token.value
    parts = urlsplit(url_of(token.value))
    assert (parts.scheme, parts.netloc, parts.path) == (
        "https",
        "kafka.eu-west-1.amazonaws.com",
        "/",
    )
    query = dict(parse_qsl(parts.query, strict_parsing=True))
    agent, signed = query.pop("User-Agent"), query.pop("X-Amz-Signature")
    assert agent.startswith("aws-msk-iam-sasl-signer-python/")
    date = query["X-Amz-Date"]
    assert query == {
        "Action": "kafka-cluster:Connect",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{KEY}/{date[:8]}/eu-west-1/kafka-cluster/aws4_request",
        "X-Amz-Date": date,
        "X-Amz-Expires": "900",
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Security-Token": "session/hunter2",
    }
    assert signed == signature(query, parts.netloc, "eu-west-1", SECRET)


def test_a_configured_profile_is_used(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "[profile lag]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = hunter2\n"
    )
    given = {**PROPERTIES, msk_iam.CONFIG: "region=us-east-1 profile=lag"}
    url = url_of(msk_iam.fetch(given).value)
    assert url.startswith("https://kafka.us-east-1.amazonaws.com/")
    assert "X-Amz-Credential=AKIDPROFILE%2F" in url


class Sts:
    """A fake of the AWS service that lends roles."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.asked: list[dict[str, str]] = []
        self._fault = fault

    def assume_role(self, **asked: str) -> dict[str, dict[str, str]]:
        self.asked.append(asked)
        if self._fault is not None:
            raise self._fault
        return {
            "Credentials": {
                "AccessKeyId": "ASIAROLE",
                "SecretAccessKey": "hunter2",
                "SessionToken": "of-the-role",
            }
        }


ROLE = {**PROPERTIES, msk_iam.CONFIG: "role_arn=arn:aws:iam::1:role/lag, role_session_name=a"}


def test_a_configured_role_is_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    sts = Sts()
    monkeypatch.setattr("boto3.session.Session.client", lambda *_, **__: sts)
    query = dict(parse_qsl(urlsplit(url_of(msk_iam.fetch(ROLE).value)).query))
    assert sts.asked == [{"RoleArn": "arn:aws:iam::1:role/lag", "RoleSessionName": "a"}]
    assert query["X-Amz-Credential"].startswith("ASIAROLE/")
    assert query["X-Amz-Security-Token"] == "of-the-role"


@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "AssumeRole"),
            "unauthorized",
            "AccessDenied",
        ),
        (
            EndpointConnectionError(endpoint_url="https://sts.example/"),
            "unreachable",
            "https://sts.example/",
        ),
    ],
)
def test_the_error_if_a_role_cannot_be_assumed(
    monkeypatch: pytest.MonkeyPatch, fault: Exception, reason: str, words: str
) -> None:
    monkeypatch.setattr("boto3.session.Session.client", lambda *_, **__: Sts(fault))
    with pytest.raises(CollectError, match="AWS credentials") as raised:
        msk_iam.fetch(ROLE)
    assert (raised.value.reason, words in str(raised.value)) == (reason, True), str(raised.value)


@pytest.mark.parametrize(
    ("servers", "environ", "region"),
    [
        (BROKERS, {"AWS_REGION": "us-east-1"}, "eu-west-1"),
        ("boot-x.c1.kafka-serverless.ap-south-1.amazonaws.com:9098", {}, "ap-south-1"),
        ("b-1.x.c2.kafka.cn-north-1.amazonaws.com.cn:9098", {}, "cn-north-1"),
        ("kafka-1:9098", {"AWS_REGION": "us-east-1"}, "us-east-1"),
        ("kafka-1:9098", {"AWS_DEFAULT_REGION": "us-east-2"}, "us-east-2"),
    ],
)
def test_the_region_is_that_of_the_brokers(
    servers: str, environ: dict[str, str], region: str
) -> None:
    assert msk_iam.region_of({"bootstrap.servers": servers}, environ) == region


def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")


def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aws_msk_iam_sasl_signer", None)


def as_it_is(_: pytest.MonkeyPatch) -> None:
    """The unchanged environment."""


@pytest.mark.parametrize(
    ("spoil", "more", "reason", "words"),
    [
        (no_package, {}, "invalid", "pip install 'mq-lag-exporter[msk-iam]'"),
        (no_credentials, {}, "unauthorized", "no AWS credentials were found"),
        (as_it_is, {msk_iam.CONFIG: "profile=absent"}, "unauthorized", "absent"),
        (as_it_is, {msk_iam.CONFIG: "regoin=hunter2"}, "invalid", "region=…"),
        (as_it_is, {"bootstrap.servers": "kafka-1:9098"}, "invalid", "region"),
    ],
)
def test_missing_settings_are_reported_with_advice(
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[pytest.MonkeyPatch], None],
    more: dict[str, str],
    reason: str,
    words: str,
) -> None:
    spoil(monkeypatch)
    with pytest.raises(CollectError) as raised:
        msk_iam.fetch({**PROPERTIES, **more})
    assert (raised.value.reason, words in str(raised.value)) == (reason, True), str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_librdkafka_accepts_the_resulting_properties() -> None:
    given = KafkaLogin(KafkaSettings("s", PROPERTIES)).properties()
    tokens = given[CALLBACK]
    assert {name: value for name, value in given.items() if name != CALLBACK} == {
        "bootstrap.servers": BROKERS,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "OAUTHBEARER",
    }
    value, expiry, principal, extensions = tokens("")
    assert (expiry > time.time() + 800, principal, extensions) == (True, "", {})
    quiet: dict[str, Any] = {"log_level": 0, "error_cb": lambda _: None}
    # The constructor fails if librdkafka does not accept the token.
    AdminClient({**given, **quiet, "bootstrap.servers": "127.0.0.1:1"})
    assert url_of(value).startswith("https://kafka.eu-west-1.amazonaws.com/")
