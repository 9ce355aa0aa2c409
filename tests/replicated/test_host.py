"""Clients of a cluster: led to the leader, answered once, whatever node they ask first."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import msgspec
import pytest

from liferaft.errors import LiferaftError
from liferaft.link.address import Address
from liferaft.recipes.todo import NoSuchItem, TodoList
from liferaft.rpc import wire
from liferaft.rpc.caller import CallerStubCreator
from liferaft.rpc.codec import decode_frame, encode
from liferaft.rpc.connection import CallerConnection
from liferaft.rpc.interface import Interface
from liferaft.rpc.server import Limits
from liferaft.sim.loop import run_simulated
from liferaft.sim.shared_state import AsyncTodo
from liferaft.sim.world import World

CREATOR = CallerStubCreator(Interface.of(AsyncTodo))


def simulated(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        run_simulated(test)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def running(node_count: int = 3) -> World:
    """Return a cluster that has a leader."""
    world = World(1, node_count, lambda: {"TodoList": TodoList()})
    for node_id in world.node_ids:
        await world.start(node_id)
    while world.leader() is None:  # noqa: ASYNC110 - virtual time: looking costs nothing
        await asyncio.sleep(0.01)
    return world


def client(world: World, name: str, *node_ids: str) -> tuple[CallerConnection, AsyncTodo]:
    """Return a client that knows these nodes only."""
    connection = CallerConnection(
        [Address("memory", node_id) for node_id in node_ids],
        interface=CREATOR.interface,
        network=world.network.host(name),
        random=Random(name),
        timeout=20.0,
    )
    connection.open()
    return connection, CREATOR.create(connection)


@simulated
async def test_a_client_that_asks_a_follower_is_led_to_the_leader() -> None:
    world = await running()
    follower = next(node for node in world.node_ids if node != world.leader())
    connection, todo = client(world, "client", follower)

    item = await todo.add("milk", by="me")
    leader = world.leader()
    await connection.aclose()
    await world.stop()

    assert ("milk", 1) == (item.text, item.id)
    assert f"memory:{leader}" in connection.address_text


@simulated
async def test_a_client_survives_the_loss_of_the_leader() -> None:
    world = await running()
    connection, todo = client(world, "client", *world.node_ids)
    await todo.add("before")
    leader = world.leader()
    assert leader is not None
    world.strike(leader)

    await todo.add("after")
    texts = [item.text for item in await todo.items()]
    await connection.aclose()
    await world.stop()

    assert ["before", "after"] == texts


@simulated
async def test_an_answer_that_was_lost_is_given_again_by_the_next_leader() -> None:
    """Trap 41: the command is committed, its answer swallowed, and the leader gone for good."""
    world = await running()
    connection, todo = client(world, "client", *world.node_ids)
    await todo.add("first")
    leader = world.leader()
    assert leader is not None
    world.network.cut((leader, "client"))
    adding = asyncio.ensure_future(todo.add("once"))
    before = len(world.safety.applied)
    while len(world.safety.applied) == before:  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.001)
    world.strike(leader)

    item = await adding
    texts = [each.text for each in await todo.items()]
    await connection.aclose()
    await world.stop()

    assert (2, ["first", "once"]) == (item.id, texts)


@simulated
async def test_a_declared_exception_reaches_the_client_as_itself() -> None:
    world = await running()
    connection, todo = client(world, "client", *world.node_ids)

    with pytest.raises(NoSuchItem) as caught:
        await todo.complete(7)
    await connection.aclose()
    await world.stop()

    assert 7 == caught.value.item_id


@simulated
async def test_everything_is_there_after_all_nodes_lost_power_at_once() -> None:
    world = await running()
    connection, todo = client(world, "client", *world.node_ids)
    for number in range(20):
        await todo.add(str(number))
    for node_id in world.node_ids:
        world.strike(node_id)
    for node_id in world.node_ids:
        await world.start(node_id)

    texts = [item.text for item in await todo.items()]
    await connection.aclose()
    await world.stop()

    assert [str(number) for number in range(20)] == texts


@simulated
async def test_a_single_node_is_a_cluster_of_its_own() -> None:
    world = await running(1)
    connection, todo = client(world, "client", "n1")

    item = await todo.add("alone")
    await connection.aclose()
    await world.stop()

    assert 1 == item.id


class Stranger:
    """Speaks to a node frame by frame, and writes what no caller of ours would."""

    def __init__(self) -> None:
        self.heard: list[wire.Frame] = []

    async def bind(self, world: World, node_id: str) -> None:
        self.link = await world.network.host("stranger").connect(Address("memory", node_id))
        self.link.start(self)
        await self.say(wire.Hello("liferaft", 1, b"s" * 16))
        await self.say(wire.Bind("", {}, is_resumed=False))

    async def say(self, frame: wire.Frame) -> list[wire.Frame]:
        """Send a frame and return what came back within a second."""
        self.heard.clear()
        self.link.send(encode(frame))
        await asyncio.sleep(1.0)
        return list(self.heard)

    def frames_received(self, frames: list[bytes]) -> None:
        self.heard += map(decode_frame, frames)

    def link_closed(self, reason: LiferaftError | None) -> None: ...
    def bytes_received(self) -> None: ...
    def sending_paused(self) -> None: ...
    def sending_resumed(self) -> None: ...


@simulated
async def test_a_query_of_an_object_without_a_name_is_answered_and_ends_no_node() -> None:
    """Found by the fuzzer: who binds the only object without naming it may call it so, too."""
    world = await running(1)
    stranger = Stranger()
    await stranger.bind(world, "n1")
    [answer] = await stranger.say(wire.Call(1, 1, "", "items", None, msgspec.Raw(b"\x90")))
    connection, todo = client(world, "client", "n1")
    await todo.add("still here")
    await connection.aclose()
    await world.stop()

    assert isinstance(answer, wire.Failure)
    assert "NoSuchObject" == answer.type_name


@simulated
async def test_a_call_that_comes_again_before_it_is_done_is_said_to_be_under_way() -> None:
    """So its caller repeats it less often: under load, repeats would be a good part of the load."""
    world = await running(1)
    stranger = Stranger()
    await stranger.bind(world, "n1")
    add = wire.Call(1, 1, "TodoList", "add", None, msgspec.Raw(encode(("milk", "me"))))
    stranger.link.send(encode(add))
    heard = await stranger.say(add)
    await world.stop()

    assert [wire.Working, wire.Reply] == [type(frame) for frame in heard]


@simulated
async def test_a_copy_of_a_command_that_was_answered_is_not_refused_for_what_is_in_flight() -> None:
    """Or its caller would be told that nothing was executed."""
    world = await running(1)
    stranger = Stranger()
    await stranger.bind(world, "n1")
    add = wire.Call(1, 1, "TodoList", "add", None, msgspec.Raw(encode(("milk", "me"))))
    answer = await stranger.say(add)
    server: Any = world.nodes["n1"]._server  # type: ignore[attr-defined] # it is a node of one group
    server.limits = Limits(in_flight_max=0)
    copy = await stranger.say(add)
    refused = await stranger.say(msgspec.structs.replace(add, number=2))
    refused += await stranger.say(wire.Call(3, 1, "TodoList", "items", None, msgspec.Raw(b"\x90")))
    await world.stop()

    assert [wire.Reply] == [type(frame) for frame in answer]
    assert answer == copy
    assert ["Overloaded"] * 2 == [getattr(frame, "type_name", "") for frame in refused]
