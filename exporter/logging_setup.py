"""Logging: one event per line on standard error, as JSON or for people.

A logging call never raises or blocks.
"""

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
"""Largest number of queued lines; further ones are dropped."""
FULL_SECONDS = 1.0
"""How long a line waits for room in a non-blocking pipe."""
FLUSH_SECONDS = 1.0

Event = MutableMapping[str, Any]
Processor = Callable[[Any, str, Any], Any]

OWN_WORDS = frozenset({"event", "level", "timestamp", "source", "task", "system"})
"""Event fields with names from the config or from the code. They are not masked if a password is
one of these words.
"""


class Output:
    """Writes lines to a file descriptor in a separate thread.

    A line that cannot be written (the reader is gone, the disk is full) is dropped and counted. The
    first line that can be written again is followed by one with the number of dropped lines.
    """

    def __init__(self, descriptor: int, most_waiting: int = MOST_WAITING) -> None:
        self._descriptor = descriptor
        self._most_waiting = most_waiting
        self._queue: queue.SimpleQueue[bytes | threading.Event] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self.dropped = 0
        """Number of dropped lines, including those of child processes."""
        self._unreported = 0
        self._torn = False
        """Whether the last line was only partly written."""
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def put(self, line: str) -> None:
        """Queue the line for writing."""
        if self._queue.qsize() >= self._most_waiting:
            self.drop(1)
        else:
            # Names come from brokers. A lone surrogate in them cannot be encoded.
            self._queue.put(f"{line}\n".encode("utf-8", "backslashreplace"))

    def drop(self, count: int) -> None:
        """Count lines that were dropped, here or in a child process."""
        with self._lock:
            self.dropped += count
            self._unreported += count

    def flush(self, seconds: float) -> bool:
        """Wait until all earlier lines are written or dropped; return whether they are."""
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
                # Another process with this pipe has made it non-blocking.
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
    """The logger that structlog calls with a finished line, by a method for each level."""

    def __init__(self, output: Output) -> None:
        self.msg = output.put

    def __getattr__(self, _: str) -> Callable[[str], None]:
        return self.msg


_output: list[Output] = []
"""Empty before the first `configure`, then with one element. A list, because a function sets it."""


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
    """Mask all known secrets in the event."""
    return {key: value if key in OWN_WORDS else scrubbed(value) for key, value in event.items()}


def _printable(_: Any, __: str, event: Event) -> Event:
    """Escape characters that could control a terminal, because names and paths come from outside.

    JSON has its own escapes.
    """
    return {
        key: visible(value, "\n" if key == "exception" else "") if isinstance(value, str) else value
        for key, value in event.items()
    }


def visible(text: str, kept: str = "") -> str:
    """Return the text with unprintable characters as escape sequences, except those in `kept`."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in kept else char.encode("unicode_escape").decode()
        for char in text
    )


class _Library(logging.Handler):
    """Passes messages of Python's logging from libraries to structlog.

    Otherwise they would be printed unmasked.
    """

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        # Connection errors are reported by the task with the connection.
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
    """Return the number of dropped lines."""
    return _output[0].dropped if _output else 0


def drop(count: int) -> None:
    """Count lines that a child process dropped."""
    if count and _output:
        _output[0].drop(count)


def flush(seconds: float = FLUSH_SECONDS) -> None:
    """Write queued lines for at most this long. Call it before the process ends."""
    if _output:
        _output[0].flush(seconds)


def _safe(processors: Sequence[Processor]) -> Callable[[Any, str, Event], str]:
    """Return a processor that formats any event; in the worst case only its name."""

    def render(logger: Any, name: str, event: Event) -> str:
        what = event.get("event")
        try:
            made: Any = event
            for processor in processors:
                made = processor(logger, name, made)
            return str(made)
        except Exception as error:  # noqa: BLE001 - a value that cannot be formatted must not end the caller
            line: Mapping[str, str] = {
                "event": scrub(what) if isinstance(what, str) else "log.event_unreadable",
                "level": name,
                "log_error": type(error).__name__,
            }
            return json.dumps(line)

    return render


def keep_streams() -> None:
    """Open /dev/null for each closed standard stream.

    Otherwise a socket could get its number, and the output.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # Open until the process ends.
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
