from typing import Protocol

import liferaft


class Todo(Protocol):
    def add(self, text: str) -> int: ...


liferaft.connect(Todo, "127.0.0.1:7400").remove("x")  # error: has no attribute "remove"
