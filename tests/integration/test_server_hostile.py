"""The HTTP server against hostile clients.

Ambiguous heads, many connections, guessed passwords, other sites.
"""

from __future__ import annotations

import base64
import resource
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import requests
import structlog.testing
import trustme

from exporter.web import webconfig
from exporter.web.server import Limits, Request, Response, Route, Server
from exporter.web.server.lanes import Lane
from exporter.web.server.limits import MOST_CONNECTIONS, connections_within
from exporter.web.server.sparing import SparingLog
from testbed.ports import PortBlock
from testbed.waiting import wait_until
from tests.support.told import Told, ToldDaemon

GET, POST = frozenset({"GET"}), frozenset({"POST"})
PATIENCE = 60.0
"""Seconds; far more than an answer takes, even on a busy machine."""


def text(body: str) -> Response:
    return Response(200, "text/plain", (body.encode(),))


ROUTES = (
    Route("/hello", GET, lambda _: text("hello")),
    Route("/-/healthy", GET, lambda _: text("healthy"), public=True),
    Route("/-/reload", POST, lambda _: text("reloaded")),
)
Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(*routes: Route, **options: Any) -> Server:
            ports = PortBlock()
            stack.callback(ports.release)
            server = Server(f"127.0.0.1:{ports.take()}", routes or ROUTES, **options)
            server.start()
            stack.callback(server.stop, 5)
            return server

        yield start


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def raw(server: Server, data: bytes, *, half_close: bool = False) -> bytes:
    """Send bytes, and return all that comes back until the server closes the connection."""
    with connect(server.port) as sock:
        sock.sendall(data)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


# Heads that two servers read in different ways


LINES = "GET /hello HTTP/1.1\r\nHost: a\r\n"
TWO_WAYS = {
    "no colon": LINES + "junk\r\n\r\n",
    "space before the colon": LINES + "X-Name : b\r\n\r\n",
    "space before the colon of a length": LINES + "Content-Length : 5\r\n\r\n",
    "no name": LINES + ": b\r\n\r\n",
    "two hosts": LINES + "Host: b\r\n\r\n",
    "the same host twice": LINES + "Host: a\r\n\r\n",
    "a host that is none": "GET /hello HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "two hosts in a line": "GET /hello HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a folded line": LINES + " folded\r\n\r\n",
    "a folded first line": "GET /hello HTTP/1.1\r\n Host: a\r\n\r\n",
    "length and chunks": LINES + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": LINES + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": LINES + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "two lengths in a line": LINES + "Content-Length: 3, 4\r\n\r\nabcd",
    "a signed length": LINES + "Content-Length: +3\r\n\r\nabc",
    "a length with an underscore": LINES + "Content-Length: 1_0\r\n\r\nabcdefghij",
    "a length in hex": LINES + "Content-Length: 0x3\r\n\r\nabc",
    "a length in other digits": LINES + "Content-Length: \xb2\r\n\r\nabc",
    "line feeds alone": "GET /hello HTTP/1.1\nHost: a\n\n",
    "one line feed alone": "GET /hello HTTP/1.1\r\nHost: a\nX-Name: b\r\n\r\n",
    "an end of line feeds": "GET /hello HTTP/1.1\r\nHost: a\n\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "a carriage return alone": "GET /hello HTTP/1.1\r\nHost: a\rX-Name: b\r\n\r\n",
    "a zero byte": "GET /hello HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "a control character": "GET /hello\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces": "GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "tabs": "GET\t/hello\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": "GET /hello\r\nHost: a\r\n\r\n",
    "another host in the target": "GET http://b/hello HTTP/1.1\r\nHost: a\r\n\r\n",
    "a fragment": "GET /hello#part HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("data", TWO_WAYS.values(), ids=TWO_WAYS)
def test_what_can_be_read_in_two_ways_is_refused(serve: Serve, data: str) -> None:
    """Everything after it on the connection is refused too: it might be another request."""
    follows = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
    reply = raw(serve(), data.encode("latin-1") + follows)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert reply.count(b"HTTP/1.1") == 1
    assert b"hello" not in reply


@pytest.mark.parametrize(
    "data",
    [
        b"GET /hel",
        b"GET /hello HTTP/1.1\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a\r\n",
        b"GET /hello HTTP/1.0\r\nHost: a\r\nX: b",
        b"POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc",
    ],
)
def test_a_request_that_is_cut_short_is_not_served(serve: Serve, data: bytes) -> None:
    reply = raw(serve(), data, half_close=True)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"hello" not in reply
    assert b"reloaded" not in reply


def test_a_client_that_closes_its_sending_side_gets_its_response(serve: Serve) -> None:
    entered, proceed = threading.Event(), threading.Event()

    def slow(_: Request) -> Response:
        entered.set()
        proceed.wait(PATIENCE)
        return text("x" * 10_000_000)

    server = serve(Route("/", GET, slow))
    with connect(server.port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert entered.wait(PATIENCE)
        before = time.process_time()
        time.sleep(0.5)  # a loop that rereads the end of the input would use all of it
        assert time.process_time() - before < 0.3
        proceed.set()
        assert read_all(sock).endswith(b"x" * 10_000_000)


def test_a_path_that_looks_like_an_address_is_a_path(serve: Serve) -> None:
    assert b" 404 " in raw(serve(), b"GET //evil/hello HTTP/1.0\r\nHost: a\r\n\r\n")


def test_a_head_in_single_bytes_and_two_in_one_piece_are_served(serve: Serve) -> None:
    server, request = serve(), b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
    with connect(server.port) as sock:
        for number in request:
            sock.sendall(bytes([number]))
        sock.sendall(request + request.replace(b"Host", b"Connection: close\r\nHost"))
        assert read_all(sock).count(b"\r\n\r\nhello") == 3


def test_a_long_path_is_not_logged_whole(serve: Serve, tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{alice: '{hashed}'}}\n")
    server = serve(web=webconfig.load(tmp_path / "web.yml"))
    with structlog.testing.capture_logs() as events:
        reply = requests.get(f"http://127.0.0.1:{server.port}/{'a' * 30_000}", timeout=PATIENCE)
    assert reply.status_code == 401
    (event,) = [event for event in events if event["event"] == "http.unauthorized"]
    assert len(str(event)) < 500


def test_what_strangers_cause_is_logged_sparingly() -> None:
    now = [0.0]
    sparing = SparingLog(clock=lambda: now[0])
    with structlog.testing.capture_logs() as events:
        for _ in range(100):
            sparing.info("http.unauthorized", path="/")
        now[0] = 11.0
        sparing.info("http.unauthorized", path="/")
    assert len(events) == 11
    assert events[-1]["left_out"] == 90


# Many clients


@contextmanager
def crowd_server(*arguments: str) -> Iterator[int]:
    """Run the server in a separate process; yield its port."""
    ports = PortBlock()
    port = ports.take()
    line = [sys.executable, "-m", "tests.support.crowd_server", str(port), *arguments]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL) as child:
        try:

            def listens() -> bool:
                assert child.poll() is None
                try:
                    connect(port).close()
                except ConnectionRefusedError:
                    return False
                return True

            wait_until(listens, "the server", PATIENCE)
            yield port
        finally:
            child.kill()
            ports.release()


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(16_000, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def get(port: int, path: str, **options: Any) -> requests.Response:
    return requests.get(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE, **options)


def worst_of(port: int, path: str, times: int, **options: Any) -> float:
    """Return the longest time of some answers, each on its own connection."""
    took = []
    for _ in range(times):
        began = time.monotonic()
        assert get(port, path, **options).status_code == 200
        took.append(time.monotonic() - began)
    return max(took)


@pytest.mark.usefixtures("many_descriptors")
def test_five_thousand_idle_and_trickling_connections_cost_descriptors_only() -> None:
    with crowd_server() as port, ExitStack() as stack:
        before = int(get(port, "/memory").text)
        crowd = []
        began = time.monotonic()
        for number in range(5000):
            sock = stack.enter_context(connect(port))
            if number % 2:
                sock.sendall(b"GET /metrics HTTP/1.1\r\nX-A: ")
            crowd.append(sock)
        trickling = crowd[1::2]
        worst = 0.0
        for turn in range(3):
            for sock in trickling:
                try:
                    sock.sendall(b"a")
                except ConnectionError:
                    assert time.monotonic() - began > 9, "cut before its time"
            worst = max(worst, worst_of(port, "/metrics", 3), worst_of(port, "/-/healthy", 3))
            if turn == 0:
                each = (int(get(port, "/memory").text) - before) / len(crowd)
        print(f"worst answer {worst:.3f} s, memory of a connection {each / 1000:.1f} kB")  # noqa: T201 - a figure for the report
        assert worst < 5
        assert each < 30_000


@pytest.mark.usefixtures("many_descriptors")
def test_a_thousand_idle_tls_connections_cost_little(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    web = tmp_path / "web.yml"
    web.write_text("tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")

    def memory(port: int) -> int:
        address = f"https://127.0.0.1:{port}/memory"
        return int(requests.get(address, timeout=PATIENCE, verify=str(tmp_path / "ca.pem")).text)

    with crowd_server(str(web)) as port, ExitStack() as stack:
        before = memory(port)
        for _ in range(1000):
            secure = context.wrap_socket(connect(port), server_hostname="127.0.0.1")
            stack.enter_context(secure)
        each = (memory(port) - before) / 1000
        print(f"memory of a TLS connection {each / 1000:.1f} kB")  # noqa: T201 - a figure for the report
        assert each < 100_000


def test_health_and_scrapes_are_answered_while_guessers_and_the_api_are_busy(
    tmp_path: Path,
) -> None:
    """70 guessers took all threads of a server with a thread for each connection."""
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(12)).decode()
    web = tmp_path / "web.yml"
    web.write_text(f"basic_auth_users: {{alice: '{hashed}'}}\n")
    right = ("alice", "right")
    with crowd_server(str(web)) as port:
        assert get(port, "/metrics", auth=right).status_code == 200  # its password is known now
        over = threading.Event()
        statuses: list[int] = []

        def guess(number: int) -> None:
            while not over.is_set():
                reply = get(port, "/metrics", auth=("alice", f"{number}-{time.monotonic()}"))
                statuses.append(reply.status_code)

        def work() -> None:
            while not over.is_set():
                statuses.append(get(port, "/api", auth=right).status_code)

        threads = [threading.Thread(target=guess, args=(number,)) for number in range(70)]
        threads += [threading.Thread(target=work) for _ in range(10)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: len(statuses) > 100, "some of them to be answered", PATIENCE)
            worst = max(worst_of(port, "/-/healthy", 5), worst_of(port, "/metrics", 5, auth=right))
        finally:
            over.set()
            for thread in threads:
                thread.join(PATIENCE)
        print(f"worst answer {worst:.3f} s")  # noqa: T201 - a figure for the report
        assert worst < 10
        assert set(statuses) == {200, 401, 503}


def test_the_connection_that_waited_longest_goes_first_also_where_it_trickles(
    serve: Serve,
) -> None:
    server = serve(limits=Limits(connections=3))
    with ExitStack() as stack:
        trickling, idle, young = (stack.enter_context(connect(server.port)) for _ in range(3))
        trickling.sendall(b"GET /hello HTTP/1.1\r\n")
        trickling.sendall(b"X: ")
        assert get(server.port, "/hello").text == "hello"
        with pytest.raises(ConnectionError):
            trickling.recv(1)
        young.sendall(b"GET /hello HTTP/1.0\r\n\r\n")
        assert read_all(young).endswith(b"hello")
        idle.sendall(b"GET /hello HTTP/1.0\r\n\r\n")
        assert read_all(idle).endswith(b"hello")


def test_clients_that_take_their_time_give_way_to_a_health_check(serve: Serve) -> None:
    large = b"x" * 24_000_000
    routes = (*ROUTES, Route("/large", GET, lambda _: Response(200, "a/b", (large,))))
    server = serve(*routes, limits=Limits(connections=3))
    with ExitStack() as stack:
        for _ in range(3):
            sock = stack.enter_context(connect(server.port))
            sock.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            assert sock.recv(1) == b"H"
        assert get(server.port, "/-/healthy").text == "healthy"


def test_responses_that_are_not_read_are_not_kept_without_bound(serve: Serve) -> None:
    def large(_: Request) -> Response:
        return Response(200, "a/b", (bytes(16_000_000),))

    server = serve(Route("/large", GET, large), limits=Limits(held_bytes=40_000_000))
    with ExitStack() as stack, structlog.testing.capture_logs() as events:
        for _ in range(4):
            sock = stack.enter_context(connect(server.port))
            sock.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")

        def cut() -> int:
            return [event["event"] for event in events].count("http.client_cut")

        wait_until(lambda: cut() == 2, "two of them to be cut", PATIENCE)


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [
        (20, 8),
        (256, 128),
        (1024, 768),
        (10_000, 7500),
        (1_048_576, MOST_CONNECTIONS),
        (resource.RLIM_INFINITY, MOST_CONNECTIONS),
    ],
)
def test_the_process_keeps_descriptors_for_itself(descriptors: int, connections: int) -> None:
    assert connections_within(descriptors) == connections


# Work outside the event loop


def test_a_handler_that_hangs_stops_no_other_lane_and_its_own_says_so(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.web.server.routing.LANE_WAITING", 2)
    entered, proceed = threading.Semaphore(0), threading.Event()
    queued = threading.Semaphore(0)
    add_thread = Lane._add_thread

    def counted(lane: Lane) -> None:
        """The work is queued in the same step of the loop."""
        add_thread(lane)
        if lane._name == "slow":
            queued.release()

    monkeypatch.setattr(Lane, "_add_thread", counted)

    def hang(_: Request) -> Response:
        entered.release()
        proceed.wait(PATIENCE)
        return text("late")

    async def quick(_: Request) -> Response:
        return text("quick")

    server = serve(
        Route("/hang", GET, hang, lane="slow"),
        Route("/quick", GET, quick),
        Route("/other", GET, lambda _: text("other")),
    )
    with ExitStack() as stack:
        socks: Sequence[socket.socket] = [
            stack.enter_context(connect(server.port)) for _ in range(4)
        ]
        for number, sock in enumerate(socks):
            # Two are running before two others wait.
            sock.sendall(b"GET /hang HTTP/1.0\r\n\r\n")
            assert queued.acquire(timeout=PATIENCE)
            assert number > 1 or entered.acquire(timeout=PATIENCE)
        assert get(server.port, "/hang").status_code == 503
        assert get(server.port, "/quick").text == "quick"
        assert get(server.port, "/other").text == "other"
        proceed.set()
        assert all(read_all(sock).endswith(b"late") for sock in socks)


def test_a_web_config_that_can_not_be_read_keeps_no_health_check_waiting(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.web.server.webfile.READ_SECONDS", 0.2)
    (tmp_path / "web.yml").write_text("http_server_config: {headers: {X-Frame-Options: deny}}\n")
    config = webconfig.load(tmp_path / "web.yml")
    proceed = threading.Event()

    def hang() -> webconfig.WebSettings:
        proceed.wait(PATIENCE)
        return config.in_force

    monkeypatch.setattr(config, "current", hang)
    monkeypatch.setattr(config, "changed", lambda: True)
    server = serve(web=config)
    assert get(server.port, "/-/healthy").text == "healthy"
    reply = get(server.port, "/hello")
    assert (reply.text, reply.headers["X-Frame-Options"]) == ("hello", "deny")
    proceed.set()


# Other sites


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "anything"}, 403),
        ({"Origin": "http://{host}"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://{host}.evil.example"}, 403),
        ({"Origin": "http://{host}", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://metrics.example", "Host": "METRICS.example:80"}, 200),
        ({"Origin": "https://metrics.example", "Host": "metrics.example"}, 200),
        ({"Origin": "https://metrics.example:444", "Host": "metrics.example"}, 403),
        ({"Origin": "http://[", "Host": "["}, 403),
    ],
)
def test_a_page_of_another_site_reloads_nothing(
    serve: Serve, headers: dict[str, str], status: int
) -> None:
    server = serve()
    host = f"127.0.0.1:{server.port}"
    sent = {name: value.format(host=host) for name, value in headers.items()}
    reply = requests.post(f"http://{host}/-/reload", headers=sent, timeout=PATIENCE)
    assert reply.status_code == status
    if "Host" not in headers:
        assert requests.get(f"http://{host}/hello", headers=sent, timeout=PATIENCE).ok


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("metrics.example", 200),
        ("Metrics.Example.", 200),
        ("metrics.example:9877", 200),
        ("10.0.0.5:9877", 200),
        ("10.0.0.5", 421),
        ("[::1]:9877", 200),
        ("evil.example", 421),
        ("metrics.example.evil.example", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_only_allowed_hosts_are_served_and_health_to_all(
    serve: Serve, host: str, status: int
) -> None:
    allowed = ("metrics.example", "10.0.0.5:9877", "[::1]")
    server = serve(hosts=lambda: allowed)
    for path, expected in (("/hello", status), ("/nothing", 404 if status == 200 else 421)):
        reply = raw(server, f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        assert reply.startswith(f"HTTP/1.1 {expected} ".encode())
    health = raw(server, f"GET /-/healthy HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
    assert health.endswith(b"healthy")


def test_without_a_host_nothing_but_health_is_served_where_hosts_are_named(serve: Serve) -> None:
    server = serve(hosts=lambda: ("metrics.example",))
    assert b" 421 " in raw(server, b"GET /hello HTTP/1.0\r\n\r\n")
    assert raw(server, b"GET /-/healthy HTTP/1.0\r\n\r\n").endswith(b"healthy")


def test_a_guess_is_no_secret_in_the_log(serve: Serve, tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{alice: '{hashed}'}}\n")
    server = serve(web=webconfig.load(tmp_path / "web.yml"))
    with structlog.testing.capture_logs() as events:
        assert get(server.port, "/hello", auth=("alice", "hunter2")).status_code == 401
    assert "hunter2" not in str(events)
    assert base64.b64encode(b"alice:hunter2").decode() not in str(events)


def test_allowed_hosts_are_those_of_the_config_in_force() -> None:
    with ToldDaemon(a=Told()) as told:
        assert requests.get(f"{told.url}/metrics", timeout=PATIENCE).ok
        daemon = told.daemon
        assert daemon is not None
        changed = daemon._config.model_copy(update={"allowed_hosts": ("metrics.example",)})
        daemon._config = changed
        assert requests.get(f"{told.url}/metrics", timeout=PATIENCE).status_code == 421
        assert requests.get(f"{told.url}/-/healthy", timeout=PATIENCE).ok
        named = {"Host": "metrics.example"}
        assert requests.get(f"{told.url}/metrics", headers=named, timeout=PATIENCE).ok
