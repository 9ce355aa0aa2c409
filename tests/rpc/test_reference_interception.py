"""What a stub's interceptors see of references that came to it, over good links and bad ones."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import pytest

import liferaft
from liferaft.errors import Overloaded, PermissionDenied, Refused, RemoteError, StubClosed
from liferaft.link.base import Network
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.interception import Invocation, Proceed
from tests.rpc.objects import connection_of

pytestmark = pytest.mark.looptime(noop_cycles=0)

LEAK = Leak(loss=0.2, duplicate=0.2, delay_max=0.1)


class Account(Protocol):
    async def pay(self, amount: int) -> int: ...
    def payments(self) -> AsyncIterator[int]: ...
    @liferaft.oneway
    async def note(self, text: str) -> None: ...


class Bank(Protocol):
    async def account(self, name: str) -> Account: ...
    async def total(self, account: Account) -> int: ...


class AccountObject:
    def __init__(self) -> None:
        self.paid: list[int] = []
        self.notes: list[str] = []

    async def pay(self, amount: int) -> int:
        self.paid.append(amount)
        return sum(self.paid)

    async def payments(self) -> AsyncIterator[int]:
        for amount in self.paid:
            yield amount

    async def note(self, text: str) -> None:
        self.notes.append(text)


class BankObject:
    def __init__(self) -> None:
        self.accounts: dict[str, AccountObject] = {}

    async def account(self, name: str) -> Account:
        return self.accounts.setdefault(name, AccountObject())

    async def total(self, account: Account) -> int:
        assert isinstance(account, AccountObject), "it has come home"
        return sum(account.paid)


class Seen:
    """Notes the calls that go by, and marks them."""

    def __init__(self) -> None:
        self.calls: list[Invocation] = []

    async def __call__(self, invocation: Invocation, proceed: Proceed) -> Any:
        self.calls.append(invocation)
        return await proceed(invocation.replace(metadata={"user": "ada"}))

    def names(self) -> list[str]:
        return [f"{call.interface}.{call.method}" for call in self.calls]


async def _passing(invocation: Invocation, proceed: Proceed) -> Any:
    return await proceed(invocation)


@pytest.mark.parametrize(
    "network",
    [
        MemoryNetwork(),
        LeakyNetwork(MemoryNetwork(), seed=3, outgoing=LEAK, incoming=LEAK),
    ],
    ids=["a good link", "a leaky one"],
)
async def test_calls_of_references_go_through_the_interceptors_of_their_stub(
    network: Network,
) -> None:
    at_host, at_caller, implementation = Seen(), Seen(), BankObject()
    async with await liferaft.aserve(
        implementation, Bank, "memory:bank", network=network, interceptors=[at_host]
    ):
        bank = await liferaft.aconnect(
            Bank, "memory:bank", network=network, interceptors=[at_caller], timeout=60
        )
        account = await bank.account("ada")
        assert [3, 10] == [await account.pay(3), await account.pay(7)]
        assert [3, 7] == [amount async for amount in account.payments()]
        assert 10 == await bank.total(account)
        await account.note("done")
        while not implementation.accounts["ada"].notes:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.01)
        await liferaft.aclose(bank)

    pays = ["Account.pay", "Account.pay", "Account.payments"]
    assert ["Bank.account", *pays, "Bank.total", "Account.note"] == at_caller.names()
    assert {"ada"} == {call.metadata["user"] for call in at_host.calls}
    assert at_caller.names() == at_host.names()
    assert {"Bank", "Bank#1"} == {call.object for call in at_host.calls}


async def test_references_with_interceptors_and_without_do_not_get_in_each_other_s_way() -> None:
    network, seen = MemoryNetwork(), Seen()
    async with await liferaft.aserve(BankObject(), Bank, "memory:bank", network=network):
        for interceptors in ([], [seen], []):
            bank = await liferaft.aconnect(
                Bank, "memory:bank", network=network, interceptors=interceptors, timeout=60
            )
            await (await bank.account("ada")).pay(1)
            await liferaft.aclose(bank)

    assert ["Bank.account", "Account.pay"] == seen.names()


async def test_a_reference_with_interceptors_ends_as_any_other() -> None:
    """And of what the two sides tell each other of it no interceptor hears."""
    network, seen, at_host = MemoryNetwork(), Seen(), Seen()
    async with await liferaft.aserve(
        BankObject(), Bank, "memory:bank", network=network, interceptors=[at_host]
    ):
        bank = await liferaft.aconnect(
            Bank, "memory:bank", network=network, interceptors=[seen], timeout=60
        )
        account, again = await bank.account("ada"), await bank.account("ada")
        assert account is again
        liferaft.close(account)
        with pytest.raises(StubClosed, match=r"Account\.pay: the reference was let go of"):
            await again.pay(1)
        other = await bank.account("bob")
        del other
        gc.collect()
        await asyncio.sleep(1)
        assert 1 == await (await bank.account("bob")).pay(1)
        await liferaft.aclose(bank)

    assert [*["Bank.account"] * 4, "Account.pay"] == at_host.names()


class Purse(Protocol):
    async def take(self, amount: int) -> int: ...
    def coins(self, count: int) -> AsyncIterator[int]: ...
    @liferaft.oneway
    async def told(self, text: str) -> None: ...


class Shop(Protocol):
    async def buy(self, purse: Purse, amount: int) -> int: ...
    async def apply(self, function: Callable[[int], Awaitable[int]], to: int) -> int: ...


class PurseObject:
    def __init__(self) -> None:
        self.notes: list[str] = []

    async def take(self, amount: int) -> int:
        return amount

    async def coins(self, count: int) -> AsyncIterator[int]:
        for coin in range(count):
            yield coin

    async def told(self, text: str) -> None:
        self.notes.append(text)


class ShopObject:
    async def buy(self, purse: Purse, amount: int) -> int:
        await purse.told("thanks")
        return await purse.take(amount) + sum([coin async for coin in purse.coins(3)])

    async def apply(self, function: Callable[[int], Awaitable[int]], to: int) -> int:
        return await function(to)


async def test_what_a_host_calls_back_goes_through_callback_interceptors_at_either_side() -> None:
    async def double(number: int) -> int:
        return 2 * number

    network = MemoryNetwork()
    around, at_host, at_caller, purse = Seen(), Seen(), Seen(), PurseObject()
    async with await liferaft.aserve(
        ShopObject(),
        Shop,
        "memory:shop",
        network=network,
        interceptors=[around],
        callback_interceptors=[at_host],
    ):
        shop = await liferaft.aconnect(
            Shop, "memory:shop", network=network, callback_interceptors=[at_caller]
        )
        assert 10 == await shop.buy(purse, 7)
        assert 8 == await shop.apply(double, 4)
        await asyncio.sleep(0.1)
        await liferaft.aclose(shop)

    assert ["thanks"] == purse.notes
    assert ["Shop.buy", "Shop.apply"] == around.names()
    assert {"Purse.told", "Purse.take", "Purse.coins"} < set(at_host.names())
    assert 4 == len(at_host.calls)
    assert sorted(at_host.names()) == sorted(at_caller.names())
    assert {"ada"} == {call.metadata["user"] for call in at_caller.calls}, "it has travelled"


async def test_a_copy_of_a_callback_that_was_refused_is_not_executed() -> None:
    """The host was told that nothing was, and may call anew."""
    refusals = [(1,)]
    taken: list[int] = []

    async def refuse_once(invocation: Invocation, proceed: Proceed) -> Any:
        if invocation.arguments in refusals:
            refusals.remove(invocation.arguments)
            raise Overloaded("not now")
        return await proceed(invocation)

    async def take(amount: int) -> int:
        taken.append(amount)
        return amount

    twice = Leak(duplicate=1.0, delay_max=0.01)
    inside = MemoryNetwork()
    outside = LeakyNetwork(inside, seed=1, outgoing=twice, incoming=twice)
    async with await liferaft.aserve(ShopObject(), Shop, "memory:shop", network=inside):
        shop = await liferaft.aconnect(
            Shop, "memory:shop", network=outside, callback_interceptors=[refuse_once], timeout=60
        )
        assert 0 == await shop.apply(take, 0)
        await asyncio.sleep(1)  # no copy of the greeting is on its way any more
        with pytest.raises(RemoteError, match="Overloaded: not now"):
            await shop.apply(take, 1)
        await asyncio.sleep(1)
        taken_before = list(taken)
        assert 2 == await shop.apply(take, 2)
        await liferaft.aclose(shop)

    assert [0] == taken_before
    assert [0, 2] == taken


async def test_a_call_that_was_turned_away_and_is_asked_again_still_has_its_references() -> None:
    """The caller had asked again before it was, so it goes on asking."""
    refusals = [Overloaded("not yet")]

    async def refuse_late(invocation: Invocation, proceed: Proceed) -> Any:
        if refusals:
            await asyncio.sleep(3)
            asyncio.get_running_loop().call_later(0.001, gc.collect)
            raise refusals.pop()
        return await proceed(invocation)

    network, purse = MemoryNetwork(), PurseObject()
    async with await liferaft.aserve(
        ShopObject(), Shop, "memory:shop", network=network, interceptors=[refuse_late]
    ):
        shop = await liferaft.aconnect(Shop, "memory:shop", network=network, timeout=60)
        assert 10 == await shop.buy(purse, 7)
        await asyncio.sleep(1)
        await liferaft.aclose(shop)

    assert ["thanks"] == purse.notes


@pytest.mark.parametrize("error", [Overloaded, PermissionDenied])
async def test_of_what_a_call_that_was_turned_away_carried_nobody_holds_anything(
    error: type[Refused],
) -> None:
    async def refuse(_: Invocation, __: Proceed) -> Any:
        raise error("never")

    network = MemoryNetwork()
    async with await liferaft.aserve(
        ShopObject(), Shop, "memory:shop", network=network, interceptors=[refuse]
    ) as host:
        shop = await liferaft.aconnect(Shop, "memory:shop", network=network, timeout=60)
        with pytest.raises(error):
            await shop.buy(PurseObject(), 7)
        gc.collect()
        await asyncio.sleep(1)
        connection = connection_of(shop)
        (dispatcher,) = host._dispatchers.values()
        tables = [connection.references, *dispatcher.references._tables.values()]

        assert [True] * 2 == [table.is_empty for table in tables]
        await liferaft.aclose(shop)


async def test_what_is_given_to_an_intercepted_method_is_let_go_of_after_it() -> None:
    """Timers that were armed for its callbacks must not hold its arguments."""
    network, given = MemoryNetwork(), [PurseObject() for _ in range(10)]
    gone = [weakref.ref(purse) for purse in given]
    async with await liferaft.aserve(
        ShopObject(), Shop, "memory:shop", network=network, interceptors=[_passing]
    ):
        shop = await liferaft.aconnect(Shop, "memory:shop", network=network)
        while given:
            await shop.buy(given.pop(), 7)
        gc.collect()
        await asyncio.sleep(1)

        assert [None] * 10 == [purse() for purse in gone]
        await liferaft.aclose(shop)


async def test_a_callback_interceptor_may_answer_by_itself_and_refuse() -> None:
    async def answer(invocation: Invocation, _: Proceed) -> Any:
        if invocation.arguments == (13,):
            raise PermissionDenied("not that many")
        return 100

    network = MemoryNetwork()
    async with await liferaft.aserve(ShopObject(), Shop, "memory:shop", network=network):
        shop = await liferaft.aconnect(
            Shop, "memory:shop", network=network, callback_interceptors=[answer]
        )
        function: Any = PurseObject().take
        assert 100 == await shop.apply(function, 4)
        with pytest.raises(RemoteError, match="PermissionDenied: not that many"):
            await shop.apply(function, 13)
        await liferaft.aclose(shop)
