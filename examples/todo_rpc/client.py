"""A client of the shared to-do list: by commands, or interactive without one.

    python client.py 127.0.0.1:7400                     # asks for commands
    python client.py 127.0.0.1:7400 add buy milk        # one command
    python client.py 127.0.0.1:7401,127.0.0.1:7402,127.0.0.1:7403 list

The list may live in one process or be replicated on several: only the address differs.
"""

import contextlib
import getpass
import sys
import time
from collections.abc import Sequence

import liferaft
from liferaft.recipes.todo import Item, NoSuchItem, Todo

COMMANDS = "add TEXT, done NUMBER, list, watch, quit"
WATCH_INTERVAL = 0.5


def show(items: Sequence[Item]) -> None:
    """Print the list."""
    for item in items:
        mark = f"[x] {item.id} {item.text} (done by {item.done_by})"
        print(mark if item.done_by else f"[ ] {item.id} {item.text}", flush=True)
    print(f"{len(items)} items, {sum(bool(item.done_by) for item in items)} done", flush=True)


def watch(todo: Todo) -> None:
    """Print the list whenever it has changed, until Ctrl-C."""
    shown: list[Item] | None = None
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            items = todo.items()
            if items != shown:
                show(items)
                shown = items
            time.sleep(WATCH_INTERVAL)


def carry_out(todo: Todo, words: Sequence[str]) -> None:
    """Carry out one command; raises `ValueError` when it is none."""
    match words:
        case ["add", _, *_]:
            item = todo.add(" ".join(words[1:]), by=getpass.getuser())
            print(f"added item {item.id}: {item.text}", flush=True)
        case ["done", number] if number.isdecimal():
            item = todo.complete(int(number), by=getpass.getuser())
            print(f"item {item.id} is done: {item.text}", flush=True)
        case ["list"]:
            show(todo.items())
        case ["watch"]:
            watch(todo)
        case _:
            raise ValueError(f"{' '.join(words)!r} is no command; there are: {COMMANDS}")


def converse(todo: Todo) -> None:
    """Carry out the commands that are typed, until quit or the end of the input."""
    print(COMMANDS)
    while True:
        try:
            words = input("todo> ").split()
        except EOFError:
            return
        if words == ["quit"]:
            return
        try:
            if words:
                carry_out(todo, words)
        except (liferaft.LiferaftError, NoSuchItem, ValueError) as error:
            print(error)


def main() -> None:
    """Connect, and do what the command line says."""
    if len(sys.argv) < 2:
        raise SystemExit(f"usage: client.py ADDRESS[,ADDRESS...] [COMMAND], of {COMMANDS}")
    address, *words = sys.argv[1:]
    try:
        todo = liferaft.connect(Todo, address, name="Todo")
        try:
            if words:
                carry_out(todo, words)
            else:
                converse(todo)
        finally:
            liferaft.close(todo)
    except (liferaft.LiferaftError, NoSuchItem, ValueError) as error:
        raise SystemExit(f"client.py: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
