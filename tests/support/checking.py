"""Runs `mq-lag-exporter check` and reads what it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Checked(NamedTuple):
    """What one run of `check` printed."""

    code: int
    printed: str
    errors: str
    findings: Mapping[str, tuple[str, str]]
    """Feature to `ok` or `missing` and the detail; of several sources, the last one's."""


def check(folder: Path, *sources: Mapping[str, Any]) -> Checked:
    """Check a config with these sources."""
    config = folder / "check.yaml"
    config.write_text(json.dumps({"sources": list(sources)}))
    done = subprocess.run(
        [sys.executable, "-m", "exporter", "check", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return Checked(done.returncode, done.stdout, done.stderr, _findings(done.stdout))


def _findings(printed: str) -> dict[str, tuple[str, str]]:
    lines: Sequence[tuple[str, str, str]] = re.findall(
        r"^  (ok|missing) +([^:]+): (.*)$", printed, re.MULTILINE
    )
    return {feature: (mark, detail) for mark, feature, detail in lines}
