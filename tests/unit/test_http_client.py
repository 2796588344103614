"""What the HTTP client makes of servers that refuse, lie, dawdle and never end."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from exporter.collectors import http
from exporter.collectors.access import Login, Tls
from exporter.collectors.http import HttpClient
from exporter.model import CollectError, Until
from tests.support.ports import PortBlock

Answer = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Listener:
    """A server that reads a request and then does what it is told, once a connection."""

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
        (404, "invalid", "answered 404"),
        (500, "unreachable", "answered 500: out of order"),
        (503, "unreachable", "answered 503"),
        (302, "invalid", "sends us elsewhere"),
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
    """It trickles: each read gets something at once."""

    def trickle(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1\r\n \r\n")
            time.sleep(0.01)

    listener.answer = trickle
    began = time.monotonic()
    assert failure(listener.url, 1.0).reason == "timeout"
    assert time.monotonic() - began < 20


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


def test_nobody_there() -> None:
    ports = PortBlock()
    error = failure(f"http://127.0.0.1:{ports.take()}")
    ports.release()
    assert error.reason == "unreachable"
    assert "Connection refused; check the address" in str(error)


def test_a_host_that_there_is_not() -> None:
    assert failure("http://rabbit.invalid:15672").reason == "unreachable"


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
