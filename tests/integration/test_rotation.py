"""Secrets of RabbitMQ and NSQ sources are replaced.

No poll fails while old and new ones are valid.
"""

from __future__ import annotations

import base64
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from exporter.collectors.access import Login, Tls
from exporter.collectors.nsq.collector import NsqCollector
from exporter.collectors.nsq.settings import NsqSettings
from exporter.collectors.rabbitmq.collector import RabbitCollector
from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.model import CollectError, Probes, Until
from testbed.certificates import Certificates, make_certificates
from testbed.nsq import NsqCluster
from testbed.ports import PortBlock
from testbed.rabbitmq import RabbitCluster
from testbed.waiting import wait_until
from tests.support.rotation import Mount, certificate_files
from tests.support.site import Site, says, status

EXPIRES = 20.0
"""Seconds for which the old certificate is valid: enough for a few polls on a busy machine."""
SECONDS = 30.0
DEMANDS = {
    f"{prefix}.{key}": value
    for prefix in ("ssl_options", "management.ssl")
    for key, value in {"verify": "verify_peer", "fail_if_no_peer_cert": "true"}.items()
}
"""Each client presents a certificate."""


@pytest.fixture(scope="module")
def rabbit() -> Iterator[RabbitCluster]:
    with RabbitCluster(settings=DEMANDS, quick_statistics=True, tls=True) as cluster:
        yield cluster


def collector_of(rabbit: RabbitCluster, mount: Mount) -> RabbitCollector:
    """Both APIs with TLS, a certificate, and a password from a file."""
    return RabbitCollector(
        RabbitSettings(
            "jobs",
            (rabbit.management_url(tls=True),),
            amqp=(f"amqps://127.0.0.1:{rabbit.port('amqps')}",),
            tls=Tls(rabbit.ca_file, mount.path("tls.crt"), mount.path("tls.key")),
            login=Login("rotated", password_file=mount.path("password")),
            probe_deadline=20.0,
        )
    )


def run_all(collector: RabbitCollector | NsqCollector) -> None:
    """Run each task once; each must return complete data."""
    for name, task in collector.tasks.items():
        found = task(Until(SECONDS))
        assert list(found.problems) == [], name
        if isinstance(found, Probes):
            assert [each.receive is not None for each in found.probes] == [True]


def change_password(rabbit: RabbitCluster, password: str) -> None:
    rabbit.api("PUT", "users/rotated", {"password": password, "tags": "monitoring"})
    rabbit.allow("rotated")


def test_rabbitmq(rabbit: RabbitCluster, tmp_path: Path) -> None:
    change_password(rabbit, "first-secret")
    first = certificate_files(rabbit.certificates)
    mount = Mount(tmp_path / "secret", {**first, "password": "first-secret\n"})
    with closing(collector_of(rabbit, mount)) as collector:
        run_all(collector)
        # The broker has one password at a time, so it refuses requests between these two.
        change_password(rabbit, "second-secret")
        with pytest.raises(CollectError, match="access denied"):
            collector.backlog(Until(SECONDS))
        mount.swap({**first, "password": "second-secret\n"})
        run_all(collector)
        rabbit.ctl("close_all_connections", "rotation")
        run_all(collector)
        ends = datetime.now(UTC) + timedelta(seconds=EXPIRES)
        old = certificate_files(rabbit.certificates, EXPIRES)
        mount.swap({**old, "password": "second-secret\n"})
        run_all(collector)
        new = certificate_files(rabbit.certificates)
        mount.swap({**new, "password": "second-secret\n"})
        run_all(collector)
        wait_until(lambda: datetime.now(UTC) > ends + timedelta(seconds=1), "the old one's end")
        # All connections are made again.
        rabbit.kill(0)
        rabbit.restart(0)
        run_all(collector)


class Front:
    """HTTPS in front of an nsqd: it requires a client certificate and one of some logins."""

    def __init__(self, port: int, nsqd: str, certificates: Certificates) -> None:
        self.url = f"https://127.0.0.1:{port}"
        self.logins: set[str] = set()
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                header = self.headers.get("Authorization", "").removeprefix("Basic ")
                known = base64.b64decode(header).decode() in front.logins
                reply = requests.get(nsqd + self.path, timeout=SECONDS) if known else None
                body = b"" if reply is None else reply.content
                self.send_response(401 if reply is None else reply.status_code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = front.ends

            def log_message(self, *_: object) -> None:
                pass

        self.ends = False
        """Return whether each connection is for one request."""
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(certificates.server)
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_nsq(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    ports = PortBlock()
    ends = datetime.now(UTC) + timedelta(seconds=EXPIRES)
    old = certificate_files(certificates, EXPIRES)
    secrets = {"password": "one-secret\n", "auth": "auth-one\n"}
    mount = Mount(tmp_path / "secret", {**old, **secrets})
    site = Site(ports.take())
    valid = {"auth-one", "auth-two"}
    rights = {"topic": ".*", "channels": [".*"], "permissions": ["subscribe", "publish"]}
    good = says({"ttl": 1, "identity": "lag", "authorizations": [rights]})

    def authorize(request: BaseHTTPRequestHandler) -> None:
        known = any(f"secret={secret}" in request.path for secret in valid)
        (good if known else status(403))(request)

    site.replies["/auth"] = authorize
    with closing(site), NsqCluster(lookupds=0, options={"auth-http-address": site.name}) as nsq:
        front = Front(ports.take(), nsq.http_url(), certificates)
        front.logins = {"lag:one-secret", "lag:two-secret"}
        settings = NsqSettings(
            "events",
            nsqds=(front.url,),
            tls=Tls(certificates.ca, mount.path("tls.crt"), mount.path("tls.key")),
            login=Login("lag", password_file=mount.path("password")),
            auth_secret_file=mount.path("auth"),
            probe_deadline=20.0,
        )
        with closing(front), closing(NsqCollector(settings)) as collector:
            run_all(collector)
            renewed = {"password": "two-secret\n", "auth": "auth-two\n"}
            mount.swap({**certificate_files(certificates), **renewed})
            run_all(collector)
            front.logins.remove("lag:one-secret")
            valid.remove("auth-one")
            front.ends = True
            wait_until(lambda: datetime.now(UTC) > ends + timedelta(seconds=1), "the old one's end")
            for _ in range(3):
                run_all(collector)
            nsq.terminate("nsqd-0")
            nsq.restart("nsqd-0")
            run_all(collector)
    ports.release()
