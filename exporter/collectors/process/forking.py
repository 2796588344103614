"""The daemon's side of the nursery, the process from which the source processes are forked.

A process started from scratch imports about a hundred modules, which takes 0.3 s of CPU and 20 MB.
A forked one shares the imported modules with all others and runs at once. The nursery
(`exporter.collectors.process.nursery`) is started for the first child. It opens no connection and
has no threads, so it can fork at any time. If it is killed, its children go on, and a new nursery
is started for the next child.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading

import structlog

from exporter import signals
from exporter.collectors.process import environment

ORDER = struct.Struct("!I200s")
"""Message to the nursery, sent with the child's socket: the child's number and the module of its
collector.
"""
REPORT = struct.Struct("!BIIi")
"""Message from the nursery: kind, the child's number, its process id, and the status of `waitpid`
or an error number.
"""
BORN, ENDED, FAILED = 1, 2, 3
"""Kinds of reports. `BORN` has a process descriptor if the system supports pidfd_open(2)."""

EXHAUSTED = 71
"""Exit code of a child that could not start because of a lack of memory or threads."""
_LIMITS = {
    errno.EMFILE: "raise the limit of open files (LimitNOFILE= in systemd, ulimit -n)",
    errno.ENFILE: "the system is out of file handles (sysctl fs.file-max)",
    errno.ENOMEM: "raise the memory limit",
    errno.EAGAIN: "raise the limit of processes (TasksMax= in systemd, pids of the container)",
}


def not_started(number: int) -> str:
    """Say why a process could not be started (error number `number`), and what to do."""
    advice = _LIMITS.get(number)
    return os.strerror(number) + (f"; {advice}" if advice else "")


class Child:
    """One forked process. Safe to use from many threads."""

    def __init__(self) -> None:
        self.pid: int | None = None
        """None before the process exists."""
        self.code: int | None = None
        """How the process ended: its exit code, a negated signal number, or None if unknown."""
        self.fault = ""
        """Why the process could not be started."""
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._unwanted = False

    def kill(self) -> None:
        """Send SIGKILL; if the process does not exist yet, as soon as it does."""
        with self._lock:
            self._unwanted = True
            self._kill()

    def wait(self, seconds: float) -> bool:
        """Wait until the process is gone; return whether it is."""
        return self._over.wait(seconds)

    def on_born(self, pid: int, descriptor: int | None) -> None:
        """Note that the process exists. Takes ownership of its `descriptor`."""
        with self._lock:
            self.pid, self._descriptor = pid, descriptor
            if self._unwanted:
                self._kill()

    def on_ended(self, code: int | None, fault: str = "") -> None:
        """Note that the process is gone, or was never started."""
        with self._lock:
            self.code, self.fault = code, fault
            self._over.set()
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def on_nursery_lost(self) -> None:
        """Handle the loss of the nursery, which can no longer report the process's end."""
        descriptor = self._descriptor
        if descriptor is None:
            self.on_ended(None)
        else:
            threading.Thread(target=self._watch, args=(descriptor,), daemon=True).start()

    def _watch(self, descriptor: int) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll()
        self.on_ended(None)

    def _kill(self) -> None:
        if self.pid is None or self._over.is_set():
            return
        with contextlib.suppress(ProcessLookupError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)


class Nursery:
    """Starts children. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: _Process | None = None

    def fork(self, module: str) -> tuple[Child, socket.socket]:
        """Return a new child process for a collector of this module, and the socket to it.

        If the process cannot be started, the socket is closed at the other end. Raises `OSError` if
        the nursery cannot be reached or started.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs, self._lock:
                return self._ask(module, theirs), ours
        except BaseException:
            ours.close()
            raise

    @property
    def pid(self) -> int | None:
        """The process id of the nursery, if there is one."""
        return None if self._process is None else self._process.pid

    def _ask(self, module: str, theirs: socket.socket) -> Child:
        if self._process is not None:
            # The nursery may have been killed without that being noticed yet.
            with contextlib.suppress(OSError):
                return self._process.fork(module, theirs)
        self._process = _Process()
        return self._process.fork(module, theirs)


class _Process:
    """One nursery process."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        # Block signals: none must reach the nursery before it ignores them.
        with theirs, signals.blocked():
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "exporter.collectors.process.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment.of_all(os.environ),
            )
        self.pid = self._process.pid
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._children: dict[int, Child] = {}
        """Children that have not been reported as ended."""
        self._over = False
        threading.Thread(target=self._listen, name="nursery", daemon=True).start()

    def fork(self, module: str, theirs: socket.socket) -> Child:
        """Request a child. Raises `OSError` if the nursery is gone."""
        with self._lock:
            if self._over:
                raise BrokenPipeError(errno.EPIPE, "the nursery is gone")
            number, child = next(self._numbers), Child()
            order = ORDER.pack(number, module.encode())
            socket.send_fds(self._control, [order], [theirs.fileno()])
            self._children[number] = child
            return child

    def _listen(self) -> None:
        """Receive reports until the nursery is gone."""
        with contextlib.suppress(OSError):
            while self._receive_report():
                pass
        self._process.kill()
        code = self._process.wait()
        with self._lock:
            self._over = True
            self._control.close()
            orphans = list(self._children.values())
            self._children.clear()
        structlog.get_logger(__name__).warning("nursery.ended", code=code, children=len(orphans))
        for child in orphans:
            child.on_nursery_lost()

    def _receive_report(self) -> bool:
        """Receive one report; return False at the end of the connection."""
        data, descriptors, _, _ = socket.recv_fds(self._control, REPORT.size, 1)
        while data and len(data) < REPORT.size:
            more = self._control.recv(REPORT.size - len(data))
            data = data + more if more else b""
        if not data:
            return False
        kind, number, pid, status = REPORT.unpack(data)
        with self._lock:
            child = self._children[number]
            if kind != BORN:
                del self._children[number]
        if kind == BORN:
            child.on_born(pid, descriptors[0] if descriptors else None)
        elif kind == ENDED:
            child.on_ended(os.waitstatus_to_exitcode(status))
        else:
            child.on_ended(None, not_started(status))
        return True


NURSERY = Nursery()
"""The nursery of this process."""
