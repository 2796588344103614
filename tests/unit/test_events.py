"""Events of the log that the documents name exist.

So an on-call engineer finds the events that a runbook names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.config import parse

ROOT = Path(__file__).parent.parent.parent
LOGGED = re.compile(r'\.(?:debug|info|warning|error|exception)\(\s*"([a-z_]+\.[a-z_]+)"')
NAMED = re.compile(r"`([a-z_]+\.[a-z_]+)`")
DOCUMENTS = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
FILES = {".json", ".md", ".py", ".svg", ".png", ".tmpl", ".yaml", ".yml"}
SETTINGS = """
sources:
  - {name: k, system: kafka, bootstrap_servers: 'k:9092'}
  - {name: r, system: rabbitmq, management_url: 'http://r:15672'}
  - {name: n, system: nsq, nsqd: 'http://n:4151'}
"""
BROKERS = {
    "advertised.listeners",
    "group.id",
    "retention.ms",
    "retention.bytes",
    "segment.ms",
    "segment.bytes",
    "management.disable_stats",
    "management_agent.disable_metrics_collector",
    "sasl.mechanism",
}
"""Settings of brokers and their clients that the documents name."""


def logged() -> set[str]:
    """Return every event that the code logs."""
    found: set[str] = set()
    for path in (ROOT / "exporter").rglob("*.py"):
        found.update(LOGGED.findall(path.read_text()))
    return found


def keys(value: Any) -> set[str]:
    """Return the keys of the config with the key above, as the documents write them."""
    found: set[str] = set()
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, dict):
                found.update(f"{name}.{each}" for each in inner)
            found |= keys(inner)
    return found


def settings() -> set[str]:
    config = parse(SETTINGS, "test", {})
    found: set[str] = set()
    for part in (config, *config.sources):
        found |= keys(part.model_dump())
    return found


def named(path: Path) -> set[str]:
    """Return what looks like an event in a document, and is neither a file nor a setting."""
    words = {word for word in NAMED.findall(path.read_text()) if Path(word).suffix not in FILES}
    return words - settings() - BROKERS


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_events_that_a_document_names_exist(path: Path) -> None:
    assert named(path) - logged() == set()


def test_events_are_found_in_documents_and_code() -> None:
    """Otherwise the test above would check nothing."""
    assert {"task.partial", "task.failed"} <= named(ROOT / "docs" / "runbooks" / "MqDataStale.md")
    assert {"task.partial", "config.refused", "worker.replaced"} <= logged()
    assert "probe.deadline" in settings()


def test_annotations_of_alerts_name_events_that_exist() -> None:
    for path in (ROOT / "alerts").glob("*.yml"):
        for group in yaml.safe_load(path.read_text()).get("groups", []):
            for rule in group["rules"]:
                text = " ".join(rule.get("annotations", {}).values())
                events = re.findall(r"\btask\.[a-z_]+", text)
                assert set(events) <= logged()
