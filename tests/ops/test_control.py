"""A process's links, changed from outside."""

import asyncio

from liferaft.link.address import parse_address
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.ops.control import LinkController


async def leaks_after(controller: LinkController, network: LeakyNetwork) -> tuple[Leak, Leak]:
    """Return what counts for a link that is there."""
    return (network.links[0].outgoing, network.links[0].incoming)


async def connected_network() -> LeakyNetwork:
    memory = MemoryNetwork()
    address = parse_address("memory:peer")
    await memory.listen(address, lambda link: None)
    network = LeakyNetwork(memory, seed=1)
    await network.connect(address)
    return network


async def test_a_new_leak_counts_for_what_the_process_sends() -> None:
    network = await connected_network()
    controller = LinkController(network)
    leak = Leak(loss=0.5, delay_max=0.2, duplicate=0.3, reorder=0.4, bytes_per_second=5.0)
    await controller.set_leak(leak)

    assert (leak, Leak()) == await leaks_after(controller, network)


async def test_a_cut_counts_in_both_directions_and_is_undone() -> None:
    network = await connected_network()
    controller = LinkController(network)
    await controller.cut()
    cut = await leaks_after(controller, network)
    await controller.heal()
    healed = await leaks_after(controller, network)

    assert ((True, True), (False, False)) == (
        tuple(leak.is_cut for leak in cut),
        tuple(leak.is_cut for leak in healed),
    )


async def test_a_new_leak_does_not_heal_a_cut() -> None:
    network = await connected_network()
    controller = LinkController(network)
    await controller.cut()
    await controller.set_leak(Leak())

    assert [True, True] == [leak.is_cut for leak in await leaks_after(controller, network)]


async def test_a_cut_from_one_peer_counts_for_the_link_to_it_and_survives_a_new_leak() -> None:
    network = await connected_network()
    controller = LinkController(network)
    await controller.cut(peers=["memory:somebody-else"])
    spared = await leaks_after(controller, network)
    await controller.cut(peers=["memory:peer"], incoming=False)
    await controller.set_leak(Leak())
    cut = await leaks_after(controller, network)
    await controller.heal()
    healed = await leaks_after(controller, network)

    assert [(False, False), (True, False), (False, False)] == [
        tuple(leak.is_cut for leak in leaks) for leaks in (spared, cut, healed)
    ]


async def test_all_connections_are_broken_by_a_reset_and_new_ones_may_come() -> None:
    network = await connected_network()
    (link,) = network.links
    await LinkController(network).reset()
    await asyncio.wait_for(link.wait_closed(), 10.0)

    assert () == network.links
    await network.connect(parse_address("memory:peer"))
    assert 1 == len(network.links)
