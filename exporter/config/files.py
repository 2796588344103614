"""The content of a file that a person names: never more than a bound, and never waited for without one."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

MAX_BYTES = 1 << 20
WAIT_SECONDS = 10.0
"""How long a pipe, as a shell's `<(command)` is one, may take to give all of it."""
_READ_BYTES = 1 << 16


class TooLargeError(Exception):
    """The file has more bytes than any config."""

    def __init__(self) -> None:
        super().__init__(f"larger than {MAX_BYTES:,} bytes")


def read_bounded(path: Path) -> bytes:
    """Return the file's content. Raises `OSError`, also where a pipe is too slow, and `TooLargeError`."""
    end = time.monotonic() + WAIT_SECONDS
    # Opening a pipe that nobody writes to would wait, and so would reading it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        data = bytearray()
        while part := _read(descriptor, end):
            data += part
            if len(data) > MAX_BYTES:
                raise TooLargeError
        return bytes(data)
    finally:
        os.close(descriptor)


def _read(descriptor: int, end: float) -> bytes:
    while True:
        try:
            return os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            left = max(0.0, end - time.monotonic())
            if not select.select([descriptor], [], [], left)[0]:
                raise TimeoutError(None, "nothing more came for too long") from None
