"""What a connection and its peer hold of each other, kept in step with the connection's calls.

The table of references knows nothing of calls; this says when what was sent or came is nobody's,
and tells the peer what was let go of. It lives on the connection's loop, and makes no link.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from liferaft.errors import InvalidArgument, Refused
from liferaft.rpc import wire
from liferaft.rpc.bridge import LoopRunner
from liferaft.rpc.caller import reference_stub
from liferaft.rpc.codec import our_error
from liferaft.rpc.interception import Connection, InterceptedConnection, Interceptor
from liferaft.rpc.interface import Interface
from liferaft.rpc.protocol import CallerProtocol
from liferaft.rpc.reference_connection import ReferenceConnection
from liferaft.rpc.references import RELEASE, RELEASE_OBJECT, ReferenceTable
from liferaft.rpc.session import PendingCall

if TYPE_CHECKING:
    from liferaft.rpc.driving import CallDriver


class CallerReferences:
    """The references of one connection, from the first one on.

    Calls of what the peer refers to go through the `interceptors`. `carry_out` is the driver's.
    """

    def __init__(
        self,
        driver: "CallDriver",
        protocol: CallerProtocol[Any],
        loop: asyncio.AbstractEventLoop,
        *,
        carry_out: Callable[[], None],
        interceptors: Sequence[Interceptor],
        first_number: int,
    ) -> None:
        self.table = ReferenceTable(
            make_stub=self._make_stub, on_release=self._release_soon, first_number=first_number
        )
        self._driver = driver
        self._protocol = protocol
        self._loop = loop
        self._carry_out = carry_out
        self._interceptors = interceptors
        self._is_release_due = False

    def settle(self, call: PendingCall[Any], outcome: object) -> None:
        """See to it that references which nobody got are nobody's: those of a call that ended."""
        if isinstance(outcome, wire.Failure):
            is_lost = outcome.kind == "liferaft" and isinstance(
                our_error(outcome.type_name, ""), Refused | InvalidArgument
            )
        else:
            is_lost = not isinstance(outcome, wire.Reply) and not call.sent_count
        if is_lost:
            self.take_back(call.exported or [])
        elif call.waiter.done() and isinstance(outcome, wire.Reply):
            # Nobody waits for it any more: what it brings is let go of at once.
            self._driver.read(call.method, outcome)

    def take_back(self, exported: list[int]) -> None:
        """Forget what was let out for a call that nobody got."""
        if exported:
            self.table.take_back(exported)

    def forget(self) -> None:
        """Know that the peer has forgotten all references, or never knew them.

        Calls that go on were not sent yet: they take theirs along to whoever gets them.
        """
        unsent = self._protocol.session.pending.values()
        self.table.clear([number for call in unsent for number in call.exported or ()])

    def _make_stub(self, number: int, interface: Interface) -> Any:
        name = f"{self._protocol.object_name}#{number}"
        reference: Connection = ReferenceConnection(
            self._driver, name, number, interface, self._protocol.epoch
        )
        if self._interceptors:
            reference = InterceptedConnection(reference, self._interceptors)
        return reference_stub(reference, LoopRunner(self._loop))

    def _release_soon(self) -> None:
        """Tell the peer what was let go of, at the end of this turn; called from any thread."""
        if not self._is_release_due and not self._loop.is_closed():
            self._is_release_due = True
            self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        dropped = [] if self._driver.is_closed else self.table.take_released()
        if not dropped:
            self._is_release_due = False
            return
        waiter: asyncio.Future[object] = self._loop.create_future()
        self._protocol.call(
            RELEASE,
            (dropped,),
            now=self._loop.time(),
            deadline=None,
            waiter=waiter,
            object_name=f"{self._protocol.object_name}{RELEASE_OBJECT}",
        )
        # One at a time: what is let go of meanwhile goes with the next.
        waiter.add_done_callback(lambda _: self._release())
        self._carry_out()
