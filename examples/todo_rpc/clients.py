"""Several client processes that fill one list at the same time, and a look at what came of it.

    python clients.py 127.0.0.1:7400 --clients 4 --items 25

Every item must be there exactly once and be done, however much the network loses or repeats.
"""

import argparse
import multiprocessing
from collections import Counter

import liferaft
from liferaft.recipes.todo import Todo


def fill(address: str, name: str, items: int) -> None:
    """Add so many items and complete each: what one client process does."""
    todo = liferaft.connect(Todo, address, name="Todo", timeout=60.0)
    try:
        for number in range(1, items + 1):
            item = todo.add(f"{name}, item {number}", by=name)
            todo.complete(item.id, by=name)
    finally:
        liferaft.close(todo)


def main() -> None:
    """Run the clients, then compare the list with what they did."""
    parser = argparse.ArgumentParser(description="Fill a shared to-do list from several processes.")
    parser.add_argument("address")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--items", type=int, default=25, help="how many each client adds")
    options = parser.parse_args()
    names = [f"client {n}" for n in range(1, options.clients + 1)]

    with multiprocessing.get_context("spawn").Pool(options.clients) as pool:
        pool.starmap(fill, [(options.address, name, options.items) for name in names])

    todo = liferaft.connect(Todo, options.address, name="Todo")
    try:
        found = Counter(item.text for item in todo.items() if item.done_by)
    finally:
        liferaft.close(todo)
    wanted = [f"{name}, item {n}" for name in names for n in range(1, options.items + 1)]
    wrong = [text for text in wanted if found[text] != 1]
    if wrong:
        raise SystemExit(f"clients.py: not exactly once: {', '.join(wrong)}")
    print(f"all {len(wanted)} items are there exactly once, and done")


if __name__ == "__main__":
    main()
