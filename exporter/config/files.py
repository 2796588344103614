"""Reads a file that the user names, with a limit on its size and on the time."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

MAX_BYTES = 1 << 20
WAIT_SECONDS = 10.0
"""How long a pipe, such as a shell's `<(command)`, may take to deliver everything."""
_READ_BYTES = 1 << 16


class TooLargeError(Exception):
    """The file is larger than any valid config."""

    def __init__(self) -> None:
        super().__init__(f"larger than {MAX_BYTES:,} bytes")


def read_bounded(path: Path) -> bytes:
    """Return the file's content.

    Raises `OSError`, also if a pipe is too slow, and `TooLargeError`.
    """
    end = time.monotonic() + WAIT_SECONDS
    # Without O_NONBLOCK, opening or reading a pipe without a writer would block.
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
                raise TimeoutError(None, "timed out waiting for more data") from None
