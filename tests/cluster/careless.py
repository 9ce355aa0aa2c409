"""What a replicated class must not do: each process goes through a set in its own way."""


class Careless:
    """Puts words in the order in which its process happens to meet them."""

    def __init__(self) -> None:
        self._words: list[str] = []

    def put(self, words: list[str]) -> None:
        """Add the words, each once."""
        self._words += list(set(words))
