"""One client of the demonstration: `python -m liferaft.demo.client OPTIONS`, OPTIONS in JSON.

It adds and completes items of the shared list through an ordinary blocking stub, as fast as the
answers come, and reports each step to its parent. It ends when its standard input does, and after
the call that is under way.
"""

import random as random_module
import sys
import threading
from collections.abc import Callable
from typing import Final

import msgspec

import liferaft
from liferaft.demo.reports import Added, Asked, Completed, Report, Saw, Unknown, encode_report
from liferaft.errors import LiferaftError, Refused, Unreachable
from liferaft.link.base import Network
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.system import SystemNetwork
from liferaft.recipes.todo import Todo

CALL_TIMEOUT: Final = 10.0
"""Seconds for each call: several elections fit in."""

PAUSE_MAX: Final = 0.03
"""Seconds between two calls, at most: these are people with a list, not a benchmark."""

COMPLETE_SHARE: Final = 0.4
LOOK_SHARE: Final = 0.08


class ClientOptions(msgspec.Struct, frozen=True):
    """Who the client is, where the cluster is, and what the client's own links lose."""

    name: str
    address: str
    seed: int
    loss: float
    delay: float
    duplicate: float


class Client:
    """Draws what to do next, does it, and reports it."""

    def __init__(
        self,
        name: str,
        todo: Todo,
        *,
        random: random_module.Random,
        report: Callable[[Report], None],
    ) -> None:
        self._name = name
        self._todo = todo
        self._random = random
        self._report = report
        self._adds = 0
        self._open_ids: list[int] = []

    def act(self) -> None:
        """Make one call. One without an answer is reported; only a wrong answer raises."""
        draw = self._random.random()
        if draw < LOOK_SHARE:
            self._look()
        elif draw < LOOK_SHARE + COMPLETE_SHARE and self._open_ids:
            self._complete(self._open_ids.pop(self._random.randrange(len(self._open_ids))))
        else:
            self._add()

    def _add(self) -> None:
        self._adds += 1
        text = f"{self._name}, item {self._adds}"
        self._report(Asked(text))
        try:
            item = self._todo.add(text, by=self._name)
        except LiferaftError as error:
            self._report(Unknown(f"add {text!r}", _reason(error)))
            return
        self._open_ids.append(item.id)
        self._report(Added(item.text, item.id))

    def _complete(self, item_id: int) -> None:
        try:
            item = self._todo.complete(item_id, by=self._name)
        except LiferaftError as error:
            self._report(Unknown(f"complete {item_id}", _reason(error)))
            return
        self._report(Completed(item.id, item.done_by))

    def _look(self) -> None:
        try:
            items = self._todo.items()
        except LiferaftError as error:
            self._report(Unknown("items", _reason(error)))
            return
        self._open_ids = [item.id for item in items if not item.done_by]
        self._report(Saw(len(items), len(items) - len(self._open_ids)))


def _reason(error: LiferaftError) -> str:
    return f"{type(error).__name__}: {error}"


def _print_report(report: Report) -> None:
    print(encode_report(report), flush=True)  # noqa: T201 - stdout is how the parent hears


def main() -> None:
    """Be a client until standard input ends."""
    options = msgspec.json.decode(sys.argv[1], type=ClientOptions)
    told_to_stop = threading.Event()

    def watch_stdin() -> None:
        sys.stdin.read()
        told_to_stop.set()

    threading.Thread(target=watch_stdin, daemon=True).start()
    leak = Leak(loss=options.loss, delay_max=options.delay, duplicate=options.duplicate)
    network = LeakyNetwork(SystemNetwork(), seed=options.seed, outgoing=leak)
    random = random_module.Random(options.seed)
    todo = _connect_patiently(options.address, network, told_to_stop)
    if todo is None:
        return
    try:
        client = Client(options.name, todo, random=random, report=_print_report)
        while not told_to_stop.wait(random.uniform(0, PAUSE_MAX)):
            client.act()
    finally:
        liferaft.close(todo)


def _connect_patiently(address: str, network: Network, stop: threading.Event) -> Todo | None:
    """Return a stub of the list, however long that takes; None when told to stop before."""
    while not stop.is_set():
        try:
            return liferaft.connect(
                Todo, address, name="Todo", timeout=CALL_TIMEOUT, network=network
            )
        except (Unreachable, Refused) as error:
            _print_report(Unknown("connect", _reason(error)))
    return None


if __name__ == "__main__":
    main()
