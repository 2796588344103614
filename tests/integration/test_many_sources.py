"""Many sources in one daemon: it stops in time, and all its processes end with it."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from testbed.children import is_alive
from testbed.exporter import Exporter, Scrape, kafka_source
from testbed.ports import PortBlock
from testbed.waiting import wait_until

NOBODY = "127.0.0.1:1"
COUNT = 30
STOP_SECONDS = 20.0
"""Limit for stopping on a busy machine; otherwise it takes less than a second."""
GONE_SECONDS = 10.0


@pytest.fixture
def hanging() -> Iterator[str]:
    """A broker that accepts connections and never answers."""
    ports = PortBlock()
    with closing(socket.create_server(("127.0.0.1", ports.take()), backlog=500)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    ports.release()


def sources(hanging: str) -> list[dict[str, Any]]:
    """Brokers that are dead, and brokers that hang."""
    kafka = [
        kafka_source((NOBODY, hanging)[number % 2], f"kafka-{number}") for number in range(COUNT)
    ]
    return [
        *kafka,
        {"name": "rabbit", "system": "rabbitmq", "management_url": f"http://{hanging}"},
        {"name": "nsq", "system": "nsq", "nsqd": f"http://{hanging}"},
    ]


def processes(exporter: Exporter) -> list[int]:
    """Return the daemon's processes that exist, whoever their parents are now."""
    found = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError):
            if os.getpgid(pid) == exporter.pid and is_alive(pid):
                found.append(pid)
    return found


def children(exporter: Exporter) -> list[psutil.Process]:
    """Return the processes that read the sources."""
    return [
        child
        for nursery in psutil.Process(exporter.pid).children()
        for child in nursery.children()
        if is_alive(child.pid)
    ]


def all_there(exporter: Exporter) -> None:
    wait_until(lambda: len(children(exporter)) == COUNT + 2, "all processes", 120)


def all_gone(exporter: Exporter) -> None:
    began = time.monotonic()
    wait_until(lambda: not processes(exporter), "all processes to be gone", GONE_SECONDS)
    assert time.monotonic() - began < GONE_SECONDS


@pytest.mark.parametrize("wanted", [1, COUNT + 2])
def test_sigterm_ends_all_in_time_during_the_start_and_later(
    tmp_path: Path, hanging: str, wanted: int
) -> None:
    with Exporter(tmp_path, sources(hanging)) as exporter:
        wait_until(lambda: len(children(exporter)) >= wanted, "processes", 120, poll_seconds=0.01)
        assert exporter.child is not None
        exporter.child.terminate_only()
        assert exporter.child._process.wait(STOP_SECONDS) == 0
        all_gone(exporter)


@pytest.mark.parametrize("wanted", [0, 1, COUNT + 2])
def test_no_process_is_left_when_the_daemon_is_killed(
    tmp_path: Path, hanging: str, wanted: int
) -> None:
    with Exporter(tmp_path, sources(hanging)) as exporter:
        wait_until(lambda: len(children(exporter)) >= wanted, "processes", 120, poll_seconds=0.01)
        assert exporter.child is not None
        exporter.child.kill_only()
        all_gone(exporter)


def test_a_process_that_hangs_is_not_left_either(tmp_path: Path, hanging: str) -> None:
    with Exporter(tmp_path, sources(hanging)) as exporter:
        all_there(exporter)
        for child in children(exporter)[::3]:
            child.suspend()
        assert exporter.child is not None
        exporter.child.kill_only()
        all_gone(exporter)


def test_a_nursery_that_is_killed_is_replaced_when_a_process_is_needed(
    tmp_path: Path, hanging: str
) -> None:
    with Exporter(tmp_path, sources(hanging)) as exporter:
        all_there(exporter)
        before = children(exporter)
        psutil.Process(exporter.pid).children()[0].kill()
        wait_until(lambda: "nursery.ended" in exporter.log(), "the end to be noticed")
        assert [child for child in before if not is_alive(child.pid)] == []
        assert set(exporter.scrape().find("mq_collector_restarts_total").values()) == {0}
        before[0].kill()
        wait_until(lambda: children(exporter), "a process of another nursery", 120)
        assert exporter.wait(restarted, "the restart to be counted")
        (restart,) = [line for line in exporter.log().splitlines() if "worker.replaced" in line]
        assert "ended; it is restarted" in restart
        assert exporter.child is not None
        exporter.child.kill_only()
        all_gone(exporter)


def restarted(page: Scrape) -> bool:
    return sum(page.find("mq_collector_restarts_total").values()) == 1


def test_what_ended_a_process_is_in_the_log(tmp_path: Path) -> None:
    with Exporter(tmp_path, [kafka_source(NOBODY)]) as exporter:
        (child,) = wait_until(lambda: children(exporter), "the process", 120)
        child.send_signal(signal.SIGABRT)
        exporter.wait(restarted, "the restart to be counted")
        assert "ended by SIGABRT; it is restarted" in exporter.log()


def test_secrets_in_the_daemons_environment_are_in_none_of_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password that a config takes from the environment still reaches the broker."""
    monkeypatch.setenv("JOBS_PASSWORD", "hunter2")
    ports = PortBlock()
    asked: list[bytes] = []
    with closing(socket.create_server(("127.0.0.1", ports.take()))) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        threading.Thread(target=_hear, args=(server, asked), daemon=True).start()
        rabbit = {
            "name": "test",
            "system": "rabbitmq",
            "management_url": url,
            "username": "me",
            "password": "${JOBS_PASSWORD}",
        }
        with Exporter(tmp_path, [rabbit]) as exporter:
            wait_until(lambda: asked, "a request", 120)
            assert b"Authorization: Basic bWU6aHVudGVyMg==\r\n" in asked[0]
            below = psutil.Process(exporter.pid).children(recursive=True)
            assert len(below) == 2
            for process in below:
                environ = Path(f"/proc/{process.pid}/environ").read_bytes()
                assert b"PATH=" in environ
                assert b"hunter2" not in environ
    ports.release()


def _hear(server: socket.socket, asked: list[bytes]) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            asked.append(connection.recv(65_536))


def test_replies_that_trickle_their_headers_end_no_process(tmp_path: Path) -> None:
    """Every task of the source gets such a reply again and again.

    Each one ends at its own deadline.
    """
    ports = PortBlock()
    with closing(socket.create_server(("127.0.0.1", ports.take()), backlog=100)) as server:
        threading.Thread(target=_trickle_to_all, args=(server,), daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        schedule = dict.fromkeys(("backlog", "rates", "discovery"), "1s")
        rabbit = {
            "name": "test",
            "system": "rabbitmq",
            "management_url": url,
            "deadline": "1s",
            "schedule": schedule,
        }
        with Exporter(tmp_path, [rabbit]) as exporter:
            exporter.wait(
                lambda page: (page.value(FAILURES, task="backlog", reason="timeout") or 0) >= 4,
                "runs that ended at their deadlines",
            )
            page = exporter.scrape()
            assert page.value("mq_collector_restarts_total") == 0
            assert page.value(FAILURES, task="backlog", reason="internal") == 0
            assert "its process was stopped" not in exporter.log()
    ports.release()


FAILURES = "mq_collect_failures_total"


def _trickle_to_all(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_trickle, args=(connection,), daemon=True).start()


def _trickle(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-Many: x\r\n")
            time.sleep(0.05)
