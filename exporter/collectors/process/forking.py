"""The daemon's side of the nursery: the processes that read the sources, forked from one that has imported everything.

A process that starts by itself imports some hundred modules, which takes 0.3 s of CPU and 20 MB. One that is forked shares
them with all others, and runs at once. The nursery (`exporter.collectors.process.nursery`) is started at the first child. It opens no
connection and has no thread, so that it can fork at any time. Where it is killed, its children go on, and another
nursery is started for the next child.
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
"""What the daemon sends, with the child's socket: a number for the child, and the module of its collector."""
REPORT = struct.Struct("!BIIi")
"""What the nursery sends: what happened, the child's number, its process id, and what `waitpid` says or an error number."""
BORN, ENDED, FAILED = 1, 2, 3
"""`BORN` comes with a descriptor of the process, where the system has such (pidfd_open(2))."""

EXHAUSTED = 71
"""Code with which a child ends that could not start for want of memory or threads."""
_LIMITS = {
    errno.EMFILE: "raise the limit of open files (LimitNOFILE= in systemd, ulimit -n)",
    errno.ENFILE: "the system is out of file handles (sysctl fs.file-max)",
    errno.ENOMEM: "raise the memory limit",
    errno.EAGAIN: "raise the limit of processes (TasksMax= in systemd, pids of the container)",
}


def not_started(number: int) -> str:
    """Say why a process could not be started, by an error number, and what to do."""
    advice = _LIMITS.get(number)
    return os.strerror(number) + (f"; {advice}" if advice else "")


class Child:
    """One forked process. Safe to use from many threads."""

    def __init__(self) -> None:
        self.pid: int | None = None
        """None before it is born."""
        self.code: int | None = None
        """How it ended: its exit code, the negated number of a signal, or None where that is not known."""
        self.fault = ""
        """Why it could not be started."""
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._unwanted = False

    def kill(self) -> None:
        """End it by SIGKILL; one that is not born yet, at its birth."""
        with self._lock:
            self._unwanted = True
            self._kill()

    def wait(self, seconds: float) -> bool:
        """Wait until it is gone; tell whether it is."""
        return self._over.wait(seconds)

    def is_born(self, pid: int, descriptor: int | None) -> None:
        """The process is there; `descriptor` is one of it, which is owned from now on."""
        with self._lock:
            self.pid, self._descriptor = pid, descriptor
            if self._unwanted:
                self._kill()

    def has_ended(self, code: int | None, fault: str = "") -> None:
        """The process is gone, or was never there."""
        with self._lock:
            self.code, self.fault = code, fault
            self._over.set()
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def lose(self) -> None:
        """Nobody will report its end any more."""
        descriptor = self._descriptor
        if descriptor is None:
            self.has_ended(None)
        else:
            threading.Thread(target=self._watch, args=(descriptor,), daemon=True).start()

    def _watch(self, descriptor: int) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll()
        self.has_ended(None)

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
        """Return a new child that runs a collector of the system, and the way to it.

        Where it could not be started, the way ends at once. Raises `OSError` where not even that can be tried.
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
            # It may have been killed, and its end not have been noticed yet.
            with contextlib.suppress(OSError):
                return self._process.fork(module, theirs)
        self._process = _Process()
        return self._process.fork(module, theirs)


class _Process:
    """One nursery."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        # No signal is for the nursery, not even before it can ignore them.
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
        """Those whose end was not reported yet."""
        self._over = False
        threading.Thread(target=self._listen, name="nursery", daemon=True).start()

    def fork(self, module: str, theirs: socket.socket) -> Child:
        """Order a child. Raises `OSError` where the nursery is gone."""
        with self._lock:
            if self._over:
                raise BrokenPipeError(errno.EPIPE, "the nursery is gone")
            number, child = next(self._numbers), Child()
            order = ORDER.pack(number, module.encode())
            socket.send_fds(self._control, [order], [theirs.fileno()])
            self._children[number] = child
            return child

    def _listen(self) -> None:
        """Take reports until the nursery is gone."""
        with contextlib.suppress(OSError):
            while self._take():
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
            child.lose()

    def _take(self) -> bool:
        """Take one report; tell whether there was one."""
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
            child.is_born(pid, descriptors[0] if descriptors else None)
        elif kind == ENDED:
            child.has_ended(os.waitstatus_to_exitcode(status))
        else:
            child.has_ended(None, not_started(status))
        return True


NURSERY = Nursery()
"""The one of this process."""
