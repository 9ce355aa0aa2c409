"""What becomes of a caller's calls when their host stops. Pure.

A connection whose host is about to stop makes no new calls there, but to what the host has referred
to. It lives until it has all its answers, or until the host is gone.
"""

from typing import Final, TypeVar

from liferaft.errors import OutcomeUnknown, Unreachable
from liferaft.rpc.protocol import CallerProtocol
from liferaft.rpc.session import PendingCall

GONE_AFTER: Final = 10.0
"""Seconds without a word of a host that is about to stop, after which it counts as gone: by then it
waits for nobody who lost its link. See `liferaft.rpc.server.RETURN_WITHIN`."""

WaiterT = TypeVar("WaiterT")


def give_up(protocol: CallerProtocol[WaiterT]) -> list[PendingCall[WaiterT]]:
    """Know that the host is gone: answer its calls, and return those that may go to another.

    There must be no link.
    """
    left: list[PendingCall[WaiterT]] = []
    for call in list(protocol.session.pending.values()):
        name = call.method.name
        if call.may_run_twice:
            protocol.session.settle(call.number)
            left.append(call)
        elif call.sent_count:
            text = f"the host stopped; {name} may have been executed"
            protocol.answer(call, OutcomeUnknown(text))
        else:
            protocol.answer(call, Unreachable(f"{name}: {protocol.trouble}"))
    return left
