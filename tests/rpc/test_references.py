"""Objects and functions that travel by reference: called back, counted, and let go of."""

import asyncio
import contextlib
import gc
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import msgspec
import pytest

import liferaft
from liferaft.errors import (
    ConnectionLost,
    DeadlineExceeded,
    InterfaceError,
    InterfaceMismatch,
    InvalidArgument,
    NoSuchObject,
    OutcomeUnknown,
    Overloaded,
    RemoteError,
    StubClosed,
)
from liferaft.link.base import Network
from liferaft.link.frames import joined
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc import references, wire
from liferaft.rpc.callee_references import HostReferences
from liferaft.rpc.codec import decode_frame, encode
from liferaft.rpc.host import CalleeStub
from liferaft.rpc.interface import Interface
from liferaft.rpc.references import HOST_LEASE, ReferenceTable
from tests.rpc.objects import connection_of

pytestmark = pytest.mark.looptime(noop_cycles=0)


class Empty(Exception):
    owner: str


class Account(Protocol):
    async def deposit(self, amount: int) -> int: ...
    @liferaft.raises(Empty)
    async def withdraw(self, amount: int) -> int: ...
    def history(self) -> AsyncIterator[int]: ...


class Watcher(Protocol):
    async def saw(self, what: str, account: Account) -> int: ...
    @liferaft.oneway
    async def told(self, what: str) -> None: ...


class Bank(Protocol):
    async def open(self, owner: str) -> Account: ...
    async def find(self, owner: str) -> Account | None: ...
    async def all(self) -> dict[str, Account]: ...
    async def is_own(self, account: Account) -> bool: ...
    async def watch(self, watchers: list[Watcher]) -> list[int]: ...
    async def same(self, one: Watcher, other: Watcher) -> bool: ...
    async def apply(self, function: Callable[[int], Awaitable[int]], to: int) -> int: ...
    async def keep(self, watcher: Watcher) -> None: ...
    async def tell_kept(self, what: str) -> int: ...
    async def give_back(self) -> Watcher: ...
    async def give_away(self) -> Watcher: ...
    async def slow(self, watcher: Watcher) -> Account: ...


class AccountObject:
    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.amounts: list[int] = []

    async def deposit(self, amount: int) -> int:
        self.amounts.append(amount)
        return sum(self.amounts)

    async def withdraw(self, amount: int) -> int:
        if amount > sum(self.amounts):
            error = Empty("not enough")
            error.owner = self.owner
            raise error
        return await self.deposit(-amount)

    async def history(self) -> AsyncIterator[int]:
        for amount in self.amounts:
            yield amount


class BankObject:
    def __init__(self) -> None:
        self.accounts: dict[str, AccountObject] = {}
        self.kept: Watcher
        self.let_go = asyncio.Event()

    async def open(self, owner: str) -> AccountObject:
        return self.accounts.setdefault(owner, AccountObject(owner))

    async def find(self, owner: str) -> AccountObject | None:
        return self.accounts.get(owner)

    async def all(self) -> dict[str, AccountObject]:
        return self.accounts

    async def is_own(self, account: object) -> bool:
        return account in self.accounts.values()

    async def watch(self, watchers: list[Watcher]) -> list[int]:
        account = await self.open("watched")
        return [await watcher.saw("opened", account) for watcher in watchers]

    async def same(self, one: Watcher, other: Watcher) -> bool:
        return one is other

    async def apply(self, function: Callable[[int], Awaitable[int]], to: int) -> int:
        return await function(to)

    async def keep(self, watcher: Watcher) -> None:
        self.kept = watcher

    async def tell_kept(self, what: str) -> int:
        await self.kept.told(what)
        return await self.kept.saw(what, await self.open("kept"))

    async def give_back(self) -> Watcher:
        return self.kept

    async def give_away(self) -> Watcher:
        given = self.kept
        del self.kept
        return given

    async def slow(self, watcher: Watcher) -> AccountObject:
        await self.let_go.wait()
        return AccountObject("slow")


class WatcherObject:
    def __init__(self, bank: Bank | None = None) -> None:
        self.seen: list[str] = []
        self.balance = 0
        self.bank = bank

    async def saw(self, what: str, account: Account) -> int:
        self.seen.append(what)
        self.balance = await account.deposit(10)
        return self.balance

    async def told(self, what: str) -> None:
        self.seen.append(f"told {what}")


class World:
    """A bank and one caller of it."""

    def __init__(self, network: Network, bank: Bank, host: CalleeStub, object: BankObject) -> None:  # noqa: A002
        self.network = network
        self.bank = bank
        self.host = host
        self.object = object

    @property
    def exports_of_host(self) -> int:
        (dispatcher,) = self.host._dispatchers.values()
        return sum(table.export_count for table in dispatcher.references._tables.values())

    @property
    def exports_of_caller(self) -> int:
        connection = connection_of(self.bank)
        count: int = connection.references.export_count
        return count

    async def settle(self) -> None:
        gc.collect()
        await asyncio.sleep(1)


@contextlib.asynccontextmanager
async def world(
    outside: Network | None = None, inside: Network | None = None
) -> AsyncIterator[World]:
    inside = inside or MemoryNetwork()
    implementation = BankObject()
    host = await liferaft.aserve(implementation, Bank, "memory:bank", network=inside)
    bank = await liferaft.aconnect(Bank, "memory:bank", network=outside or inside, timeout=60)
    try:
        yield World(inside, bank, host, implementation)
    finally:
        await liferaft.aclose(bank)
        await host.astop()


async def test_a_result_that_is_an_object_is_called_where_it_is() -> None:
    async with world() as here:
        account = await here.bank.open("ada")

        assert [5, 12] == [await account.deposit(5), await account.deposit(7)]
        assert [5, 7] == here.object.accounts["ada"].amounts
        assert [5, 7] == [amount async for amount in account.history()]
        with pytest.raises(Empty) as raised:
            await account.withdraw(100)
        assert "ada" == raised.value.owner


async def test_references_lie_within_lists_and_dictionaries_and_may_be_none() -> None:
    async with world() as here:
        assert await here.bank.find("ada") is None
        ada = await here.bank.open("ada")
        await here.bank.open("bob")
        everybody = await here.bank.all()

        assert ["ada", "bob"] == list(everybody)
        assert 3 == await everybody["bob"].deposit(3)
        assert ada is everybody["ada"] is await here.bank.find("ada")


async def test_the_same_object_is_the_same_stub_and_home_it_is_itself() -> None:
    async with world() as here:
        ada = await here.bank.open("ada")
        assert ada is await here.bank.open("ada")
        assert await here.bank.is_own(ada)

        watcher = WatcherObject()
        assert await here.bank.same(watcher, watcher)
        assert not await here.bank.same(watcher, WatcherObject())
        await here.bank.keep(watcher)
        assert watcher is await here.bank.give_back()


async def test_an_argument_that_is_an_object_is_called_back_over_the_same_connection() -> None:
    async with world() as here:
        watchers = [WatcherObject(), WatcherObject()]

        assert [10, 20] == await here.bank.watch(list(watchers))
        assert [["opened"], ["opened"]] == [watcher.seen for watcher in watchers]
        assert [10, 10] == here.object.accounts["watched"].amounts


async def test_a_function_travels_too() -> None:
    async def double(number: int) -> int:
        return 2 * number

    async with world() as here:
        assert 14 == await here.bank.apply(double, 7)
        assert 21 == await here.bank.apply(lambda number: triple(number + 0), 7)

        async def broken(number: int) -> int:
            raise ValueError(f"no {number}")

        with pytest.raises(RemoteError, match="no 7"):
            await here.bank.apply(broken, 7)


async def triple(number: int) -> int:
    return 3 * number


async def test_what_is_kept_is_called_later_and_hears_one_way_calls() -> None:
    async with world() as here:
        watcher = WatcherObject()
        await here.bank.keep(watcher)
        del here.object.let_go

        assert 10 == await here.bank.tell_kept("hello")
        await asyncio.sleep(0.1)
        assert ["told hello", "hello"] == watcher.seen


async def test_what_nobody_holds_any_more_is_let_go_of() -> None:
    async with world() as here:
        account: Any = await here.bank.open("ada")
        assert 1 == here.exports_of_host
        await here.bank.watch([WatcherObject()])
        await asyncio.sleep(0.1)
        assert 1 == here.exports_of_host  # the watcher let go of what it was shown

        del account
        await here.settle()
        assert (0, 0) == (here.exports_of_host, here.exports_of_caller)


async def test_a_stub_that_is_closed_is_let_go_of_at_once() -> None:
    async with world() as here:
        account = await here.bank.open("ada")
        await liferaft.aclose(account)
        await asyncio.sleep(0.1)

        assert 0 == here.exports_of_host
        with pytest.raises(StubClosed, match="let go of"):
            await account.deposit(1)


async def test_a_reference_that_is_sent_while_it_is_let_go_of_lives_on() -> None:
    async with world() as here:
        for _ in range(50):
            account: Any = await here.bank.open("ada")
            opening = asyncio.ensure_future(here.bank.open("ada"))
            await asyncio.sleep(0)
            del account
            gc.collect()
            assert await (await opening).deposit(1)
            del opening
        await here.settle()
        assert 0 == here.exports_of_host


async def test_references_survive_a_link_that_loses_repeats_and_reorders() -> None:
    inside = MemoryNetwork()
    leak = Leak(loss=0.2, duplicate=0.3, delay_max=0.05)
    outside = LeakyNetwork(inside, seed=3, outgoing=leak, incoming=leak)
    async with world(outside, inside) as here:
        watcher = WatcherObject()
        await here.bank.keep(watcher)
        for number in range(1, 21):
            account = await here.bank.open(f"owner {number}")
            assert number == await account.deposit(number)
            assert 10 * number == await here.bank.tell_kept("x")
        assert 20 == watcher.seen.count("x")
        del account
        await here.settle()
        await asyncio.sleep(5)
        assert 1 == here.exports_of_caller
        assert 0 == here.exports_of_host


async def test_a_call_that_is_given_up_leaks_nothing() -> None:
    async with world() as here:
        with pytest.raises(DeadlineExceeded), liferaft.deadline(1):
            await here.bank.slow(WatcherObject())
        call = asyncio.ensure_future(here.bank.slow(WatcherObject()))
        await asyncio.sleep(0.1)
        call.cancel()
        await asyncio.sleep(0.1)
        await here.settle()

        assert (0, 0) == (here.exports_of_host, here.exports_of_caller)


async def test_an_answer_that_comes_too_late_leaks_nothing() -> None:
    inside = MemoryNetwork()
    outside = LeakyNetwork(inside, seed=1)
    async with world(outside, inside) as here:
        await here.bank.find("nobody")
        call = asyncio.ensure_future(here.bank.open("ada"))
        outside.set(incoming=Leak(loss=1.0))
        await asyncio.sleep(0.2)
        call.cancel()
        outside.set(incoming=Leak())
        await asyncio.sleep(2)
        await here.settle()

        assert "ada" in here.object.accounts
        assert 0 == here.exports_of_host


async def test_what_a_host_refuses_was_not_given_to_it() -> None:
    async with world() as here:
        for wrong in (3, None, "text", object()):
            with pytest.raises(InvalidArgument, match="a Watcher is wanted"):
                await here.bank.keep(wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="is no function"):
            await here.bank.apply(5, 5)  # type: ignore[arg-type]
        assert 0 == here.exports_of_caller


async def test_a_host_that_restarts_has_forgotten_all_references() -> None:
    async with world() as here:
        account = await here.bank.open("ada")
        await here.bank.keep(WatcherObject())
        await here.host.astop()
        await here.host.astart()

        await here.bank.find("ada")
        with pytest.raises(NoSuchObject, match="has forgotten it") as refused:
            await account.deposit(1)
        assert refused.value.is_of_a_call
        assert 0 == here.exports_of_caller
        assert await (await here.bank.open("ada")).deposit(5)


async def test_a_host_that_restarted_calls_back_as_one_that_did_not() -> None:
    """Its calls have the numbers of the earlier one's, whose answers are kept."""

    async def double(number: int) -> int:
        return 2 * number

    async with world() as here:
        assert [2, 4, 6] == [await here.bank.apply(double, number) for number in (1, 2, 3)]
        await here.host.astop()
        await here.host.astart()
        await here.bank.find("ada")

        assert [8, 10, 12] == [await here.bank.apply(double, number) for number in (4, 5, 6)]


async def test_what_a_host_called_before_it_restarted_ends_and_answers_no_other_call() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()
    stubborn = _stubborn(begun, ended)

    async def slow(number: int) -> int:
        await asyncio.sleep(1.0)
        return number

    async with world() as here:
        call = asyncio.ensure_future(here.bank.apply(stubborn, 1))
        await begun.wait()
        await here.host.astop()
        await here.host.astart()
        with pytest.raises(OutcomeUnknown):
            await call

        assert 2 == await here.bank.apply(slow, 2)
        assert ended.is_set()


async def test_a_stub_that_is_closed_waits_for_what_an_earlier_host_called() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()
    async with world() as here:
        call = asyncio.ensure_future(here.bank.apply(_stubborn(begun, ended), 1))
        await begun.wait()
        await here.host.astop()
        await here.host.astart()
        with pytest.raises(OutcomeUnknown):
            await call
        assert not ended.is_set()

    assert ended.is_set()


def _stubborn(begun: asyncio.Event, ended: asyncio.Event) -> Callable[[int], Awaitable[int]]:
    """Return a callback that takes half a second to end."""

    async def stubborn(number: int) -> int:
        begun.set()
        try:
            await asyncio.sleep(1e6)
        except asyncio.CancelledError:
            await asyncio.sleep(0.5)
        ended.set()
        return number

    return stubborn


async def test_the_numbers_of_callbacks_go_on_when_a_caller_was_forgotten_for_a_while() -> None:
    """It is the same caller, with the same answers, if it has not noticed."""
    heard_at = 0.0
    references = HostReferences(Interface.of(Bank), heard_at=lambda _: heard_at)
    frames: list[bytes] = []
    numbers = []
    for _ in range(2):
        references.attach(b"s" * 16, lambda frame: frames.append(joined(frame)))
        apply = Interface.of(Bank).methods["apply"]
        function, _ = references.of(b"s" * 16).arguments_in(apply, (3, 0))
        call = asyncio.ensure_future(function(5))
        await asyncio.sleep(0.0)
        frame = decode_frame(frames.pop())
        assert isinstance(frame, wire.Call)
        numbers.append(frame.number)
        references.leave(b"s" * 16)
        with pytest.raises(ConnectionLost):
            await call

    assert [1, 2] == numbers


async def test_the_numbers_of_references_go_on_when_a_caller_was_forgotten_for_a_while() -> None:
    """An answer that was kept for it, and speaks of an earlier one, must not lead to another."""
    references = HostReferences(Interface.of(Bank), heard_at=lambda _: 0.0)
    numbers = []
    for _ in range(2):
        table = references.of(b"s" * 16)
        number, _ = table.result_out(Interface.of(Bank).methods["open"], AccountObject("ada"))
        numbers.append(number)
        references.leave(b"s" * 16)

    assert [1, 2] == numbers


async def test_what_two_callers_gave_each_other_is_gone_when_they_are() -> None:
    references = HostReferences(Interface.of(Bank), heard_at=lambda _: 0.0)
    methods = Interface.of(Bank).methods
    sessions = [b"a" * 16, b"b" * 16]
    stubs = [references.of(each).arguments_in(methods["keep"], (7,))[0] for each in sessions]
    for session, stub in zip(sessions, reversed(stubs), strict=True):
        references.of(session).result_out(methods["give_back"], stub)
    watched = [weakref.ref(stub) for stub in stubs]
    del stubs, stub
    for session in sessions:
        references.leave(session)
    gc.collect()

    assert [None, None] == [each() for each in watched]


async def test_a_call_of_a_reference_is_not_made_at_a_host_that_restarted() -> None:
    async with world() as here:
        account = await here.bank.open("ada")
        await here.host.astop()
        call = asyncio.ensure_future(account.deposit(1))
        await asyncio.sleep(0.1)
        await here.host.astart()

        with pytest.raises((NoSuchObject, OutcomeUnknown, liferaft.Unreachable)):
            await call
        assert not here.object.accounts["ada"].amounts


async def test_a_call_with_what_leads_home_is_not_made_at_a_host_that_restarted() -> None:
    async with world() as here:
        account = await here.bank.open("ada")
        await here.host.astop()
        call = asyncio.ensure_future(here.bank.is_own(account))
        await asyncio.sleep(0.1)
        await here.host.astart()

        with pytest.raises(liferaft.Unreachable, match="forgot the references"):
            await call


async def test_a_call_that_was_not_sent_takes_its_references_to_a_host_that_restarted() -> None:
    async def double(number: int) -> int:
        return 2 * number

    watcher = WatcherObject()
    async with world() as here:
        await here.bank.keep(WatcherObject())
        await here.host.astop()
        calls = [
            asyncio.ensure_future(here.bank.apply(double, 3)),
            asyncio.ensure_future(here.bank.watch([watcher, watcher])),
            asyncio.ensure_future(here.bank.same(watcher, WatcherObject())),
        ]
        await asyncio.sleep(0.1)
        await here.host.astart()

        assert [6, [10, 20], False] == await asyncio.gather(*calls)
        assert ["opened", "opened"] == watcher.seen
        await here.settle()
        assert (0, 0) == (here.exports_of_caller, here.exports_of_host)


async def test_what_goes_home_is_not_let_go_of_before_it_has_arrived() -> None:
    """A lost answer comes again, and what is let go of meanwhile must not overtake it."""
    inside = MemoryNetwork()
    lossy = LeakyNetwork(inside, seed=4, outgoing=Leak(loss=0.4), incoming=Leak(loss=0.5))
    async with world(lossy, inside) as here:
        for _ in range(20):
            watcher = WatcherObject()
            await here.bank.keep(watcher)
            assert watcher is await here.bank.give_away()
            assert await here.bank.is_own(await here.bank.open("ada"))
        await asyncio.sleep(10)

        assert 0 == here.exports_of_caller


async def test_a_host_that_calls_back_what_makes_no_sense_is_left_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    call = wire.Call(1, 1, "#1", "saw", -1.0, msgspec.Raw(encode([])))
    async with world() as here:
        server: Any = here.host._server
        (served,) = server._links
        with caplog.at_level(logging.WARNING):
            served.send(encode(call))
            await asyncio.sleep(0.1)

        assert 1 == len(caplog.records)
        assert "the connection is closed" in caplog.text
        assert 5 == await (await here.bank.open("ada")).deposit(5)


async def test_a_caller_calls_what_another_caller_has_given() -> None:
    async with world() as here:
        watcher = WatcherObject()
        await here.bank.keep(watcher)
        other = await liferaft.aconnect(Bank, "memory:bank", network=here.network)
        lent = await other.give_back()

        assert 10 == await lent.saw("from afar", AccountObject("other"))
        assert (["from afar"], 10) == (watcher.seen, watcher.balance)
        await liferaft.aclose(other)


async def test_a_stub_is_hosted_as_any_other_object() -> None:
    async with world() as here:
        relay = await liferaft.aserve(here.bank, Bank, "memory:relay", network=here.network)
        bank = await liferaft.aconnect(Bank, "memory:relay", network=here.network)
        account = await bank.open("ada")

        assert [3, 5] == [await account.deposit(3), await account.deposit(2)]
        assert [3, 2] == [amount async for amount in account.history()]
        assert await bank.is_own(account)
        await liferaft.aclose(bank)
        await relay.astop()


async def test_a_caller_that_leaves_holds_nothing_any_more() -> None:
    async with world() as here:
        account = await here.bank.open("ada")
        watcher = WatcherObject()
        await here.bank.keep(watcher)
        held = weakref.ref(watcher)
        del watcher

        await liferaft.aclose(here.bank)
        await asyncio.sleep(0.1)

        assert 0 == here.exports_of_host
        with pytest.raises(StubClosed):
            await account.deposit(1)
        with pytest.raises(StubClosed, match="the caller is gone"):
            await here.object.kept.saw("x", AccountObject("x"))
        gc.collect()
        assert held() is None or here.exports_of_caller == 1


async def test_the_lease_of_a_caller_that_went_silent_ends() -> None:
    inside = MemoryNetwork()
    outside = LeakyNetwork(inside, seed=1)
    async with world(outside, inside) as here:
        account = await here.bank.open("ada")
        await here.bank.keep(WatcherObject())
        assert (1, 1) == (here.exports_of_host, here.exports_of_caller)

        outside.set(outgoing=Leak(loss=1.0), incoming=Leak(loss=1.0))
        await asyncio.sleep(HOST_LEASE * 1.5)
        assert (0, 0) == (here.exports_of_host, here.exports_of_caller)

        outside.set(outgoing=Leak(), incoming=Leak())
        assert 5 == await (await here.bank.open("ada")).deposit(5)
        with pytest.raises(NoSuchObject):
            await account.deposit(1)


async def test_a_short_cut_ends_no_lease() -> None:
    inside = MemoryNetwork()
    outside = LeakyNetwork(inside, seed=1)
    async with world(outside, inside) as here:
        account = await here.bank.open("ada")
        await here.bank.keep(WatcherObject())
        outside.set(outgoing=Leak(loss=1.0), incoming=Leak(loss=1.0))
        await asyncio.sleep(20)
        outside.set(outgoing=Leak(), incoming=Leak())

        assert 5 == await account.deposit(5)
        assert 10 == await here.bank.tell_kept("x")


async def test_a_caller_that_was_away_for_long_begins_anew() -> None:
    inside = MemoryNetwork()
    outside = LeakyNetwork(inside, seed=1)
    async with world(outside, inside) as here:
        await here.bank.keep(WatcherObject())
        account = await here.bank.open("ada")
        outside.set(outgoing=Leak(loss=1.0), incoming=Leak(loss=1.0))
        await asyncio.sleep(50)
        outside.set(outgoing=Leak(), incoming=Leak())
        again = await here.bank.open("ada")

        assert 0 == here.exports_of_caller
        with pytest.raises(NoSuchObject, match="has forgotten it"):
            await account.deposit(1)
        assert 7 == await again.deposit(7)
        await asyncio.sleep(HOST_LEASE)
        with pytest.raises(StubClosed, match="not heard of for too long"):
            await here.object.kept.saw("x", AccountObject("x"))
        assert 8 == await again.deposit(1)


async def test_references_of_others_are_no_ones_to_call() -> None:
    async with world() as here:
        await here.bank.open("ada")
        stranger = await liferaft.aconnect(Bank, "memory:bank", network=here.network)
        method = Interface.of(Account).methods["deposit"]
        connection = connection_of(stranger)
        for name in ("Bank#1", "Bank#2", "Bank#x", "Bank#", "Bank#99999999999999999999", "#1"):
            with pytest.raises(NoSuchObject):
                await connection.call(method, (1,), object=name)
        await liferaft.aclose(stranger)


def test_many_references_made_and_dropped_leave_nothing() -> None:
    class Maker(Protocol):
        def make(self) -> Account2: ...

    with liferaft.serve(MakerObject(), Maker, "127.0.0.1:0", threads=0) as host:
        maker = liferaft.connect(Maker, host.address)
        for _ in range(100_000):
            assert maker.make() is not None
        gc.collect()
        maker.make().ping()
        (dispatcher,) = host._dispatchers.values()
        (table,) = dispatcher.references._tables.values()
        assert table.export_count < 100
        assert len(connection_of(maker).references._counts) < 100
        liferaft.close(maker)


class Account2(Protocol):
    def ping(self) -> None: ...


class MakerObject:
    def make(self) -> "MakerObject":
        return MakerObject()

    def ping(self) -> None: ...


class Listener(Protocol):
    def heard(self, number: int) -> int: ...


class Radio(Protocol):
    def play(self, listener: Listener, after: Callable[[str], None]) -> int: ...


class RadioObject:
    def play(self, listener: Listener, after: Callable[[str], None]) -> int:
        total = sum(listener.heard(number) for number in range(5))
        after("done")
        return total


class ListenerObject:
    def __init__(self) -> None:
        self.threads: set[int] = set()

    def heard(self, number: int) -> int:
        self.threads.add(threading.get_ident())
        return 2 * number


def test_blocking_objects_are_called_back_while_their_caller_waits() -> None:
    said: list[str] = []
    listener = ListenerObject()
    with liferaft.serve(RadioObject(), Radio, "127.0.0.1:0") as host:
        radio = liferaft.connect(Radio, host.address)
        assert 20 == radio.play(listener, said.append)
        liferaft.close(radio)

    assert ["done"] == said
    assert threading.get_ident() not in listener.threads


def test_a_blocking_callback_on_the_loop_itself_says_what_to_do() -> None:
    class Impatient:
        async def play(self, listener: Listener, after: Callable[[str], None]) -> int:
            return listener.heard(1)

    with liferaft.serve(Impatient(), Radio, "127.0.0.1:0") as host:
        radio = liferaft.connect(Radio, host.address)
        with pytest.raises(RemoteError, match="would wait for itself"):
            radio.play(ListenerObject(), print)
        liferaft.close(radio)


async def test_both_sides_compare_what_is_referred_to() -> None:
    class Account(Protocol):
        async def deposit(self, amount: str) -> int: ...

    class Bank(Protocol):
        async def open(self, owner: str) -> Account: ...

    async with world() as here:
        with pytest.raises(InterfaceMismatch, match=r"Ref\[Account\]"):
            await liferaft.aconnect(Bank, "memory:bank", network=here.network)


async def test_a_call_that_was_given_up_is_not_begun_any_more() -> None:
    """It is asked again for the sake of its references, once there is a way."""
    inside = MemoryNetwork()
    network = LeakyNetwork(inside, seed=1)
    kept: list[Any] = []

    class Keeper(Protocol):
        async def keep(self, account: Account) -> None: ...

    class KeeperObject:
        async def keep(self, account: Account) -> None:
            kept.append(account)

    async with await liferaft.aserve(KeeperObject(), Keeper, "memory:keeper", network=inside):
        keeper = await liferaft.aconnect(Keeper, "memory:keeper", network=network)
        network.cut_all(outgoing=True, incoming=False)
        with pytest.raises(DeadlineExceeded), liferaft.deadline(1):
            await keeper.keep(AccountObject("ada"))
        network.heal_all()
        await asyncio.sleep(5)
        connection = connection_of(keeper)
        held = connection.references.export_count, connection.pending_count
        await liferaft.aclose(keeper)

    assert [] == kept
    assert (0, 0) == held


def test_what_is_kept_has_its_number_still_and_is_held_as_often_as_it_is_to_be_let_out() -> None:
    table = ReferenceTable(make_stub=lambda *_: None, on_release=lambda: None)
    keep = Interface.of(Bank).methods["keep"]
    watcher, other = WatcherObject(), WatcherObject()
    for each in (watcher, watcher, watcher, other):
        table.arguments_out(keep, (each,))

    table.clear([1, 1, 77])

    assert 1 == table.export_count
    assert ((1,), [1]) == table.arguments_out(keep, (watcher,))
    table.release([(1, 2)])
    assert 1 == table.export_count
    table.release([(1, 1)])
    assert 0 == table.export_count
    assert ((3,), [3]) == table.arguments_out(keep, (other,))


def test_of_arguments_of_which_one_is_wrong_nothing_has_come_in() -> None:
    """The peer takes all of them back: it must not be told that some were let go of."""

    class Two(Protocol):
        async def compare(self, one: Account, other: Account) -> int: ...

    class Stub:
        pass

    table = ReferenceTable(make_stub=lambda *_: Stub(), on_release=lambda: None)
    method = Interface.of(Two).methods["compare"]
    with pytest.raises(InvalidArgument, match="is gone") as refused:
        table.arguments_in(method, (7, -3))
    is_of_a_call = refused.value.is_of_a_call
    del refused  # its traceback holds what had come
    gc.collect()

    assert is_of_a_call

    assert table.is_empty
    assert [] == table.take_released()


async def test_who_holds_as_much_as_may_be_is_given_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Keeper(Protocol):
        async def keep(self, account: Account) -> None: ...

    class KeeperObject:
        async def keep(self, account: Account) -> None: ...

    monkeypatch.setattr(references, "REFERENCES_MAX", 0)
    network = MemoryNetwork()
    async with await liferaft.aserve(KeeperObject(), Keeper, "memory:keeper", network=network):
        keeper = await liferaft.aconnect(Keeper, "memory:keeper", network=network)
        with pytest.raises(Overloaded, match="holds 0 references already") as refused:
            await keeper.keep(AccountObject("ada"))
        await liferaft.aclose(keeper)

    assert refused.value.is_of_a_call


def test_references_stand_where_they_can() -> None:
    class InField(Protocol):
        def bad(self, what: "list[Account] | list[int]") -> None: ...

    class Mixed(Protocol):
        async def mixed(self, numbers: AsyncIterator[int]) -> Account: ...

    class Loud(Protocol):
        @liferaft.oneway
        def loud(self, watcher: Watcher) -> None: ...

    for cls, fault in (
        (InField, "can be left out, but nothing else"),
        (Mixed, "has a stream: it takes and gives no reference"),
        (Loud, "is one-way"),
    ):
        with pytest.raises(InterfaceError, match=fault):
            Interface.of(cls)


async def test_interfaces_that_name_each_other_are_no_riddle() -> None:
    text = Interface.of(Node).signatures["parent"]
    assert "parent() -> Ref[Node] where Node = {parent() -> Ref[Node]; name() -> str}" == text


class Node(Protocol):
    async def parent(self) -> "Node": ...
    async def name(self) -> str: ...
