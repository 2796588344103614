"""The tools for tests, installed by scripts/install-test-tools."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class MissingToolError(Exception):
    """A program for the tests is not installed."""


def find_tool(name: str) -> str:
    """The path of a command."""
    path = shutil.which(name)
    if path is None:
        raise MissingToolError(f"no {name}: run scripts/install-test-tools")
    return path


def built_folder(name: str, module: str, requirement: str) -> Path:
    """The folder with a built Go module, in the version that our module `module` requires."""
    text = (ROOT / module / "go.mod").read_text()
    version = re.search(rf"^require {re.escape(requirement)} v(.+)$", text, re.MULTILINE)
    assert version, f"{module}/go.mod names no version of {requirement}"
    return cached_folder(f"{name}-{version[1]}")


def cached_folder(name: str) -> Path:
    """A folder of downloaded or built files; it is complete, or does not exist."""
    folder = ROOT / ".cache" / name
    if not (folder / "stamp").exists():
        raise MissingToolError(
            f"no {folder}: run scripts/install-test-tools and scripts/install-kerberos"
        )
    return folder
