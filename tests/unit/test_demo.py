"""The demo: when its groups' scripts begin, and how its servers join."""

from __future__ import annotations

import re
import stat
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter import commands
from exporter.config import parse
from exporter.daemon import Daemon
from exporter.demo.joining import Joiner, config_path
from exporter.demo.kafka import DemoWorkload, EmbeddedKafka, GroupScript
from exporter.demo.programs import Program
from exporter.demo.run import demo_collector
from exporter.show.top import TableView
from testbed.tools import ROOT
from testbed.waiting import wait_until
from tests.support.told import Told

LEAVES_AFTER = 0.5
MAILER = GroupScript("mailer", "emails", 300.0, stops_after=LEAVES_AFTER)
CONFIG = """
listen: 127.0.0.1:0
sources:
  - name: demo
    system: kafka
    bootstrap_servers: "{servers}"
    groups: {{names: [mailer]}}
    schedule: {{backlog: 1s, consumers: 1s}}
    probe: {{enabled: false}}
"""


@pytest.fixture
def cluster() -> EmbeddedKafka:
    found = EmbeddedKafka()
    found.make_topics("emails")
    return found


@pytest.fixture
def workload(cluster: EmbeddedKafka) -> Iterator[DemoWorkload]:
    found = DemoWorkload(cluster.bootstrap_servers, {"emails": 50.0}, (MAILER,))
    found.start()
    yield found
    assert found.stop(10)


def test_a_member_leaves_only_when_it_was_seen(workload: DemoWorkload) -> None:
    """A slow exporter that first sees the group without a member shows it as dormant."""
    wait_until(lambda: workload.consumed["mailer"], "the first commit")
    before = workload.consumed["mailer"]
    time.sleep(4 * LEAVES_AFTER)
    wait_until(lambda: workload.consumed["mailer"] > before, "another commit")
    seen = workload.members()["mailer"]
    assert (seen.state, len(seen.members), seen.readers) == ("stable", 1, {"emails": 1})
    assert seen.assigned["emails"]
    wait_until(lambda: workload.members()["mailer"].state == "empty", "it to leave")
    assert not workload.members()["mailer"].members


def test_a_group_that_lost_its_member_was_seen_alive_by_a_slow_exporter(
    cluster: EmbeddedKafka, workload: DemoWorkload
) -> None:
    wait_until(lambda: workload.consumed["mailer"], "the first commit")
    time.sleep(4 * LEAVES_AFTER)
    config = parse(CONFIG.format(servers=cluster.bootstrap_servers), "test", {})
    daemon = Daemon(config, make=demo_collector(workload))
    daemon.collect()

    def shown(name: str) -> Any:
        return next((row[name] for row in daemon.overview()["subscriptions"]), None)

    try:
        wait_until(lambda: shown("consumers") == 1, "a consumer")
        wait_until(lambda: shown("consumers") == 0, "it to leave")
        lag = shown("lag_messages")
        wait_until(lambda: shown("lag_messages") > lag + 100, "two polls")
        assert shown("status") not in ("unknown", "dormant")
    finally:
        daemon.stop()


class Server:
    """An embedded server that does what the test says."""

    name = "shop"
    story = ""

    def __init__(self) -> None:
        self.ready = False
        self.fault: str | None = None
        self.calls: list[str] = []

    def source(self) -> str:
        return "  - {name: shop, system: nsq, nsqd: 'http://127.0.0.1:1', password: secret, username: u}\n"

    def start(self, folder: Path) -> None:
        self.calls.append(f"start in {folder.name}")

    def answers(self) -> bool:
        return self.ready

    def ended(self) -> str | None:
        return self.fault

    def work(self) -> None:
        self.calls.append("work")

    def stop(self) -> None:
        self.calls.append("stop")


BASE = """
listen: 127.0.0.1:0
sources:
  - {name: first, system: nsq, nsqd: 'http://127.0.0.1:1'}
"""


def test_a_server_joins_when_it_answers_and_works_when_it_was_read(tmp_path: Path) -> None:
    server = Server()
    path = config_path(tmp_path)
    daemon = Daemon(parse(BASE, "test", {}), path=path, make=lambda _: Told(fault="down"))
    joiner = Joiner([server], daemon, BASE, tmp_path)
    joiner.start()
    try:
        assert server.calls == ["start in shop"]
        first = daemon.sources["first"]
        overview = joiner.fetch()
        shown = "\n".join(map(str, TableView().screen(overview, 5, "demo", 100).renderables[:-1]))
        assert "shop: starting" in shown
        assert set(daemon.sources) == {"first"}
        server.fault = "out of disk"
        overview = joiner.fetch()
        shown = "\n".join(map(str, TableView().screen(overview, 5, "demo", 100).renderables[:-1]))
        assert "shop: out of disk" in shown
        server.ready, server.fault = True, None
        wait_until(lambda: joiner.fetch() and "shop" in daemon.sources, "the source")
        assert [each["source"] for each in joiner.fetch()["sources"]] == ["first", "shop"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert daemon.sources["first"] is first
        joiner.poll()
        assert "work" not in server.calls
        read = daemon.sources["shop"]
        read._display.observed = time.monotonic()
        joiner.poll()
        joiner.poll()
        assert server.calls == ["start in shop", "work"]
    finally:
        joiner.stop()
        daemon.stop()
    assert server.calls[-1] == "stop"


def test_a_program_that_ended_says_why(tmp_path: Path) -> None:
    code = "import sys; print('no memory'); print(); sys.stdin.read()"
    program = Program([sys.executable, "-c", code], tmp_path / "log")
    try:
        assert wait_until(program.ended, "its end") == "no memory"
    finally:
        program.end()
    waiting = Program([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log")
    try:
        assert waiting.ended() is None
    finally:
        waiting.end()


def test_a_line_appears_before_anything_slow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the libraries are loaded, which takes seconds on a slow machine."""
    monkeypatch.setitem(sys.modules, "exporter.demo.run", None)
    with pytest.raises(ImportError):
        commands.demo(Namespace())
    assert capsys.readouterr().out == "Starting an embedded Kafka cluster and the exporter.\n"


def test_make_passes_the_port_on() -> None:
    (recipe,) = re.findall(
        r"^demo:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert "-m exporter demo" in recipe
    assert "$(if $(PORT),--listen 127.0.0.1:$(PORT))" in recipe
