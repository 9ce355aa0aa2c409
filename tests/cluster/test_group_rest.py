"""When one group of many may let its deadlines pass, and what it is told instead."""

import math
import random as random_module
from collections.abc import Callable

import msgspec
import pytest

from liferaft.cluster.beats import Beat, Claim
from liferaft.cluster.campaigns import Campaigns
from liferaft.cluster.envelope import Introduction
from liferaft.cluster.exchange import CLAIM_ROUND, Batch, Exchange, GroupTransport
from liferaft.cluster.group_rest import GroupRest
from liferaft.cluster.introductions import Introductions
from liferaft.cluster.peers import Mailbox
from liferaft.link.memory import MemoryNetwork
from liferaft.raft.core import RaftCore
from liferaft.raft.events import Event, PeerAlive, Proposed, ReadAsked, Received, TimePassed
from liferaft.raft.messages import AppendEntries, AppendEntriesReply
from liferaft.raft.types import NodeId
from tests.cluster.many import NODES, Many, simulated
from tests.raft.harness import Cluster, core_of

pytestmark = pytest.mark.looptime

INTERVAL = 0.05
SILENCE_MAX = 0.3
DISK = "the disk of b"


class Told:
    """The groups of node "a", which only note what they are told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.disks: dict[NodeId, str] = {}

    def mailbox(self, group: str) -> Mailbox | None:
        return None

    def disk_of(self, node_id: NodeId) -> str:
        return self.disks.get(node_id, "")

    def is_taken_for(self, disk_id: str) -> bool:
        self.told.append(disk_id)
        return disk_id == "ours"

    def introduced(self, peer: NodeId, introduction: Introduction) -> None:
        self.told.append((peer, introduction))

    def rests(self, peer: NodeId, claim: Claim) -> None:
        self.told.append(claim)

    def look_again(self, group: str) -> None:
        self.told.append(group)

    def is_back(self, peer: NodeId) -> None:
        self.told.append(f"{peer} is back")


class Scene:
    """Group "g" on node "a", and what it hears of node "b"."""

    def __init__(self, core: RaftCore) -> None:
        self.groups = Told()
        self.exchange = Exchange(
            "blue",
            Introduction("ours"),
            "a",
            {"b": "memory:b", "c": "memory:c"},
            self.groups,
            network=MemoryNetwork(),
            random=random_module.Random(1),
            interval=INTERVAL,
            silence_max=SILENCE_MAX,
        )
        self.campaigns = Campaigns(SILENCE_MAX, at_once=1)
        self.introductions = Introductions("a", Introduction())
        self.rest = GroupRest("g", self.exchange, self.campaigns, self.introductions)
        self.rest.bind(core)
        self.beats = 0
        self.version = 0

    def hear(
        self,
        *claims: Claim,
        withdrawn: tuple[str, ...] = (),
        disk_id: str = "",
        target_disk: str = "",
        cluster_id: str = "blue",
    ) -> None:
        """Let a beat of "b" come."""
        self.beats += 1
        since, self.version = self.version, self.version + len(claims) + len(withdrawn)
        beat = Beat(9, self.beats, since, self.version, claims, withdrawn)
        batch = Batch("b", Introduction(disk_id), target_disk, (), beat)
        self.exchange.deliver(cluster_id, msgspec.msgpack.encode(batch))


def following(*, terms: tuple[int, ...] = (1, 1), commit: int = 2) -> RaftCore:
    """Return a core that follows "b" in its last term."""
    core = core_of(terms=terms)
    heartbeat = AppendEntries(terms[-1], "b", "a", len(terms), terms[-1], (), commit, 1)
    core.step(Received(heartbeat), 0.0)
    core.take_effects()
    return core


def leading() -> RaftCore:
    """Return a core that leads, and of which everybody knows everything."""
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.heartbeat("a")
    cluster.settle()
    return cluster["a"]


# Followers.


async def test_a_follower_rests_by_its_leaders_claim_for_the_very_log_that_it_has() -> None:
    scene = Scene(following())
    before = scene.rest.is_resting([], is_busy=False)
    scene.hear(Claim("g", 1, 2, 1))

    assert not before
    assert scene.rest.is_resting([], is_busy=False)
    assert scene.rest.is_at_rest


@pytest.mark.parametrize(
    "claim",
    [
        Claim("other", 1, 2, 1),
        Claim("g", 2, 2, 1),
        Claim("g", 1, 3, 1),
        Claim("g", 1, 1, 1),
        Claim("g", 1),
    ],
    ids=["another group", "another term", "a longer log", "a shorter log", "it is awake"],
)
async def test_a_follower_does_not_rest_by_any_other_claim(claim: Claim) -> None:
    scene = Scene(following())
    scene.hear(claim)

    assert not scene.rest.is_resting([], is_busy=False)


async def test_a_follower_that_does_not_know_what_is_committed_does_not_rest() -> None:
    scene = Scene(following(commit=1))
    scene.hear(Claim("g", 1, 2, 1))

    assert not scene.rest.is_resting([], is_busy=False)


async def test_a_follower_whose_reads_its_leader_has_not_answered_does_not_rest() -> None:
    core = following()
    scene = Scene(core)
    scene.hear(Claim("g", 1, 2, 1))
    core.step(ReadAsked(7, may_follow=True), 0.0)
    queued = scene.rest.is_resting([], is_busy=False)
    core.take_effects()
    asked = scene.rest.is_resting([], is_busy=False)

    assert (False, False) == (queued, asked)


async def test_a_follower_wakes_when_its_leaders_node_is_silent_or_takes_the_claim_back() -> None:
    scene = Scene(following())
    scene.hear(Claim("g", 1, 2, 1))
    resting = scene.rest.is_resting([], is_busy=False)
    scene.hear(withdrawn=("g",))
    withdrawn = scene.rest.is_resting([], is_busy=False)
    scene.hear(Claim("g", 1, 2, 1))
    for _ in range(round(SILENCE_MAX / INTERVAL)):
        scene.exchange._known["b"].beat()
    silent = scene.rest.is_resting([], is_busy=False)

    assert (True, False, False) == (resting, withdrawn, silent)
    assert "g" in scene.groups.told


async def test_a_follower_that_rests_is_told_of_its_leaders_life_before_anything_else() -> None:
    scene = Scene(following())
    scene.hear(Claim("g", 1, 2, 1))
    awake = scene.rest.vouchers()
    scene.rest.is_resting([], is_busy=False)

    assert () == awake
    assert [PeerAlive("b", 1, scene.exchange.heard_at("b"))] == scene.rest.vouchers()


async def test_a_follower_does_not_campaign_while_its_leaders_node_claims_to_lead() -> None:
    """Heartbeats may be late where a thousand groups have some; a beat is not."""
    scene = Scene(following())
    scene.hear(Claim("g", 1))
    vouched = scene.rest.overdue(lambda: None)
    scene.hear(withdrawn=("g",))
    abandoned = scene.rest.overdue(lambda: None)

    assert isinstance(vouched, PeerAlive)
    assert TimePassed() == abandoned


async def test_a_follower_waits_for_its_turn_to_campaign() -> None:
    scene = Scene(following())
    called: list[str] = []
    scene.campaigns.may_begin("another", lambda: None)
    waiting = scene.rest.overdue(lambda: called.append("g"))
    scene.campaigns.ended("another")
    scene.campaigns._call_next()

    assert waiting is None
    assert ["g"] == called


# Leaders.


async def test_a_leader_rests_and_claims_so() -> None:
    core = leading()
    scene = Scene(core)
    is_resting = scene.rest.is_resting([TimePassed()], is_busy=False)

    assert is_resting
    assert Claim("g", 1, core.last_index, 1) == scene.exchange.claims.of("g")


@pytest.mark.parametrize("use", [Proposed((b"x",)), ReadAsked(1)], ids=["a command", "a read"])
async def test_a_leader_that_was_used_just_now_does_not_rest_and_claims_to_lead(use: Event) -> None:
    scene = Scene(leading())
    is_resting = scene.rest.is_resting([use], is_busy=False)
    later = scene.rest.is_resting([TimePassed()], is_busy=False)

    assert (False, False) == (is_resting, later)
    assert Claim("g", 1) == scene.exchange.claims.of("g")


async def test_a_leader_that_has_news_of_the_members_to_write_down_does_not_rest() -> None:
    """Or a disk that forgot its votes would not be known when it comes."""
    core = leading()
    scene = Scene(core)
    scene.introductions._heard["b"] = Introduction(DISK, 1)

    assert not scene.rest.is_resting([TimePassed()], is_busy=False)


async def test_a_leader_that_rests_remembers_who_was_absent() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.heartbeat("a")
    cluster.settle(cut=["c"])
    scene = Scene(cluster["a"])
    scene.hear()
    scene.exchange._silent["c"] = None
    is_resting = scene.rest.is_resting([TimePassed()], is_busy=False)

    assert is_resting
    assert {"c"} == scene.rest.absent


async def test_who_leads_no_more_claims_nothing() -> None:
    core = leading()
    scene = Scene(core)
    scene.rest.is_resting([TimePassed()], is_busy=False)
    core.step(Received(AppendEntries(9, "b", "a", 0, 0, (), 0, 1)), 1.0)
    scene.rest.is_resting([], is_busy=False)

    assert scene.exchange.claims.of("g") is None


async def test_a_leader_that_lost_sight_of_its_followers_is_told_who_hears_it() -> None:
    core = leading()
    scene = Scene(core)
    fresh = scene.rest.vouchers()
    core.state.role.contact_until = -1.0  # type: ignore[union-attr] # it leads
    missing = scene.rest.vouchers()

    assert () == fresh
    assert ["b", "c"] == [each.peer for each in missing if isinstance(each, PeerAlive)]


async def test_groups_wake_together_and_none_before_its_deadline() -> None:
    scene = Scene(leading())
    grid = INTERVAL / 5
    exact = [n * grid for n in range(2000)]
    deadlines = [
        *exact,
        *(math.nextafter(at, math.inf) for at in exact),
        *(at + 0.003 for at in exact),
    ]

    woken = [scene.rest.wake_at(deadline) for deadline in deadlines]

    assert all(at >= deadline for at, deadline in zip(woken, deadlines, strict=True))
    assert len(set(woken)) <= 2001 + len(exact) // 10


# What comes from other nodes.


async def test_who_speaks_from_another_disk_than_the_known_one_is_not_heard() -> None:
    scene = Scene(following())
    scene.groups.disks["b"] = DISK
    scene.hear(Claim("g", 1, 2, 1), disk_id="an empty one")
    stranger = scene.exchange.claim_of("b", "g")
    scene.beats, scene.version = 0, 0
    scene.hear(Claim("g", 1, 2, 1), disk_id=DISK)

    assert stranger is None
    assert scene.exchange.claim_of("b", "g") is not None


async def test_a_batch_for_another_disk_under_this_nodes_name_is_not_taken() -> None:
    scene = Scene(following())
    scene.hear(Claim("g", 1, 2, 1), target_disk="the one before")

    assert ["the one before"] == scene.groups.told
    assert scene.exchange.claim_of("b", "g") is None


@pytest.mark.parametrize(
    "deliver",
    [
        lambda scene: scene.hear(Claim("g", 1, 2, 1), cluster_id="red"),
        lambda scene: scene.exchange.deliver("blue", b"no batch"),
    ],
    ids=["another cluster", "nonsense"],
)
async def test_what_is_of_no_peer_is_dropped_and_told_once(
    deliver: Callable[[Scene], None], caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(following())
    deliver(scene)
    deliver(scene)

    assert [] == scene.groups.told
    assert 1 == len(caplog.records)


async def test_that_a_claim_was_understood_is_not_said() -> None:
    """It would wake the leader, who waits for nothing."""
    scene = Scene(following())
    transport = GroupTransport("g", scene.introductions, scene.exchange)
    understood = AppendEntriesReply(1, "a", "b", True, 2, 0, 0, 0, CLAIM_ROUND)
    refused = AppendEntriesReply(1, "a", "b", False, 0, 2, 1, 1, CLAIM_ROUND)
    transport.deliver("b", (understood,))
    nothing = dict(scene.exchange._waiting)
    transport.deliver("b", (refused,))

    assert {} == nothing
    assert ["b"] == list(scene.exchange._waiting)


async def test_of_a_node_that_is_back_every_claim_is_looked_at_again() -> None:
    """Its groups' followers woke while it was silent."""
    scene = Scene(following())
    scene.hear(Claim("g", 1, 2, 1), Claim("h", 1))
    for _ in range(round(SILENCE_MAX / INTERVAL)):
        scene.exchange._known["b"].beat()
    scene.groups.told.clear()
    scene.hear()

    assert [Claim("g", 1, 2, 1), "h", "b is back"] == scene.groups.told


# While it is busy.


def test_no_group_rests_while_there_are_entries_left_to_apply() -> None:
    """Neither at its leader, which claims so, nor at a follower."""

    async def story() -> None:
        cluster = Many(("g",))
        await cluster.start()
        await cluster.write("g")
        await cluster.wait_silent()
        rests = [cluster.hosts[node_id].groups["g"].rest for node_id in NODES]
        idle = [rest.is_resting((), is_busy=False) for rest in rests]
        busy = [rest.is_resting((), is_busy=True) for rest in rests]
        claimed = [rest.is_at_rest for rest in rests]
        await cluster.stop()

        assert [True] * 3 == idle
        assert [False] * 3 == busy
        assert [False] * 3 == claimed

    simulated(story)
