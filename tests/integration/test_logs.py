"""Whatever happens to the log's output or its events, the daemon continues.

Missing lines are counted and reported.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import structlog

from exporter import logging_setup
from exporter.logging_setup import Output
from testbed.exporter import Exporter, Scrape, kafka_source
from testbed.waiting import wait_until

PATIENCE = 60.0
UNREADABLE = "\ud800 from a broker"


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Exporter]:
    """A daemon's config with a broker that does not exist; the test runs it itself."""
    exporter = Exporter(tmp_path, [kafka_source("127.0.0.1:1")])
    yield exporter
    exporter._ports.release()


def page(exporter: Exporter) -> Scrape | None:
    try:
        return exporter.scrape()
    except requests.ConnectionError:
        return None


@pytest.mark.parametrize("output", ["/dev/full", "a reader that has gone", "closed"])
def test_a_daemon_whose_output_is_broken_collects_and_ends_in_order(
    config: Exporter, output: str
) -> None:
    line = [sys.executable, "-m", "exporter", "run", "--config", str(config.config)]
    if output == "closed":
        line = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *line]
        written = os.open(os.devnull, os.O_WRONLY)
    elif output == "/dev/full":
        written = os.open(output, os.O_WRONLY)
    else:
        unread, written = os.pipe()
        os.close(unread)
    with subprocess.Popen(line, stdout=written, stderr=written) as daemon:
        os.close(written)
        try:
            found = wait_until(lambda: page(config), "the daemon")

            def runs() -> float:
                seen = config.scrape().find("mq_collect_failures_total", reason="unreachable")
                return sum(seen.values())

            before = runs()
            wait_until(lambda: runs() >= before + 3, "the tasks to go on")
            config.get("/-/healthy").raise_for_status()
            dropped = config.scrape().value("mq_log_lines_dropped_total") or 0
            # A closed stream has no output; writing to it is not an error.
            assert dropped >= 2 if output != "closed" else dropped == 0
            daemon.send_signal(signal.SIGHUP)
            read_at = "mq_config_last_reload_success_timestamp_seconds"
            assert found is not None
            wait_until(lambda: config.scrape().value(read_at) != found.value(read_at), "a reload")
        finally:
            daemon.send_signal(signal.SIGTERM)
            code = daemon.wait(PATIENCE)
    assert code == 0


def test_a_reader_that_reads_nothing_stops_nobody() -> None:
    """A full pipe blocks its writer. This must be neither a task nor the main loop."""
    unread, written = os.pipe()
    output = Output(written, most_waiting=100)
    for number in range(3_000):
        output.put(f"{number:1000d}")
    assert not output.flush(0.01)
    assert 2_500 < output.dropped < 3_000
    lines = 3_000 - output.dropped
    got = b""
    while got.count(b"\n") < lines:
        got += os.read(unread, 65_536)
    assert output.flush(PATIENCE)
    os.close(unread)
    os.close(written)


def test_what_was_dropped_is_said_when_the_output_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full for a while."""
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    full = os.open("/dev/full", os.O_WRONLY)
    there = os.dup(descriptor)
    os.dup2(full, there)
    monkeypatch.setattr(logging_setup, "_output", [Output(there)])
    config = structlog.get_config()
    try:
        logging_setup.configure("json", "info")
        log = structlog.get_logger()
        for _ in range(3):
            log.info("test.lost")
        logging_setup.flush(PATIENCE)
        assert logging_setup.dropped() == 3
        os.dup2(descriptor, there)
        log.info("test.kept", name=UNREADABLE)
        logging_setup.drop(2)
        log.info("test.also_kept")
        logging_setup.flush(PATIENCE)
        logging_setup.flush(PATIENCE)
    finally:
        structlog.configure(**config)
        for each in (descriptor, full, there):
            os.close(each)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert logging_setup.dropped() == 5
    assert [line["event"] for line in lines].count("log.lines_dropped") in (1, 2)
    assert sum(line.get("count", 0) for line in lines) == 5
    assert [line["event"] for line in lines if line["event"].startswith("test")] == [
        "test.kept",
        "test.also_kept",
    ]


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_an_event_that_cannot_be_shown_is_logged_by_its_name(fmt: str) -> None:
    program = (
        "import structlog\nfrom exporter import logging_setup\n"
        "class Hostile:\n    def __repr__(self): raise RuntimeError('no')\n"
        f"logging_setup.configure({fmt!r}, 'info')\n"
        "structlog.get_logger().info('test.hostile', value=Hostile())\n"
        "structlog.get_logger().info('test.next', name='\\ud800')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    first, second = done.stderr.splitlines()
    assert "test.hostile" in first
    assert "RuntimeError" in first
    assert "test.next" in second
    assert "ud800" in second


def test_a_name_moves_no_cursor_of_a_terminal() -> None:
    program = (
        "import structlog\nfrom exporter import logging_setup\n"
        "logging_setup.configure('console', 'info')\n"
        "log = structlog.get_logger()\n"
        "log.info('test.name', name='\\x1b]0;title\\x07', other='a\\x9bb', right='x\\u202ey', line='a\\r\\nb')\n"
        "try:\n    raise ValueError('\\x1b[2J')\n"
        "except ValueError:\n    log.exception('test.crash')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    text = done.stderr.decode()
    assert all(char.isprintable() or char == "\n" for char in text)
    assert "x1b]0;title" in text
    assert len(text.splitlines()) > 3, "a traceback keeps its lines"
