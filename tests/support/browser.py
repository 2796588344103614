"""A real browser without a window: Debian's Chromium, which Playwright drives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from testbed.tools import find_tool

ARGUMENTS = (
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--no-first-run",
)
PATIENCE_MS = 60_000.0


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser, until the end of the block; no event loop may run in this thread meanwhile."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=find_tool("chromium"), args=[*ARGUMENTS]
        )
        try:
            yield chromium
        finally:
            chromium.close()
