"""A daemon in which something hangs: old values are hidden, the rest goes on.

`/-/healthy` names what hangs.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
import requests

from exporter.daemon import Daemon
from exporter.liveness import Pulse
from exporter.sources.source import Source
from testbed.exporter import Scrape
from testbed.waiting import wait_until
from tests.support import told
from tests.support.told import Told, ToldDaemon

PATIENCE = 60.0
STUCK = "task backlog of source stuck: no sign of life for "


class World:
    """A daemon with two sources; what hangs, hangs until the end."""

    def __init__(self) -> None:
        self.sources = {name: Told({("g", "t"): [7]}) for name in ("stuck", "sound")}
        self.told = ToldDaemon(**self.sources)
        self.entered, self.leave = threading.Event(), threading.Event()

    @property
    def daemon(self) -> Daemon:
        assert self.told.daemon is not None
        return self.told.daemon

    def hang(self, *_: object, **__: object) -> None:
        """Replaces any function by one that does not return."""
        self.entered.set()
        self.leave.wait()

    def get(self, path: str) -> requests.Response:
        return requests.get(self.told.url + path, timeout=PATIENCE)

    def page(self) -> Scrape:
        return Scrape(self.get("/metrics").text, text=True)

    def lag(self, source: str) -> float | None:
        return self.page().value("mq_lag_messages", source=source)

    def unhealthy(self) -> str:
        """Return what `/-/healthy` reports once something is wrong."""

        def look() -> str | None:
            answer = self.get("/-/healthy")
            return answer.text if answer.status_code == requests.codes.unavailable else None

        text = wait_until(look, "the answer 503", PATIENCE)
        assert text is not None
        return text

    def wait_healthy(self) -> None:
        wait_until(lambda: self.get("/-/healthy").text == "healthy\n", "health", PATIENCE)

    def wait_shown(self) -> None:
        for name in self.sources:
            wait_until(lambda name=name: self.lag(name) == 7, "the lag")  # type: ignore[misc]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    config = told.CONFIG.replace("hold: 2s", "hold: 2s, deadline: 1s")
    monkeypatch.setattr(told, "CONFIG", config)
    monkeypatch.setattr("exporter.sources.source.LOCK_SECONDS", 0.3)
    monkeypatch.setattr("exporter.daemon.LOOP_SECONDS", 3.0)
    monkeypatch.setattr("exporter.sources.watchdog.LOOP_SECONDS", 3.0)
    world = World()
    with world.told:
        world.wait_shown()
        yield world
        world.leave.set()


def test_a_source_whose_answer_is_never_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = world.daemon.sources["stuck"]
    monkeypatch.setattr(source._judging, "judge", world.hang)
    assert world.entered.wait(PATIENCE)
    hung_at = time.monotonic()
    world.sources["sound"].lags[("g", "t")] = [8]
    wait_until(lambda: world.lag("stuck") is None, "what is too old to go", PATIENCE)
    assert time.monotonic() - hung_at < source.config.hold + 5.0
    page = world.page()
    assert page.value("mq_lag_messages", source="sound") == 8
    assert page.value("mq_up", source="stuck") == 1, "the last run that ended reached it"
    said = world.unhealthy()
    assert said.startswith(f"unhealthy\n{STUCK}")
    assert said.count("\n") == 2, "nothing else is wrong"
    overview = world.get("/api/v1/subscriptions").json()
    assert [row["source"] for row in overview["subscriptions"]] == ["sound"]
    world.leave.set()
    monkeypatch.undo()
    world.wait_healthy()
    wait_until(lambda: world.lag("stuck") == 7, "the source to come back")


def test_many_requests_do_not_wait_for_a_source_that_hangs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the server has places: all must become free again."""
    monkeypatch.setattr(world.daemon.sources["stuck"]._judging, "judge", world.hang)
    assert world.entered.wait(PATIENCE)
    for _ in range(3):
        threads = [
            threading.Thread(target=world.get, args=("/api/v1/subscriptions",)) for _ in range(30)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in threads)
    assert world.lag("sound") == 7


def test_a_reload_replaces_a_source_that_hangs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state of the old source may be half changed, so the new one starts without it.

    What the old one still does shows nowhere.
    """
    before = world.daemon.sources["stuck"]
    monkeypatch.setattr(before._judging, "judge", world.hang)
    assert world.entered.wait(PATIENCE)
    world.daemon._apply(world.daemon._config)
    after = world.daemon.sources["stuck"]
    assert after is not before
    assert after.state is not before.state
    world.wait_shown()
    world.sources["stuck"].lags[("g", "t")] = [9]
    wait_until(lambda: world.lag("stuck") == 9, "the new one's value")
    shown = world.daemon.exposition.response("", "").content()
    before._display.show(before._display.shown, time.monotonic())
    assert b'source="stuck",destination="t",partition="0",group="g"} 9' in b"".join(shown)
    assert world.lag("stuck") == 9
    world.wait_healthy()


def test_a_reload_that_hangs_does_not_keep_old_values(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.daemon, "reload", world.hang)
    world.daemon.want_reload()
    assert world.entered.wait(PATIENCE)
    world.sources["stuck"].fault = "no broker"
    wait_until(lambda: world.lag("stuck") is None, "what is too old to go", PATIENCE)
    assert world.lag("sound") == 7
    assert world.unhealthy().startswith("unhealthy\nthe main loop: no sign of life for ")
    world.leave.set()
    world.wait_healthy()


def test_a_reload_with_a_bug_does_not_end_the_main_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_: object) -> NoReturn:
        world.entered.set()
        raise ZeroDivisionError

    monkeypatch.setattr(world.daemon, "_path", "config.yaml")
    monkeypatch.setattr("exporter.daemon.load", crash)
    world.daemon.want_reload()
    assert world.entered.wait(PATIENCE)
    metric = "mq_config_last_reload_successful"
    wait_until(lambda: world.page().value(metric) == 0, "the failure to be told")
    world.entered.clear()
    world.daemon.want_reload()
    assert world.entered.wait(PATIENCE), "the loop goes on"
    assert "ZeroDivisionError" in (world.daemon.reload() or "")


def test_hiding_that_fails_for_one_source_hides_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash() -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(world.daemon.sources["stuck"], "expire", crash)
    world.sources["sound"].fault = "no broker"
    wait_until(lambda: world.lag("sound") is None, "what is too old to go", PATIENCE)
    world.wait_healthy()


def test_hiding_that_hangs_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Source, "expire", world.hang)
    assert "the loop that hides old values: no sign of life for " in world.unhealthy()


def test_a_collector_that_hangs_is_said_by_the_command_health(world: World) -> None:
    told_task: Any = world.daemon.sources["stuck"]._tasks.runners[0].task
    object.__setattr__(told_task, "run", world.hang)
    assert STUCK in world.unhealthy()
    line = [sys.executable, "-m", "exporter", "health", world.told.url]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert STUCK in done.stderr


def test_an_http_server_that_hangs_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`/-/healthy` cannot be answered then, but the log says why."""
    monkeypatch.setattr("exporter.web.server.serving.LOOP_SECONDS", 1.0)
    server = world.daemon.server
    assert server is not None
    assert server._loop is not None
    server._loop._loop.call_soon_threadsafe(world.hang)
    assert world.entered.wait(PATIENCE)
    faults = wait_until(world.daemon.watch.faults, "the fault", PATIENCE)
    assert faults is not None
    assert faults["the HTTP server"].startswith("no sign of life for ")
    world.leave.set()
    world.wait_healthy()


def test_a_pulse_is_late_only_after_its_own_time() -> None:
    pulse = Pulse("loop")
    assert pulse.fault(1e9) is None, "before its first beat nothing is expected"
    pulse.beat(100.0, 30.0)
    assert pulse.fault(130.0) is None
    assert pulse.fault(131.0) == "no sign of life for 31 s"
    pulse.beat(131.0, 90.0)
    assert pulse.fault(221.0) is None
    pulse.end()
    assert pulse.fault(1e9) is None
