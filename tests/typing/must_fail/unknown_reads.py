"""A kind of reads that there is not."""

from typing import Protocol

import liferaft


class Todo(Protocol):
    def items(self) -> list[str]: ...


liferaft.connect(Todo, "127.0.0.1:7400", reads="eventual")  # error: Argument "reads" to "connect"
