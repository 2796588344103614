"""What `run` logs at its start about what it writes to the brokers."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import structlog

from exporter.config import parse
from exporter.daemon import Daemon
from tests.support.told import Told

CONFIG = """
listen: 127.0.0.1:0
sources:
  - {name: k, system: kafka, bootstrap_servers: 'k:9092', schedule: {probe: 20s}}
  - {name: r, system: rabbitmq, management_url: 'http://r:15672', amqp_url: 'amqp://r', probe: {vhost: v}}
  - {name: n, system: nsq, nsqd: 'http://n:4151', probe: {destination: mine}}
"""
SILENT = """
listen: 127.0.0.1:0
sources:
  - {name: k, system: kafka, bootstrap_servers: 'k:9092', probe: {enabled: false}}
  - {name: r, system: rabbitmq, management_url: 'http://r:15672'}
  - {name: n, system: nsq, nsqd: 'http://n:4151', probe: {enabled: false}}
"""


def reports(*texts: str, path: Path) -> list[MutableMapping[str, Any]]:
    """Return the events of a daemon that starts with the first config and reloads the others."""
    path.write_text(texts[0])
    daemon = Daemon(parse(texts[0], "test", {}), path=path, make=lambda _: Told())
    with structlog.testing.capture_logs() as events:
        daemon.start()
        for text in texts[1:]:
            path.write_text(text)
            assert daemon.reload() is None
        daemon.stop()
    return [event for event in events if event["event"] == "probe.writes"]


def test_what_probes_write_is_logged_with_the_key_that_switches_it_off(tmp_path: Path) -> None:
    (event,) = reports(CONFIG, path=tmp_path / "config.yaml")
    writes = event["sources"]
    assert set(writes) == {"k", "r", "n"}
    assert writes["k"].startswith("if the user has the rights: topic mq-lag-exporter-probe ")
    assert "every 20 s" in writes["k"]
    assert "groups mq-lag-exporter-probe-" in writes["k"]
    assert "queue mq-lag-exporter-probe." in writes["r"]
    assert "vhost v" in writes["r"]
    assert "topic mine-" in writes["n"]
    assert "every 5 s" in writes["n"]
    assert "probe.enabled: false" in event["switch_off"]


def test_nothing_is_logged_where_nothing_is_written(tmp_path: Path) -> None:
    assert reports(SILENT, path=tmp_path / "config.yaml") == []


def test_a_reload_logs_it_only_if_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert len(reports(CONFIG, CONFIG, path=path)) == 1
    found = reports(SILENT, CONFIG, CONFIG.replace("20s", "30s"), SILENT, path=path)
    assert ["20 s" in event["sources"]["k"] for event in found] == [True, False]
