"""docs/log.md names every event that the exporter logs at info or above, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEVELS = {"info", "warning", "error", "exception"}
EVENT = re.compile(r"[a-z_]+\.[a-z_]+")


def logged() -> set[str]:
    """Return the first arguments of log calls that look like the name of an event."""
    found = set()
    for path in (ROOT / "exporter").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            first = node.args[0] if node.args else None
            if node.func.attr in LEVELS and isinstance(first, ast.Constant):
                name = first.value
                if isinstance(name, str) and EVENT.fullmatch(name):
                    found.add(name)
    return found


def documented() -> set[str]:
    rows = [line for line in (ROOT / "docs/log.md").read_text().splitlines() if line[:3] == "| `"]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_every_event_is_documented() -> None:
    names = logged()
    assert {"task.failed", "worker.part_left_out", "http.busy"} <= names
    assert names == documented()
