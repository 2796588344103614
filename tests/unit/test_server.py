"""The HTTP server with real sockets: what clients get, and what they cannot do to it."""

import base64
import http.client
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import requests
import structlog.testing
import trustme

from exporter.web import webconfig
from exporter.web.server import Limits, Request, Response, Route, Server, ServerError
from exporter.web.server.listener import Listener

GET, POST = frozenset({"GET"}), frozenset({"POST"})
LARGE = (
    bytes(range(256)) * 4096 * 24
)  # 24 MB: more than the kernel keeps for a client that doesn't read
Serve = Callable[..., Server]
HASTE = Limits(head_seconds=0.1)


def free_port() -> int:
    """Find a free port below the range from which outgoing connections get theirs."""
    while True:
        port = random.randrange(15000, 32000)  # not a secret
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def text(body: str) -> Response:
    return Response(200, "text/plain", (body.encode(),))


def echo(request: Request) -> Response:
    return text(
        f"{request.method} {request.path} {dict(request.query)} {request.headers['x-name']}"
    )


def broken(_: Request) -> Response:
    message = "the secret reason"
    raise RuntimeError(message)


ROUTES = (
    Route("/echo", GET, echo),
    Route("/hello", GET, lambda _: text("hello")),
    Route("/-/healthy", GET, lambda _: text("healthy"), public=True),
    Route("/-/reload", POST, lambda _: text("reloaded")),
    Route("/broken", GET, broken),
    Route("/large", GET, lambda _: Response(200, "text/plain", (b"first,", LARGE, b",last"))),
)


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(
            *routes: Route, web: webconfig.WebConfig | None = None, limits: Limits | None = None
        ) -> Server:
            while True:
                server = Server(
                    f"127.0.0.1:{free_port()}", routes or ROUTES, web, limits or Limits()
                )
                with suppress(ServerError):  # another process was faster
                    server.start()
                    stack.callback(server.stop, 5)
                    return server

        yield start


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def raw(server: Server, request: bytes) -> bytes:
    """Send bytes, and return all that comes back until the server closes the connection."""
    with connect(server) as sock:
        sock.sendall(request)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def ended(sock: socket.socket) -> bool:
    """Wait until the other side closed the connection, cleanly or with a reset."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        return True
    return True


def url(server: Server, path: str, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.port}{path}"


def get(server: Server, path: str, **kwargs: object) -> requests.Response:
    return requests.get(url(server, path), timeout=30, **kwargs)  # type: ignore[arg-type]


# What a client gets


def test_request_reaches_its_handler_whole(serve: Serve) -> None:
    reply = get(serve(), "/ec%68o?a=1&b=%20&a=2", headers={"X-Name": "me"})
    assert reply.text == "GET /echo {'a': '2', 'b': ' '} me"


def test_repeated_headers_are_joined(serve: Serve) -> None:
    request = b"GET /echo HTTP/1.0\r\nX-Name: a\r\nX-NAME: b\r\n\r\n"
    assert raw(serve(), request).endswith(b" a, b")


def test_response_has_length_type_and_no_sniffing(serve: Serve) -> None:
    headers = get(serve(), "/hello").headers
    assert headers["Content-Length"] == "5"
    assert headers["Content-Type"] == "text/plain"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_handler_adds_headers_and_decides_status(serve: Serve) -> None:
    server = serve(Route("/", GET, lambda _: Response(503, "text/plain", (b"no",), (("A", "b"),))))
    reply = get(server, "/")
    assert (reply.status_code, reply.headers["A"], reply.text) == (503, "b", "no")


def test_chunks_of_every_size_arrive_in_order(serve: Serve) -> None:
    sizes = (0, 1, 255, 262_143, 262_144, 262_145, 3, 900_000, 7)
    chunks = tuple(bytes([number]) * size for number, size in enumerate(sizes))
    server = serve(Route("/", GET, lambda _: Response(200, "x/y", chunks)))
    assert get(server, "/").content == b"".join(chunks)


class Packed:
    """Ten thousand bytes that are one in memory."""

    length = 10_000
    packed_length = 1

    def __init__(self, letter: bytes) -> None:
        self._letter = letter

    def plain(self) -> bytes:
        return self._letter * self.length


def test_packed_chunks_are_unpacked_when_they_are_sent(serve: Serve) -> None:
    chunks = (b"first", Packed(b"a"), Packed(b"b"), b"last")
    server = serve(Route("/", GET, lambda _: Response(200, "x/y", chunks)))
    answer = get(server, "/")
    assert answer.content == b"first" + b"a" * 10_000 + b"b" * 10_000 + b"last"
    assert answer.headers["Content-Length"] == "20009"


def test_large_response_is_whole(serve: Serve) -> None:
    assert get(serve(), "/large").content == b"first," + LARGE + b",last"


def test_head_has_the_length_and_no_body(serve: Serve) -> None:
    reply = raw(serve(), b"HEAD /large HTTP/1.1\r\nConnection: close\r\n\r\n")
    head, _, body = reply.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(LARGE) + 11}".encode() in head
    assert body == b""


def test_connection_is_kept_for_the_next_request(serve: Serve) -> None:
    server = serve()
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as client:
        sockets = set()
        for path in ("/hello", "/nothing", "/broken", "/hello"):
            client.request("GET", path)
            sockets.add(client.sock)
            client.getresponse().read()
    assert len(sockets) == 1


def test_body_is_read_past_and_the_next_request_answered(serve: Serve) -> None:
    body = b"GET /broken HTTP/1.1\r\n\r\n"
    first = b"POST /-/reload HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    reply = raw(serve(), first + b"GET /hello HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert reply.count(b"HTTP/1.1 200 OK") == 2
    assert reply.endswith(b"hello")


def test_http_1_0_connection_ends_after_the_response(serve: Serve) -> None:
    assert raw(serve(), b"GET /hello HTTP/1.0\r\n\r\n").endswith(b"Connection: close\r\n\r\nhello")


def test_unknown_path_names_the_known_ones(serve: Serve) -> None:
    reply = get(serve(), "/metric")
    assert reply.status_code == 404
    assert reply.text == (
        "not found; available paths: /echo, /hello, /-/healthy, /-/reload, /broken, /large\n"
    )


@pytest.mark.parametrize(
    ("method", "path", "allow"), [("GET", "/-/reload", "POST"), ("POST", "/hello", "GET, HEAD")]
)
def test_wrong_method_names_the_right_ones(
    serve: Serve, method: str, path: str, allow: str
) -> None:
    reply = requests.request(method, url(serve(), path), timeout=30)
    assert (reply.status_code, reply.headers["Allow"]) == (405, allow)


def test_failing_handler_tells_the_log_and_not_the_client(serve: Serve) -> None:
    server = serve()
    with structlog.testing.capture_logs() as events:
        reply = get(server, "/broken")
    assert reply.status_code == 500
    assert "secret" not in reply.text
    (event,) = [event for event in events if event["event"] == "http.handler_failed"]
    assert (event["path"], event["exc_info"]) == ("/broken", True)


# Requests that are refused


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /hello\r\n\r\n", 400),
        (b"GET /hello HTTP/x\r\n\r\n", 400),
        (b"GET /hello HTTP/2.0\r\n\r\n", 505),
        (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
        (b"GET /?" + b"&".join([b"a=b"] * 101) + b" HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 9000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431),
        (b"POST /-/reload HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /-/reload HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /-/reload HTTP/1.1\r\nContent-Length: 65537\r\n\r\n" + b"a" * 65537, 413),
        (b"POST /-/reload HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 413),
        (b"POST /-/reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
    ],
)
def test_bad_request_is_refused_and_the_connection_ended(
    serve: Serve, request_bytes: bytes, status: int
) -> None:
    reply = raw(serve(), request_bytes)
    assert reply.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"nonsense" not in reply


def test_largest_body_is_taken(serve: Serve) -> None:
    reply = requests.post(url(serve(), "/-/reload"), data=b"a" * 65536, timeout=30)
    assert reply.text == "reloaded"


# What a slow or silent client cannot do


@pytest.mark.parametrize("sent", [b"", b"GET /hel"])
def test_client_that_sends_no_request_is_cut(serve: Serve, sent: bytes) -> None:
    with connect(serve(limits=Limits(head_seconds=0.1))) as sock:
        sock.sendall(sent)
        assert ended(sock)


def test_client_that_dribbles_is_cut(serve: Serve) -> None:
    def dribble(sock: socket.socket) -> None:
        for _ in range(3000):  # each byte is in time, all of them together are not
            sock.sendall(b"G")
            time.sleep(0.01)

    with connect(serve(limits=Limits(head_seconds=0.3))) as sock, pytest.raises(ConnectionError):
        dribble(sock)


def test_idle_connection_is_ended(serve: Serve) -> None:
    with connect(serve(limits=Limits(idle_seconds=0.1))) as sock:
        sock.sendall(b"GET /hello HTTP/1.1\r\n\r\n")
        assert ended(sock)


def test_client_that_does_not_read_is_cut(serve: Serve) -> None:
    with structlog.testing.capture_logs() as events:
        server = serve(limits=Limits(piece_seconds=0.2))
        with connect(server) as sock:
            sock.sendall(b"GET /large HTTP/1.1\r\n\r\n")
            # Check this in the log: reading would be what this client does not do.
            wait_for(lambda: any(event["event"] == "http.client_cut" for event in events))
            received = 0
            with suppress(ConnectionError):
                received = sum(map(len, iter(lambda: sock.recv(1 << 20), b"")))
    assert received < len(LARGE)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_clients_that_do_not_read_do_not_block_others(serve: Serve) -> None:
    server = serve()
    with ExitStack() as stack:
        for _ in range(20):
            sock = stack.enter_context(connect(server))
            sock.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        assert get(server, "/-/healthy").text == "healthy"


def test_idle_connection_gives_way_when_all_are_taken(serve: Serve) -> None:
    server = serve(limits=Limits(connections=3))
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(server)) for _ in range(3)]
        assert get(server, "/hello").text == "hello"
        assert ended(idle[0])


def test_connection_waits_while_all_are_busy(serve: Serve) -> None:
    entered, proceed = threading.Event(), threading.Event()

    def slow(_: Request) -> Response:
        entered.set()
        proceed.wait(30)
        return text("slow")

    server = serve(Route("/slow", GET, slow), *ROUTES, limits=Limits(connections=1))
    with connect(server) as busy:
        busy.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        assert entered.wait(30)
        with connect(server) as waiting:
            waiting.sendall(b"GET /hello HTTP/1.0\r\n\r\n")
            proceed.set()
            assert b"".join(iter(lambda: waiting.recv(4096), b"")).endswith(b"hello")


def test_lack_of_descriptors_is_logged_and_lived_through(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, accept, failures = serve(), socket.socket.accept, iter([OSError(24, "Too many")])

    def failing(sock: socket.socket) -> object:
        for failure in failures:
            raise failure
        return accept(sock)

    monkeypatch.setattr(socket.socket, "accept", failing)
    with structlog.testing.capture_logs() as events:
        assert get(server, "/hello").text == "hello"
    assert {"event": "http.accept_failed", "reason": "Too many", "log_level": "error"} in events


def test_lack_of_threads_is_logged_and_lived_through(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, start = serve(), threading.Thread.start
    failures = iter([RuntimeError("can't start new thread")])

    def failing(thread: threading.Thread) -> None:
        for failure in failures:
            raise failure
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", failing)
    with structlog.testing.capture_logs() as events:
        refused = get(server, "/hello")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert get(server, "/hello").text == "hello"
    assert [event["event"] for event in events] == ["http.thread_failed", "http.busy"]


def test_an_accepting_loop_that_fails_goes_on(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code outside the handlers may fail too: a bug, or a log that cannot be written."""
    monkeypatch.setattr("exporter.web.server.listener.RETRY_SECONDS", 0.01)
    accept, failures = Listener._admit, iter([MemoryError(), RuntimeError("a bug")])

    def failing(*arguments: Any) -> None:
        for failure in failures:
            raise failure
        accept(*arguments)

    monkeypatch.setattr(Listener, "_admit", failing)
    with structlog.testing.capture_logs() as events:
        server = serve()
        for _ in range(2):
            with connect(server) as sock:
                assert ended(sock)
        assert get(server, "/hello").text == "hello"
    assert [e["event"] for e in events].count("http.accept_loop_failed") == 2


def test_a_sweep_that_fails_is_tried_again(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, failures = Listener.sweep, iter([MemoryError(), RuntimeError("a bug")])

    def failing(listener: Listener) -> None:
        for failure in failures:
            raise failure
        sweep(listener)

    monkeypatch.setattr(Listener, "sweep", failing)
    with structlog.testing.capture_logs() as events, connect(serve(limits=HASTE)) as sock:
        assert ended(sock)
    assert [e["event"] for e in events].count("http.sweep_failed") == 2


def test_a_connection_that_can_not_be_begun_ends_no_other(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, begin = serve(), Listener._begin
    failures = iter([RuntimeError("a bug")])

    def failing(*arguments: Any) -> None:
        for failure in failures:
            raise failure
        begin(*arguments)

    monkeypatch.setattr(Listener, "_begin", failing)
    with structlog.testing.capture_logs() as events:
        with connect(server) as sock:
            assert ended(sock)
        assert get(server, "/hello").text == "hello"
    assert [event["event"] for event in events] == ["http.connection_failed"]


def test_a_stop_right_after_the_start_returns(serve: Serve) -> None:
    for _ in range(10):
        serve().stop(5)


# Starting and stopping


def test_port_is_the_real_one() -> None:
    server = Server("127.0.0.1:0", ROUTES)
    with pytest.raises(ServerError, match="not been started"):
        _ = server.port
    server.start()
    try:
        assert get(server, "/hello").text == "hello"
    finally:
        server.stop(5)


@pytest.mark.parametrize("listen", [":{}", "[::]:{}", "[::1]:{}", "localhost:{}", "0.0.0.0:{}"])
def test_every_way_to_write_an_address_serves(listen: str) -> None:
    if "[::" in listen and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    server = Server(listen.format(free_port()), ROUTES)
    server.start()
    try:
        host = "[::1]" if listen.startswith("[::1]") else "127.0.0.1"
        if listen.startswith("localhost"):
            host = "localhost"
        reply = requests.get(f"http://{host}:{server.port}/hello", timeout=30)
        assert reply.text == "hello"
    finally:
        server.stop(5)


@pytest.mark.parametrize(
    ("listen", "advice"),
    [
        ("9877", "expected host:port"),
        ("localhost", "expected host:port"),
        ("::1:9877", "expected host:port"),
        ("127.0.0.1:70000", "expected host:port"),
        ("192.0.2.1:20000", "does not belong to this machine"),
        ("no-such-host.invalid:20000", "the host name has no address"),
        ("no..host:20000", "not a valid host name"),
    ],
)
def test_bad_address_is_explained(listen: str, advice: str) -> None:
    with pytest.raises(ServerError, match=advice):
        Server(listen, ROUTES).start()


def test_taken_port_is_explained(serve: Serve) -> None:
    with pytest.raises(ServerError, match="the port is in use"):
        Server(f"127.0.0.1:{serve().port}", ROUTES).start()


def test_missing_permission_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(ServerError, match="from 1024 up"):
        Server("127.0.0.1:80", ROUTES).start()


def test_stop_is_bounded_with_idle_silent_and_stuck_clients(serve: Serve) -> None:
    server = serve()
    with connect(server) as silent, connect(server) as stuck, requests.Session() as kept:
        kept.get(url(server, "/hello"), timeout=30)
        stuck.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        assert stuck.recv(1)
        began = time.monotonic()
        server.stop(2)
        # Far less than the stuck client could take otherwise: `piece_seconds` is 30.
        assert time.monotonic() - began < 10
        assert ended(silent)
        assert ended(stuck)


def test_stop_lets_a_response_finish(serve: Serve) -> None:
    entered, proceed = threading.Event(), threading.Event()

    def slow(_: Request) -> Response:
        entered.set()
        proceed.wait(30)
        return text("finished")

    server = serve(Route("/", GET, slow))
    with connect(server) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert entered.wait(30)
        stopping = threading.Thread(target=server.stop, args=(30,))
        stopping.start()
        proceed.set()
        reply = b"".join(iter(lambda: sock.recv(4096), b""))
        stopping.join(30)
    assert reply.endswith(b"Connection: close\r\n\r\nfinished")
    assert not stopping.is_alive()


def test_stop_returns_even_where_a_handler_never_does(serve: Serve) -> None:
    entered, proceed = threading.Event(), threading.Event()

    def stuck(_: Request) -> Response:
        entered.set()
        proceed.wait(60)
        return text("")

    server = serve(Route("/", GET, stuck))
    with connect(server) as sock, structlog.testing.capture_logs() as events:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert entered.wait(30)
        server.stop(0.3)
        proceed.set()
    assert {"event": "http.connections_abandoned", "count": 1, "log_level": "warning"} in events


def test_port_is_free_after_stop_and_stop_may_be_repeated(serve: Serve) -> None:
    server = serve()
    port = server.port
    server.stop(5)
    server.stop(5)
    with socket.create_server(("127.0.0.1", port)):
        pass


# TLS and authentication


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def write_certificate(authority: trustme.CA, folder: Path, name: str, *names: str) -> None:
    issued = authority.issue_cert(*names)
    issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))


def tls_config(folder: Path, rest: str = "") -> webconfig.WebConfig:
    path = folder / "web.yml"
    path.write_text(f"tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n{rest}")
    return webconfig.load(path)


CLIENTS = """\
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
"""


def test_https_serves_health_and_large_pages(
    serve: Serve, authority: trustme.CA, tmp_path: Path
) -> None:
    write_certificate(authority, tmp_path, "server", "127.0.0.1")
    server = serve(web=tls_config(tmp_path))
    ca = str(tmp_path / "ca.pem")
    with requests.Session() as session:
        health = session.get(url(server, "/-/healthy", "https"), timeout=30, verify=ca)
        page = session.get(url(server, "/large", "https"), timeout=30, verify=ca)
    assert health.text == "healthy"
    assert page.content == b"first," + LARGE + b",last"


def test_plain_http_on_the_tls_port_is_told_so(
    serve: Serve, authority: trustme.CA, tmp_path: Path
) -> None:
    write_certificate(authority, tmp_path, "server", "127.0.0.1")
    assert b"speaks HTTPS" in raw(serve(web=tls_config(tmp_path)), b"GET / HTTP/1.1\r\n\r\n")


def test_client_silent_in_the_handshake_blocks_nobody_and_is_cut(
    serve: Serve, authority: trustme.CA, tmp_path: Path
) -> None:
    write_certificate(authority, tmp_path, "server", "127.0.0.1")
    server = serve(web=tls_config(tmp_path), limits=Limits(head_seconds=1))
    with connect(server) as silent:
        reply = requests.get(
            url(server, "/hello", "https"), timeout=30, verify=str(tmp_path / "ca.pem")
        )
        assert reply.text == "hello"
        assert ended(silent)


@pytest.mark.parametrize(("name", "accepted"), [("prometheus.test", True), ("other.test", False)])
def test_client_certificate_and_its_name_decide(
    serve: Serve, authority: trustme.CA, tmp_path: Path, name: str, accepted: bool
) -> None:
    write_certificate(authority, tmp_path, "server", "127.0.0.1")
    write_certificate(authority, tmp_path, "client", name)
    web = tls_config(tmp_path, CLIENTS + "  client_allowed_sans: [prometheus.test]\n")
    server = serve(web=web)
    ca = str(tmp_path / "ca.pem")
    pair = (str(tmp_path / "client.pem"), str(tmp_path / "client.key"))

    def ask(cert: tuple[str, str] | None) -> bool:
        try:
            reply = requests.get(url(server, "/hello", "https"), cert=cert, verify=ca, timeout=30)
        except requests.ConnectionError:
            return False
        return reply.text == "hello"

    assert ask(pair) is accepted
    assert ask(None) is False


def test_new_certificate_is_served_without_a_restart(
    serve: Serve, authority: trustme.CA, tmp_path: Path
) -> None:
    write_certificate(authority, tmp_path, "server", "127.0.0.1")
    server = serve(web=tls_config(tmp_path))

    def served() -> bytes | None:
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        with context.wrap_socket(connect(server), server_hostname="127.0.0.1") as secure:
            return secure.getpeercert(binary_form=True)

    before = served()
    assert served() == before
    write_certificate(authority, tmp_path, "server", "127.0.0.1")
    assert served() != before


def test_password_is_asked_for_except_where_public(serve: Serve, tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{alice: '{hashed}'}}\n")
    server = serve(web=webconfig.load(tmp_path / "web.yml"))
    assert get(server, "/hello", auth=("alice", "right")).text == "hello"
    assert get(server, "/-/healthy").text == "healthy"
    with structlog.testing.capture_logs() as events:
        refused = get(server, "/hello", auth=("alice", "wrong"))
        assert get(server, "/nothing").status_code == 401
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert "wrong" not in str(events)
    assert base64.b64encode(b"alice:wrong").decode() not in str(events)


def test_configured_headers_are_sent_and_change_with_the_file(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text("http_server_config: {headers: {X-Frame-Options: deny}}\n")
    server = serve(web=webconfig.load(path))
    assert get(server, "/hello").headers["X-Frame-Options"] == "deny"
    path.write_text("http_server_config: {headers: {X-Frame-Options: sameorigin}}\n")
    assert get(server, "/hello").headers["X-Frame-Options"] == "sameorigin"


def test_rate_limit_refuses_what_is_too_much_and_spares_health(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "web.yml").write_text("rate_limit: {interval: 1h, burst: 2}\n")
    server = serve(web=webconfig.load(tmp_path / "web.yml"))
    assert [get(server, "/hello").status_code for _ in range(3)] == [200, 200, 429]
    assert get(server, "/-/healthy").status_code == 200
