"""Signals: they stop and reload a daemon whatever it does at that moment, and however many of them come."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.support.children import Child
from tests.support.exporter import Exporter, kafka_source
from tests.support.ports import PortBlock
from tests.support.waiting import wait_until

NOBODY = "127.0.0.1:1"
"""Where no broker listens."""
STOP_SECONDS = 20.0
"""To end in, on a machine that is busy."""
BURST = 20


def reloads(exporter: Exporter) -> int:
    return exporter.log().count("config.reloaded")


def storm(pid: int, number: signal.Signals, count: int, seconds: float) -> None:
    """Send so many signals, spread by chance over the time."""
    with suppress(ProcessLookupError):
        for _ in range(count):
            os.kill(pid, number)
            time.sleep(random.uniform(0.0, 2 * seconds / count))


def test_bursts_of_reloads_are_all_followed(tmp_path: Path) -> None:
    """A handler that takes a lock of the thread that it interrupts hangs the daemon within some tens of these."""
    with Exporter(tmp_path, [kafka_source(NOBODY)]) as exporter:
        for _ in range(40):
            before = reloads(exporter)
            storm(exporter.pid, signal.SIGHUP, BURST, 0.04)
            wait_until(lambda before=before: reloads(exporter) > before, "a reload", STOP_SECONDS)
        exporter.signal(signal.SIGTERM)
        assert exporter.child is not None
        assert exporter.child._process.wait(STOP_SECONDS) == 0
