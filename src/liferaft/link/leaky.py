"""LeakySocket: any link, made to lose, repeat, delay, reorder, throttle or cut frames on purpose.

It is a `Link` itself, so that all above can be run through it unchanged. From one seed it does the
same to the same frames again. Its settings can change while it runs, one direction at a time.

How a link's end and its faults go together, as on a real line:

- `close` lets the frames that are held go first; `abort` does not.
- The peer's end comes behind the frames that it sent before, and is not seen through a cut: the
  link seems open until it is healed.
"""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final

import msgspec

from liferaft.errors import ConnectionLost, LiferaftError
from liferaft.link.base import Link, Receiver
from liferaft.link.frames import Sendable, joined
from liferaft.link.leak import Leak, LeakCounts, LeakyDirection

GROWTH_INTERVAL: Final = 0.25
"""Seconds between two parts of a frame that takes long for its length."""


class LeakyStatistics(msgspec.Struct, frozen=True):
    """What happened so far in both directions of a link, or of all links of a network."""

    outgoing: LeakCounts = LeakCounts()
    incoming: LeakCounts = LeakCounts()

    def plus(self, other: "LeakyStatistics") -> "LeakyStatistics":
        """Return the sums of both."""
        return LeakyStatistics(
            self.outgoing.plus(other.outgoing), self.incoming.plus(other.incoming)
        )


class LeakySocket:
    """A leaky link around `link`; a `Link`, and the receiver of the one inside.

    `random` is used up by a fixed amount: each direction draws from its own. `ended` is called
    once, when the link can neither carry nor tell anything any more.
    """

    def __init__(
        self,
        link: Link,
        random: Random,
        *,
        outgoing: Leak | None = None,
        incoming: Leak | None = None,
        ended: Callable[["LeakySocket"], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._on_ended = ended
        self._outgoing = LeakyDirection(
            Random(random.getrandbits(64)),
            outgoing or Leak(),
            carry=self._carry_out,
            changed=self._settle,
        )
        self._incoming = LeakyDirection(
            Random(random.getrandbits(64)),
            incoming or Leak(),
            carry=self._carry_in,
            changed=self._settle,
        )
        self._receiver: Receiver | None = None
        # Whether close or abort was called here, whether the link inside has told its end, and
        # whether the end has been told to the receiver (or there is none to be told).
        self._is_closed_here = False
        self._is_link_ended = False
        self._is_ended = False
        self._growth_timer: asyncio.TimerHandle | None = None
        self._reason: LiferaftError | None = None
        self._is_link_paused = False
        self._is_told_paused = False

    @property
    def peer(self) -> str:
        """Where the other end is, for log lines and errors."""
        return self._link.peer

    @property
    def is_closed(self) -> bool:
        """Whether `close` or `abort` was called, or the peer was seen to go away."""
        return self._is_closed_here or self._is_ended

    @property
    def outgoing(self) -> Leak:
        """What happens to the frames that are sent; may be set at any time."""
        return self._outgoing.leak

    @outgoing.setter
    def outgoing(self, leak: Leak) -> None:
        self._outgoing.leak = leak

    @property
    def incoming(self) -> Leak:
        """What happens to the frames that arrive; may be set at any time."""
        return self._incoming.leak

    @incoming.setter
    def incoming(self, leak: Leak) -> None:
        self._incoming.leak = leak
        # An end that a cut has hidden shows when it is healed.
        self._loop.call_soon(self._settle)

    def cut(self, *, outgoing: bool = True, incoming: bool = True) -> None:
        """Let nothing pass any more, in the directions named, while the link seems open."""
        self._set_cut(True, outgoing=outgoing, incoming=incoming)

    def heal(self, *, outgoing: bool = True, incoming: bool = True) -> None:
        """Let frames pass again, in the directions named. What was sent meanwhile is lost."""
        self._set_cut(False, outgoing=outgoing, incoming=incoming)

    def reset(self) -> None:
        """Break the connection, as a router that restarts does; the same as `abort`."""
        self.abort()

    def statistics(self) -> LeakyStatistics:
        """Return what happened so far."""
        return LeakyStatistics(self._outgoing.counts(), self._incoming.counts())

    # Link.

    def start(self, receiver: Receiver) -> None:
        """Begin to deliver; called once."""
        self._receiver = receiver
        self._link.start(self)

    def send(self, frame: Sendable) -> None:
        """Send a frame, to meet its fate."""
        if not self.is_closed:
            # One copy: what is held here has left its sender, who may change its buffers.
            self._outgoing.take([joined(frame)])

    def close(self) -> None:
        """End the link after what was sent, and not lost, has left."""
        if not self.is_closed:
            self._is_closed_here = True
            self._incoming.drop()
            self._close_when_drained()
            self._loop.call_soon(self._settle)

    def abort(self) -> None:
        """End the link at once; what is held is lost."""
        self._is_closed_here = True
        self._incoming.drop()
        self._outgoing.drop()
        self._link.abort()
        self._loop.call_soon(self._settle)

    async def wait_closed(self) -> None:
        """Wait until the link inside is really closed."""
        await self._link.wait_closed()

    # Receiver, of the link inside.

    def frames_received(self, frames: list[bytes]) -> None:
        """Let frames that arrived meet their fate."""
        if not self.is_closed:
            self._incoming.take(frames)
            self._watch_growth()

    def link_closed(self, reason: LiferaftError | None) -> None:
        """Learn that the link inside has ended; whether that shows is decided in `_settle`."""
        self._is_link_ended = True
        self._reason = reason
        self._outgoing.drop()
        self._settle()

    def bytes_received(self) -> None:
        """Learn that a part of a frame came to the link inside; what is cut off learns nothing."""
        if self._receiver is not None and not self.is_closed and not self.incoming.is_cut:
            self._receiver.bytes_received()

    def sending_paused(self) -> None:
        """Learn that too much waits to be sent in the link inside."""
        self._is_link_paused = True
        self._settle()

    def sending_resumed(self) -> None:
        """Learn that the link inside has room again."""
        self._is_link_paused = False
        self._settle()

    # What follows from all that.

    def _carry_out(self, frames: list[bytes]) -> None:
        for frame in frames:
            self._link.send(frame)

    def _carry_in(self, frames: list[bytes]) -> None:
        assert self._receiver is not None, "the link inside was started with the receiver"
        self._receiver.frames_received(frames)

    def _set_cut(self, is_cut: bool, *, outgoing: bool, incoming: bool) -> None:
        if outgoing:
            self.outgoing = msgspec.structs.replace(self.outgoing, is_cut=is_cut)
        if incoming:
            self.incoming = msgspec.structs.replace(self.incoming, is_cut=is_cut)

    def _watch_growth(self) -> None:
        """Tell now and then that parts come of what takes long to come whole."""
        if self._growth_timer is None and self._incoming.is_on_the_way(self._loop.time()):
            self._growth_timer = self._loop.call_later(GROWTH_INTERVAL, self._tell_growth)

    def _tell_growth(self) -> None:
        self._growth_timer = None
        if not self._is_ended and self._incoming.is_on_the_way(self._loop.time()):
            self.bytes_received()
            self._watch_growth()

    def _settle(self) -> None:
        """Do what has become due: close the link inside, tell the end, or tell of pressure."""
        self._close_when_drained()
        if self._is_ended or self._receiver is None:
            return
        if self._is_link_ended and self._is_end_seen():
            self._is_ended = True
            self._tell_owner()
            self._receiver.link_closed(None if self._is_closed_here else self._reason)
        elif not self.is_closed:
            self._tell_pressure(self._receiver)

    def _close_when_drained(self) -> None:
        if not self._is_closed_here or self._outgoing.is_holding:
            return
        self._link.close()
        if self._receiver is None:
            # The link inside was never started, so it will not tell its end.
            self._tell_owner()

    def _is_end_seen(self) -> bool:
        """Whether nothing stands between the receiver and the end of the link inside."""
        if self._is_closed_here or not isinstance(self._reason, ConnectionLost):
            return True
        return not self._incoming.leak.is_cut and not self._incoming.is_holding

    def _tell_owner(self) -> None:
        on_ended, self._on_ended = self._on_ended, None
        if on_ended is not None:
            on_ended(self)

    def _tell_pressure(self, receiver: Receiver) -> None:
        is_paused = self._is_link_paused or self._outgoing.is_full
        if is_paused == self._is_told_paused:
            return
        self._is_told_paused = is_paused
        if is_paused:
            receiver.sending_paused()
        else:
            receiver.sending_resumed()
