"""The digest of a run of the core fidelity."""

import hashlib

import msgspec

TRACE_CHUNK = 32
"""Turns that are encoded and hashed together."""


class Trace:
    """The digest of everything that happened, taken in chunks."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._encode = msgspec.msgpack.Encoder().encode
        self._waiting: list[tuple[object, ...]] = []

    def add(self, happening: tuple[object, ...]) -> None:
        """Add what happened; it is never changed afterwards."""
        waiting = self._waiting
        waiting.append(happening)
        if len(waiting) >= TRACE_CHUNK:
            self._hash.update(self._encode(waiting))
            waiting.clear()

    def digest(self) -> str:
        """Return the digest of all that was added."""
        self._hash.update(self._encode(self._waiting))
        self._waiting.clear()
        return self._hash.hexdigest()
