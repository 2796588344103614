"""How much memory the responses under way keep."""

from collections import Counter
from collections.abc import Iterator, Sequence

SMALL_BYTES = 4096
"""What is smaller is not counted: there is always room for it."""


class Held:
    """The chunks of responses under way; one that several responses share counts once."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._users: Counter[int] = Counter()
        self.bytes = 0

    def more(self, chunks: Sequence[bytes]) -> int:
        """Return how many bytes more these would be."""
        return sum(len(chunk) for chunk in _large(chunks) if id(chunk) not in self._users)

    def add(self, chunks: Sequence[bytes]) -> None:
        """Count these; whoever calls keeps them until `remove`."""
        for chunk in _large(chunks):
            if not self._users[id(chunk)]:
                self.bytes += len(chunk)
            self._users[id(chunk)] += 1

    def remove(self, chunks: Sequence[bytes]) -> None:
        """Count these no more."""
        for chunk in _large(chunks):
            self._users[id(chunk)] -= 1
            if not self._users[id(chunk)]:
                del self._users[id(chunk)]
                self.bytes -= len(chunk)


def _large(chunks: Sequence[bytes]) -> Iterator[bytes]:
    return (chunk for chunk in chunks if len(chunk) >= SMALL_BYTES)
