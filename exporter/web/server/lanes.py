"""Runs work beside the event loop, in a few threads with a bounded queue."""

import asyncio
import queue
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class BusyError(Exception):
    """The lane has too much work, in total or for this client."""


@dataclass(frozen=True, slots=True)
class _Work:
    """Work to do, and the future of its result."""

    do: Callable[..., Any]
    arguments: tuple[Any, ...]
    client: str
    result: "asyncio.Future[Any]"


class Lane:
    """Runs at most `threads` pieces of work at once, in order of arrival.

    At most `waiting` pieces wait, at most `of_one` for the same client. The threads are daemons, so
    that work that never ends does not keep the process from ending.
    """

    def __init__(self, name: str, threads: int, waiting: int, of_one: int) -> None:
        """Start no thread yet; threads are started when there is work."""
        self._name, self._most_threads, self._waiting, self._of_one = name, threads, waiting, of_one
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._threads = 0
        self._under_way: Counter[str] = Counter()

    async def run(self, client: str, do: Callable[..., Any], *arguments: Any) -> Any:
        """Return the result of `do`, or raise its error.

        Raises `BusyError` at once if the lane is full.
        """
        if self._queue.qsize() >= self._waiting or self._under_way[client] >= self._of_one:
            raise BusyError
        self._add_thread()
        result = asyncio.get_running_loop().create_future()
        self._under_way[client] += 1
        self._queue.put(_Work(do, arguments, client, result))
        return await result

    def stop(self) -> None:
        """Let the threads end after the queued work."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _add_thread(self) -> None:
        if self._threads > self._under_way.total() or self._threads >= self._most_threads:
            return
        try:
            threading.Thread(target=self._work, name=f"http-{self._name}", daemon=True).start()
        except RuntimeError:
            log.error("http.thread_failed", lane=self._name)  # noqa: TRY400 # the name says it all
            if not self._threads:
                raise BusyError from None
        else:
            self._threads += 1

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            value = error = None
            # The future is cancelled if nobody waits for the result any more.
            if not work.result.done():
                try:
                    value = work.do(*work.arguments)
                except Exception as raised:  # noqa: BLE001 - raised again in `run`
                    error = raised
            with suppress(RuntimeError):  # the loop has ended
                work.result.get_loop().call_soon_threadsafe(self._deliver, work, value, error)
            del work, value, error

    def _deliver(self, work: _Work, value: Any, error: Exception | None) -> None:
        self._under_way[work.client] -= 1
        if not self._under_way[work.client]:
            del self._under_way[work.client]
        if work.result.done():
            return
        if error is not None:
            work.result.set_exception(error)
        else:
            work.result.set_result(value)
