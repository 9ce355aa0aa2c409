"""Plain sequential objects, and histories of them that came about in a linearizable way.

What the objects do is written down here a second time, apart from the models that judge it.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from liferaft.check.history import Operation

Call = tuple[str, Any]
"""A function and its argument."""

Answer = tuple[Any, Any]
"""The state after a call, and what it is answered."""


def register(state: Any, function: str, argument: Any, process: int) -> Answer:
    if function == "read":
        return state, state
    if function == "write":
        return argument, None
    old, new = argument
    return (new, True) if state == old else (state, False)


def key_value(state: Any, function: str, argument: Any, process: int) -> Answer:
    if function == "get":
        return state, state
    if function == "delete":
        return None, state is not None
    return argument if function == "put" else (state or "") + argument, None


def queue(state: Any, function: str, argument: Any, process: int) -> Answer:
    values = state or ()
    if function == "enqueue":
        return (*values, argument), None
    return values[1:], values[0] if values else None


def lock(state: Any, function: str, argument: Any, process: int) -> Answer:
    if function == "acquire":
        return (process, True) if state is None else (state, False)
    return (None, True) if state == process else (state, False)


def counter(state: Any, function: str, argument: Any, process: int) -> Answer:
    value = state or 0
    if function in ("read", "get"):
        return value, value
    amount = {"increment": 1, "decrement": -1}.get(function, argument)
    after = value + amount
    return after, after if function == "add_and_get" else None


def set_(state: Any, function: str, argument: Any, process: int) -> Answer:
    members = state or frozenset()
    if function == "read":
        return members, sorted(members)
    if function == "contains":
        return members, argument in members
    after = members | {argument} if function == "add" else members - {argument}
    return after, after != members


def todo(state: Any, function: str, argument: Any, process: int) -> Answer:
    items = state or ()
    if function == "items":
        return items, list(items)
    if function == "add":
        item = {"id": len(items) + 1, "text": argument, "added_by": "", "done_by": ""}
        return (*items, item), item
    if not 1 <= argument <= len(items):
        return items, {"error": "NoSuchItem"}
    before = items[argument - 1]
    done = {**before, "done_by": before["done_by"] or "somebody"}
    return (*items[: argument - 1], done, *items[argument:]), done


OBJECTS: dict[str, Callable[[Any, str, Any, int], Answer]] = {
    "register": register,
    "cas-register": register,
    "kv": key_value,
    "queue": queue,
    "lock": lock,
    "counter": counter,
    "set": set_,
    "todo": todo,
}

CALLS: dict[str, Sequence[Call]] = {
    "register": [("read", None), ("write", 1), ("write", 2)],
    "cas-register": [("read", None), ("write", 1), ("write", 2), ("cas", (1, 2)), ("cas", (2, 3))],
    "kv": [
        ("get", None),
        ("put", "a"),
        ("put", "b"),
        ("append", "a"),
        ("append", "b"),
        ("delete", None),
    ],
    "queue": [("enqueue", "a"), ("enqueue", "b"), ("dequeue", None), ("dequeue", None)],
    "lock": [("acquire", None), ("release", None)],
    "counter": [("add", 1), ("add", 2), ("decrement", None), ("read", None), ("add_and_get", 1)],
    "set": [("add", "a"), ("add", "b"), ("remove", "a"), ("contains", "a"), ("read", None)],
    "todo": [("add", "x"), ("add", "y"), ("complete", 1), ("items", None)],
}
"""A few calls of each object, so that they often meet."""


def simulate(
    model: str,
    calls: Callable[[random.Random, int], Call],
    *,
    clients: int,
    count: int,
    seed: int,
    keys: Sequence[str] = ("k",),
    unanswered: float = 0.0,
) -> list[Operation]:
    """Return what `clients` saw who made `count` calls, each of which took effect at one moment.

    A share of `unanswered` operations never got an answer; half of those never took effect.
    """
    rng = random.Random(seed)
    states: dict[str, Any] = dict.fromkeys(keys)
    idle = list(range(clients))
    going_on: list[dict[str, Any]] = []
    operations: list[Operation] = []
    time = made = 0
    while made < count or going_on:
        time += 1
        if idle and made < count and (not going_on or rng.random() < 0.6):
            process = idle.pop(rng.randrange(len(idle)))
            function, argument = calls(rng, made)
            lost = rng.random() < unanswered
            going_on.append(
                {
                    "process": process,
                    "function": function,
                    "argument": argument,
                    "key": rng.choice(keys),
                    "invoked_at": time,
                    "is_lost": lost,
                    "happens": not lost or rng.random() < 0.5,
                }
            )
            made += 1
            continue
        call = rng.choice(going_on)
        if call["happens"] and "result" not in call:
            key, process = call["key"], call["process"]
            step = OBJECTS[model]
            states[key], call["result"] = step(
                states[key], call["function"], call["argument"], process
            )
            continue
        going_on.remove(call)
        idle.append(call["process"])
        operations.append(
            Operation(
                process=call["process"],
                function=call["function"],
                argument=call["argument"],
                result=None if call["is_lost"] else call["result"],
                invoked_at=call["invoked_at"],
                returned_at=None if call["is_lost"] else time,
                key=call["key"],
            )
        )
    return sorted(operations, key=lambda operation: operation.invoked_at)
