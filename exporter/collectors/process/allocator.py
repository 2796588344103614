"""Limits the memory that glibc keeps after it is freed.

The exposition is rendered again every few seconds, so this decides the size of the process. See
mallopt(3). Does nothing if the C library is not glibc.
"""

from __future__ import annotations

import ctypes

ARENAS = 2
"""Number of malloc arenas. By default each thread has one, which keeps what it freed."""
MAPPED_BYTES = 262_144
"""Blocks of at least this size are returned to the system when they are freed."""
TRIM_BYTES = 1_048_576

ENVIRONMENT = {
    "MALLOC_ARENA_MAX": str(ARENAS),
    "MALLOC_MMAP_THRESHOLD_": str(MAPPED_BYTES),
    "MALLOC_TRIM_THRESHOLD_": str(TRIM_BYTES),
}
"""The same settings for a process that is not started yet."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_little() -> None:
    """Apply the settings to this process. Call it before the process has threads."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_ARENA_MAX, ARENAS)
    mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
    mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES)
