"""Server processes that cannot outlive the test run."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from testbed.waiting import wait_until


class Child:
    """One server process; its output is appended to a file.

    The kernel kills it when the thread that started it ends, even by SIGKILL, and even if the child
    is stopped. So start children from the main thread, or from a thread that lives long enough.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Without an `environment`, the child gets that of the test run."""
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                process_group=0,  # a Ctrl-C is for the test run, which then stops its children
            )
        wait_until(self._has_begun, f"{command[0]} to begin", poll_seconds=0.002)

    def _has_begun(self) -> bool:
        """Whether setpriv is done: a child paused before that would outlive the test run."""
        try:
            return not self.is_running or Path(f"/proc/{self.pid}/exe").readlink().name != "setpriv"
        except FileNotFoundError:
            return False  # it has just ended: the next look tells

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill it by SIGKILL, and wait until it and its children are gone."""
        started = self._descendants()
        if self.is_running:
            self._process.kill()
        self._process.wait()
        _end_all(started)

    def terminate(self, timeout_seconds: float) -> None:
        """Stop it by SIGTERM, and wait until it and its children are gone."""
        started = self._descendants()
        if self.is_running:
            self._process.terminate()
        self._process.wait(timeout_seconds)
        _end_all(started)

    def terminate_only(self) -> None:
        """Send SIGTERM. Does not wait, and leaves its children alone."""
        self._process.terminate()

    def kill_only(self) -> None:
        """Kill it by SIGKILL, and leave its children alone."""
        self._process.kill()
        self._process.wait()

    def _descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def pause(self) -> None:
        """Suspend it (SIGSTOP): its connections stay open, but nothing answers."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def pause_all(self) -> None:
        """Suspend it and all its descendants."""
        for process in self._tree():
            process.suspend()

    def resume_all(self) -> None:
        """Resume its descendants, and then it."""
        for process in reversed(self._tree()):
            process.resume()

    def _tree(self) -> list[psutil.Process]:
        return [psutil.Process(self.pid), *self._descendants()]

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end_all(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(
        lambda: not any(is_alive(process.pid) for process in processes),
        f"{processes} to be gone",
        poll_seconds=0.005,
    )
