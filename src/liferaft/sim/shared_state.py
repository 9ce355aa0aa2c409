"""The workload that liferaft is tried with: a to-do list and a key-value dictionary side by side.

The to-do list shows exactly-once: every add has its own text. The dictionary shows linearizability:
few keys, a value that nobody wrote twice, and a history for the checker. Some commands fail on
purpose, for an exception is a result; some are as large as a segment of the log.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from liferaft.check.history import Operation
from liferaft.check.linearizability import Outcome, check
from liferaft.check.models import KeyValue as KeyValueModel
from liferaft.errors import DeadlineExceeded, InvariantViolated, LiferaftError, OutcomeUnknown
from liferaft.recipes.kv import KeyValue
from liferaft.recipes.todo import Item, NoSuchItem, TodoList
from liferaft.rpc.interface import raises
from liferaft.sim.workload import Seat
from liferaft.sim.world import World

TODO: Final = "TodoList"
DICTIONARY: Final = "KeyValue"
KEYS: Final = 4
LARGE_BYTES: Final = (20_000, 120_000)
"""From about the size of a segment of the simulated log to several of them."""
ITEMS_MAX: Final = 60
"""Completes aim at items up to this number, many of which are not there yet."""
CHECK_SECONDS: Final = 20.0
CHECK_BYTES: Final = 512 * 1024 * 1024


class AsyncTodo(Protocol):
    """The to-do list as a client on an event loop sees it."""

    async def add(self, text: str, *, by: str = "") -> Item:
        """Add an item."""

    @raises(NoSuchItem)
    async def complete(self, item_id: int, *, by: str = "") -> Item:
        """Mark an item as done."""

    async def items(self) -> list[Item]:
        """Return all items."""


class AsyncKeyValue(Protocol):
    """The dictionary as a client on an event loop sees it."""

    async def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key."""

    async def get(self, key: bytes) -> bytes | None:
        """Return the value of a key."""


class TodoLedger:
    """What all clients together know of the to-do list: the texts of their adds, by outcome."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self.unknown: list[str] = []
        self.refused: list[str] = []
        self.failed_as_told = 0
        self.reads = 0

    def check_final(self, items: Sequence[Item]) -> None:
        """Raise `InvariantViolated` unless every add is there as often as its outcome allows."""
        times = Counter(item.text for item in items)
        for text in self.acknowledged:
            if times[text] != 1:
                raise InvariantViolated(
                    f"exactly once: {text!r} was acknowledged and is there {times[text]} times"
                )
        for text in self.unknown:
            if times[text] > 1:
                raise InvariantViolated(
                    f"exactly once: {text!r} has an unknown outcome and is there twice"
                )
        for text in self.refused:
            if times[text]:
                raise InvariantViolated(f"exactly once: {text!r} was refused and is there")
        strangers = sorted(set(times) - {*self.acknowledged, *self.unknown})
        if strangers:
            raise InvariantViolated(f"exactly once: nobody added {strangers[0]!r}")


class SharedState:
    """The workload; see the module's docstring."""

    def __init__(self) -> None:
        self.ledger: Final = TodoLedger()
        self.history: Final[list[Operation]] = []
        self._count = 0

    def objects(self) -> Mapping[str, object]:
        """Return what a node hosts."""
        return {TODO: TodoList(), DICTIONARY: KeyValue()}

    async def step(self, seat: Seat) -> None:
        """Make one call of either object."""
        draw = seat.random.random()
        if draw < 0.25:
            await self._add(seat)
        elif draw < 0.32:
            await self._complete(seat)
        elif draw < 0.38:
            await self._read(seat)
        elif draw < 0.72:
            await self._put(seat)
        else:
            await self._get(seat)

    def check_now(self, world: World, group: str) -> None:
        """Look at nothing: what clients see is checked as they see it, the rest at the end."""

    async def check_end(self, judge: Seat, world: World) -> None:
        """Check that every add is there once, and that the dictionary's history is linearizable."""
        todo: AsyncTodo = judge.stub(TODO, AsyncTodo)
        await todo.add("the last word", by="judge")
        self.ledger.acknowledged.append("the last word")
        self.ledger.check_final(await todo.items())
        store: AsyncKeyValue = judge.stub(DICTIONARY, AsyncKeyValue)
        for number in range(KEYS):
            await self._call_get(judge, store, _key(number))
        self._check_history(world)

    def outcomes(self) -> Mapping[str, int]:
        """Return how many operations ended how."""
        return {
            "acknowledged": len(self.ledger.acknowledged),
            "unknown": len(self.ledger.unknown),
            "reads": self.ledger.reads,
            "failed as told": self.ledger.failed_as_told,
            "dictionary": len(self.history),
        }

    def _check_history(self, world: World) -> None:
        verdict = check(
            KeyValueModel(), self.history, timeout=CHECK_SECONDS, memory_bytes=CHECK_BYTES
        )
        if verdict.outcome is Outcome.VIOLATION:
            raise InvariantViolated(
                f"linearizability: of {len(self.history)} operations on the dictionary, "
                f"{verdict.reason}"
            )
        world.counts["history undecided"] += verdict.outcome is Outcome.UNDECIDED

    # The to-do list.

    async def _add(self, seat: Seat) -> None:
        self._count += 1
        text = f"{seat.name}/{self._count}"
        todo: AsyncTodo = seat.stub(TODO, AsyncTodo)
        try:
            item = await todo.add(text, by=seat.name)
        except LiferaftError as error:
            seat.failed(error)
            is_unknown = isinstance(error, (DeadlineExceeded, OutcomeUnknown))
            (self.ledger.unknown if is_unknown else self.ledger.refused).append(text)
        else:
            if item.text != text:
                raise InvariantViolated(f"exactly once: {text!r} was answered with {item!r}")
            self.ledger.acknowledged.append(text)

    async def _read(self, seat: Seat) -> None:
        """Read; a linearizable read shows every add that was acknowledged before it began."""
        acknowledged = len(self.ledger.acknowledged)
        todo: AsyncTodo = seat.stub(TODO, AsyncTodo)
        try:
            items = await todo.items()
        except LiferaftError as error:
            seat.failed(error)
            return
        self.ledger.reads += 1
        texts = {item.text for item in items}
        missing = [t for t in self.ledger.acknowledged[:acknowledged] if t not in texts]
        if missing:
            raise InvariantViolated(
                f"linearizability: a read began after {missing[0]!r} and does not show it"
            )

    async def _complete(self, seat: Seat) -> None:
        todo: AsyncTodo = seat.stub(TODO, AsyncTodo)
        item_id = seat.random.randint(1, ITEMS_MAX)
        try:
            await todo.complete(item_id, by=seat.name)
        except NoSuchItem as error:
            if error.item_id != item_id:
                raise InvariantViolated(f"item {item_id} was asked for, and {error}") from error
            self.ledger.failed_as_told += 1
        except LiferaftError as error:
            seat.failed(error)  # completing twice changes nothing: the outcome is of no interest

    # The dictionary.

    async def _put(self, seat: Seat) -> None:
        self._count += 1
        size = seat.random.randint(*LARGE_BYTES) if seat.random.random() < 0.01 else 0
        value = b"%s/%d" % (seat.name.encode(), self._count) + b"." * size
        key = _key(seat.random.randrange(KEYS))
        store: AsyncKeyValue = seat.stub(DICTIONARY, AsyncKeyValue)
        invoked_at = seat.now
        returned_at: float | None = None
        try:
            await store.put(key, value)
            returned_at = seat.now
        except LiferaftError as error:
            seat.failed(error)
            if not isinstance(error, (DeadlineExceeded, OutcomeUnknown)):
                return  # it was refused, and never happened; else it may have, or may still
        self._note(seat, key, ("put", value, None), invoked_at, returned_at)

    async def _get(self, seat: Seat) -> None:
        store: AsyncKeyValue = seat.stub(DICTIONARY, AsyncKeyValue)
        try:
            await self._call_get(seat, store, _key(seat.random.randrange(KEYS)))
        except LiferaftError as error:
            seat.failed(error)  # a read without an answer tells nothing

    async def _call_get(self, seat: Seat, store: AsyncKeyValue, key: bytes) -> None:
        invoked_at = seat.now
        value = await store.get(key)
        self._note(seat, key, ("get", None, value), invoked_at, seat.now)

    def _note(
        self,
        seat: Seat,
        key: bytes,
        call: tuple[str, bytes | None, bytes | None],
        invoked_at: float,
        returned_at: float | None,
    ) -> None:
        function, argument, result = call
        self.history.append(
            Operation(
                process=seat.name,
                function=function,
                argument=_short(argument),
                result=_short(result),
                invoked_at=invoked_at,
                returned_at=returned_at,
                key=key.decode(),
            )
        )


def _key(number: int) -> bytes:
    return b"k%d" % number


def _short(value: bytes | None) -> str | None:
    """Return what tells a value from all others, and how long it was."""
    if value is None:
        return None
    return f"{value.rstrip(b'.').decode()}+{len(value)}"
