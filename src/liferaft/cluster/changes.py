"""Changes of the members and of who leads, on their way: who waits for which, until it is done.

A change is accepted at an index. It is done when a configuration behind it is committed that is not
joint. When this node stops leading before, another may still carry it out: the outcome is unknown.
"""

import asyncio
from collections import deque

from liferaft.errors import ChangeRefused, OutcomeUnknown
from liferaft.raft.effects import (
    ChangeAccepted,
    ChangeRejected,
    ConfigurationChanged,
    TransferEnded,
)
from liferaft.raft.types import NodeId


class Changes:
    """The futures of who waits."""

    def __init__(self) -> None:
        self._asked: deque[asyncio.Future[None]] = deque()
        self._accepted: list[tuple[int, asyncio.Future[None]]] = []
        self._transfers: list[tuple[NodeId | None, asyncio.Future[None]]] = []

    def ask_change(self) -> asyncio.Future[None]:
        """Return what is done when the change is that is asked for next."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append(future)
        return future

    def ask_transfer(self, target: NodeId | None) -> asyncio.Future[None]:
        """Return what is done when the transfer is that is asked for next."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transfers.append((target, future))
        return future

    def accepted(self, effect: ChangeAccepted) -> None:
        """Learn where the change that was asked for first is in the log."""
        self._accepted.append((effect.index, self._asked.popleft()))

    def rejected(self, effect: ChangeRejected) -> None:
        """Learn that the change that was asked for first is not made."""
        hint = f"; {effect.leader} does" if effect.leader else ""
        is_elsewhere = "does not lead" in effect.reason
        sentence = effect.reason + (hint if is_elsewhere else "")
        _fail(self._asked.popleft(), ChangeRefused(sentence))

    def configuration_changed(self, effect: ConfigurationChanged) -> None:
        """End the changes that a committed configuration completes."""
        if not effect.is_committed or effect.configuration.voters_outgoing:
            return
        for index, future in self._accepted:
            if index <= effect.index and not future.done():
                future.set_result(None)
        self._accepted = [each for each in self._accepted if each[0] > effect.index]

    def transfer_ended(self, effect: TransferEnded) -> None:
        """End the transfer to that target, for all who asked for it or for nobody special."""
        ended = [each for each in self._transfers if each[0] in (None, effect.target)]
        self._transfers = [each for each in self._transfers if each not in ended]
        for _, future in ended:
            if effect.problem is not None:
                _fail(future, ChangeRefused(effect.problem))
            elif not future.done():
                future.set_result(None)

    def lose_change(self) -> None:
        """Learn that this node no longer leads."""
        accepted, self._accepted = self._accepted, []
        for _, future in accepted:
            sentence = "another node leads now; look at the members before you ask again"
            _fail(future, OutcomeUnknown(sentence))

    def lose_all(self) -> None:
        """Learn that this node stops."""
        self.lose_change()
        waiting = [*self._asked, *(future for _, future in self._transfers)]
        self._asked.clear()
        self._transfers.clear()
        for future in waiting:
            _fail(future, OutcomeUnknown("the node stops; look at the members from another one"))


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
