"""CONTRIBUTING.md names every folder."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def folders(folder: Path) -> list[str]:
    """Return the folders that have files of the project."""
    return sorted(
        found.name
        for found in folder.iterdir()
        if found.is_dir() and not found.name.startswith((".", "_")) and any(found.glob("*.*"))
    )


@pytest.mark.parametrize("name", folders(ROOT))
def test_the_map_names_each_folder_at_the_top(name: str) -> None:
    if name in ("dist", "mq_lag_exporter.egg-info"):
        return  # generated; not part of the project
    assert f"`{name}/" in TEXT


@pytest.mark.parametrize("name", folders(ROOT / "exporter"))
def test_the_map_names_each_package(name: str) -> None:
    assert f"`{name}/" in TEXT
