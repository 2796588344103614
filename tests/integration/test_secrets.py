"""Secrets that servers and libraries repeat appear in no log, metric or output of `check`."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from testbed.exporter import Exporter, kafka_source
from testbed.kafka import KafkaCluster
from testbed.ports import PortBlock
from testbed.waiting import wait_until
from tests.support.checking import check_file
from tests.support.site import Site

PASSWORD, RENEWED = "hunter2-first", "hunter2-renewed"
RUNS = "mq_collect_failures_total"


@pytest.fixture
def site() -> Iterator[Site]:
    """A server that refuses everybody, and repeats what was sent to it."""
    ports = PortBlock()
    with closing(Site(ports.take())) as site:
        for path in ("/api/overview", "/api/queues", "/stats", "/info", "/nodes"):
            site.replies[path] = echo
        yield site
    ports.release()


def echo(request: BaseHTTPRequestHandler) -> None:
    header = request.headers.get("Authorization", "")
    plain = base64.b64decode(header.removeprefix("Basic ")).decode()
    # The second one does not fit into what an error shows.
    body = f"{header} {plain} {json.dumps(plain)} {'x' * 60} {header * 20}".encode()
    request.send_response(401)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def shown(exporter: Exporter) -> str:
    paths = ("/metrics", "/", "/api/v1/subscriptions", "/-/ready")
    return exporter.log() + "".join(exporter.get(path).text for path in paths)


def leaked(text: str) -> set[str]:
    """Return parts of the secrets that occur in the text, encoded or not."""
    parts = [PASSWORD[:7], base64.b64encode(b"me:hunt").decode()[:8], "HVudGVyM"]
    return {part for part in parts if part in text}


def check(config: Path) -> str:
    done = check_file(config)
    assert done.code == 1
    return done.printed + done.errors


def test_a_server_that_echoes_our_login_gets_it_into_no_text(tmp_path: Path, site: Site) -> None:
    """Before and after a rotation."""
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    login = {"username": "me", "password_file": str(secret)}
    sources: list[dict[str, Any]] = [
        {"name": "jobs", "system": "rabbitmq", "management_url": site.url, **login},
        {"name": "events", "system": "nsq", "nsqd": site.url, **login},
    ]
    with Exporter(tmp_path, sources, log_level="debug") as exporter:

        def refused_again() -> None:
            names = ("jobs", "events")
            task = {"task": "backlog", "reason": "unauthorized"}
            before = [exporter.scrape().value(RUNS, source=name, **task) or 0 for name in names]
            exporter.wait(
                lambda page: all(
                    (page.value(RUNS, source=name, **task) or 0) > old
                    for name, old in zip(names, before, strict=True)
                ),
                "refused runs",
            )

        refused_again()
        secret.write_text(RENEWED)
        refused_again()
        text = shown(exporter)
    assert "Basic ***" in text
    assert leaked(text) == set()
    said = check(exporter.config)
    assert "Basic ***" in said
    assert leaked(said) == set()


BY_LIBRDKAFKA = {"sasl.oauthbearer.metadata.authentication.type": "none"}
"""A property that only librdkafka supports, so it gets the tokens itself."""


@pytest.mark.parametrize(
    ("more", "endpoint"),
    [
        ({}, "token endpoint http://{}/none"),
        (BY_LIBRDKAFKA, r"OIDC token from \\\"http://\*\*\*@{}"),
    ],
    ids=["ours", "librdkafka"],
)
def test_a_token_endpoint_with_a_password_is_logged_without_it(
    tmp_path: Path, local_kafka: KafkaCluster, site: Site, more: dict[str, str], endpoint: str
) -> None:
    """Both quote its URL if no token comes from there."""
    properties = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": "lag",
        "sasl.oauthbearer.client.secret": f"{PASSWORD}-client",
        "sasl.oauthbearer.token.endpoint.url": site.url.replace("://", f"://me:{PASSWORD}@")
        + f"/none?client_secret={PASSWORD}-query",
        **more,
    }
    source = kafka_source(local_kafka.sasl_bootstrap, client=properties)
    with Exporter(tmp_path, [source], log_level="debug") as exporter:
        exporter.wait(lambda page: sum(page.find(RUNS, task="backlog").values()) > 0, "a failure")
        quoted = endpoint.format(re.escape(site.name))
        wait_until(lambda: re.search(quoted, exporter.log()), "the quoted address", 60)
        assert leaked(shown(exporter)) == set()
    assert leaked(check(exporter.config)) == set()
