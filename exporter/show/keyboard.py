"""Reads single keys from a terminal."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import sys
import termios
import tty
from collections.abc import Iterator, Sequence

_TOKEN = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|.", re.DOTALL)
_UNFINISHED = re.compile(r"\x1b(?:O|\[[0-9;]*)?\Z")
_NAMES = {
    **dict.fromkeys(("\x1b[A", "\x1bOA"), "up"),
    **dict.fromkeys(("\x1b[B", "\x1bOB"), "down"),
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    **dict.fromkeys(("\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~"), "home"),
    **dict.fromkeys(("\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~"), "end"),
    **dict.fromkeys(("\r", "\n"), "enter"),
    **dict.fromkeys(("\x7f", "\b"), "backspace"),
    "\x1b": "escape",
}
REST_SECONDS = 0.05
"""How long the rest of an escape sequence may take to arrive."""
AT_ONCE = 1_024
"""Bytes that are read at once."""


def keys_of(text: str) -> list[str]:
    """Return the keys that send this text: a name such as `page up`, or a printable character."""
    found = (_NAMES.get(token, token) for token in _TOKEN.findall(text))
    return [key for key in found if key.isprintable()]


class Keyboard:
    """The keys of the terminal behind a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether the terminal is gone."""
        return self._ended

    def read(self, seconds: float) -> Sequence[str]:
        """Return the next keys; empty if there were none within `seconds`."""
        text = self._text(seconds)
        if _UNFINISHED.search(text):
            text += self._text(REST_SECONDS)
        return keys_of(text)

    def _text(self, seconds: float) -> str:
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return ""
        try:
            data = os.read(self._descriptor, AT_ONCE)
        except OSError:
            data = b""
        self._ended = not data
        return self._decoder.decode(data)


@contextlib.contextmanager
def keyboard() -> Iterator[Keyboard | None]:
    """Yield the keyboard of standard input, without echo; None if that is no terminal of ours."""
    try:
        descriptor = sys.stdin.fileno()
        # A process in the background would be stopped as soon as it changes the terminal.
        ours = os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
        before = termios.tcgetattr(descriptor) if ours else None
    except (OSError, ValueError, AttributeError, termios.error):
        before = None
    if before is None:
        yield None
        return
    try:
        tty.setcbreak(descriptor)  # signals such as Ctrl-C still work
        yield Keyboard(descriptor)
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
