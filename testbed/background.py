"""Runs work in a thread for the duration of a `with` block."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import ClassVar, Self


class Background:
    """Runs `_run` in a thread. An error of it is raised at the end of the block.

    `_run` must return soon after `_stopping` is set. It may be stopped and started again within the
    block.
    """

    STOP_SECONDS: ClassVar[float] = 30.0
    """How long stopping may take."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if error is None and self._failure is not None:
            raise self._failure

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._guarded, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(self.STOP_SECONDS)
            assert not self._thread.is_alive(), "it does not stop"
            self._thread = None

    def _guarded(self) -> None:
        try:
            self._run()
        except BaseException as failure:  # noqa: BLE001 - raised where the block ends
            self._failure = failure

    def _run(self) -> None:
        raise NotImplementedError


class Repeated(Background):
    """Calls a function again and again."""

    def __init__(self, seconds: float, call: Callable[[], object]) -> None:
        super().__init__()
        self._seconds, self._call = seconds, call

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            self._call()
