"""The nursery: the process from which the source processes are forked.

`forking.py` is the daemon's side.

It imports the libraries of a system before it forks the first child of that system, so all children
share them. It never opens a connection, has no threads and creates no clients, because a process
with any of these cannot be forked safely.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
import traceback
from multiprocessing.connection import Connection
from typing import NoReturn

# structlog imports rich if it is installed, for tracebacks that are not used here: 12 MB.
sys.modules["rich"] = None  # type: ignore[assignment]

from exporter import signals  # noqa: E402
from exporter.collectors.process import child  # noqa: E402
from exporter.collectors.process.forking import BORN, ENDED, EXHAUSTED, FAILED, ORDER, REPORT  # noqa: E402
from exporter.scrub import scrub  # noqa: E402
from exporter.task_log import is_exhaustion  # noqa: E402

END_SECONDS = 1.0
"""Time for the children to end before they are killed, when the daemon is gone."""
CRASHED = 1


def main() -> None:
    """Fork children until the daemon is gone.

    The first argument is the file descriptor of the connection to it.
    """
    signals.ignore()
    # Imported modules stay. A garbage collection would write to the memory pages that the children
    # share.
    gc.disable()
    _NurseryProcess(socket.socket(fileno=int(sys.argv[1]))).run()


class _NurseryProcess:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, int] = {}
        """Process id to the child's number."""
        self._loaded: set[str] = set()
        self._deaths, self._woken = os.pipe()
        os.set_blocking(self._deaths, False)
        os.set_blocking(self._woken, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)

    def run(self) -> None:
        """Serve the daemon; return when it is gone and no child is left."""
        with contextlib.suppress(OSError):
            control = self._control.fileno()
            while True:
                ready, _, _ = select.select([control, self._deaths], [], [])
                if self._deaths in ready:
                    self._reap()
                if control in ready and not self._serve():
                    break
        self._end()

    def _serve(self) -> bool:
        """Start one child; return whether the daemon is still there."""
        data, descriptors, _, _ = socket.recv_fds(self._control, ORDER.size, 1)
        while data and len(data) < ORDER.size:
            more = self._control.recv(ORDER.size - len(data))
            data = data + more if more else b""
        if not data:
            return False
        number, module = ORDER.unpack(data)
        if descriptors:
            self._fork(number, module.rstrip(b"\0").decode(), descriptors[0])
        else:
            self._report(FAILED, number, 0, errno.EMFILE)
        return True

    def _fork(self, number: int, module: str, descriptor: int) -> None:
        self._load(module)
        try:
            pid = os.fork()
        except OSError as error:
            os.close(descriptor)
            self._report(FAILED, number, 0, error.errno or 0)
            return
        if pid == 0:
            self._be_child(descriptor)
        os.close(descriptor)
        self._children[pid] = number
        process = _descriptor_of(pid)
        self._report(BORN, number, pid, 0, process)
        if process is not None:
            os.close(process)

    def _load(self, module: str) -> None:
        """Import the modules that the children of this collector need.

        Errors are ignored: the child fails with the same error and reports it.
        """
        if module not in self._loaded:
            self._loaded.add(module)
            with contextlib.suppress(Exception):
                importlib.import_module(module)
            gc.collect()
            gc.freeze()

    def _be_child(self, descriptor: int) -> NoReturn:
        """Run a collector until the daemon closes the connection."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.close()
            os.close(self._deaths)
            os.close(self._woken)
            gc.enable()
            child.serve(Connection(descriptor))
        except BaseException as error:  # noqa: BLE001 - the process ends, whatever the error is
            if is_exhaustion(error):
                os._exit(EXHAUSTED)  # the daemon logs the meaning once
            sys.stderr.write(scrub(traceback.format_exc()))
        finally:
            os._exit(CRASHED)

    def _reap(self) -> None:
        """Report the children that have ended."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._deaths, 4096)
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            number = self._children.pop(pid, None)
            if number is not None:
                self._report(ENDED, number, pid, status)

    def _report(
        self, kind: int, number: int, pid: int, status: int, descriptor: int | None = None
    ) -> None:
        report = REPORT.pack(kind, number, pid, status)
        if descriptor is None:
            self._control.sendall(report)
        else:
            socket.send_fds(self._control, [report], [descriptor])

    def _end(self) -> None:
        """Wait for the children to end, since their connections have ended too.

        Kill those that hang.
        """
        until = time.monotonic() + END_SECONDS
        while self._children and time.monotonic() < until:
            select.select([self._deaths], [], [], max(until - time.monotonic(), 0.0))
            self._forget()
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _forget(self) -> None:
        """Reap the ended children without reporting them, because the daemon is gone."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._deaths, 4096)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, _ = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._children.pop(pid, None)


def _descriptor_of(pid: int) -> int | None:
    """Return a descriptor of the process, which never refers to another one with its id.

    None if the system has no process descriptors.
    """
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


if __name__ == "__main__":
    main()
