"""Ports for test servers, reserved against other test runs on the same machine."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import closing

FIRST, LAST = 20_000, 28_999
"""Below the ephemeral range, where a restarted server can find its port taken by some client."""

BLOCK_SIZE = 30


class PortBlock:
    """Thirty consecutive free ports on 127.0.0.1, reserved for this process until `release`.

    The ports themselves stay unbound for the servers. The reservation is a lock that every test run
    on this machine checks: an abstract Unix socket, which the kernel frees when the process ends in
    any way.
    """

    def __init__(self) -> None:
        starts = list(range(FIRST, LAST + 2 - BLOCK_SIZE, BLOCK_SIZE))
        random.shuffle(starts)
        for start in starts:
            lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                lock.bind(f"\0mq-lag-exporter-test-ports-{start}")
            except OSError:
                lock.close()
                continue
            if all(map(is_free, range(start, start + BLOCK_SIZE))):
                self._lock = lock
                self._ports: Iterator[int] = iter(range(start, start + BLOCK_SIZE))
                return
            lock.close()
        raise RuntimeError(f"no {BLOCK_SIZE} free ports in a row between {FIRST} and {LAST}")

    def take(self) -> int:
        """The next port of the block; StopIteration after the last."""
        return next(self._ports)

    def release(self) -> None:
        """Free the ports. Call it when the servers are gone."""
        self._lock.close()


def is_free(port: int) -> bool:
    """Return whether nothing listens on this port of 127.0.0.1."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
