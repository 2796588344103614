"""How glibc keeps freed memory, which for a page that is made anew every few seconds decides the size of a process.

See mallopt(3). Elsewhere than on glibc nothing is changed.
"""

from __future__ import annotations

import ctypes

ARENAS = 2
"""An arena a thread, which is the default, keeps what each thread freed apart from the others."""
MAPPED_BYTES = 262_144
"""Blocks from this size on go back to the system when they are freed."""
TRIM_BYTES = 1_048_576

ENVIRONMENT = {
    "MALLOC_ARENA_MAX": str(ARENAS),
    "MALLOC_MMAP_THRESHOLD_": str(MAPPED_BYTES),
    "MALLOC_TRIM_THRESHOLD_": str(TRIM_BYTES),
}
"""The same for a process that is yet to be started."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_little() -> None:
    """Set it for this process; to be called before it has threads."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_ARENA_MAX, ARENAS)
    mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
    mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES)
