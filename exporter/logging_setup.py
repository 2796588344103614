"""Logging: one event a line on standard error, as JSON or for people. A call to log never raises and never waits."""

from __future__ import annotations

import atexit
import json
import logging
import os
import queue
import select
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Literal

import structlog

from exporter.scrub import scrub, scrubbed

STDERR = 2
MOST_WAITING = 10_000
"""Lines that wait to be written; further ones are dropped."""
FULL_SECONDS = 1.0
"""How long a line waits for room in a pipe that does not block."""
FLUSH_SECONDS = 1.0

Event = MutableMapping[str, Any]
Processor = Callable[[Any, str, Any], Any]

OWN_WORDS = frozenset({"event", "level", "timestamp", "source", "task", "system"})
"""Fields of an event that hold names of the config's and of ours. A password that is such a word does not hide them."""


class Output:
    """Writes lines to a file descriptor, in a thread of its own.

    A line that cannot be written (the reader is gone, the disk is full) is dropped and counted. The first line that can
    be written again is followed by one that says how many are missing.
    """

    def __init__(self, descriptor: int, most_waiting: int = MOST_WAITING) -> None:
        self._descriptor = descriptor
        self._most_waiting = most_waiting
        self._queue: queue.SimpleQueue[bytes | threading.Event] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self.dropped = 0
        """Lines that were dropped, those of child processes included."""
        self._unreported = 0
        self._torn = False
        """Whether a line was written in part only."""
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def put(self, line: str) -> None:
        """Write the line, soon."""
        if self._queue.qsize() >= self._most_waiting:
            self.drop(1)
        else:
            # Names come from brokers: a lone surrogate cannot be encoded.
            self._queue.put(f"{line}\n".encode("utf-8", "backslashreplace"))

    def drop(self, count: int) -> None:
        """Count lines that were not written, here or in a child process."""
        with self._lock:
            self.dropped += count
            self._unreported += count

    def flush(self, seconds: float) -> bool:
        """Wait until what was logged before is written or dropped; tell whether it is."""
        done = threading.Event()
        self._queue.put(done)
        return done.wait(seconds)

    def _run(self) -> None:
        while True:
            item = self._queue.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            try:
                self._write(item)
            except OSError:
                self.drop(1)
            else:
                self._report()

    def _write(self, line: bytes) -> None:
        left = memoryview(b"\n" + line if self._torn else line)
        while left:
            try:
                written = os.write(self._descriptor, left)
            except BlockingIOError:
                # Whoever shares the pipe with this process has switched it to not blocking.
                if not select.select([], [self._descriptor], [], FULL_SECONDS)[1]:
                    raise
                continue
            left = left[written:]
            self._torn = bool(left)

    def _report(self) -> None:
        with self._lock:
            count, self._unreported = self._unreported, 0
        if count:
            structlog.get_logger(__name__).warning("log.lines_dropped", count=count)


class Logger:
    """What structlog calls with a finished line, under the name of each level."""

    def __init__(self, output: Output) -> None:
        self.msg = output.put

    def __getattr__(self, _: str) -> Callable[[str], None]:
        return self.msg


_output: list[Output] = []
"""None before the first `configure`, then one: a list, since it is made by a function."""


def configure(fmt: Literal["json", "console"], level: str) -> None:
    """Set up structlog for the process."""
    if not _output:
        _output.append(Output(STDERR))
        atexit.register(flush)
    logger = Logger(_output[0])
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if fmt == "json"
        else structlog.dev.ConsoleRenderer(
            colors=os.isatty(STDERR),
            # A traceback with the values of variables would show passwords.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    plain: list[Processor] = [] if fmt == "json" else [_printable]
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Not left to the renderer: a traceback has to be scrubbed, too.
        structlog.processors.format_exc_info,
        _without_secrets,
        *plain,
    ]
    _take_libraries_logs()
    structlog.configure(
        processors=[_safe([*processors, renderer])],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=lambda *_: logger,
        cache_logger_on_first_use=False,
    )


def _without_secrets(_: Any, __: str, event: Event) -> Event:
    """Mask the secrets that the process knows in all that is said of an event."""
    return {key: value if key in OWN_WORDS else scrubbed(value) for key, value in event.items()}


def _printable(_: Any, __: str, event: Event) -> Event:
    """Escape what would move the cursor of a terminal or change its state: names and paths come from strangers.

    JSON has escapes of its own.
    """
    return {
        key: visible(value, "\n" if key == "exception" else "") if isinstance(value, str) else value
        for key, value in event.items()
    }


def visible(text: str, kept: str = "") -> str:
    """Return the text with escape sequences for what cannot be printed, but for the characters that are `kept`."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in kept else char.encode("unicode_escape").decode()
        for char in text
    )


class _Library(logging.Handler):
    """Hands to structlog what libraries log by Python's own logging, which would print it as it is."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        # A failure of a connection is reported by the task that has it.
        level = "debug" if record.name.startswith(QUIET_LIBRARIES) else record.levelname.lower()
        say = getattr(log, level, log.warning)
        text = record.getMessage()
        say("library.message", library=record.name, text=text, exc_info=record.exc_info)


QUIET_LIBRARIES = ("pika", "urllib3", "requests")


def _take_libraries_logs() -> None:
    root = logging.getLogger()
    if not any(isinstance(handler, _Library) for handler in root.handlers):
        root.addHandler(_Library())


def dropped() -> int:
    """Return how many lines could not be written so far."""
    return _output[0].dropped if _output else 0


def drop(count: int) -> None:
    """Count lines that a child process could not write."""
    if count and _output:
        _output[0].drop(count)


def flush(seconds: float = FLUSH_SECONDS) -> None:
    """Write what was logged, as far as that takes no longer; to call before the process ends."""
    if _output:
        _output[0].flush(seconds)


def _safe(processors: Sequence[Processor]) -> Callable[[Any, str, Event], str]:
    """Return a processor that makes a line of any event, if need be one that has only its name."""

    def render(logger: Any, name: str, event: Event) -> str:
        what = event.get("event")
        try:
            made: Any = event
            for processor in processors:
                made = processor(logger, name, made)
            return str(made)
        except Exception as error:  # noqa: BLE001 - a value that cannot be shown must not end who logs it
            line: Mapping[str, str] = {
                "event": scrub(what) if isinstance(what, str) else "log.event_unreadable",
                "level": name,
                "log_error": type(error).__name__,
            }
            return json.dumps(line)

    return render


def keep_streams() -> None:
    """Open what stands for a standard stream that is closed, so that no socket gets its number and what is printed there."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # Until the process ends, so nobody closes them.
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
