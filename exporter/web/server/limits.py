"""Limits for clients."""

import resource
from dataclasses import dataclass

MOST_CONNECTIONS = 20_000
"""Largest number of connections. Memory limits it too: an idle connection takes some kilobytes,
with TLS some tens.
"""
_RESERVE = 128
_FEWEST = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one client, and of all together."""

    connections: int | None = None  # None: as many as the process may open, less a reserve
    head_seconds: float = 10.0  # to send a request, to finish the TLS handshake, to begin at all
    idle_seconds: float = 120.0  # between two requests
    piece_seconds: float = 30.0  # to take each piece of a response
    response_seconds: float = 300.0  # to take all of it
    head_bytes: int = 32 * 1024
    body_bytes: int = 64 * 1024  # bodies are read and ignored
    held_bytes: int = 128 * 1024 * 1024  # that responses under way keep in memory

    def most_connections(self) -> int:
        """Return the largest number of open connections."""
        if self.connections is not None:
            return self.connections
        return connections_within(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def connections_within(descriptors: int) -> int:
    """Return how many of the process's descriptors connections may use.

    A quarter, and at least 128, is reserved for sources, files and the log.
    """
    if descriptors == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    reserve = max(_RESERVE, descriptors // 4)
    return max(_FEWEST, min(descriptors - reserve, MOST_CONNECTIONS))
