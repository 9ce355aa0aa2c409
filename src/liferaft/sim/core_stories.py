"""Faults that need several things to go wrong in one order: whole stories."""

from collections.abc import Sequence
from random import Random
from typing import Final

from liferaft.sim.core_host import Machine
from liferaft.sim.core_moments import MOMENTS, turns_after
from liferaft.sim.core_player import FaultPlayer, Nobody, Step, between, disarming


def change_majority(player: FaultPlayer, step: Step, random: Random) -> None:
    """Let one majority commit, bounce the leader, and leave it with the others.

    The two majorities have only the leader in common: what it did not keep is lost.
    """
    leader = player.cluster.leader()
    if leader is None:
        return
    player.note(step, leader.node_id)
    others = player.others([leader])
    random.shuffle(others)
    half = len(others) // 2
    first, second = others[:half], others[half:]
    middle = step.seconds * random.uniform(0.1, 0.4)
    player.cut_for(middle, between(first, [leader, *second]))

    def turn_over() -> None:
        if leader.process is not None:
            player.cluster.crash(leader, down=0.0)
        player.cut_for(step.seconds - middle, between(second, [leader, *first]))

    player.after(middle, turn_over)


def figure_8(player: FaultPlayer, step: Step, random: Random) -> None:
    """Let leader after leader reach one peer alone, and crash (Figure 8 of the paper).

    Entries of several terms lie on minorities then, and are spread by later leaders. Those
    crash as well, some turns after they were elected: between the moment when a majority has
    the old entries and the moment when it has the new term's first there are few.
    """
    end = player.scheduler.now + step.seconds

    def isolate() -> None:
        leader = player.cluster.leader()
        if leader is None:
            again(random.uniform(0.02, 0.1))
            return
        if not player.others([leader]):
            return
        player.note(step, leader.node_id)
        friend = random.choice(player.others([leader]))
        pairs = between([leader], player.others([leader, friend]))
        seconds = random.uniform(0.005, 0.3)
        player.cut_for(seconds, pairs)
        player.after(seconds, lambda: strike(leader))

    def strike(leader: Machine) -> None:
        if leader.process is not None:
            player.cluster.crash(leader, down=random.choice((0.0, 0.2, 0.6)) * random.random())
        for machine in player.machines:
            trigger = turns_after(MOMENTS["leads"], random.choice((0, 0, 1, 2, 3, 5, 8)))
            machine.trigger = trigger
            player.after(end - player.scheduler.now, disarming(machine, trigger))
        again(random.uniform(0.3, 1.2))

    def again(seconds: float) -> None:
        if player.scheduler.now + seconds < end:
            player.after(seconds, isolate)

    isolate()


def stale_leader(player: FaultPlayer, step: Step, random: Random) -> None:
    """Slow the leader's clock and cut it off: it believes in itself while others lead."""
    leader = player.cluster.leader()
    if leader is None:
        return
    player.note(step, leader.node_id)
    leader.set_clock(rate=random.uniform(0.1, 0.4))
    player.cut_for(step.seconds, between([leader], player.others([leader])))
    player.after(step.seconds, lambda: leader.set_clock(rate=1.0))


def overwritten_write(player: FaultPlayer, step: Step, random: Random) -> None:
    """Leave the leader and one follower alone, the follower's disk stuck, then part them.

    The others elect, and overwrite entries that the follower is still writing.
    """
    leader = player.cluster.leader()
    if leader is None or not player.others([leader]):
        return
    friend = random.choice(player.others([leader]))
    player.note(step, f"{leader.node_id} {friend.node_id}")
    apart = step.seconds * random.uniform(0.2, 0.6)
    let_go = apart + (step.seconds - apart) * random.random()
    judged = let_go + random.uniform(0.0, 0.2)
    player.cut_for(apart, between([leader, friend], player.others([leader, friend])))
    friend.disk.stick()

    def part() -> None:
        player.cut_for(judged - apart, between([leader], player.others([leader])))

    def release() -> None:
        friend.disk.latency_max = 0.3  # so that the write of what replaced it takes its time
        friend.disk.release()

    def judge() -> None:
        """Leave the friend, who may have lost what it still wrote, without who overwrote it."""
        if friend.process is not None and random.random() < 0.7:
            player.cluster.crash(friend, down=0.0)
        friend.disk.be_quick()
        newer = player.cluster.leader()
        if newer is not None and newer not in (leader, friend):
            player.cut_for(1.0, between([newer], player.others([newer])))

    player.after(apart, part)
    player.after(let_go, release)
    player.after(judged, judge)


READ_INTERVAL: Final = 0.004
"""Seconds between two reads at a leader whose lease ends."""

QUIET: Final = 0.3
"""Seconds until what clients have begun is done, as a rule."""


def end_of_a_lease(player: FaultPlayer, step: Step, random: Random) -> None:
    """Let a leader lose all others but one, and then that one as well.

    Its clock is as slow, and the others' as fast, as may be, and clients read at it all the time:
    where it answers by lease, the lease must be over before the others can have elected. The one
    that was left forgets that it was in touch, or is told to campaign, or falls silent. Half the
    time nobody writes meanwhile, so that all logs are the same, and any of the others may win.
    """
    leader = player.cluster.leader()
    others = [] if leader is None else player.others([leader])
    if leader is None or leader.process is None or len(others) < 2:
        return
    random.shuffle(others)
    player.note(step, f"{leader.node_id} {others[0].node_id}")
    timeout = leader.process.core.state.config.election_timeout
    if random.random() < 0.5:
        player.cluster.hush(QUIET + 6 * timeout)
    story = _EndOfLease(player, leader, others, timeout, random)
    player.after(QUIET, story.begin)


class _EndOfLease:
    """That story, once it is quiet. `timeout` is the election timeout, in seconds."""

    def __init__(
        self,
        player: FaultPlayer,
        leader: Machine,
        others: Sequence[Machine],
        timeout: float,
        random: Random,
    ) -> None:
        self._player = player
        self._leader = leader
        self._friend, *self._strangers = others
        self._timeout = timeout
        self._random = random
        self._end = 0.0

    def begin(self) -> None:
        """Leave two together, let clients read, and part the two some time later."""
        player, timeout = self._player, self._timeout
        self._end = player.scheduler.now + 6 * timeout
        for machine in (self._friend, *self._strangers):
            machine.set_clock(rate=1.5)
        self._leader.set_clock(rate=0.5)
        player.cut_for(6 * timeout, between([self._leader], self._strangers))
        player.after(6 * timeout, self._set_clocks_right)
        player.after(timeout * self._random.uniform(1.0, 2.5), self._part)
        self._read()

    def _set_clocks_right(self) -> None:
        for machine in self._player.machines:
            machine.set_clock(rate=1.0)

    def _part(self) -> None:
        player, leader, friend = self._player, self._leader, self._friend
        how = self._random.choice(("forget", "hand over", "fall silent"))
        pairs = between([leader], [friend])
        if how == "hand over":
            # It hears the order, and is not heard.
            pairs = [(friend.number, leader.number)]
            player.network.call(leader.number, lambda _: self._hand_over(), None)
        elif how == "forget" and friend.process is not None:
            player.cluster.crash(friend, down=0.0)
        player.cut_for(3 * self._timeout, pairs)

    def _hand_over(self) -> None:
        if self._leader.process is not None:
            self._leader.process.transfer(self._friend.node_id)

    def _read(self) -> None:
        player, leader = self._player, self._leader

        def reach(_: None) -> None:
            if leader.process is not None:
                leader.process.read(Nobody())

        player.network.call(leader.number, reach, None)
        if player.scheduler.now + READ_INTERVAL < self._end:
            player.after(READ_INTERVAL, self._read)
