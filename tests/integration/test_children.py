"""The processes that read the sources: how they are forked, reported and killed.

Also what they share, and what they must not know.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from exporter.collectors.kafka.from_config import kafka_settings
from exporter.collectors.process import environment
from exporter.collectors.process.forking import Child, Nursery
from exporter.collectors.process.messages import READY, Setup
from exporter.config import parse
from exporter.systems import SYSTEMS, module_of
from testbed.children import is_alive
from testbed.waiting import wait_until

SECONDS = 60.0
CONFIG = """\
sources:
  - {name: orders, system: kafka, bootstrap_servers: "127.0.0.1:1", probe: {enabled: false}}
"""


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    process = nursery._process
    if process is not None:
        process._process.kill()
        wait_until(lambda: process._over, "the nursery to be gone")


def begin(nursery: Nursery, **more: Any) -> tuple[Child, Connection]:
    """Fork a child, and wait until it is ready."""
    child, way = nursery.fork(module_of(SYSTEMS["kafka"].collector))
    connection = Connection(way.detach())
    settings = kafka_settings(parse(CONFIG, "test").sources[0])  # type: ignore[arg-type]
    connection.send(Setup(SYSTEMS["kafka"].collector, settings, "json", "error", **more))
    assert connection.recv().number == READY
    wait_until(lambda: child.pid, "the report of its birth", poll_seconds=0.002)
    return child, connection


def end(nursery: Nursery) -> int:
    """Kill the nursery as a system without memory does; return its process id."""
    process = nursery._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: process._over, "the nursery's end to be noticed")
    return process.pid


def environ(pid: int | None) -> dict[str, str]:
    text = Path(f"/proc/{pid}/environ").read_bytes().decode()
    return dict(line.split("=", 1) for line in text.split("\0") if line)


def ends_by_itself(child: Child) -> None:
    assert child.wait(SECONDS)
    assert child.pid is not None
    assert not is_alive(child.pid)


def test_a_child_whose_way_is_closed_ends_by_itself(nursery: Nursery) -> None:
    child, connection = begin(nursery)
    connection.close()
    ends_by_itself(child)
    assert child.code == 0


def test_children_end_when_their_own_way_is_closed_whatever_others_there_are(
    nursery: Nursery,
) -> None:
    """No child keeps the connection to another child open."""
    some = [begin(nursery) for _ in range(5)]
    for child, connection in reversed(some):
        connection.close()
        ends_by_itself(child)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_the_signal_that_ended_a_child_is_known(nursery: Nursery, number: signal.Signals) -> None:
    child, connection = begin(nursery)
    with closing(connection):
        assert child.pid is not None
        os.kill(child.pid, number)
        ends_by_itself(child)
        assert child.code == -number


def test_a_child_that_is_stopped_can_be_killed(nursery: Nursery) -> None:
    child, connection = begin(nursery)
    with closing(connection):
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        child.kill()
        ends_by_itself(child)
        assert child.code == -signal.SIGKILL
    child.kill()  # a second kill must not hit another process


def test_one_that_is_not_wanted_any_more_is_killed_at_its_birth(nursery: Nursery) -> None:
    child, way = nursery.fork(module_of(SYSTEMS["kafka"].collector))
    child.kill()
    ends_by_itself(child)
    way.close()


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_nursery_has_one_thread_and_no_connection_but_to_the_daemon(
    nursery: Nursery, system: str
) -> None:
    """A process with threads cannot be forked safely."""
    child, way = nursery.fork(module_of(SYSTEMS[system].collector))
    wait_until(lambda: child.pid, "the child")
    process = psutil.Process(nursery.pid)
    assert process.num_threads() == 1
    assert len([c for c in process.net_connections("unix") if c.type == socket.SOCK_STREAM]) == 1
    assert process.net_connections("inet") == []
    way.close()
    ends_by_itself(child)


def test_children_go_on_when_the_nursery_is_killed_and_the_next_one_has_another(
    nursery: Nursery,
) -> None:
    first, way = begin(nursery)
    before = end(nursery)
    second, other = begin(nursery)
    assert nursery.pid != before
    for child, connection in ((first, way), (second, other)):
        assert child.pid is not None
        assert is_alive(child.pid)
        connection.close()
        assert child.wait(SECONDS)
    assert (first.code, second.code) == (None, 0)


def test_a_lost_child_that_hangs_can_be_killed_all_the_same(nursery: Nursery) -> None:
    child, connection = begin(nursery)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    end(nursery)
    child.kill()
    assert child.wait(SECONDS)
    assert not is_alive(child.pid)
    connection.close()


def test_a_child_that_is_ordered_while_the_nursery_dies_is_reported_as_gone(
    nursery: Nursery,
) -> None:
    begin(nursery)[1].close()
    assert nursery.pid is not None
    os.kill(nursery.pid, signal.SIGSTOP)
    child, way = nursery.fork(module_of(SYSTEMS["kafka"].collector))
    os.kill(nursery.pid, signal.SIGKILL)
    assert child.wait(SECONDS)
    with way:
        assert way.recv(1) == b""


def run_instead(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another script be the nursery."""
    popen = subprocess.Popen

    def other(command: list[str], **more: Any) -> subprocess.Popen[bytes]:
        return popen([sys.executable, "-c", script, command[-1]], **more)

    monkeypatch.setattr(subprocess, "Popen", other)


DEAF = """\
import time
from exporter.collectors.process import nursery

def serve(connection):
    connection.send_bytes(b"here")
    while True:
        time.sleep(1)

nursery.child.serve = serve
nursery.main()
"""


def test_children_that_hang_are_killed_when_the_daemon_is_gone(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that hangs in a library does not notice that its connection was closed."""
    run_instead(DEAF, monkeypatch)
    child, way = nursery.fork(module_of(SYSTEMS["kafka"].collector))
    connection = Connection(way.detach())
    assert connection.recv_bytes() == b"here"
    wait_until(lambda: child.pid, "the report of its birth", poll_seconds=0.002)
    connection.close()
    process = nursery._process
    assert process is not None
    process._control.shutdown(socket.SHUT_WR)  # as if the daemon were gone
    assert child.pid is not None
    wait_until(lambda: not is_alive(child.pid or 0), "the child to be killed", 60)


BROKEN = """\
import errno, os, sys
from exporter.collectors.process import nursery

def fork():
    raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

nursery.os.fork = fork
nursery.main()
"""


def test_a_fork_that_fails_is_reported_with_its_reason(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_instead(BROKEN, monkeypatch)
    child, way = nursery.fork(module_of(SYSTEMS["kafka"].collector))
    assert child.wait(SECONDS)
    assert child.pid is None
    assert child.fault.startswith("Resource temporarily unavailable; raise the limit of ")
    with way:
        assert way.recv(1) == b""


def test_no_secret_of_the_daemons_environment_reaches_a_child(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter3")
    monkeypatch.setenv("KRB5CCNAME", "FILE:/tickets")
    monkeypatch.setenv("SSL_CERT_DIR", "/certificates")
    child, connection = begin(nursery, environment={"AWS_REGION": "eu-west-1"})
    with closing(connection):
        for pid in (child.pid, nursery.pid):
            found = environ(pid)
            assert "hunter" not in "".join(found.values())
            assert found["KRB5CCNAME"] == "FILE:/tickets"
            assert found["SSL_CERT_DIR"] == "/certificates"
            assert found["MALLOC_ARENA_MAX"] == "2"
            assert found.keys() <= environment.of_all(os.environ).keys()
            assert "AWS_REGION" not in found


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        *[(name, True) for name in ("PATH", "HOME", "LANG", "TZ", "LC_ALL", "https_proxy")],
        *[(name, False) for name in ("PASSWORD", "AWS_PROFILE", "PYTHON_TOKEN", "LCD", "RABBIT")],
    ],
)
def test_what_every_child_has(name: str, kept: bool) -> None:
    assert (name in environment.of_all({name: "x"})) is kept


def test_how_memory_is_allocated_can_be_set_by_the_user() -> None:
    assert environment.of_all({"MALLOC_ARENA_MAX": "1"})["MALLOC_ARENA_MAX"] == "1"


@pytest.mark.parametrize("name", ["sasl.mechanism", "sasl.mechanisms"])
def test_credentials_of_a_cloud_go_to_the_sources_that_use_it(name: str) -> None:
    environ = {"AWS_ACCESS_KEY_ID": "x", "OTHER": "y"}
    assert environment.of_source({name: "AWS_MSK_IAM"}, environ) == {"AWS_ACCESS_KEY_ID": "x"}
    assert environment.of_source({name: "PLAIN"}, environ) == {}
    assert environment.of_source({}, environ) == {}


def test_each_kerberos_principal_has_tickets_of_its_own() -> None:
    def cache(environ: dict[str, str], **properties: str) -> str | None:
        given = {f"sasl.kerberos.{name}": value for name, value in properties.items()}
        return environment.of_source({"sasl.mechanism": "GSSAPI", **given}, environ).get(
            "KRB5CCNAME"
        )

    one = cache({"TMPDIR": "/run/lag"}, principal="lag@A", keytab="/k")
    assert one is not None
    assert one.startswith(f"FILE:/run/lag/krb5cc_{os.getuid()}_")
    assert one == cache({"TMPDIR": "/run/lag"}, principal="lag@A", keytab="/k")
    assert one != cache({"TMPDIR": "/run/lag"}, principal="lag@B", keytab="/k")
    assert one != cache({"TMPDIR": "/run/lag"}, principal="lag@A", keytab="/other")
    assert environment.of_source({"sasl.kerberos.principal": "lag@A"}, {}), "the default mechanism"
    assert cache({}) is None, "tickets that somebody else gets are in the common place"
    assert cache({"KRB5CCNAME": "KEYRING:x"}, principal="lag@A") is None, "what was chosen stays"
