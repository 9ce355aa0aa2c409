"""What clients do to a simulated cluster, and what must hold of it at the end.

A workload says which objects the nodes host, what one client does in one step, and what it demands
at the end. The clients' code is an ordinary caller's: stubs, deadlines and exceptions.
"""

import random as random_module
from collections.abc import Mapping
from typing import Any, Final, Protocol

from liferaft.errors import (
    ConnectionLost,
    DeadlineExceeded,
    LiferaftError,
    OutcomeUnknown,
    Refused,
    SessionExpired,
)
from liferaft.rpc.caller import CallerStubCreator
from liferaft.rpc.connection import CallerConnection
from liferaft.rpc.interface import Interface
from liferaft.sim.loop import running_loop
from liferaft.sim.nodes import ONLY, in_group
from liferaft.sim.world import World

CALL_TIMEOUT: Final = 3.0
"""Seconds that a client waits for an answer before it takes the outcome for unknown."""


class Seat:
    """Where one client of one group sits: its name, its source of chance, its connections."""

    def __init__(
        self, world: World, name: str, *, group: str = ONLY, timeout: float = CALL_TIMEOUT
    ) -> None:
        self.name: Final = in_group(group, name)
        self.group: Final = group
        self.timeout: Final = timeout
        self.random: Final[random_module.Random] = world.random(f"{self.name} workload")
        self.connections: Final[dict[str, CallerConnection]] = {}
        self._world = world
        self._stubs: dict[str, Any] = {}
        self._renewals = 0

    @property
    def now(self) -> float:
        """The true time in seconds, the same for all clients."""
        return running_loop().true_time

    def stub(self, object_name: str, interface: type) -> Any:
        """Return this client's stub of an object of its group; its methods are awaited.

        `interface` may have methods that block elsewhere: there is no thread in a simulation, so
        here all of them are awaited.
        """
        if object_name not in self._stubs:
            creator = CallerStubCreator(Interface.of(interface))
            self._renewals += 1
            connection = self._world.connection(
                f"{self.name} to {object_name} {self._renewals}",
                creator,
                object_name=in_group(self.group, object_name),
                timeout=self.timeout,
            )
            connection.open()
            self.connections[object_name] = connection
            self._stubs[object_name] = creator.create(connection)
        return self._stubs[object_name]

    @property
    def is_lost(self) -> bool:
        """Whether one of the connections knows only nodes that are members no more."""
        members = self._world.members.names
        return any(
            all(address.host not in members for address in connection.addresses)
            for connection in self.connections.values()
        )

    def failed(self, error: LiferaftError) -> None:
        """Note how a call ended that has no answer."""
        for kind, mark in _MARKS:
            if isinstance(error, kind):
                self._world.marks.hit(mark)
                return

    async def leave(self) -> None:
        """Close every connection; the next stub begins a new session."""
        connections = list(self.connections.values())
        self.connections.clear()
        self._stubs.clear()
        for connection in connections:
            await connection.aclose()


_MARKS: Final[tuple[tuple[type[LiferaftError], str], ...]] = (
    (SessionExpired, "a session expires"),
    (OutcomeUnknown, "a call's outcome is unknown"),
    (DeadlineExceeded, "a call times out"),
    (ConnectionLost, "no host is reached in time"),
    (Refused, "a call is refused"),
)
"""The first row whose class fits counts."""


class Workload(Protocol):
    """What a cluster is used for; of many groups, each has one of its own."""

    def objects(self) -> Mapping[str, object]:
        """Return what a node hosts, each object in its first state."""

    async def step(self, seat: Seat) -> None:
        """Do one thing, as the client who sits there, and note its outcome.

        Raises `InvariantViolated` when an answer cannot be right.
        """

    def check_now(self, world: World, group: str) -> None:
        """Look at the group's replicas while the run goes on; raises `InvariantViolated`."""

    async def check_end(self, judge: Seat, world: World) -> None:
        """Check what all clients saw; all faults have ended, and every node runs.

        Raises `InvariantViolated`.
        """

    def outcomes(self) -> Mapping[str, int]:
        """Return how many operations ended how."""
