"""Runs one command, bounded in time and in the memory for its output.

The command gets a session and process group of its own. If it has to be ended, the whole group is.
If it ends by itself, processes that it left in the background live on: they may be the consumers.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Literal, Self

from exporter.scrub import scrub

TERM_SECONDS = 5.0
"""From SIGTERM to SIGKILL for a command that took too long."""
STOP_TERM_SECONDS = 1.0
"""The same when the controller itself has to end."""
KILL_SECONDS = 1.0
"""How long to wait for a process after SIGKILL."""
DRAIN_SECONDS = 0.2
"""For the rest of the output after the command has ended."""
POLL_SECONDS = 0.05
READ_BYTES = 1 << 16
KEPT_BYTES = 1 << 14
"""Bytes of the output that are kept, the last ones."""
SHOWN_LINES, SHOWN_CHARACTERS = 5, 500
"""Lines of the output in the log, and characters of each."""

Result = Literal["success", "failure", "timeout", "not_started", "stopped"]


@dataclass(frozen=True, slots=True)
class CommandOutcome:
    """How a command ended."""

    result: Result
    code: int | None
    """The exit code, or the negative number of a signal; None if it was not started."""
    seconds: float
    output: str
    """The last lines of its output, without secrets; why it was not started."""


def run(
    words: Sequence[str], environ: Mapping[str, str], timeout: float, stop: threading.Event
) -> CommandOutcome:
    """Run the command to its end, for at most `timeout` seconds or until `stop` is set."""
    began = time.monotonic()
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's command; no shell
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            start_new_session=True,
        )
    except OSError as error:
        return _not_started(error.strerror or str(error))
    except ValueError as error:
        # A NUL or a lone surrogate in a name, which no command line can have.
        return _not_started(str(error))
    result: Result | None = None
    with _Output(process) as output:
        while process.poll() is None:
            if stop.is_set() or time.monotonic() - began >= timeout:
                result = "stopped" if stop.is_set() else "timeout"
                _end(process, output, stop)
                break
            output.read(POLL_SECONDS)
        output.drain()
    code = process.returncode
    if result is None:
        result = "success" if code == 0 else "failure"
    return CommandOutcome(result, code, time.monotonic() - began, output.tail())


def _not_started(why: str) -> CommandOutcome:
    return CommandOutcome("not_started", None, 0.0, scrub(f"the command cannot be started: {why}"))


class _Output:
    """The output of a command. All of it is read, so that it never waits; the end is kept."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        pipe = process.stdout
        if pipe is None:
            raise ValueError("the command has no output pipe")
        self._pipe: IO[bytes] = pipe
        self._kept = b""
        self._is_cut = False
        self._ended = False
        os.set_blocking(pipe.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(pipe, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        self._pipe.close()

    def read(self, seconds: float) -> bool:
        """Read one piece if there is one within this time; return whether there was."""
        if self._ended:
            time.sleep(seconds)
            return False
        if not self._selector.select(seconds):
            return False
        piece = os.read(self._pipe.fileno(), READ_BYTES)
        if not piece:
            self._ended = True
            return False
        kept = self._kept + piece
        self._is_cut = self._is_cut or len(kept) > KEPT_BYTES
        self._kept = kept[-KEPT_BYTES:]
        return True

    def drain(self) -> None:
        """Read the rest; a background process may keep the pipe open, so not for long."""
        until = time.monotonic() + DRAIN_SECONDS
        while not self._ended and time.monotonic() < until:
            if not self.read(0.0):
                break

    def tail(self) -> str:
        """Return the last lines without secrets.

        Secrets are masked first: half of one would not be recognized.
        """
        text = scrub(self._kept.decode("utf-8", "replace"))
        lines = text.splitlines()
        if self._is_cut and len(lines) > 1:
            # It may begin in the middle of a secret.
            del lines[0]
        filled = [line.rstrip() for line in lines if line.strip()]
        return "\n".join(line[-SHOWN_CHARACTERS:] for line in filled[-SHOWN_LINES:])


def _end(process: subprocess.Popen[bytes], output: _Output, stop: threading.Event) -> None:
    """End the process group: SIGTERM, and SIGKILL for those that are still there."""
    _signal(process, signal.SIGTERM)
    began = time.monotonic()
    stopped_at = began if stop.is_set() else None
    while _group_exists(process):
        now = time.monotonic()
        if stopped_at is None and stop.is_set():
            stopped_at = now
        if now - began >= TERM_SECONDS:
            break
        if stopped_at is not None and now - stopped_at >= STOP_TERM_SECONDS:
            break
        output.read(POLL_SECONDS)
    _signal(process, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(KILL_SECONDS)


def _group_exists(process: subprocess.Popen[bytes]) -> bool:
    """Return whether any process of the group lives. Its leader is no zombie afterwards."""
    process.poll()
    return _signal(process, 0)


def _signal(process: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to the process group; return whether there is one.

    The leader's pid is the group's. The kernel does not use it again while the group has a process.
    """
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # A process with another user, as of sudo.
        return True
    return True
