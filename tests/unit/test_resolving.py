"""Lookups of host names within a deadline."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from exporter.collectors.resolving import LookupTimeoutError, Resolver, connect
from exporter.model import Until

REAL = socket.getaddrinfo


class NameServer:
    """Answers when `answers` is set; counts the lookups."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **more: Any) -> Any:
        if more.get("flags", 0) & socket.AI_NUMERICHOST:
            return REAL(host, port, **more)
        self.asked.append(host)
        self.answers.wait(60)
        if host == "unknown":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return REAL("127.0.0.1", port, **more)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server)
    yield server
    server.answers.set()


def test_a_lookup_ends_in_time_and_serves_all_who_wait_for_it(server: NameServer) -> None:
    resolver = Resolver()
    for _ in range(3):
        with pytest.raises(LookupTimeoutError, match="no name server answers in time for kafka-1"):
            resolver.addresses("kafka-1", 9092, 0.0)
    assert server.asked == ["kafka-1"]
    pending = resolver.begin("kafka-1", 9092)
    server.answers.set()
    ((_, _, _, _, address),) = pending.result(60)
    assert address == ("127.0.0.1", 9092)
    assert resolver.addresses("kafka-1", 9092, 60.0)[0][4] == address
    assert server.asked == ["kafka-1"] * 2


def test_a_fault_of_a_lookup_is_not_kept(server: NameServer) -> None:
    server.answers.set()
    resolver = Resolver()
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            resolver.addresses("unknown", 9092, 60.0)
    assert server.asked == ["unknown"] * 2


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address_needs_no_lookup(server: NameServer, host: str) -> None:
    assert Resolver().addresses(host, 9092, 0.0)[0][4][:2] == (host, 9092)
    assert server.asked == []


def test_a_connection_by_name(server: NameServer) -> None:
    server.answers.set()
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
        with connect("kafka-1", port, Until(60)) as made:
            assert made.getpeername() == ("127.0.0.1", port)
