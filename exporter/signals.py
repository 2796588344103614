"""Delivers signals as calls in a separate thread, so that no handler takes a lock.

Python runs a handler in the main thread, between any two instructions. A handler that calls
`Event.set` while the main thread is inside `Event.wait` waits for a lock that its own thread holds:
a deadlock. Here the handlers do nothing. The interpreter writes the number of each signal into a
pipe (`signal.set_wakeup_fd`), and a thread reads it.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

from exporter import logging_setup

STOP = frozenset({signal.SIGINT, signal.SIGTERM})
HANDLED = STOP | {signal.SIGHUP}
PATIENCE = 20.0
"""Seconds for a command to end after the signal; then its process is killed."""
FAILED = 1
READ_BYTES = 4096

Action = Callable[[], object]


class Signals:
    """Handles SIGINT, SIGTERM and SIGHUP of this process from now on.

    Create it in the main thread, as early as possible. Until `deliver` is called, nothing needs an
    orderly end: a stop signal ends the process at once, and a SIGHUP is kept.
    """

    def __init__(self, *, reloads: bool = False, patience: float = PATIENCE) -> None:
        """SIGHUP means reload if the command supports that (`reloads`).

        Otherwise the terminal is gone, and it means stop.
        """
        self.received: int | None = None
        """The number of the first stop signal."""
        self._reloads = reloads
        self._patience = patience
        self._lock = threading.Lock()
        self._stop: Action | None = None
        self._reload: Action | None = None
        self._kept = False
        """Whether a SIGHUP arrived before `deliver` was called."""
        self._end: float | None = None
        """Deadline for the command to end (monotonic clock)."""
        self._pipe, written = os.pipe()
        os.set_blocking(written, False)
        signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        for number in HANDLED:
            # Under nohup, SIGHUP is ignored and a command continues when its terminal is gone.
            ignored = signal.getsignal(number) is signal.SIG_IGN
            if reloads or number in STOP or not ignored:
                signal.signal(number, _nothing)
        threading.Thread(target=self._listen, name="signals", daemon=True).start()

    def deliver(self, stop: Action, reload: Action | None = None) -> None:
        """From now on, call `stop` or `reload` in the signal thread.

        Several SIGHUPs at once are one call.
        """
        with self._lock:
            self._stop, self._reload = stop, reload
            if self._kept and reload is not None:
                reload()

    def _listen(self) -> None:
        while True:
            left = None if self._end is None else max(self._end - time.monotonic(), 0.0)
            if select.select([self._pipe], [], [], left)[0]:
                self._receive(set(os.read(self._pipe, READ_BYTES)))
            else:
                structlog.get_logger(__name__).error(
                    "process.ended_by_force", seconds=self._patience
                )
                logging_setup.flush()
                os._exit(FAILED)

    def _receive(self, numbers: set[int]) -> None:
        stops = STOP if self._reloads else HANDLED
        with self._lock:
            for number in sorted(numbers & HANDLED, key=stops.__contains__, reverse=True):
                if number in stops:
                    self._stop_by(number)
                elif self._reload is not None:
                    self._reload()
                else:
                    self._kept = True

    def _stop_by(self, number: int) -> None:
        if self.received is not None:
            return
        self.received = number
        if self._stop is None:
            os._exit(0 if self._reloads else 128 + number)
        self._end = time.monotonic() + self._patience
        self._stop()


def _nothing(_: int, __: FrameType | None) -> None:
    """Do nothing: the interpreter has already written the signal's number into the pipe."""


@contextmanager
def blocked() -> Iterator[None]:
    """Block signals while a child process is started.

    The child inherits the mask. It takes no signal until it calls `ignore`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore() -> None:
    """Ignore the signals from now on, including those that were blocked until now.

    A terminal or a supervisor sends signals to all processes of a daemon, but the daemon decides
    when its children end.
    """
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
