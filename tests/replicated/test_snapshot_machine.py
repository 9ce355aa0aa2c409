"""Whatever commands came before and come after: a restored replica and one that never was agree."""

import enum
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from liferaft.raft.types import Entry
from liferaft.replicated.determinism import now, random, uuid4
from liferaft.replicated.machine import ReplicatedMachine, query
from liferaft.replicated.sessions import SESSION_IDLE_MAX
from liferaft.rpc.interface import raises
from tests.profiles import machine_settings
from tests.replicated.commands import Log

SESSIONS = tuple(bytes([each]) * 16 for each in range(3))
NAMES = st.sampled_from(("ann", "bob", "eve"))
NUMBERS = st.integers(1, 12)
TIMES = st.one_of(st.floats(0.0, 500.0), st.just(SESSION_IDLE_MAX * 2))


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Visit(NamedTuple):
    who: str
    at: datetime


class Seal(msgspec.Struct, frozen=True):
    id: uuid.UUID
    weight: Decimal


@dataclass
class Account:
    balance: float
    colour: Colour | None = None
    seals: list[Seal] = field(default_factory=list)


class Poor(Exception):
    """There is not enough."""

    balance: float


class Bank:
    """Holds a bit of everything that a state may hold, and whose order commands can see."""

    opened: datetime

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._by_key: dict[tuple[int, str], frozenset[int]] = {}
        self._visits: list[Visit] = []
        self._raw: dict[bytes, bytes] = {}
        self._open: set[str] = set()
        self._last: Account | Visit | None = None
        self._calls = 0

    def deposit(self, name: str, amount: int) -> float:
        self._calls += 1
        account = self._accounts.setdefault(name, Account(0))
        account.balance += amount if amount % 2 else amount / 2
        self._open.add(name)
        return account.balance

    @raises(Poor)
    def withdraw(self, name: str) -> str:
        self._calls += 1
        account = self._accounts.pop(name)
        if account.balance < 5:
            raise Poor(account.balance)
        self._accounts[name] = replace(account, balance=account.balance - 5)
        return ",".join(self._accounts)

    def seal(self, name: str) -> str:
        self.opened = datetime.fromtimestamp(now(), UTC)
        seal = Seal(uuid4(), Decimal(str(random())))
        self._accounts[name].seals.append(seal)
        self._accounts[name].colour = Colour.RED if random() < 0.5 else Colour.BLUE
        self._by_key[(len(self._by_key), name)] = frozenset({len(name), self._calls})
        return repr(seal)

    def visit(self, name: str) -> list[str]:
        self._visits.append(Visit(name, datetime.fromtimestamp(now(), UTC)))
        self._last = self._visits[-1]
        self._raw[name.encode() + b"\xff"] = bytes([len(self._visits)])
        self._open.discard(name)
        return [repr(each) for each in (self._visits[-3:], list(self._raw), sorted(self._open))]

    def close(self, name: str) -> bool:
        del self.opened
        return self._accounts.pop(name, None) is not None

    @query
    def look(self, name: str) -> str:
        return repr((self._accounts.get(name), self._by_key, self._last, sorted(vars(self))))


class Tally:
    """Has a state of its own."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}

    def count(self, name: str) -> list[str]:
        self._totals[name] = self._totals.pop(name, 0) + 1
        return list(self._totals)

    def snapshot(self) -> list[tuple[str, int]]:
        return list(self._totals.items())

    def restore(self, state: list[tuple[str, int]]) -> None:
        self._totals = dict(state)


def new_machine() -> ReplicatedMachine:
    return ReplicatedMachine({"Bank": Bank(), "Tally": Tally()})


class Replicas(RuleBasedStateMachine):
    """One replica applied all of the log; the other was restored, once or often, on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()
        self.whole = new_machine()
        self.restored = new_machine()
        self.sent: list[tuple[Any, ...]] = []

    def apply(self, entry: Entry) -> None:
        assert self.whole.apply(entry) == self.restored.apply(entry)

    @rule(session=st.sampled_from(SESSIONS), at=TIMES)
    def open(self, session: bytes, at: float) -> None:
        self.apply(self.log.opening(session, wall_now=at))

    @rule(
        session=st.sampled_from(SESSIONS),
        number=NUMBERS,
        method=st.sampled_from(("deposit", "withdraw", "seal", "visit", "close", "look", "count")),
        name=NAMES,
        acked_below=st.integers(1, 4),
        seed=st.integers(0, 3),
        at=TIMES,
    )
    def call(  # noqa: PLR0917 - hypothesis gives them by name
        self,
        session: bytes,
        number: int,
        method: str,
        name: str,
        acked_below: int,
        seed: int,
        at: float,
    ) -> None:
        arguments = (name, number) if method == "deposit" else (name,)
        self.sent.append((session, number, method, *arguments))
        self.call_again(-1, acked_below=acked_below, seed=seed, at=at)

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0), acked_below=st.integers(1, 4), seed=st.integers(0, 3), at=TIMES)
    def call_again(self, which: int, acked_below: int, seed: int, at: float) -> None:
        """A repeat: answered from the sessions, where they still know it, on both alike."""
        sent = self.sent[which % len(self.sent)]
        owner = "Tally" if sent[2] == "count" else "Bank"
        self.apply(
            self.log.call(*sent, acked_below=acked_below, object_name=owner, wall_now=at, seed=seed)
        )

    @rule(size=st.integers(1, 4000), is_fresh=st.booleans())
    def restore(self, size: int, is_fresh: bool) -> None:
        data = b"".join((self.restored if size % 2 else self.whole).snapshot())
        if is_fresh:
            self.restored = new_machine()
        chunks = (data[start : start + size] for start in range(0, len(data), size))
        self.restored.install(self.restored.prepare(chunks))

    @invariant()
    def replicas_are_equal(self) -> None:
        assert self.whole.applied_index == self.restored.applied_index
        assert self.whole.digest() == self.restored.digest()


Replicas.TestCase.settings = machine_settings(examples=40, steps=30)
TestReplicas = pytest.mark.slow(Replicas.TestCase)
