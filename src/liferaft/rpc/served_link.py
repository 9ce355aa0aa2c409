"""One accepted link: its handshake, the objects bound over it, its calls in flight.

It belongs to a `liferaft.rpc.server.Server`, which has the limits and the objects. A peer that
breaks the protocol loses the link; an answer goes to the link on which its request came.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from liferaft.errors import (
    LiferaftError,
    NoSuchObject,
    ProtocolError,
    Refused,
    SessionExpired,
    Unauthenticated,
)
from liferaft.link.base import Link
from liferaft.rpc import wire
from liferaft.rpc.access import EVERYTHING, Roles
from liferaft.rpc.buffers import CallFrame, outline_of
from liferaft.rpc.codec import decode_frame, encode, encode_failure
from liferaft.rpc.dispatch import Dispatcher, Redirected
from liferaft.rpc.nesting import NESTING_MAX, is_nested_too_deep
from liferaft.rpc.refusals import Refusals

if TYPE_CHECKING:
    from liferaft.rpc.server import Server

NAME_CHARACTERS_MAX: Final = 255
"""Of an object that a caller asks for: it comes back in the answer."""
TEXT_SHOWN_MAX: Final = 1_000
"""Characters of a caller's signature that the answer shows beside ours."""
TIME_LEFT_MAX: Final = 1e7
"""Seconds; a peer's number must not overflow a timer."""

_NOTHING: Final[Roles] = frozenset()


class ServedLink:
    """One accepted link: its handshake, the objects bound over it, its calls in flight."""

    def __init__(self, server: "Server", link: Link) -> None:
        loop = server.loop
        self.link = link
        self.heard_at = loop.time()
        self.is_paused = False
        self.in_flight: dict[int, None] = {}
        self.session: bytes | None = None
        self.roles: Roles = EVERYTHING if server.tokens is None else _NOTHING
        self._is_admitted = server.tokens is None
        self.frame_bytes_max = server.frame_bytes_max
        self._server = server
        self._bound: dict[str, Dispatcher] = {}
        self._binding: set[str] = set()
        self._refusals = Refusals(loop.time)
        self._is_ended = False
        timeout = server.limits.handshake_timeout
        self._handshake_timer = loop.call_later(timeout, self._handshake_late)

    @property
    def peer(self) -> str:
        """See `Sender`."""
        return self.link.peer

    # What the link calls back.

    def frames_received(self, frames: list[bytes]) -> None:
        """See `Receiver`."""
        if self._is_ended:
            return
        self.heard_at = now = self._server.loop.time()
        try:
            for data in frames:
                frame = decode_frame(data)
                if type(frame) is wire.Call:
                    self._call(frame, data, now)
                else:
                    self._receive(frame)
        except ProtocolError as error:
            self._server.warn(self.link.peer, str(error))
            self.end("what came is not understood", is_final=False)

    def link_closed(self, reason: LiferaftError | None) -> None:
        """See `Receiver`."""
        if isinstance(reason, ProtocolError):
            self._server.warn(self.link.peer, str(reason))
        self._is_ended = True
        self._handshake_timer.cancel()
        self._server.forget(self)

    def bytes_received(self) -> None:
        """See `Receiver`."""
        self.heard_at = self._server.loop.time()

    def sending_paused(self) -> None:
        """See `Receiver`; the link reads nothing meanwhile, and sees to it that it goes on."""
        self.is_paused = True

    def sending_resumed(self) -> None:
        """See `Receiver`."""
        self.is_paused = False
        self.heard_at = self._server.loop.time()

    def end(self, reason: str, *, is_final: bool) -> None:
        """Say goodbye and close the link."""
        if not self._is_ended:
            self.link.send(encode(wire.Goodbye(reason, is_final)))
            self._is_ended = True
            self._handshake_timer.cancel()
            self.link.close()

    def drop(self) -> None:
        """End the link at once, without a word: its place is needed now."""
        self._is_ended = True
        self._handshake_timer.cancel()
        self.link.abort()

    def send(self, frame: CallFrame) -> None:
        """Send a frame, unless the link has ended: the caller will ask again elsewhere."""
        if not self._is_ended:
            self.link.send(frame)

    # Frames.

    def _receive(self, frame: wire.Frame) -> None:
        if type(frame) is wire.Hello:
            self._hello(frame)
            return
        if self.session is None:
            return  # reordered by the link, or no caller of ours: the handshake timer decides
        handle = _HANDLERS.get(type(frame))
        if handle is None:
            raise ProtocolError(f"a caller does not send {type(frame).__name__}")
        handle(self, frame)

    def _hello(self, frame: wire.Hello) -> None:
        if frame.protocol != wire.PROTOCOL_NAME or len(frame.session) != wire.SESSION_BYTES:
            raise ProtocolError("the greeting is not liferaft's")
        if frame.version != wire.PROTOCOL_VERSION:
            version = wire.PROTOCOL_VERSION
            self.end(f"this host speaks version {version} only", is_final=True)
            return
        if self.session is not None and self.session != frame.session:
            raise ProtocolError("a second session over one link")
        self.session = frame.session
        server = self._server
        if server.tokens is not None:
            roles = server.tokens.roles_of(frame.token)
            self._is_admitted, self.roles = roles is not None, roles or _NOTHING
        self.send(encode(wire.Welcome(frame.version, server.incarnation, self.frame_bytes_max)))

    def _bind(self, frame: wire.Bind) -> None:
        if len(frame.object) > NAME_CHARACTERS_MAX:
            raise ProtocolError(f"the name of an object with {len(frame.object)} characters")
        if frame.object in self._binding:
            return  # a repeat of what is being answered
        self._binding.add(frame.object)
        self._server.spawn(self._admit(frame))

    async def _admit(self, frame: wire.Bind) -> None:
        assert self.session is not None
        asked = frame.object
        try:
            if not self._is_admitted:
                text = "the host takes calls with a token only, and not with this one"
                raise Unauthenticated(text)
            name, dispatcher = self._server.find(asked)
            difference = find_difference(frame.signatures, dispatcher)
            if self._server.turns_away(self.session, dispatcher):
                self.end("the host stops", is_final=False)
                return
            if difference is None:
                await dispatcher.admit(self.session, is_resumed=frame.is_resumed, send=self.send)
                self._bound[asked] = self._bound[name] = dispatcher
                self._handshake_timer.cancel()
                self._server.greeted(self)
                answer: wire.Frame = wire.Bound(asked, name, dispatcher.is_durable)
            else:
                answer = wire.Unbound(asked, "mismatch", difference)
        except Redirected as elsewhere:
            answer = wire.Redirect(0, elsewhere.address)
        except SessionExpired as error:
            answer = wire.Unbound(asked, "expired", str(error))
        except NoSuchObject as error:
            answer = wire.Unbound(asked, "missing", str(error))
        except Refused as error:
            answer = wire.Unbound(asked, type(error).__name__, str(error))
        finally:
            self._binding.discard(asked)
        self.send(encode(answer))
        if self._server.is_draining:
            self.send(encode(wire.Leaving()))

    def _call(self, call: wire.Call, data: bytes, now: float) -> None:
        if self.session is None:
            return  # as in _receive
        deadline = left = call.time_left
        if left is not None:
            if not left >= 0:
                raise ProtocolError(f"a call with {left} s left")
            if left > TIME_LEFT_MAX:  # noqa: PLR1730 - for every call, and min is slow
                left = TIME_LEFT_MAX
            deadline = now + left
        request = _Request(self.session, call, data, deadline, self)
        dispatcher = self._bound.get(call.object) or self._referred(call.object)
        refusal = self._refusals.answer_to(call.number, data)
        if refusal is not None:
            self.send(refusal)
        elif dispatcher is None:
            request.refuse(NoSuchObject(f"the object {call.object!r} is not bound"))
        else:
            if len(self.in_flight) < self._server.limits.in_flight_max:
                self.in_flight[call.number] = None
            else:
                request.is_beyond_limit = True
            dispatcher.dispatch(request)

    def _referred(self, name: str) -> Dispatcher | None:
        """Return where a reference leads: its name is the object's that gave it, and a number."""
        return self._bound.get(name.partition("#")[0]) if "#" in name else None

    def refused(self, number: int, frame: bytes, failure: bytes) -> None:
        """Answer that a call was turned away, now and to each copy of its frame."""
        self.send(failure)
        self._refusals.remember(number, frame, failure)

    def _notify(self, frame: wire.Notify) -> None:
        assert self.session is not None
        dispatcher = self._bound.get(frame.object) or self._referred(frame.object)
        if dispatcher is not None:
            dispatcher.notify(frame, self)

    def _cancel(self, frame: wire.Cancel) -> None:
        # It stays in flight until it is answered: its method may run on for as long as it likes.
        assert self.session is not None
        for dispatcher in self._dispatchers():
            dispatcher.cancel(self.session, frame.number)

    def _stream(self, frame: wire.Chunk | wire.Credit) -> None:
        assert self.session is not None
        if frame.number < 0:
            self._answered(frame)
            return
        for dispatcher in self._dispatchers():
            dispatcher.stream(self.session, frame)

    def _ping(self, frame: wire.Ping) -> None:
        assert self.session is not None
        for dispatcher in self._dispatchers():
            dispatcher.acknowledge(self.session, frame.acked_below)
        self.send(encode(wire.Pong()))

    def _answered(
        self, frame: wire.Reply | wire.Failure | wire.Working | wire.Chunk | wire.Credit
    ) -> None:
        # Of the objects that are bound here, one has called back: of the others it is not known.
        assert self.session is not None
        data = encode(frame)
        for dispatcher in self._dispatchers():
            dispatcher.answered(self.session, data)

    def _goodbye(self, frame: wire.Goodbye) -> None:
        if frame.is_final and self.session is not None:
            for dispatcher in self._dispatchers():
                dispatcher.leave(self.session)
        self._is_ended = True
        self._handshake_timer.cancel()
        self.link.close()

    def _dispatchers(self) -> list[Dispatcher]:
        return list(dict.fromkeys(self._bound.values()))

    def _handshake_late(self) -> None:
        self._server.warn(self.link.peer, "no handshake in time")
        self.end("the handshake took too long", is_final=False)


_HANDLERS: Final[dict[type, Callable[..., None]]] = {
    wire.Bind: ServedLink._bind,  # noqa: SLF001 - the class's own table
    wire.Notify: ServedLink._notify,  # noqa: SLF001
    wire.Cancel: ServedLink._cancel,  # noqa: SLF001
    wire.Chunk: ServedLink._stream,  # noqa: SLF001
    wire.Credit: ServedLink._stream,  # noqa: SLF001
    wire.Ping: ServedLink._ping,  # noqa: SLF001
    wire.Reply: ServedLink._answered,  # noqa: SLF001
    wire.Failure: ServedLink._answered,  # noqa: SLF001
    wire.Working: ServedLink._answered,  # noqa: SLF001
    wire.Goodbye: ServedLink._goodbye,  # noqa: SLF001
}


class _Request(msgspec.Struct, eq=False):
    """One call that came over a link; see `liferaft.rpc.dispatch.Request`."""

    session: bytes
    call: wire.Call
    frame: bytes
    deadline: float | None
    served: ServedLink | None
    is_beyond_limit: bool = False

    @property
    def peer(self) -> str:
        return "" if self.served is None else self.served.peer

    @property
    def roles(self) -> Roles:
        return _NOTHING if self.served is None else self.served.roles

    def answer(self, frame: CallFrame) -> None:
        served = self.served
        if served is not None:
            self.served = None
            size_bytes = len(frame)
            if size_bytes > served.frame_bytes_max:
                text = f"the result makes {size_bytes} bytes; {served.frame_bytes_max} are allowed"
                frame = encode_failure(self.call.number, ProtocolError(text))
            elif size_bytes > NESTING_MAX and is_nested_too_deep(outline_of(frame)):
                text = f"the result is nested more than {NESTING_MAX} deep"
                frame = encode_failure(self.call.number, ProtocolError(text))
            served.in_flight.pop(self.call.number, None)
            served.send(frame)

    def refuse(self, error: Refused) -> None:
        served, self.served = self.served, None
        if served is not None:
            number = self.call.number
            served.in_flight.pop(number, None)
            served.refused(number, self.frame, encode_failure(number, error))

    def redirect(self, address: str | None) -> None:
        self.answer(encode(wire.Redirect(self.call.number, address)))

    def push(self, frame: bytes) -> None:
        if self.served is not None:
            self.served.send(frame)

    def working(self) -> None:
        self.push(encode(wire.Working(self.call.number)))


def find_difference(asked: dict[str, str], dispatcher: Dispatcher) -> str | None:
    """Return a sentence on the first method that the two sides see differently, or None."""
    interface = dispatcher.interface
    for method, text in asked.items():
        ours = interface.signatures.get(method)
        if ours is None:
            expected = f"the caller expects {text[:TEXT_SHOWN_MAX]}"
            return f"{interface.name} has no method {method[:TEXT_SHOWN_MAX]}: {expected}"
        if ours != text:
            theirs = text[:TEXT_SHOWN_MAX]
            return (
                f"{interface.name}.{method} differs: the caller has `{theirs}`,"
                f" the host has `{ours}`"
            )
    return None
