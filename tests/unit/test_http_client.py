"""The HTTP client against servers that refuse, lie, answer slowly or never stop."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from exporter.collectors import http
from exporter.collectors.access import Login, Tls
from exporter.collectors.http import HttpClient
from exporter.collectors.process.parent import GRACE
from exporter.model import CollectError, Until
from testbed.ports import PortBlock
from testbed.waiting import wait_until

Answer = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Listener:
    """A server that reads a request and then does what the test says, once per connection."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.requests: list[bytes] = []
        self.answer: Answer = lambda _: None
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self._socket.listen()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                piece = connection.recv(4096)
                if not piece:
                    return
                request += piece
            self.requests.append(request)
            self.answer(connection)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    ports = PortBlock()
    with closing(Listener(ports.take())) as listener:
        yield listener
    ports.release()


def says(body: bytes, head: bytes = HEAD) -> Answer:
    whole = head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    return lambda connection: connection.sendall(whole)


def client(**login: object) -> HttpClient:
    return HttpClient("jobs", Tls(), Login(**login))  # type: ignore[arg-type]


def failure(url: str, seconds: float = 20.0) -> CollectError:
    with pytest.raises(CollectError) as raised:
        client().get_json(url, Until(seconds))
    assert url in str(raised.value)
    return raised.value


def test_an_answer(listener: Listener) -> None:
    listener.answer = says(b'{"a": [1, 2]}')
    assert client().get_json(listener.url + "/x", Until(20), {"q": "a b"}) == {"a": [1, 2]}
    assert listener.requests[0].startswith(b"GET /x?q=a+b HTTP/1.1\r\n")


def test_a_compressed_answer(listener: Listener) -> None:
    head = HEAD + b"Content-Encoding: gzip\r\n"
    listener.answer = says(gzip.compress(json.dumps(list(range(100_000))).encode()), head)
    assert len(client().get_json(listener.url, Until(20))) == 100_000


def test_a_password_from_a_file_is_read_at_each_new_connection(
    listener: Listener, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("öne\n")
    listener.answer = says(b"1", b"HTTP/1.1 401 No\r\n")
    session = client(username="me", password_file=secret)
    with pytest.raises(CollectError) as raised:
        session.get(listener.url, Until(20))
    assert "öne" not in str(raised.value)
    listener.answer = lambda connection: connection.close()
    with pytest.raises(CollectError):
        session.get(listener.url, Until(20))
    secret.write_text("two")
    listener.answer = says(b"1")
    session.get(listener.url, Until(20))
    assert b"Authorization: Basic bWU6w7ZuZQ==\r\n" in listener.requests[0]
    assert b"Authorization: Basic bWU6dHdv\r\n" in listener.requests[-1]


def test_a_secret_file_that_is_not_there_is_named(listener: Listener, tmp_path: Path) -> None:
    with pytest.raises(CollectError) as raised:
        client(username="me", password_file=tmp_path / "none").get(listener.url, Until(20))
    assert raised.value.reason == "invalid"
    assert "password_file: can't be read" in str(raised.value)


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        (401, "unauthorized", "check username and password"),
        (403, "unauthorized", "check username and password"),
        (404, "invalid", "status 404"),
        (500, "unreachable", "status 500: out of order"),
        (503, "unreachable", "status 503"),
        (302, "invalid", "not followed"),
    ],
)
def test_refusals(listener: Listener, status: int, reason: str, said: str) -> None:
    head = b"HTTP/1.1 %d Status\r\nLocation: http://127.0.0.1:1/\r\n" % status
    listener.answer = says(b"out of\n\x1b[31morder", head)
    error = failure(listener.url)
    assert error.reason == reason
    assert said in str(error).replace("\x1b[31m", "").replace(" [31m", " ")
    assert "\x1b" not in str(error)
    assert "\n" not in str(error)
    assert len(listener.requests) == 1


def test_a_page_of_a_proxy_is_not_quoted(listener: Listener) -> None:
    listener.answer = says(b"<html>lots of markup</html>", b"HTTP/1.1 502 Bad\r\n")
    assert "markup" not in str(failure(listener.url))


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"[" * 200_000, b"\xff\xfe"])
def test_what_is_not_json(listener: Listener, body: bytes) -> None:
    listener.answer = says(body)
    error = failure(listener.url)
    assert error.reason == "invalid"
    assert "not JSON" in str(error)


def test_a_server_that_never_answers(listener: Listener) -> None:
    listener.answer = lambda _: time.sleep(60)
    began = time.monotonic()
    assert failure(listener.url, 0.5).reason == "timeout"
    assert time.monotonic() - began < 20


def test_an_answer_that_never_ends(listener: Listener) -> None:
    """The reply arrives slowly: each read gets something at once."""

    def trickle(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1\r\n \r\n")
            time.sleep(0.01)

    listener.answer = trickle
    began = time.monotonic()
    assert failure(listener.url, 1.0).reason == "timeout"
    assert time.monotonic() - began < 20


def drip(first: bytes, again: bytes) -> Answer:
    """Send `first`, and then `again` for ever.

    Slowly enough that 100 headers, which are too many, take longer than any deadline here.
    """

    def answer(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(again)
            time.sleep(0.03)

    return answer


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
DRIPS = {
    "the status line": drip(b"HTTP/1.1 2", b"0"),
    "a header": drip(HEAD + b"X-Long: ", b"x"),
    "headers": drip(HEAD, b"X-Many: x\r\n"),
    "interim replies": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the headers of a refusal": drip(b"HTTP/1.1 401 No\r\n", b"X-Many: x\r\n"),
    "the size of a chunk": drip(CHUNKED + b"1", b"0"),
    "what comes after the size of a chunk": drip(CHUNKED + b"1;", b"x"),
    "trailers": drip(CHUNKED + b"1\r\n1\r\n0\r\n", b"X-Many: x\r\n"),
}


@pytest.mark.parametrize("where", DRIPS)
def test_a_reply_that_trickles_ends_at_the_deadline(listener: Listener, where: str) -> None:
    listener.answer = DRIPS[where]
    began = time.monotonic()
    error = failure(listener.url, 1.0)
    assert (error.reason, "did not end in time" in str(error)) == ("timeout", True)
    assert 0.9 < time.monotonic() - began < 1.0 + GRACE / 2


def test_a_handshake_that_trickles_ends_at_the_deadline() -> None:
    """A TLS record of which single bytes arrive from time to time."""
    ports = PortBlock()
    with closing(socket.create_server(("127.0.0.1", ports.take()))) as server:

        def serve() -> None:
            with suppress(OSError), server.accept()[0] as connection:
                connection.recv(4096)
                drip(b"\x16\x03\x03\x40\x00", b"\x02")(connection)

        threading.Thread(target=serve, daemon=True).start()
        began = time.monotonic()
        error = failure(f"https://127.0.0.1:{server.getsockname()[1]}", 1.0)
        assert (error.reason, "did not end in time" in str(error)) == ("timeout", True)
        assert time.monotonic() - began < 1.0 + GRACE / 2
    ports.release()


def test_a_connection_used_before_ends_at_the_deadline_too(listener: Listener) -> None:
    def once_well(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Length: 1\r\n\r\n1")
        connection.recv(4096)
        drip(HEAD, b"X-Many: x\r\n")(connection)

    listener.answer = once_well
    session = client()
    assert session.get_json(listener.url, Until(20)) == 1
    began = time.monotonic()
    with pytest.raises(CollectError, match="did not end in time"):
        session.get_json(listener.url, Until(1.0))
    assert time.monotonic() - began < 1.0 + GRACE / 2
    assert len(listener.requests) == 1


def test_requests_beside_one_that_is_cut_go_on(listener: Listener) -> None:
    """Each request has its own deadline; later requests are made first."""
    begun = threading.Semaphore(0)

    def slow(connection: socket.socket) -> None:
        begun.release()
        if b"GET /slow" in listener.requests[-1]:
            time.sleep(3)
            says(b"1")(connection)
        drip(HEAD, b"X-Many: x\r\n")(connection)

    listener.answer = slow
    session = client()
    with ThreadPoolExecutor(2) as threads:
        whole = threads.submit(session.get_json, f"{listener.url}/slow", Until(30))
        begun.acquire()
        cut = threads.submit(session.get_json, listener.url, Until(0.5))
        assert isinstance(cut.exception(), CollectError)
        assert not whole.done()
        assert whole.result() == 1


def test_no_descriptor_stays_open(listener: Listener) -> None:
    listener.answer = DRIPS["headers"]
    failure(listener.url, 0.2)

    def descriptors() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = descriptors()
    session = client()
    for _ in range(5):
        with pytest.raises(CollectError):
            session.get(listener.url, Until(0.2))
    wait_until(
        lambda: descriptors() <= before + 1,
        "the connections to be closed",
        timeout_seconds=20,
    )


def test_all_addresses_of_a_name_together_have_the_time_of_a_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Addresses at which nobody answers; the last one refuses."""
    ports = PortBlock()
    with closing(socket.create_server(("127.0.0.1", ports.take()), backlog=0)) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [entry] * 8)
        began = time.monotonic()
        error = failure("http://many.example:80", 2.0)
        assert error.reason == "timeout"
        assert time.monotonic() - began < 2.0 + GRACE / 2
        for each in waiting:
            each.close()
    ports.release()


def test_an_answer_that_ends_too_soon(listener: Listener) -> None:
    listener.answer = lambda c: c.sendall(HEAD + b"Content-Length: 100\r\n\r\n[1,")
    assert failure(listener.url).reason in ("unreachable", "invalid")


def test_a_connection_that_was_closed_meanwhile_is_no_failure(listener: Listener) -> None:
    kept = HEAD + b"Content-Length: 1\r\n\r\n1"

    def answer_and_leave(connection: socket.socket) -> None:
        connection.sendall(kept)
        connection.recv(1)  # the next request, which gets no answer

    listener.answer = answer_and_leave
    session = client()
    for _ in range(4):
        assert session.get_json(listener.url, Until(20)) == 1


def test_a_giant_answer_is_given_up(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MOST_BYTES", 1 << 20)
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (1 << 30))
        while sent < 1 << 30:
            connection.sendall(b" " * 65_536)
            sent += 65_536

    listener.answer = flood
    error = failure(listener.url)
    assert (error.reason, "larger than" in str(error)) == ("invalid", True)
    assert sent < 1 << 26


def test_a_giant_answer_in_a_small_envelope_is_given_up(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MOST_BYTES", 1 << 20)
    listener.answer = says(gzip.compress(bytes(1 << 26)), HEAD + b"Content-Encoding: gzip\r\n")
    assert "larger than" in str(failure(listener.url))


@pytest.mark.parametrize("piece", [b"{},", b"[],", b"0,"])
def test_an_answer_of_more_values_than_memory_has_room_for_is_given_up(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, piece: bytes
) -> None:
    monkeypatch.setattr(http, "MOST_CONTAINERS", 1_000)
    monkeypatch.setattr(http, "MOST_VALUES", 5_000)
    body = b"[" + piece * 10_000 + b"0]"
    listener.answer = says(gzip.compress(body), HEAD + b"Content-Encoding: gzip\r\n")
    with closing(HttpClient("s", Tls(), Login())) as client, pytest.raises(CollectError) as raised:
        client.get_json(listener.url, Until(10))
    assert raised.value.reason == "invalid"
    assert "more values" in str(raised.value)


def test_nobody_there() -> None:
    ports = PortBlock()
    url = f"http://127.0.0.1:{ports.take()}"
    error = failure(url)
    ports.release()
    assert error.reason == "unreachable"
    assert str(error).startswith(f"{url}: Connection refused; check the address")


@pytest.mark.parametrize("host", ["rabbit..invalid", "x" * 64 + ".invalid", "a..b"])
def test_a_host_that_there_is_not(host: str) -> None:
    error = failure(f"http://{host}:15672")
    assert error.reason == "unreachable"
    assert "Watched" not in str(error), "names of our classes tell a user nothing"


def test_an_address_of_ipv6() -> None:
    ports = PortBlock()
    with closing(socket.create_server(("::1", ports.take()), family=socket.AF_INET6)) as server:

        def serve() -> None:
            with server.accept()[0] as connection:
                connection.recv(4096)
                says(b"1")(connection)

        threading.Thread(target=serve, daemon=True).start()
        assert client().get_json(f"http://[::1]:{server.getsockname()[1]}", Until(20)) == 1
    ports.release()


def test_tls_at_a_port_without_it(listener: Listener) -> None:
    listener.answer = says(b"1")
    error = failure(listener.url.replace("http:", "https:"), 5.0)
    assert error.reason in ("unreachable", "timeout")


def test_certificates_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("none")
    for path in (tmp_path / "ca", tmp_path / "absent"):
        with pytest.raises(CollectError) as raised:
            HttpClient("jobs", Tls(path), Login()).get("https://127.0.0.1:1", Until(5))
        assert raised.value.reason == "invalid"
        assert "check ca_file" in str(raised.value)
