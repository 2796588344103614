"""The command as a user meets it: a process, what it prints, its exit code."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import bcrypt
import psutil
import pytest
import requests

from exporter import __version__
from exporter.cli import _code
from exporter.demo.run import STOP_SECONDS
from exporter.task_log import EXHAUSTION
from testbed.children import Child
from testbed.exporter import Exporter, kafka_source
from testbed.ports import PortBlock
from testbed.waiting import wait_until

COMMANDS = ("run", "once", "check", "health", "demo", "load", "scale", "top")
FAILED, MISUSED = 1, 2
BOUND_SECONDS = 30.0
"""For what has deadlines of 1 s, on a machine that is busy."""
BROKEN = """\
listn: 127.0.0.1:9877
sources:
  - name: orders
    system: kafka
    bootstrap_servers: 127.0.0.1:9092
    hold: 5
"""
BROKEN_FAULTS = """\
{path}:1: listn: unknown key; did you mean 'listen'?
{path}:6: sources[0].hold: a duration needs a unit; write 5s
"""

Finished = subprocess.CompletedProcess[str]
Command = Callable[..., Finished]


@pytest.fixture
def ports() -> Iterator[PortBlock]:
    block = PortBlock()
    yield block
    block.release()


@pytest.fixture
def environ() -> Iterator[dict[str, str]]:
    """An environment whose processes must be gone after the test."""
    mark = str(uuid.uuid4())
    yield {**os.environ, "MQ_TEST_COMMAND": mark, "COLUMNS": "200"}
    wait_until(lambda: not _marked(mark), "all processes of the command to be gone", 20.0)


def _marked(mark: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if mark in Path(f"/proc/{process.pid}/environ").read_text():
                found.append(process.pid)
        except (OSError, UnicodeDecodeError):
            continue
    return found


@pytest.fixture
def command(environ: dict[str, str]) -> Command:
    """Runs the command with these arguments, to its end."""

    def run(*arguments: str | Path, **options: Any) -> Finished:
        line = [sys.executable, "-m", "exporter", *map(str, arguments)]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.run(
            line,
            env=environ,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
            **{**streams, **options},
        )

    return run


@pytest.fixture
def write(tmp_path: Path, ports: PortBlock) -> Callable[..., Path]:
    """Writes a config of one source with short deadlines."""

    def write(bootstrap: str, listen: str = "") -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(
            f"listen: {listen or f'127.0.0.1:{ports.take()}'}\n"
            "defaults: {deadline: 1s, schedule: {backlog: 1s}}\n"
            "sources:\n"
            f"  - {{name: orders, system: kafka, bootstrap_servers: '{bootstrap}'}}\n"
        )
        return path

    return write


@pytest.fixture(params=["closed", "silent", "unknown"])
def dead_broker(request: pytest.FixtureRequest, ports: PortBlock) -> Iterator[str]:
    """An address where nobody listens, one where nobody answers, and a host that there is not."""
    with closing(socket.socket()) as listener:
        if request.param == "unknown":
            yield "broker.invalid:9092"
            return
        address = ("127.0.0.1", ports.take())
        if request.param == "silent":
            # As servers do: a connection of an earlier test may linger on the port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(64)
        yield f"{address[0]}:{address[1]}"


def closed_port(ports: PortBlock) -> str:
    return f"127.0.0.1:{ports.take()}"


def assert_no_traceback(finished: Finished) -> None:
    assert "Traceback" not in finished.stdout + finished.stderr
    assert "Exception ignored" not in finished.stderr


# What to type


def test_version(command: Command) -> None:
    finished = command("--version")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout == f"mq-lag-exporter {__version__}\n"


def test_help_names_every_command_and_shows_how_to_begin(command: Command) -> None:
    finished = command("--help")
    assert (finished.returncode, finished.stderr) == (0, "")
    listed = re.findall(r"^    (\w+)  ", finished.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)
    examples = finished.stdout.split("examples:\n")[1]
    for name in ("demo", "check", "run", "once", "top"):
        assert f"  mq-lag-exporter {name}" in examples
    assert "bootstrap_servers: localhost:9092" in examples


def test_the_config_of_the_help_is_one(command: Command, tmp_path: Path, ports: PortBlock) -> None:
    shown = command("--help").stdout.split("minimal config:\n")[1]
    path = tmp_path / "first.yaml"
    path.write_text(shown.replace("localhost:9092", closed_port(ports)))
    assert command("check", path).stdout.startswith(f"{path}: the config is valid\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(command: Command, name: str) -> None:
    finished = command(name, "--help")
    assert finished.returncode == 0
    assert finished.stdout.startswith(f"usage: mq-lag-exporter {name} ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("frobnicate",), "invalid choice: 'frobnicate' (choose from "),
        (("run",), "the following arguments are required: FILE"),
        (("once",), "the following arguments are required: FILE"),
        (("check",), "the following arguments are required: FILE"),
        (("demo", "--seconds", "soon"), "--seconds: invalid float value: 'soon'"),
        (("run", "--confg", "x"), "unrecognized arguments: --confg"),
        (("check", "a.yaml", "--config", "b.yaml"), "FILE and --config name two different configs"),
        (("check", "a.yaml", "--idle-days", "0"), "--idle-days: invalid number of days value: '0'"),
        (("--frobnicate",), "the following arguments are required: COMMAND"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(
    command: Command, arguments: tuple[str, ...], complaint: str
) -> None:
    finished = command(*arguments)
    assert (finished.returncode, finished.stdout) == (MISUSED, "")
    usage, *_, last = finished.stderr.splitlines()
    assert usage.startswith("usage: mq-lag-exporter ")
    assert complaint in last


# A config that is wrong

WITH_CONFIG = [
    *((name, *option) for name in ("run", "once", "check") for option in ((), ("--config",))),
    ("top", "--config"),
]


@pytest.mark.parametrize("arguments", WITH_CONFIG, ids=" ".join)
def test_a_broken_config_is_told_of_on_stderr_and_nothing_else(
    command: Command, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(BROKEN)
    finished = command(*arguments, path)
    assert (finished.returncode, finished.stdout) == (MISUSED, "")
    assert finished.stderr == BROKEN_FAULTS.format(path=path)


@pytest.mark.parametrize("arguments", WITH_CONFIG, ids=" ".join)
def test_a_missing_config_is_told_of(
    command: Command, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "none.yaml"
    finished = command(*arguments, path)
    assert (finished.returncode, finished.stdout) == (MISUSED, "")
    assert finished.stderr == f"{path}: can't be read: No such file or directory\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "web.yaml: can't be read: No such file or directory"),
        ("basic_auth_users: {admin: secret}\n", "basic_auth_users.admin: expected a bcrypt hash"),
        ("tls_server_confg: {}\n", "tls_server_confg"),
    ],
)
def test_a_broken_web_config_is_told_of(
    command: Command,
    write: Callable[..., Path],
    ports: PortBlock,
    tmp_path: Path,
    content: str | None,
    complaint: str,
) -> None:
    web = tmp_path / "web.yaml"
    if content is not None:
        web.write_text(content)
    finished = command("run", "--config", write(closed_port(ports)), "--web.config.file", web)
    assert (finished.returncode, finished.stdout) == (MISUSED, "")
    assert complaint in finished.stderr
    assert "secret" not in finished.stderr
    assert_no_traceback(finished)


def test_a_taken_port_is_told_of_with_what_to_do(
    command: Command, write: Callable[..., Path], ports: PortBlock
) -> None:
    port = ports.take()
    with socket.create_server(("127.0.0.1", port)):
        finished = command("run", "--config", write(closed_port(ports), f"127.0.0.1:{port}"))
    assert (finished.returncode, finished.stdout) == (FAILED, "")
    assert finished.stderr.startswith(f"listen: 127.0.0.1:{port}: the port is in use ")
    assert finished.stderr.endswith("choose another port\n")


# A broker that does not answer


def test_once_prints_a_page_all_the_same(
    command: Command, write: Callable[..., Path], dead_broker: str
) -> None:
    started = time.monotonic()
    finished = command("once", "--config", write(dead_broker))
    assert time.monotonic() - started < BOUND_SECONDS
    assert finished.returncode == FAILED
    assert 'mq_up{system="kafka",source="orders"} 0\n' in finished.stdout
    last = finished.stderr.splitlines()[-1]
    assert re.match(r"orders: (unreachable|timeout): .*check .*bootstrap_servers", last)
    assert_no_traceback(finished)


def test_check_says_which_source_and_what_to_look_at(
    command: Command, write: Callable[..., Path], dead_broker: str
) -> None:
    path = write(dead_broker)
    started = time.monotonic()
    finished = command("check", path)
    assert time.monotonic() - started < BOUND_SECONDS
    assert (finished.returncode, finished.stderr) == (FAILED, "")
    valid, _, source, finding = finished.stdout.splitlines()
    assert (valid, source) == (f"{path}: the config is valid", "orders (kafka)")
    assert re.match(r"  missing connection: .*check .*bootstrap_servers", finding)


def test_run_starts_serves_and_ends(tmp_path: Path) -> None:
    with Exporter(tmp_path, [kafka_source("127.0.0.1:1", name="orders")]) as exporter:
        exporter.wait(
            lambda page: page.value(
                "mq_collect_failures_total", task="backlog", reason="unreachable"
            ),
            "the first try",
        )
        assert exporter.get("/-/healthy").status_code == requests.codes.ok
        assert exporter.scrape().value("mq_up", source="orders") == 0
        assert ended(exporter, signal.SIGTERM) == 0
        assert "Traceback" not in exporter.log()
        assert "daemon.stopped" in exporter.log().splitlines()[-1]


def test_run_ends_on_ctrl_c_too(tmp_path: Path) -> None:
    with Exporter(tmp_path, [kafka_source("127.0.0.1:1")]) as exporter:
        assert ended(exporter, signal.SIGINT) == 0
        assert "Traceback" not in exporter.log()


def ended(exporter: Exporter, number: signal.Signals, seconds: float = 5.0) -> int:
    """The exit code of a daemon that is sent the signal and has so long to end."""
    assert exporter.child is not None
    exporter.signal(number)
    return exporter.child._process.wait(seconds)


# Reload


def test_a_broken_config_at_reload_changes_nothing_and_is_logged(tmp_path: Path) -> None:
    with Exporter(tmp_path, [kafka_source("127.0.0.1:1", name="before")]) as exporter:
        good = exporter.config.read_text()
        exporter.config.write_text(BROKEN)
        exporter.signal(signal.SIGHUP)
        wait_until(lambda: "config.refused" in exporter.log(), "the refusal")
        refusal = next(line for line in exporter.log().splitlines() if "config.refused" in line)
        assert f"{exporter.config}:1: listn: unknown key" in refusal
        assert f"{exporter.config}:6: sources[0].hold: a duration needs a unit" in refusal
        assert exporter.scrape().value("mq_up", source="before") is not None

        exporter.config.write_text(good.replace("before", "after"))
        exporter.signal(signal.SIGHUP)
        page = exporter.wait(lambda page: page.find("mq_up", source="after"), "the new source")
        assert not page.find("mq_up", source="before")


# Health


def test_health_asks_the_daemon(command: Command, tmp_path: Path) -> None:
    with Exporter(tmp_path, [kafka_source("127.0.0.1:1")]) as exporter:
        finished = command("health", exporter.url)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "healthy\n", "")


@pytest.mark.parametrize("address", ["http://{}", "{}", "nonsense://{}", "http://[", ""])
def test_health_without_a_daemon_fails_in_a_line(
    command: Command, ports: PortBlock, address: str
) -> None:
    finished = command("health", address.format(closed_port(ports)))
    assert (finished.returncode, finished.stdout) == (FAILED, "")
    assert len(finished.stderr.splitlines()) == 1


# Output that nobody reads


@pytest.mark.parametrize("name", ["once", "check", "top", "help"])
def test_a_reader_that_went_away_is_no_reason_for_a_traceback(
    command: Command, write: Callable[..., Path], ports: PortBlock, name: str
) -> None:
    config = write(closed_port(ports))
    arguments = {
        "once": ("once", "--config", config),
        "check": ("check", config),
        "top": ("top", "--looks", "1", f"http://{closed_port(ports)}"),
        "help": ("--help",),
    }[name]
    unread, written = os.pipe()
    os.close(unread)
    with os.fdopen(written) as output:
        finished = command(*arguments, stdout=output)
    assert "Traceback" not in finished.stderr
    assert "Exception ignored" not in finished.stderr


# top


def test_top_of_a_daemon_that_is_not_there_says_so_and_ends(
    command: Command, ports: PortBlock
) -> None:
    url = f"http://{closed_port(ports)}"
    finished = command("top", "--looks", "1", url)
    assert finished.stdout.startswith(f"{url}: request failed: ")
    assert "Connection refused" in finished.stdout
    assert_no_traceback(finished)


def test_top_fails_where_its_last_look_had_no_answer(command: Command, ports: PortBlock) -> None:
    assert command("top", "--looks", "1", f"http://{closed_port(ports)}").returncode == FAILED


def test_top_of_a_daemon_shows_its_sources(command: Command, tmp_path: Path) -> None:
    with Exporter(tmp_path, [kafka_source("127.0.0.1:1", name="orders")]) as exporter:
        exporter.wait(
            lambda page: page.value(
                "mq_collect_failures_total", task="backlog", reason="unreachable"
            ),
            "the first try",
        )
        finished = command("top", "--looks", "1", exporter.url)
    title, *fault, head = finished.stdout.splitlines()
    assert (finished.returncode, title) == (0, exporter.url)
    assert fault[0].startswith("orders: ")
    assert "bootstrap_servers" in " ".join(fault)
    assert head.split()[:4] == ["SOURCE", "DESTINATION", "GROUP", "LAG"]


def test_top_collects_by_itself_with_a_config(
    command: Command, write: Callable[..., Path], ports: PortBlock
) -> None:
    path = write(closed_port(ports))
    finished = command("top", "--config", path, "--looks", "1", "--interval", "0.1")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.startswith(f"{path}\norders: ")


# demo


def test_the_demo_shows_a_lag_that_moves(ports: PortBlock) -> None:
    listen = closed_port(ports)
    line = [sys.executable, "-m", "exporter", "demo", "--seconds", "300", "--listen", listen]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        said = ""
        lags: set[str] = set()
        while len(lags) < 2:
            said += demo.stdout.readline()
            lags = set(re.findall(r"^demo +orders +billing +([\d,]+) ", said, re.MULTILINE))
        demo.send_signal(signal.SIGINT)
        rest, fault = demo.communicate(timeout=60)
    assert (demo.returncode, fault) == (0, "")
    assert f"http://{listen}/metrics" in said
    assert f"http://{listen}/\n" in said
    assert rest.endswith("Stopping.\n")


def test_ctrl_c_ends_the_demo_at_once(ports: PortBlock, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "exporter", "demo", "--listen", closed_port(ports)]
    demo = Child(line, tmp_path / "demo.log")
    try:
        wait_until(lambda: "billing" in demo.log.read_text().split("Ctrl-C")[-1], "the first table")
        os.kill(demo.pid, signal.SIGINT)
        assert demo._process.wait(STOP_SECONDS + 0.5) == 0
        assert "Traceback" not in demo.log.read_text()
    finally:
        demo.kill()


def test_the_demo_takes_another_port_where_its_own_is_taken(
    command: Command, ports: PortBlock
) -> None:
    taken = ports.take()
    with socket.create_server(("127.0.0.1", taken)):
        finished = command("demo", "--seconds", "1", "--listen", f"127.0.0.1:{taken}")
    assert finished.returncode == 0
    found = re.search(r"http://127.0.0.1:(\d+)/metrics", finished.stdout)
    assert found is not None
    assert int(found[1]) > taken
    assert f"127.0.0.1:{taken} is in use, so the demo listens on" in finished.stdout


@pytest.mark.parametrize("listen", ["here", "[::1]:99999"])
def test_the_demo_says_what_is_wrong_with_an_address(command: Command, listen: str) -> None:
    finished = command("demo", "--seconds", "1", "--listen", listen)
    assert finished.returncode == MISUSED
    assert "expected host:port" in finished.stderr
    assert_no_traceback(finished)


def test_the_web_config_guards_the_page_and_leaves_health_open(
    write: Callable[..., Path], ports: PortBlock, tmp_path: Path
) -> None:
    port = ports.take()
    web = tmp_path / "web.yaml"
    word = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    web.write_text(f"basic_auth_users: {{prometheus: '{word}'}}\n")
    config = write(closed_port(ports), f"127.0.0.1:{port}")
    line = ["run", "--config", str(config), "--web.config.file", str(web)]
    daemon = Child([sys.executable, "-m", "exporter", *line], tmp_path / "run.log")
    url = f"http://127.0.0.1:{port}"

    def status(path: str, **options: Any) -> int | None:
        try:
            return requests.get(url + path, timeout=10, **options).status_code
        except requests.ConnectionError:
            assert daemon.is_running, daemon.log_tail()
            return None

    try:
        assert wait_until(lambda: status("/-/healthy"), "the daemon") == requests.codes.ok
        assert status("/metrics") == requests.codes.unauthorized
        assert status("/metrics", auth=("prometheus", "right")) == requests.codes.ok
    finally:
        daemon.kill()


def test_a_lack_of_threads_at_the_start_is_told_of_in_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command(_: Namespace) -> int:
        raise RuntimeError("can't start new thread")

    assert _code(Namespace(command=command)) == FAILED
    assert capsys.readouterr().err == f"{EXHAUSTION}\n"
