"""The tools that the tests run, put there by scripts/install-test-tools."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class MissingToolError(Exception):
    """What the tests need is not on this machine."""


def find_tool(name: str) -> str:
    """The path of a command."""
    path = shutil.which(name)
    if path is None:
        raise MissingToolError(f"no {name}: run scripts/install-test-tools")
    return path


def built_folder(name: str, module: str, requirement: str) -> Path:
    """The folder of what is built of a Go module that a module of ours requires, in the version that it names."""
    text = (ROOT / module / "go.mod").read_text()
    version = re.search(rf"^require {re.escape(requirement)} v(.+)$", text, re.MULTILINE)
    assert version, f"{module}/go.mod names no version of {requirement}"
    return cached_folder(f"{name}-{version[1]}")


def cached_folder(name: str) -> Path:
    """A folder of what was fetched or built; it is there as a whole or not at all."""
    folder = ROOT / ".cache" / name
    if not (folder / "stamp").exists():
        raise MissingToolError(
            f"no {folder}: run scripts/install-test-tools and scripts/install-kerberos"
        )
    return folder
