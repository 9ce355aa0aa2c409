"""What may be read on any node: as new as it says, and never a command."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

import liferaft
from liferaft.cluster.reads import Read, ReadKind
from liferaft.errors import (
    ConfigurationError,
    DeadlineExceeded,
    NoLeader,
    NoSuchObject,
    Overloaded,
    PermissionDenied,
    ReadOnly,
    Refused,
)
from liferaft.recipes.kv import KeyValue
from liferaft.replicated.machine import ReplicatedMachine
from liferaft.replicated.views import READ_ONLY_VIEWS, ReadOnlyDispatcher
from liferaft.rpc import wire
from liferaft.rpc.access import Roles
from liferaft.rpc.buffers import CallFrame
from liferaft.rpc.codec import decode_frame
from liferaft.rpc.views import BOUND_KEY, Reads, View, Within
from liferaft.sim.nodes import ONLY
from liferaft.testing.simulated import SimulatedCluster

READ_ONLY: tuple[Reads, ...] = ("follower", Within(0.5), "stale")
LINEARIZABLE: tuple[Reads, ...] = ("linearizable", "lease", "follower")
TIGHT = Within(0.1)


def settled(cluster: SimulatedCluster) -> tuple[str, str, str]:
    """Put b"k" = b"old" on every node, and return the leader and the others."""

    async def settle() -> str:
        await cluster.stub(KeyValue).put(b"k", b"old")
        await cluster.wait_equal()
        return await cluster.wait_leader()

    leader = cluster.run(settle)
    first, second = (node_id for node_id in cluster.nodes if node_id != leader)
    return leader, first, second


def age(cluster: SimulatedCluster, node_id: str) -> float:
    """Return how old a node takes its state for."""
    found = cluster.world.parts(node_id)[ONLY].driver
    return cluster._on_loop(lambda: cluster.world.machines[node_id].context.run(lambda: found.age))


@pytest.mark.parametrize("reads", [*LINEARIZABLE, *READ_ONLY[1:]], ids=str)
def test_every_kind_reads_what_every_node_has(reads: Reads) -> None:
    with SimulatedCluster(KeyValue, lease_clock_error=0.1) as cluster:
        settled(cluster)

        assert b"old" == cluster.run(cluster.stub(KeyValue, reads=reads).get(b"k"))


@pytest.mark.parametrize("reads", READ_ONLY, ids=str)
def test_a_stub_that_only_reads_is_refused_a_command_and_told_what_to_do(reads: Reads) -> None:
    with SimulatedCluster(KeyValue) as cluster:
        settled(cluster)
        store = cluster.stub(KeyValue, reads=reads)
        with pytest.raises(ReadOnly, match=r'put is a command .* reads="linearizable" or "lease"'):
            cluster.run(store.put(b"k", b"new"))

        assert b"old" == cluster.run(cluster.stub(KeyValue).get(b"k"))


def test_by_the_lease_view_commands_are_executed_once_as_always() -> None:
    """Though its answer is swallowed and its leader is gone: the log knows no views."""
    with SimulatedCluster(KeyValue, lease_clock_error=0.1) as cluster:
        leader, _, _ = settled(cluster)
        store = cluster.stub(KeyValue, reads="lease")

        async def story() -> tuple[bool, bytes | None]:
            await store.get(b"k")
            cluster.cut((leader, "client-2"))
            deleting = asyncio.ensure_future(store.delete(b"k"))
            await asyncio.sleep(0.1)
            cluster.kill(leader)
            return await deleting, await store.get(b"k")

        assert (True, None) == cluster.run(story)


def test_a_follower_answers_clients_that_reach_no_one_else() -> None:
    with SimulatedCluster(KeyValue) as cluster:
        leader, first, second = settled(cluster)
        cluster.cut(*((node, "client-2") for node in (leader, second)))
        store = cluster.stub(KeyValue, reads="follower", nodes=[first])

        assert b"old" == cluster.run(store.get(b"k"))


@pytest.mark.parametrize("seed", range(8))
def test_a_follower_s_answer_has_every_acknowledged_write(seed: int) -> None:
    """Though the entries come to it late: it waits until it has applied what the leader had."""
    with SimulatedCluster(KeyValue, seed=seed) as cluster:
        leader, first, _ = settled(cluster)
        writer, reader = (
            cluster.stub(KeyValue),
            cluster.stub(KeyValue, reads="follower", nodes=[first]),
        )

        async def story() -> list[tuple[bytes, bytes | None]]:
            seen = []
            for number in range(20):
                value = b"%d" % number
                if number % 3 == 0:
                    cluster.cut((leader, first))
                await writer.put(b"k", value)
                reading = asyncio.ensure_future(reader.get(b"k"))
                await asyncio.sleep(0.05)
                cluster.heal()
                seen.append((value, await reading))
            return seen

        assert all(put == got for put, got in cluster.run(story))


def test_a_follower_that_is_cut_off_does_not_answer_and_another_one_does() -> None:
    with SimulatedCluster(KeyValue) as cluster:
        leader, first, second = settled(cluster)
        cluster.partition([first])
        cluster.run(cluster.stub(KeyValue, nodes=[leader, second]).put(b"k", b"new"))
        alone = cluster.stub(KeyValue, reads="follower", nodes=[first], timeout=3.0)
        store = cluster.stub(KeyValue, reads="follower", nodes=[first, second])
        with pytest.raises((NoLeader, DeadlineExceeded)):
            cluster.run(alone.get(b"k"))

        assert b"new" == cluster.run(store.get(b"k"))


def test_reads_on_a_follower_go_on_under_the_next_leader() -> None:
    with SimulatedCluster(KeyValue) as cluster:
        leader, first, second = settled(cluster)
        store = cluster.stub(KeyValue, reads="follower", nodes=[first])

        async def story() -> bytes | None:
            await store.get(b"k")
            cluster.partition([leader])
            reading = asyncio.ensure_future(store.get(b"k"))  # asks a leader that hears nobody
            await cluster.stub(KeyValue, nodes=[second, first]).put(b"k", b"new")
            await reading
            got: bytes | None = await store.get(b"k")
            return got

        assert b"new" == cluster.run(story)


def test_a_stale_stub_is_answered_by_a_node_that_hears_nobody() -> None:
    """With what it has: it is said to be no more."""
    with SimulatedCluster(KeyValue) as cluster:
        leader, first, second = settled(cluster)
        cluster.partition([first])
        cluster.run(cluster.stub(KeyValue, nodes=[leader, second]).put(b"k", b"new"))
        store = cluster.stub(KeyValue, reads="stale", nodes=[first])

        assert b"old" == cluster.run(store.get(b"k"))


# A bound.


def test_a_node_that_has_just_asked_answers_within_the_bound_without_asking() -> None:
    with SimulatedCluster(KeyValue) as cluster:
        leader, first, second = settled(cluster)
        store = cluster.stub(KeyValue, reads=Within(1.0), nodes=[first])
        cluster.run(store.get(b"k"))
        cluster.partition([first])
        cluster.run(cluster.stub(KeyValue, nodes=[leader, second]).put(b"k", b"new"))
        assert age(cluster, first) < 1.0

        assert b"old" == cluster.run(store.get(b"k"))


def test_beyond_the_bound_it_asks() -> None:
    with SimulatedCluster(KeyValue) as cluster:
        _, first, _ = settled(cluster)
        store = cluster.stub(KeyValue, reads=TIGHT, nodes=[first])
        cluster.run(store.get(b"k"))
        cluster.partition([first])
        cluster.sleep(0.2)
        with pytest.raises((NoLeader, DeadlineExceeded)), liferaft.deadline(2.0):
            cluster.run(store.get(b"k"))


def test_a_leader_that_is_cut_off_is_no_fresher_than_its_last_read() -> None:
    with SimulatedCluster(KeyValue) as cluster:
        leader, first, second = settled(cluster)
        store = cluster.stub(KeyValue, reads=TIGHT, nodes=[leader])
        cluster.run(store.get(b"k"))
        cluster.partition([leader])
        cluster.sleep(0.15)

        async def story() -> Any:
            reading = asyncio.ensure_future(store.get(b"k"))
            await cluster.stub(KeyValue, nodes=[first, second]).put(b"k", b"new")
            cluster.heal()
            return await reading

        assert b"new" == cluster.run(story)


def test_a_node_that_starts_knows_of_no_age_whatever_its_disk_has() -> None:
    with SimulatedCluster(KeyValue) as cluster:
        _, first, _ = settled(cluster)
        store = cluster.stub(KeyValue, reads=Within(1e6), nodes=[first])
        cluster.run(store.get(b"k"))
        cluster.kill(first)
        cluster.partition([first])
        cluster.run(cluster.restart(first))

        assert float("inf") == age(cluster, first)


def test_a_node_that_stood_still_looks_at_the_clock_when_it_answers() -> None:
    """Not when the call came, nor when it asked."""
    with SimulatedCluster(KeyValue) as cluster:
        leader, first, second = settled(cluster)
        store = cluster.stub(KeyValue, reads=TIGHT, nodes=[first])

        async def story() -> Any:
            await store.get(b"k")
            cluster.pause(first)
            reading = asyncio.ensure_future(store.get(b"k"))
            await asyncio.sleep(0.05)  # the call is there, and would be answered at once
            await cluster.stub(KeyValue, nodes=[leader, second]).put(b"k", b"new")
            await asyncio.sleep(1.0)
            cluster.resume(first)
            return await reading

        assert b"new" == cluster.run(story)


def test_a_bound_is_a_positive_number() -> None:
    for seconds in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigurationError, match="positive number of seconds"):
            Within(seconds)


# Names.


def test_an_object_whose_name_is_a_view_s_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'Store@stale' cannot be an object's name"):
        ReplicatedMachine({"Store@stale": KeyValue()})


# One dispatcher alone.


class Guarded:
    """An object one of whose queries is for some callers only."""

    def __init__(self) -> None:
        self.value = 0

    @liferaft.role("auditor")
    @liferaft.query
    def look(self) -> int:
        return self.value


class Asked:
    """A driver that is asked, and answers when told."""

    def __init__(self, *, age: float, is_stopped: bool = False) -> None:
        self.reads_answered: Counter[str] = Counter()
        self.age = age
        self.is_stopped = is_stopped
        self.has_waited = False
        self.reads: list[Read] = []
        self.kinds: list[ReadKind] = []

    async def wait_leader(self, seconds: float) -> None:
        self.has_waited = True

    def read(self, read: Read, kind: ReadKind) -> None:
        self.reads.append(read)
        self.kinds.append(kind)


class Arrived:
    """A request that notes its answer."""

    session = b"s" * 16
    frame = b""
    peer = "there"
    deadline = None
    is_beyond_limit = False

    def __init__(
        self,
        method: str,
        metadata: Mapping[str, str] | None = None,
        roles: Roles = frozenset({"auditor"}),
    ) -> None:
        arguments = msgspec.Raw(b"\x90")
        self.call = wire.Call(1, 1, "Guarded", method, None, arguments, dict(metadata or {}))
        self.roles = roles
        self.outcome: object = None

    def answer(self, frame: bytes) -> None:
        self.outcome = decode_frame(frame)

    def refuse(self, error: Refused) -> None:
        self.outcome = type(error)

    def redirect(self, address: str | None) -> None:
        self.outcome = wire.Redirect(self.call.number, address)


def dispatched(view: View, driver: Asked, request: Arrived) -> object:
    """Return what becomes of a request at once."""
    hosted = ReplicatedMachine({"Guarded": Guarded()}).objects["Guarded"]
    dispatcher: Any = ReadOnlyDispatcher(hosted, view, driver)  # type: ignore[arg-type] # a part
    dispatcher.dispatch(request)
    return request.outcome


@pytest.mark.parametrize("view", READ_ONLY_VIEWS)
def test_a_read_beyond_its_links_limit_is_refused(view: View) -> None:
    request = Arrived("look")
    request.is_beyond_limit = True

    assert Overloaded is dispatched(view, Asked(age=0.0), request)


@pytest.mark.parametrize("view", READ_ONLY_VIEWS)
async def test_only_who_must_ask_a_leader_is_kept_waiting_for_one(view: View) -> None:
    hosted = ReplicatedMachine({"Guarded": Guarded()}).objects["Guarded"]
    driver = Asked(age=0.0)
    dispatcher = ReadOnlyDispatcher(hosted, view, driver)  # type: ignore[arg-type] # a part of it
    await dispatcher.admit(b"s" * 16, is_resumed=False, send=list[CallFrame]().append)

    assert (view is View.FOLLOWER) == driver.has_waited


def test_a_view_asks_for_the_roles_that_the_object_asks_for() -> None:
    outcome = dispatched(View.STALE, Asked(age=0.0), Arrived("look", roles=frozenset()))

    assert PermissionDenied is outcome


def test_a_view_has_no_other_methods() -> None:
    assert NoSuchObject is dispatched(View.STALE, Asked(age=0.0), Arrived("restore"))


@pytest.mark.parametrize("bound", ["", "soon", "nan", "inf", "-1", "0.4"])
def test_a_bound_that_is_missing_or_senseless_or_too_tight_has_the_leader_asked(bound: str) -> None:
    driver = Asked(age=0.5)
    metadata = {BOUND_KEY: bound} if bound else {}

    assert dispatched(View.WITHIN, driver, Arrived("look", metadata)) is None
    assert [ReadKind.FOLLOW] == driver.kinds


def test_a_bound_that_is_kept_is_answered_at_once() -> None:
    driver = Asked(age=0.5)

    outcome = dispatched(View.WITHIN, driver, Arrived("look", {BOUND_KEY: "0.6"}))

    assert isinstance(outcome, wire.Reply)
    assert [] == driver.kinds


@pytest.mark.parametrize("view", [View.STALE, View.WITHIN])
def test_a_node_that_has_ended_shows_nobody_its_state(view: View) -> None:
    """A command may have raised in its midst: half of what it does is there."""
    driver = Asked(age=0.0, is_stopped=True)

    assert dispatched(view, driver, Arrived("look", {BOUND_KEY: "9.0"})) is None


def test_a_read_whose_leader_is_followed_by_another_asks_that_one() -> None:
    """Its client is not sent away for it, and the leader not burdened."""
    driver, request = Asked(age=9.0), Arrived("look")
    dispatched(View.FOLLOWER, driver, request)
    driver.reads[0].rejected("n2")

    assert [ReadKind.FOLLOW] * 2 == driver.kinds
    assert request.outcome is None


def test_a_read_at_a_node_without_a_leader_is_sent_elsewhere() -> None:
    driver, request = Asked(age=9.0), Arrived("look")
    dispatched(View.FOLLOWER, driver, request)
    driver.reads[0].rejected(None)

    assert wire.Redirect(1, None) == request.outcome


def test_a_node_counts_what_it_read_and_says_how_old_its_state_is() -> None:
    kinds: tuple[Reads, ...] = ("linearizable", "lease", "follower", Within(5.0), "stale")
    with SimulatedCluster(KeyValue, lease_clock_error=0.1) as cluster:
        leader, other, silent = settled(cluster)

        async def read() -> None:
            for count, reads in enumerate(kinds, 1):
                store = cluster.stub(KeyValue, reads=reads, nodes=[other])
                for _ in range(count):
                    await store.get(b"k")

        cluster.run(read)
        counted = {
            node_id: cluster._on_loop(cluster.world.parts(node_id)[ONLY].statistics)
            for node_id in (leader, other, silent)
        }

    assert {"linearizable": 1, "lease": 2} == counted[leader].reads
    assert {"follower": 3, "within": 4, "stale": 5} == counted[other].reads
    assert {} == counted[silent].reads
    assert counted[other].age is not None
    assert None is counted[silent].age
    assert counted[leader].core.node_id == leader
