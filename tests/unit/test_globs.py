"""Patterns of a running config that were meant as globs, and what `run` logs of what is off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from exporter.config import parse
from exporter.daemon import Daemon
from tests.support.told import Told

SOURCE = """
listen: 127.0.0.1:0
sources:
  - name: shop
    system: kafka
    bootstrap_servers: k:9092
    probe: {enabled: false}
    schedule: {backlog: 100ms}
"""
Events = Sequence[MutableMapping[str, Any]]
LAGS: dict[tuple[str, str], Sequence[int]] = {("billing-eu", "orders"): [5], ("tmp-1", "a"): [0]}


def run(text: str, until: Callable[[Events], bool], *, told: Told | None = None) -> Events:
    """The events of a daemon until `until` holds for them."""
    path = Path("unused")
    daemon = Daemon(parse(text, "test", {}), path=path, make=lambda _: told or Told({**LAGS}))
    with structlog.testing.capture_logs() as events:
        daemon.start()
        waiting = threading.Thread(target=daemon.wait)
        waiting.start()
        end = time.monotonic() + 60
        while not until(events) and time.monotonic() < end:
            time.sleep(0.05)
        daemon.end()
        waiting.join()
        daemon.stop()
    return events


def globs(events: Events) -> list[tuple[str, str, str]]:
    found = [event for event in events if event["event"] == "config.looks_like_glob"]
    assert all(event["log_level"] == "warning" for event in found)
    return [(event["key"], event["pattern"], event["suggestion"]) for event in found]


def test_globs_that_match_nothing_are_logged_once() -> None:
    text = SOURCE + (
        "    groups: {include: ['billing-*', '.*'], exclude: ['tmp-*', 'x-*']}\n"
        "thresholds: [{match: {group: 'billing-*'}, lag_messages: 1}, "
        "{match: {destination: 'order*s'}, lag_messages: 1}]\n"
        "scaling: [{match: {group: 'billing-*'}}]\n"
    )
    events = run(text, lambda events: len(globs(events)) >= 4)
    assert globs(events) == [
        ("groups.include[0]", "billing-*", "billing-.*"),
        ("groups.exclude[0]", "tmp-*", "tmp-.*"),
        ("thresholds[0].match.group", "billing-*", "billing-.*"),
        ("scaling[0].match.group", "billing-*", "billing-.*"),
    ]
    assert [event.get("source") for event in events if event["event"].endswith("glob")] == [
        *("shop", "shop", None, None),
    ]


class Counting(Told):
    """Counts its polls."""

    polls = 0

    def _backlog(self, _: Any) -> Any:
        self.polls += 1
        return super()._backlog(_)


def test_regular_expressions_and_sources_that_were_not_read_are_not_suspected() -> None:
    fine = SOURCE + "    groups: {include: ['nothing', 'billing-.*', 'tmp-1*'], exclude: ['x-*']}\n"
    told = Counting({**LAGS})
    assert globs(run(fine, lambda _: told.polls > 8, told=told)) == []
    down = Counting({**LAGS}, fault="no broker")
    wrong = SOURCE + "    groups: {include: ['y-*']}\n"
    assert globs(run(wrong, lambda _: down.polls > 8, told=down)) == []


def test_what_is_off_is_logged_at_the_start() -> None:
    text = SOURCE + "thresholds: [{match: {group: a}, lag_seconds: off}]\n"
    events = run(text, lambda _: True)
    (event,) = [event for event in events if event["event"] == "config.switched_off"]
    assert event["thresholds"] == [
        "thresholds[0] (group: a): lag_seconds off: not compared, and no alert uses it"
    ]
    assert [e for e in run(SOURCE, lambda _: True) if e["event"] == "config.switched_off"] == []
