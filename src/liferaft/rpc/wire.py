"""The frames of the protocol, as docs/wire.md describes them: MessagePack arrays, kind first.

Any frame may be lost, repeated or reordered by the link. Every exchange is therefore safe to
repeat: whoever wants an answer asks again until it comes. Pure: no I/O, no clock.
"""

from typing import Final

import msgspec

PROTOCOL_NAME: Final = "liferaft"
PROTOCOL_VERSION: Final = 1
SESSION_BYTES: Final = 16


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The caller's first frame: which protocol, and which session goes on over this link.

    `token` is the caller's secret, where the host takes calls with one only.
    """

    protocol: str
    version: int
    session: bytes
    token: str = ""


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The answer to `Hello`. `incarnation` is drawn anew whenever the host starts.

    A caller that sees another incarnation than before knows that the host forgot its session.
    """

    version: int
    incarnation: bytes
    frame_bytes_max: int


class Bind(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Ask for an object before calling it.

    `object` may be empty where the host has just one. `signatures` maps each method that the
    caller may use to its signature as text. `is_resumed` says that the session was bound to this
    object before, over an earlier link: a host that does not know the session then answers
    `Unbound` with code "expired", rather than begin it anew and run a call twice.
    """

    object: str
    signatures: dict[str, str]
    is_resumed: bool


class Bound(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The object is there and the signatures fit.

    `object` is its full name. `is_durable` says that the session's memory outlives this host
    (it lies in the replicated state), so that unanswered calls may be resent to whichever host
    binds next, whatever its incarnation.
    """

    asked: str
    object: str
    is_durable: bool


class Unbound(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The object cannot be bound: `code` is "missing", "mismatch", "expired", or a refusal.

    A refusal is named by its class in liferaft.errors: "NoLeader", "Overloaded", "Refused".
    """

    asked: str
    code: str
    message: str


class Call(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Call a method, at most once per (session, number).

    Numbers begin at 1 and rise by 1 in each session. The caller has had the answers of all calls
    below `acked_below` and will never repeat them. `time_left` is in seconds, None without a
    deadline. `arguments` is the array of all parameters in the order of the signature. `metadata`
    is what interceptors tell each other.
    """

    number: int
    acked_below: int
    object: str
    method: str
    time_left: float | None
    arguments: msgspec.Raw
    metadata: dict[str, str] | None = None


class Reply(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The method returned."""

    number: int
    result: msgspec.Raw


class Failure(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The method raised, or the call could not be carried out.

    `kind` is "declared" (the interface names the exception: `type_name` and `fields` rebuild it),
    "remote" (any other exception), or `type_name` is a class of liferaft.errors: "liferaft" when
    the call itself was turned away or ended, "raised" when its method raised a refusal of its own.
    """

    number: int
    kind: str
    type_name: str
    message: str
    traceback: str
    fields: msgspec.Raw


class Redirect(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Call number `number` (0: the Bind just asked) must be sent elsewhere.

    Nothing was executed here, or the session's durable memory makes a repeat harmless. `address`
    is where, or None when this host does not know: try the others, after a while.
    """

    number: int
    address: str | None


class Working(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """The answer to a repeated call that is still being executed: repeat less often."""

    number: int


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """The caller no longer wants the answer to this call."""

    number: int


class Notify(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """A call of a one-way method: never answered, never resent, lost when the link loses it."""

    object: str
    method: str
    arguments: msgspec.Raw
    metadata: dict[str, str] | None = None


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """Are you there? Also tells the host which replies it may forget."""

    acked_below: int


class Pong(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """Yes."""


class Goodbye(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """This side ends the connection, and why, in a sentence.

    `is_final` says that reconnecting is of no use (a version that does not fit, a closed session).
    """

    reason: str
    is_final: bool


class Leaving(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """The host is about to stop: what it has is still answered, new calls belong elsewhere.

    The host repeats this until the caller has ended the connection, or its patience has.
    """


class Chunk(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """Items of a stream of call `number`, with a minus for one that the host made; both send these.

    `channel` is 0 for the result, or the place of a parameter, from 1 on. `sequence` is how many
    items came before these. `is_last` says that none follows, which counts as one more item.
    """

    number: int
    channel: int
    sequence: int
    items: list[msgspec.Raw]
    is_last: bool


class Credit(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """The answer to `Chunk`: so many items have come, and so far the sender may go on.

    An item may begin while all items before it have fewer than `until` bytes together. `is_closed`
    says that nothing more is wanted.
    """

    number: int
    channel: int
    received: int
    until: int
    is_closed: bool


Frame = (
    Hello
    | Welcome
    | Bind
    | Bound
    | Unbound
    | Call
    | Reply
    | Failure
    | Redirect
    | Working
    | Cancel
    | Notify
    | Ping
    | Pong
    | Goodbye
    | Leaving
    | Chunk
    | Credit
)
