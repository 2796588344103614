"""Connections after refusals: each is closed when its request has failed.

Not only when the garbage is collected.
"""

from __future__ import annotations

import gc
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from exporter.collectors import http_sessions
from exporter.collectors.access import Login, Tls
from exporter.collectors.http import HttpClient
from exporter.collectors.kafka.raw.brokers import Brokers
from exporter.collectors.nsq.nodes import Nsqd
from exporter.collectors.nsq.probe import NsqProber
from exporter.collectors.nsq.settings import NsqSettings
from exporter.collectors.parallel import Pool
from exporter.collectors.rabbitmq.collector import RabbitCollector
from exporter.collectors.rabbitmq.probe_connection import ProbeConnection
from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.model import CollectError, Until
from exporter.show.top import from_url
from testbed.certificates import Certificates, make_certificates
from testbed.ports import PortBlock
from testbed.waiting import wait_until

ROUNDS, AT_ONCE = 40, 5
KEPT = 2 * AT_ONCE
"""Connections that may be open at the end: those that are kept for the next request."""
SECONDS = 30.0
Talk = Callable[[socket.socket], None]


class Server:
    """Answers each client with `talk`, and counts the connections that clients have not closed."""

    def __init__(self, port: int, tls: Certificates | None = None) -> None:
        self.name = f"127.0.0.1:{port}"
        self.url = f"http{'s' if tls else ''}://{self.name}"
        self.talk: Talk = lambda _: None
        self.accepted = 0
        self.open = 0
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None
        if tls is not None:
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._context.load_cert_chain(tls.server)
        self._socket = socket.create_server(("127.0.0.1", port), backlog=200)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self.accepted += 1
            self.open += 1
        with connection, suppress(OSError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection, suppress(OSError):
                self.talk(connection)
                # Wait until the client closes its end, whatever was sent.
                while connection.recv(4096):
                    pass
        with self._lock:
            self.open -= 1

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def encrypted(certificates: Certificates) -> Iterator[Server]:
    ports = PortBlock()
    with closing(Server(ports.take(), certificates)) as server:
        yield server
    ports.release()


@pytest.fixture
def plain() -> Iterator[Server]:
    ports = PortBlock()
    with closing(Server(ports.take())) as server:
        yield server
    ports.release()


@pytest.fixture(autouse=True)
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def requests_of(connection: socket.socket) -> Iterator[bytes]:
    """Yield the heads of a client's requests."""
    seen = b""
    while True:
        while b"\r\n\r\n" not in seen:
            piece = connection.recv(4096)
            if not piece:
                return
            seen += piece
        head, _, seen = seen.partition(b"\r\n\r\n")
        yield head


def answers(status: int, body: bytes = b"no", head: bytes = b"") -> Talk:
    """Answers each request, and keeps the connection open."""
    whole = b"HTTP/1.1 %d Said\r\n%sContent-Length: %d\r\n\r\n" % (status, head, len(body)) + body

    def talk(connection: socket.socket) -> None:
        for _ in requests_of(connection):
            connection.sendall(whole)

    return talk


def says_once(text: bytes) -> Talk:
    """Reads something, sends the text, and then nothing."""

    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(text)

    return talk


def leaves(connection: socket.socket) -> None:
    """Closes the connection without an answer."""
    connection.recv(4096)
    connection.shutdown(socket.SHUT_RDWR)


HEAD = b"HTTP/1.1 200 OK\r\n"
REFUSALS: dict[str, Talk] = {
    "404": answers(404),
    "404 without a body": answers(404, b""),
    "404 with a long body": answers(404, b"x" * 100_000),
    "a login that is refused": answers(401),
    "a right that is not given": answers(403),
    "a server's fault": answers(500),
    "a redirect": answers(302, head=b"Location: http://127.0.0.1:1/\r\n"),
    "a page that is no JSON": answers(200, b"<html>"),
    "a reply that is cut": says_once(HEAD + b"Content-Length: 9\r\n\r\n[1"),
    "a connection that ends": leaves,
    "what is no HTTP": says_once(b"\x15\x03\x01\x00\x02\x02\x50\r\n\r\n"),
    "chunks that are none": says_once(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "gzip that is none": answers(200, b"not gzip", b"Content-Encoding: gzip\r\n"),
}
NEVER_ENDING = ("a reply that is cut",)
"""They end at the deadline."""


def all_closed(server: Server, most: int = 0) -> None:
    """Connections that clients close are gone as soon as the server has seen it."""
    with suppress(TimeoutError):
        wait_until(lambda: server.open <= most, "the connections to be closed", 10)
    assert server.open <= most


@pytest.mark.parametrize("what", REFUSALS)
def test_refusals_leave_no_connection_open(plain: Server, what: str) -> None:
    plain.talk = REFUSALS[what]
    late = what in NEVER_ENDING
    refuse(plain, Tls(), ROUNDS // 10 if late else ROUNDS, late=late)


@pytest.mark.parametrize("what", ["404", "a connection that ends"])
def test_refusals_leave_no_tls_connection_open(
    encrypted: Server, certificates: Certificates, what: str
) -> None:
    encrypted.talk = REFUSALS[what]
    refuse(encrypted, Tls(certificates.ca), 4)


def test_servers_that_are_not_trusted_leave_no_connection_open(encrypted: Server) -> None:
    refuse(encrypted, Tls(), 4)


def refuse(server: Server, tls: Tls, rounds: int, *, late: bool = False) -> None:
    """Send several requests at once, and count the connections that are left."""
    client = HttpClient("jobs", tls, Login("me", "hunter2"))
    pool, kept = Pool(), []
    for _ in range(rounds):
        seconds = 0.1 if late else SECONDS
        ask = partial(client.get_json, server.url, Until(seconds))
        kept.append(pool.all_at_once(dict.fromkeys("abcde", ask), Until(SECONDS)))
    # Errors that are kept, for example by a log, must not keep connections open.
    assert {type(each) for answer in kept for each in answer.values()} <= {
        CollectError,
        *CollectError.__subclasses__(),
    }
    # A body that is not JSON came over a valid connection, which is kept.
    all_closed(server, KEPT)
    client.close()
    all_closed(server)
    pool.close()


def test_what_is_not_used_any_more_is_closed(
    plain: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes that come and go: connections to nodes that are gone must not stay open for ever."""
    monkeypatch.setattr(http_sessions, "IDLE_SECONDS", 0.0)
    plain.talk = answers(200, b"1")
    client = HttpClient("jobs", Tls(), Login())
    for turn in range(200):
        # For the client this is another origin each time.
        host = plain.name.replace("127.0.0.1", f"127.0.0.{1}")
        assert client.get_json(f"http://u{turn}@{host}", Until(SECONDS)) == 1
    assert plain.accepted == 200
    all_closed(plain, 1)


def test_a_collector_that_closes_leaves_nothing_open(plain: Server) -> None:
    plain.talk = answers(200, b"[]")
    for _ in range(10):
        settings = RabbitSettings("jobs", (plain.url,), login=Login("me", "hunter2"), probe=False)
        collector = RabbitCollector(settings)
        collector.backlog(Until(SECONDS))
        collector.check(Until(SECONDS))
        collector.close()
    assert plain.accepted >= 10
    all_closed(plain)


def test_refused_logins_of_kafka_leave_no_connection_open(
    plain: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that closes the connection instead of answering the login."""
    monkeypatch.setattr("exporter.collectors.kafka.raw.brokers.REST", 0.0)
    plain.talk = leaves
    properties = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN"}
    brokers = Brokers(lambda: properties)
    kept = [brokers.ask({plain.name: lambda _: None}, Until(SECONDS)) for _ in range(200)]
    assert all(isinstance(answer[plain.name], CollectError) for answer in kept)
    assert plain.accepted >= 200
    all_closed(plain)


def other_version(connection: socket.socket) -> None:
    """Answers with another version of AMQP than requested, and closes the connection."""
    connection.recv(4096)
    connection.sendall(b"AMQP\x00\x00\x09\x00")
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("talk", [leaves, other_version])
def test_refused_probes_of_rabbitmq_leave_no_connection_open(plain: Server, talk: Talk) -> None:
    plain.talk = talk
    line = ProbeConnection(RabbitSettings("jobs", ()), f"amqp://{plain.name}")
    kept = [line.probe(5.0) for _ in range(20)]
    assert all(outcome.problem is not None for outcome in kept)
    assert plain.accepted >= 20
    all_closed(plain)


NSQ_REFUSES = b"\x00\x00\x00\x0d\x00\x00\x00\x01E_INVALID"


@pytest.mark.parametrize("talk", [leaves, says_once(NSQ_REFUSES)])
def test_refused_probes_of_nsq_leave_no_connection_open(plain: Server, talk: Talk) -> None:
    plain.talk = talk
    host, port = plain.name.split(":")
    prober = NsqProber(NsqSettings("events"))
    node = Nsqd(plain.url, plain.name, (host, int(port)))
    kept = [prober.run([node], Until(5.0)) for _ in range(200)]
    assert all(probes.problems for probes in kept)
    assert plain.accepted >= 200
    all_closed(plain)


def test_top_leaves_no_connection_open(plain: Server) -> None:
    """The daemon refuses the connection."""
    plain.talk = answers(401)
    fetch, kept = from_url(plain.url), []
    for _ in range(100):
        with pytest.raises(OSError, match="401") as raised:
            fetch()
        kept.append(raised.value)
    all_closed(plain)


def test_descriptors_stay_the_same(plain: Server) -> None:
    """Connections of this process, including the watchdog's copies."""
    plain.talk = answers(404)
    client, pool = HttpClient("jobs", Tls(), Login()), Pool()

    def rounds(count: int) -> int:
        for _ in range(count):
            ask = partial(client.get, plain.url, Until(SECONDS))
            pool.all_at_once(dict.fromkeys("abcde", ask), Until(SECONDS))
        all_closed(plain)
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = rounds(2)
    assert rounds(100) <= before + 1
    pool.close()
