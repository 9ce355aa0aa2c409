"""A caller's protocol that tests move by hand: no loop, no link, no clock."""

from typing import Any

from liferaft.link.frames import joined
from liferaft.rpc import wire
from liferaft.rpc.codec import decode_frame, encode
from liferaft.rpc.interface import Interface
from liferaft.rpc.protocol import CallerProtocol
from tests.rpc.objects import Counter

INTERFACE = Interface.of(Counter)
INCREMENT = INTERFACE.methods["increment"]
VALUE = INTERFACE.methods["value"]
ONE, OTHER = b"1" * 16, b"2" * 16


class Hand:
    """Moves one protocol by hand, and keeps what it sent."""

    def __init__(self, metadata: dict[str, str] | None = None) -> None:
        sessions = iter(bytes([65 + number]) * 16 for number in range(20))
        self.protocol: CallerProtocol[str] = CallerProtocol(
            object_name="",
            signatures=INTERFACE.signatures,
            draw_session=lambda: next(sessions),
            metadata=metadata,
        )
        self.now = 0.0

    def sent(self) -> list[wire.Frame]:
        frames = [decode_frame(joined(frame)) for frame in self.protocol.outgoing]
        self.protocol.outgoing.clear()
        return frames

    def give(self, *frames: wire.Frame) -> None:
        self.protocol.receive([encode(frame) for frame in frames], self.now)

    def bind(self, incarnation: bytes = ONE, *, is_durable: bool = False) -> list[wire.Frame]:
        self.protocol.link_opened(self.now)
        self.give(wire.Welcome(1, incarnation, 1000))
        self.sent()
        self.give(wire.Bound("", "Counter", is_durable))
        return self.sent()

    def call(self, method: Any = INCREMENT, deadline: float | None = None) -> Any:
        return self.protocol.call(
            method,
            (1,)[: len(method.signature.parameters)],
            now=self.now,
            deadline=deadline,
            waiter="w",
        )

    def pass_time(self, until: float) -> list[tuple[float, wire.Frame]]:
        """Move to `until` from due time to due time; return what was sent, and when."""
        sent = []
        while (due := self.protocol.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.protocol.time_passed(self.now)
            sent += [(round(self.now, 3), frame) for frame in self.sent()]
            if self.protocol.leave is not None:
                break
        self.now = until
        return sent

    def outcomes(self) -> list[Any]:
        found = [outcome for _, outcome in self.protocol.answers]
        self.protocol.answers.clear()
        return found

    def left_at(self, until: float) -> float | None:
        """Return when the host was left, if it was by then."""
        while self.protocol.leave is None and (due := self.protocol.deadline()) is not None:
            if due > until:
                return None
            self.now = max(self.now, due)
            self.protocol.time_passed(self.now)
        return self.now
