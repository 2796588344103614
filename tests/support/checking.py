"""Runs `mq-lag-exporter check` and parses its output."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Checked(NamedTuple):
    """The output of one run of `check`."""

    code: int
    printed: str
    errors: str
    findings: Mapping[str, tuple[str, str]]
    """Feature to `ok` or `missing` and the detail. With several sources, those of the last one."""


def check(
    folder: Path, *sources: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> Checked:
    """Check a config with these sources. The default `environment` is that of the test run."""
    config = folder / "check.yaml"
    config.write_text(json.dumps({"sources": list(sources)}))
    return check_file(config, environment)


def check_file(config: Path, environment: Mapping[str, str] | None = None) -> Checked:
    """Check an existing config."""
    done = subprocess.run(
        [sys.executable, "-m", "exporter", "check", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment,
    )
    return Checked(done.returncode, done.stdout, done.stderr, _findings(done.stdout))


def _findings(printed: str) -> dict[str, tuple[str, str]]:
    lines: Sequence[tuple[str, str, str]] = re.findall(
        r"^  (ok|missing) +([^:]+): (.*)$", printed, re.MULTILINE
    )
    return {feature: (mark, detail) for mark, feature, detail in lines}
