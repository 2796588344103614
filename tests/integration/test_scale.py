"""`mq-lag-exporter scale` as a user meets it: a process, its log, what it runs, its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
import requests

from testbed.children import Child, is_alive
from testbed.exporter import Exporter, Scrape, kafka_source
from testbed.ports import PortBlock, is_free
from testbed.waiting import wait_until
from tests.support.advice_server import AdviceServer, advice, row

FAILED, MISUSED = 1, 2
STOP_SECONDS = 15.0
"""Limit for what takes a second or two, on a busy machine."""
ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd" / "scale-units"


@pytest.fixture
def server() -> Iterator[AdviceServer]:
    with AdviceServer(row(advice(4, 3)), row(advice(1, 1), "audit")) as server:
        yield server


@pytest.fixture
def port() -> Iterator[int]:
    ports = PortBlock()
    yield ports.take()
    ports.release()


@pytest.fixture
def note(tmp_path: Path) -> Path:
    """What the command wrote."""
    return tmp_path / "noted"


def finished_by_itself(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "exporter", "scale", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def once(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return finished_by_itself("--once", "--url", url, *arguments)


class Running:
    """A controller that follows a server; a context manager."""

    def __init__(self, url: str, folder: Path, *arguments: str) -> None:
        line = ["-m", "exporter", "scale", "--every", "1s", "--url", url, *arguments]
        self.child = Child([sys.executable, *line], folder / "scale.log")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events with this name in the log."""
        lines = self.child.log.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [each for each in found if each["event"] == name]

    def wait(self, name: str, count: int = 1) -> dict[str, Any]:
        """The last of so many events."""

        def seen() -> list[dict[str, Any]]:
            assert self.child.is_running, self.child.log_tail()
            found = self.events(name)
            return found if len(found) >= count else []

        return wait_until(seen, f"{name} in the log")[-1]

    def end(self, number: signal.Signals) -> tuple[int, float]:
        """The exit code, and the seconds until the end."""
        began = time.monotonic()
        os.kill(self.child.pid, number)
        return self.child._process.wait(STOP_SECONDS), time.monotonic() - began


def writes(note: Path) -> str:
    """A command that adds its number to a file."""
    return f"sh -c 'echo $0 $MQ_BEFORE >> {note}' {{consumers}}"


def test_once_runs_the_command_and_says_why(server: AdviceServer, note: Path) -> None:
    finished = once(server.url, "--group", "billing", "--exec", writes(note))
    assert (finished.returncode, finished.stdout) == (0, "")
    assert note.read_text() == "4 3\n"
    event = json.loads(finished.stderr)
    assert (event["event"], event["reason"]) == ("scale.applied", "4: 120/s come in")


def test_once_runs_nothing_where_the_number_is_right(server: AdviceServer, note: Path) -> None:
    finished = once(server.url, "--group", "audit", "--exec", writes(note))
    assert (finished.returncode, note.exists()) == (0, False)
    assert json.loads(finished.stderr)["event"] == "scale.adopted"


def test_once_fails_with_its_command_and_without_an_answer(server: AdviceServer, port: int) -> None:
    command = ("--group", "billing", "--exec", "sh -c 'echo broken; exit 9' {consumers}")
    finished = once(server.url, *command)
    event = json.loads(finished.stderr)
    assert (finished.returncode, event["code"], event["output"]) == (FAILED, 9, "broken")
    finished = once(f"http://127.0.0.1:{port}", *command)
    event = json.loads(finished.stderr)
    assert (finished.returncode, event["event"]) == (FAILED, "scale.unreachable")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ("--exec", "run {consumers}"),
            "2 subscriptions match; name one of them:\n  source 'shop'",
        ),
        (
            ("--group", "x", "--exec", "run {consumers}"),
            "no subscription has group 'x'; the exporter shows:",
        ),
        (("--exec", "run"), "the command must contain {consumers}"),
        (("--exec", "run {consumers}", "--every", "5"), "--every: a duration needs a unit"),
        (("--exec", "run {consumers}", "--timeout", "1ms"), "--timeout: at least 1s"),
        (("--exec", "run {consumers}", "--user", "me"), "--user and --password-file need each"),
        (("--exec", "run {consumers}", "--initial", "-1"), "argument --initial: invalid number of"),
        (("--exec", "run {consumers}", "--listen", ":1"), "--listen has no use with --once"),
        ((), "the following arguments are required: --exec"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(
    server: AdviceServer, arguments: tuple[str, ...], complaint: str
) -> None:
    finished = once(server.url, *arguments)
    assert (finished.returncode, finished.stdout) == (MISUSED, "")
    assert complaint in finished.stderr
    assert "Traceback" not in finished.stderr


def test_the_advice_is_followed_until_the_end(
    server: AdviceServer, note: Path, tmp_path: Path
) -> None:
    arguments = ("--group", "billing", "--exec", writes(note))
    with Running(server.url, tmp_path, *arguments) as running:
        running.wait("scale.applied")
        server.rows = [row(advice(6, 4)), *server.rows[1:]]
        running.wait("scale.applied", 2)
        server.rows = [row(advice(0, 4, valid=False)), *server.rows[1:]]
        running.wait("scale.blind")
        server.rows = [row(advice(2, 6)), *server.rows[1:]]
        running.wait("scale.sees_again")
        running.wait("scale.applied", 3)
        code, seconds = running.end(signal.SIGTERM)
        assert code == 0
        assert seconds < STOP_SECONDS
        assert running.events("scale.stopped") != []
    assert note.read_text() == "4 3\n6 4\n2 6\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_also_ends_a_running_command_with_its_children(
    server: AdviceServer, note: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = f"sh -c 'sleep 600 & echo $$ $! > {note}; wait' {{consumers}}"
    with Running(server.url, tmp_path, "--group", "billing", "--exec", command) as running:
        wait_until(lambda: note.exists() and note.read_text().endswith("\n"), "the command")
        started = [int(pid) for pid in note.read_text().split()]
        assert all(map(psutil.pid_exists, started))
        code, _ = running.end(number)
        assert code == 0
        assert running.events("scale.interrupted") != []
    wait_until(lambda: not any(map(is_alive, started)), "the command to be gone", STOP_SECONDS)


def test_an_exporter_that_is_down_or_silent_is_no_reason_to_act_or_to_end(
    server: AdviceServer, note: Path, tmp_path: Path
) -> None:
    with Running(server.url, tmp_path, "--group", "billing", "--exec", writes(note)) as running:
        running.wait("scale.applied")
        server.body, server.status = b"down", 503
        running.wait("scale.unreachable")
        server.body, server.status = None, 200
        running.wait("scale.sees_again")
        server.hang.clear()
        asked = server.asked
        wait_until(lambda: server.asked > asked, "a request that hangs")
        code, _ = running.end(signal.SIGTERM)
        assert code == 0
    assert note.read_text() == "4 3\n"


def test_metrics_and_health_are_served_where_wanted(
    server: AdviceServer, note: Path, tmp_path: Path, port: int
) -> None:
    listen = ("--listen", f"127.0.0.1:{port}")
    arguments = ("--group", "billing", "--exec", writes(note), *listen)
    with Running(server.url, tmp_path, *arguments) as running:
        running.wait("scale.applied")
        url = f"http://127.0.0.1:{port}"
        answer = requests.get(f"{url}/metrics", timeout=10)
        page = Scrape(answer.text, text=True)
        assert page.value("mq_scale_commands_total", result="success") == 1
        assert page.value("mq_scale_applied_consumers") == 4
        assert page.find("mq_scale_info", group="billing", destination="orders", vhost="")
        assert requests.get(f"{url}/-/healthy", timeout=10).text == "healthy\n"
        assert running.end(signal.SIGTERM)[0] == 0
    assert is_free(port)


def test_a_taken_port_is_told_of(server: AdviceServer) -> None:
    listen = server.url.removeprefix("http://")
    line = ["--url", server.url, "--listen", listen, "--exec", "run {consumers}"]
    finished = finished_by_itself(*line)
    assert finished.returncode == FAILED
    assert "the port is in use by another program" in finished.stderr


def test_a_config_gives_the_address_and_a_real_daemon_without_advice_is_waited_for(
    tmp_path: Path,
) -> None:
    """Its broker is not there, so it may yet have the subscription."""
    with Exporter(tmp_path, [kafka_source("127.0.0.1:1", name="orders")]) as exporter:
        line = ["--once", "--config", str(exporter.config), "--exec", "run {consumers}"]
        finished = finished_by_itself(*line)
    assert finished.returncode == FAILED
    assert "no such subscription yet; source 'orders'" in finished.stderr


# deploy/systemd


@pytest.mark.parametrize(
    ("active", "wanted", "calls"),
    [
        ([], 2, ["start worker@1.service worker@2.service"]),
        ([1, 2], 3, ["start worker@1.service worker@2.service worker@3.service"]),
        (
            [1, 2, 3, 10],
            2,
            ["start worker@1.service worker@2.service", "stop worker@3.service worker@10.service"],
        ),
        ([1, 2], 0, ["stop worker@1.service worker@2.service"]),
        ([], 0, []),
    ],
)
def test_the_units_of_a_template_are_started_and_stopped(
    active: list[int], wanted: int, calls: list[str], tmp_path: Path
) -> None:
    fake = tmp_path / "systemctl"
    listed = "".join(f"worker@{n}.service loaded active running Worker {n}\\n" for n in active)
    fake.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = list-units ]; then printf \'{listed}\'; else echo "$@" >> {tmp_path}/calls; fi\n'
    )
    fake.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run([UNITS, "worker", str(wanted)], env=environ, check=True, timeout=20)
    made = tmp_path / "calls"
    assert (made.read_text().splitlines() if made.exists() else []) == calls


@pytest.mark.parametrize(
    "arguments", [[], ["worker"], ["worker", "x"], ["worker", "-1"], ["a b", "1"]]
)
def test_wrong_arguments_start_and_stop_nothing(arguments: list[str]) -> None:
    finished = subprocess.run(
        [UNITS, *arguments], capture_output=True, text=True, check=False, timeout=20
    )
    assert finished.returncode == MISUSED
    assert finished.stderr.startswith("usage: scale-units ")
