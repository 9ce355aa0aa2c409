"""A key-value dictionary of bytes."""

from liferaft.replicated.machine import query


class KeyValue:
    """The dictionary. Keys and values are opaque."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key."""
        self._values[key] = value

    def delete(self, key: bytes) -> bool:
        """Remove a key and return whether it was there."""
        return self._values.pop(key, None) is not None

    @query
    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, None when it has none."""
        return self._values.get(key)

    @query
    def size(self) -> int:
        """Return how many keys there are."""
        return len(self._values)
