"""Signals stop or reload a command at any moment, however many of them come."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from testbed.children import Child, is_alive
from testbed.exporter import Exporter, kafka_source
from testbed.ports import PortBlock
from testbed.waiting import wait_until

NOBODY = "127.0.0.1:1"
"""An address where no broker listens."""
STOP_SECONDS = 60.0
"""Limit for stopping on a busy machine."""
BURST = 20
BURST_SECONDS = 0.04
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EAGER = """\
import sys
import exporter.daemon
from exporter.cli import main

# The main loop is inside Event.wait nearly all of its time: there a handler must not take a lock.
exporter.daemon.TICK = 0.0001
sys.exit(main(sys.argv[1:]))
"""


def storm(pid: int, numbers: Sequence[signal.Signals], seconds: float) -> None:
    """Send the signals at random times within this time."""
    with suppress(ProcessLookupError):
        for number in numbers:
            os.kill(pid, number)
            time.sleep(random.uniform(0.0, 2 * seconds / len(numbers)))


def code_of(child: Child) -> int:
    """Return the exit code of a process that must end by itself."""
    return child._process.wait(STOP_SECONDS)


@contextmanager
def running(arguments: Sequence[str], log: Path) -> Iterator[Child]:
    """Run a command, and end it with the block."""
    child = Child([sys.executable, *arguments], log)
    try:
        yield child
    finally:
        child.kill()


@pytest.fixture
def port() -> Iterator[int]:
    """A port where nobody listens."""
    ports = PortBlock()
    yield ports.take()
    ports.release()


@pytest.fixture
def config(tmp_path: Path) -> Iterator[str]:
    """A config file whose broker does not exist."""
    exporter = Exporter(tmp_path, [kafka_source(NOBODY)])
    yield str(exporter.config)
    exporter._ports.release()


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    with Exporter(tmp_path, [kafka_source(NOBODY)]) as exporter:
        yield exporter


# The daemon


def test_bursts_of_reloads_are_all_followed_and_then_the_end(config: str, tmp_path: Path) -> None:
    """If the handler took a lock, the daemon would hang at one of the first of these."""
    with running(["-c", EAGER, "run", "--config", config], tmp_path / "log") as child:

        def reloads() -> int:
            return child.log.read_text().count("config.reloaded")

        def reloaded_since(before: int) -> Callable[[], bool]:
            return lambda: reloads() > before

        wait_until(lambda: "daemon.started" in child.log.read_text(), "the daemon")
        for _ in range(40):
            before = reloads()
            storm(child.pid, [signal.SIGHUP] * BURST, BURST_SECONDS)
            wait_until(reloaded_since(before), "a reload", STOP_SECONDS)
        storm(child.pid, [signal.SIGHUP] * BURST + [signal.SIGTERM] * BURST, BURST_SECONDS)
        assert code_of(child) == 0
        assert "Traceback" not in child.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("turn", range(3))
def test_a_burst_of_reloads_and_a_stop(
    exporter: Exporter, number: signal.Signals, turn: int
) -> None:
    storm(exporter.pid, [signal.SIGHUP] * BURST + [number], BURST_SECONDS)
    assert exporter.child is not None
    assert code_of(exporter.child) == 0
    assert "config.reloaded" in exporter.log()
    assert exporter.log().count("daemon.stopped") == 1


def test_reloads_that_come_together_are_not_each_followed(exporter: Exporter) -> None:
    """One for the first signal, and one for those that came during this reload."""
    child = exporter.child
    assert child is not None
    storm(child.pid, [signal.SIGHUP] * BURST, BURST_SECONDS / 40)
    wait_until(lambda: "config.reloaded" in exporter.log(), "the reload")
    exporter.signal(signal.SIGTERM)
    assert code_of(child) == 0
    assert exporter.log().count("config.reloaded") <= BURST / 2


def loads(child: Child, module: str) -> bool:
    """Return whether the process has begun to import a module that takes long."""
    with suppress(OSError):
        return module in Path(f"/proc/{child.pid}/maps").read_text()
    return False


@pytest.fixture
def starting(config: str, tmp_path: Path) -> Iterator[Child]:
    """A daemon that is not ready yet: it still loads its libraries."""
    line = ["-m", "exporter", "run", "--config", config]
    with running(line, tmp_path / "log") as child:
        wait_until(lambda: loads(child, "pydantic_core"), "its libraries", poll_seconds=0.001)
        yield child


def test_a_reload_during_the_start_does_not_kill(starting: Child) -> None:
    assert "daemon.started" not in starting.log.read_text()
    storm(starting.pid, [signal.SIGHUP] * BURST, BURST_SECONDS)
    wait_until(lambda: "daemon.started" in starting.log.read_text(), "the daemon")
    os.kill(starting.pid, signal.SIGTERM)
    assert code_of(starting) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_the_start_is_an_orderly_end(starting: Child, number: signal.Signals) -> None:
    storm(starting.pid, [number] * 3, BURST_SECONDS)
    assert code_of(starting) == 0
    assert "Traceback" not in starting.log.read_text()


def test_signals_to_all_processes_of_the_daemon_leave_the_collectors_alone(
    exporter: Exporter,
) -> None:
    """From the first moment on: signals to all processes must not kill one that is starting."""

    def children() -> list[psutil.Process]:
        return psutil.Process(exporter.pid).children(recursive=True)

    nursery = wait_until(children, "the collectors' nursery", poll_seconds=0.001)
    storm(nursery[0].pid, [*SIGNALS] * BURST, BURST_SECONDS)
    first = wait_until(lambda: children()[1:], "the collector's process", poll_seconds=0.001)
    storm(first[0].pid, [*SIGNALS] * BURST, BURST_SECONDS)
    exporter.wait(
        lambda page: page.value("mq_collect_failures_total", task="backlog", reason="unreachable"),
        "an answer of the process",
    )
    for process in (*nursery, *first):
        storm(process.pid, [*SIGNALS] * BURST, BURST_SECONDS)
    assert [process.pid for process in children()] == [nursery[0].pid, first[0].pid]
    assert exporter.scrape().value("mq_collector_restarts_total") == 0
    exporter.signal(signal.SIGTERM)
    assert exporter.child is not None
    assert code_of(exporter.child) == 0
    wait_until(lambda: not is_alive(first[0].pid), "the collector's process to be gone")
    wait_until(lambda: not is_alive(nursery[0].pid), "the nursery to be gone")


HANGS = """\
import sys
import threading
import exporter.signals
from exporter.cli import main
from exporter.daemon import Daemon


def reload(self):
    print("hangs", flush=True)
    threading.Event().wait()


Daemon.reload = reload
exporter.signals.Signals.__init__.__kwdefaults__["patience"] = 1.0
sys.exit(main(sys.argv[1:]))
"""


def test_a_main_loop_that_hangs_does_not_keep_the_process_alive(
    config: str, tmp_path: Path
) -> None:
    """A reload that never returns: the process is killed, and the log says so."""
    with running(["-c", HANGS, "run", "--config", config], tmp_path / "log") as child:
        wait_until(lambda: "daemon.started" in child.log.read_text(), "the daemon")
        os.kill(child.pid, signal.SIGHUP)
        wait_until(lambda: "hangs" in child.log.read_text(), "the reload")
        os.kill(child.pid, signal.SIGTERM)
        assert code_of(child) == 1
        assert "process.ended_by_force" in child.log.read_text().splitlines()[-1]


# The other commands


@pytest.mark.parametrize("number", SIGNALS)
def test_storms_end_top(tmp_path: Path, exporter: Exporter, number: signal.Signals) -> None:
    log = tmp_path / "top"
    with running(["-m", "exporter", "top", "--interval", "0.1", exporter.url], log) as top:
        wait_until(lambda: "SOURCE" in log.read_text(), "the first look")
        storm(top.pid, [number] * BURST, BURST_SECONDS)
        assert code_of(top) == 0
        assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("number", SIGNALS)
def test_storms_end_top_that_collects_by_itself(
    config: str, tmp_path: Path, number: signal.Signals
) -> None:
    log = tmp_path / "top"
    with running(["-m", "exporter", "top", "--config", config], log) as top:
        wait_until(lambda: "SOURCE" in log.read_text(), "the first look")
        storm(top.pid, [number] * BURST, BURST_SECONDS)
        assert code_of(top) == 0
        assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("number", SIGNALS)
def test_storms_end_the_demo_and_its_servers(
    tmp_path: Path, port: int, number: signal.Signals
) -> None:
    log = tmp_path / "demo"
    with running(["-m", "exporter", "demo", "--listen", f"127.0.0.1:{port}"], log) as demo:
        wait_until(lambda: "Ctrl-C" in log.read_text(), "the demo")
        started = psutil.Process(demo.pid).children(recursive=True)
        storm(demo.pid, [number] * BURST, BURST_SECONDS)
        assert code_of(demo) == 0
        assert "Traceback" not in log.read_text()
        wait_until(lambda: not any(is_alive(each.pid) for each in started), "its servers to end")


def test_once_that_is_cut_short_prints_no_page_and_fails(tmp_path: Path, port: int) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"sources: [{{name: s, system: kafka, bootstrap_servers: '127.0.0.1:{port}'}}]\n"
    )
    line = [sys.executable, "-m", "exporter", "once", "--config", str(config)]
    with (
        socket.create_server(("127.0.0.1", port)) as silent,
        subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run,
        silent.accept()[0],
    ):
        storm(run.pid, [signal.SIGTERM] * 3, BURST_SECONDS)
        printed, said = run.communicate(timeout=STOP_SECONDS)
    assert (run.returncode, printed) == (128 + signal.SIGTERM, "")
    assert said.startswith("interrupted: ")
    assert len(said.splitlines()) == 1
