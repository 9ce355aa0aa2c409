"""One client under faults: `python -m liferaft.chaos.client OPTIONS`, OPTIONS in JSON.

It reads and writes keys and adds to the to-do list through ordinary blocking stubs, one call after
the other, every written value and every item being unlike all others, and records each call. It
prints a line once it is connected, and ends when its standard input does, after the call that is
under way.
"""

import itertools
import random as random_module
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

import msgspec

import liferaft
from liferaft.chaos.history import Event, Recorder, Value
from liferaft.errors import LiferaftError, Refused, RemoteError, Unreachable
from liferaft.link.base import Network
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.system import SystemNetwork
from liferaft.recipes.todo import Todo

CALL_TIMEOUT: Final = 5.0
"""Seconds for each call: several elections fit in, and a client does not wait out a long fault."""

PAUSE_MAX: Final = 0.02
"""Seconds between two calls, at most: load enough to be in the middle of one at any fault."""

KEYS: Final = 4
"""Keys in use at a time, so that clients meet on them."""

KEYS_LAST: Final = 5.0
"""Seconds until all clients go on to new keys: short histories of each key are judged fast."""

READ_SHARE: Final = 0.4
ADD_SHARE: Final = 0.2

PROCESSES_PER_CLIENT: Final = 100_000
"""A client has so many numbers: it takes a new one after each call whose outcome is unknown."""


class ClientOptions(msgspec.Struct, frozen=True):
    """Who the client is, where the cluster is, and what the client's own links do to frames."""

    number: int
    address: str
    history: str
    seed: int
    leak: Leak


class KeyValueStore(Protocol):
    """`liferaft.recipes.kv.KeyValue`, as far as clients use it."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, None when it has none."""


class Client:
    """Draws what to do next, does it, and records it. `clock` is in seconds."""

    def __init__(
        self,
        number: int,
        store: KeyValueStore,
        todo: Todo,
        *,
        random: random_module.Random,
        record: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._number = number
        self._store = store
        self._todo = todo
        self._random = random
        self._record = record
        self._clock = clock
        self._processes: Iterator[int] = itertools.count(number * PROCESSES_PER_CLIENT)
        self._process = next(self._processes)
        self._written = 0

    def act(self) -> None:
        """Make one call, and record what became of it."""
        draw = self._random.random()
        if draw < READ_SHARE:
            key = self._key()
            self._call("get", key, None, lambda: _text(self._store.get(key.encode())))
        elif draw < READ_SHARE + ADD_SHARE:
            text = self._unique()
            self._call("add", None, text, lambda: self._todo.add(text).id)
        else:
            key, value = self._key(), self._unique()
            self._call("put", key, value, lambda: self._put(key, value))

    def _put(self, key: str, value: str) -> str:
        self._store.put(key.encode(), value.encode())
        return value

    def _key(self) -> str:
        generation = int(self._clock() / KEYS_LAST)
        return f"{generation}-{self._random.randrange(KEYS)}"

    def _unique(self) -> str:
        self._written += 1
        return f"{self._number}-{self._written}"

    def _call(self, f: str, key: str | None, value: Value, do: Callable[[], Value]) -> None:
        process = self._process
        self._record(Event(process, "invoke", f, self._clock(), key, value))
        try:
            result = do()
        except (Refused, Unreachable):  # which promise that nothing was executed
            self._record(Event(process, "fail", f, self._clock(), key, value))
        except LiferaftError as error:
            self._record(Event(process, "info", f, self._clock(), key, value))
            self._process = next(self._processes)
            if isinstance(error, RemoteError):
                raise  # no fault of ours makes these methods raise: whoever reads our log shall see
        else:
            self._record(Event(process, "ok", f, self._clock(), key, result))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def main() -> None:
    """Be a client until standard input ends."""
    options = msgspec.json.decode(sys.argv[1], type=ClientOptions)
    told_to_stop = threading.Event()

    def watch_stdin() -> None:
        sys.stdin.read()
        told_to_stop.set()

    threading.Thread(target=watch_stdin, daemon=True).start()
    network = LeakyNetwork(SystemNetwork(), seed=options.seed, outgoing=options.leak)
    random = random_module.Random(options.seed)
    stubs = _connect_patiently(options.address, network, told_to_stop)
    if stubs is None:
        return
    store, todo = stubs
    print("connected", flush=True)  # noqa: T201 - stdout is how the parent hears
    recorder = Recorder(Path(options.history))
    try:
        client = Client(options.number, store, todo, random=random, record=recorder.record)
        while not told_to_stop.wait(random.uniform(0, PAUSE_MAX)):
            client.act()
    finally:
        recorder.close()
        for stub in stubs:
            liferaft.close(stub)


def _connect_patiently(
    address: str, network: Network, stop: threading.Event
) -> tuple[KeyValueStore, Todo] | None:
    """Return the stubs, however long that takes; None when told to stop before."""
    while not stop.is_set():
        try:
            store = liferaft.connect(
                KeyValueStore, address, name="KeyValue", timeout=CALL_TIMEOUT, network=network
            )
        except (Unreachable, Refused):
            continue
        try:
            todo = liferaft.connect(
                Todo, address, name="Todo", timeout=CALL_TIMEOUT, network=network
            )
        except (Unreachable, Refused):
            liferaft.close(store)
            continue
        return store, todo
    return None


if __name__ == "__main__":
    main()
