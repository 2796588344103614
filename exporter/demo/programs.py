"""Finds, starts and stops installed server programs for the demo."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

LOOPBACK = "127.0.0.1"
BELOW_EPHEMERAL = range(21_000, 32_000)
"""The ports above this range are used for outgoing connections, which come and go."""
_candidates = iter(random.sample(BELOW_EPHEMERAL, len(BELOW_EPHEMERAL)))
"""In random order, so that two demos do not try the same ports at the same time."""


def find(name: str, *folders: str) -> str | None:
    """Return the path of a program in one of the folders or in PATH; None if there is none."""
    for folder in folders:
        path = Path(folder) / name
        if os.access(path, os.X_OK):
            return str(path)
    return shutil.which(name)


def free_ports(count: int) -> list[int]:
    """Return free ports of the loopback interface that were not returned before."""
    found: list[int] = []
    with ExitStack() as held:
        for port in _candidates:
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                break
    return found


class Program:
    """A process that writes to a log file."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - a server that was found on this machine
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                process_group=0,  # a Ctrl-C is for the demo, which then ends its servers
            )

    def ended(self) -> str | None:
        """Return the last line of the log if the process has ended by itself."""
        if self._process.poll() is None:
            return None
        try:
            lines = self._log.read_text(errors="replace").split("\n")
        except OSError:
            lines = []
        return next((line for line in reversed(lines) if line.strip()), "it has ended")

    def end(self) -> None:
        """Kill the process; its data is not needed."""
        self._process.kill()
        self._process.wait()
