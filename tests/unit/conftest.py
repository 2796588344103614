"""Unit tests share one process, so what they teach the process is forgotten after each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from exporter.scrub import SCRUBBER


@pytest.fixture(autouse=True)
def _only_own_secrets() -> Iterator[None]:
    """Forget the secrets of a test: a short one would be masked in the texts of others."""
    before = {name: getattr(SCRUBBER, name) for name in ("_known", "_forms", "_short")}
    SCRUBBER._known = before["_known"].copy()
    yield
    for name, value in before.items():
        setattr(SCRUBBER, name, value)
