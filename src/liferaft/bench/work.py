"""A replicated object whose commands cost something, as those of real objects do.

With commands that cost next to nothing the load generator would be as busy as the cluster.
"""

import hashlib
from typing import Final, Protocol

DIGESTS: Final = 200
"""Of each command; together about a tenth of a millisecond, on each replica."""


class Work:
    """Digests what it is given, again and again."""

    def __init__(self) -> None:
        self.digest = b""

    def add(self, data: bytes) -> None:
        """Let the state depend on `data`."""
        digest = self.digest + data
        for _ in range(DIGESTS):
            digest = hashlib.sha256(digest).digest()
        self.digest = digest


class AsyncWork(Protocol):
    """The object as a client on an event loop sees it."""

    async def add(self, data: bytes) -> None:
        """Let the state depend on `data`."""
