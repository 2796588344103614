"""docs/security.md: each attack names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_attack_names_tests_that_there_are() -> None:
    text = (ROOT / "docs/security.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", text))
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 40
    assert named <= set(re.findall(r"^def (test_\w+)\(", sources, re.MULTILINE))
