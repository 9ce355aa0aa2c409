"""Frames and exceptions to bytes and back."""

import dataclasses
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liferaft import errors
from liferaft.errors import (
    DeadlineExceeded,
    InvalidArgument,
    NoLeader,
    OutcomeUnknown,
    ProtocolError,
    Refused,
    RemoteError,
    Unreachable,
)
from liferaft.rpc import wire
from liferaft.rpc.codec import (
    ArgumentsCodec,
    ExceptionCodec,
    decode_failure,
    decode_frame,
    encode,
    encode_failure,
)
from liferaft.rpc.nesting import NESTING_MAX

RAW = msgspec.Raw(b"\xc0")
GOLDEN: list[tuple[wire.Frame, str]] = [
    (wire.Hello("liferaft", 1, b"s"), "9501a86c6966657261667401c40173a0"),
    (wire.Welcome(1, b"i", 9), "940201c4016909"),
    (wire.Bind("o", {"m": "m()"}, is_resumed=True), "9403a16f81a16da36d2829c3"),
    (wire.Bound("", "o", is_durable=False), "9404a0a16fc2"),
    (wire.Unbound("o", "expired", "m"), "9405a16fa765787069726564a16d"),
    (wire.Call(7, 3, "o", "m", 1.5, RAW), "98060703a16fa16dcb3ff8000000000000c0c0"),
    (wire.Reply(7, RAW), "930707c0"),
    (wire.Failure(7, "remote", "T", "m", "t", RAW), "970807a672656d6f7465a154a16da174c0"),
    (wire.Redirect(0, None), "930900c0"),
    (wire.Working(7), "920a07"),
    (wire.Cancel(7), "920b07"),
    (wire.Notify("o", "m", RAW), "950ca16fa16dc0c0"),
    (wire.Ping(3), "920d03"),
    (wire.Pong(), "910e"),
    (wire.Goodbye("r", is_final=True), "930fa172c3"),
    (wire.Leaving(), "9110"),
    (wire.Chunk(7, 1, 3, [RAW, RAW], is_last=True), "961207010392c0c0c3"),
    (wire.Credit(7, 1, 5, 1000, is_closed=False), "9613070105cd03e8c2"),
]


@pytest.mark.parametrize(("frame", "golden"), GOLDEN, ids=lambda case: type(case).__name__)
def test_a_frame_has_the_bytes_that_other_languages_know(frame: wire.Frame, golden: str) -> None:
    """msgspec is before its 1.0: a change of its encoding must not go unseen."""
    assert golden == encode(frame).hex()
    assert encode(frame) == encode(decode_frame(bytes.fromhex(golden)))


def test_every_kind_of_frame_has_golden_bytes() -> None:
    assert list(typing.get_args(wire.Frame)) == [type(frame) for frame, _ in GOLDEN]


@given(st.binary(max_size=60))
def test_any_bytes_are_a_frame_or_a_protocol_error(data: bytes) -> None:
    try:
        frame = decode_frame(data)
    except ProtocolError:
        return

    assert isinstance(frame, typing.get_args(wire.Frame))


def test_bytes_nested_too_deep_are_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        decode_frame(b"\x93\x07\x01" + b"\x91" * 100_000)


def through(error: BaseException, *declared: ExceptionCodec) -> BaseException:
    failure = decode_frame(encode_failure(1, error, declared))
    assert isinstance(failure, wire.Failure)
    return decode_failure(failure, declared)


class WithFields(Exception):
    key: str
    count: int

    def __init__(self, key: str) -> None:
        super().__init__(f"no {key}")
        self.key = key
        self.count = 3


class Deeper(WithFields):
    pass


@dataclasses.dataclass
class Data(Exception):
    key: str


WITH_FIELDS = ExceptionCodec(WithFields, {"key": str, "count": int})


def test_a_declared_exception_keeps_fields_and_text_without_running_init() -> None:
    error = through(WithFields("milk"), WITH_FIELDS)

    assert isinstance(error, WithFields)
    assert ("milk", 3, "no milk") == (error.key, error.count, str(error))


def test_a_subclass_arrives_as_the_nearest_declared_class() -> None:
    assert WithFields is type(through(Deeper("milk"), WITH_FIELDS))


def test_a_dataclass_exception_keeps_its_fields() -> None:
    error = through(Data("milk"), ExceptionCodec(Data, {"key": str}))

    assert Data("milk") == error


def test_a_declared_exception_without_fields_keeps_its_args() -> None:
    error = through(KeyError("milk", 3), ExceptionCodec(KeyError, {}))

    assert (KeyError, ("milk", 3)) == (type(error), error.args)


def test_args_that_cannot_travel_become_text() -> None:
    error = through(KeyError(object), ExceptionCodec(KeyError, {}))

    assert ("<class 'object'>",) == error.args


def test_a_field_that_is_missing_makes_it_a_remote_error() -> None:
    broken = WithFields("milk")
    del broken.key

    assert RemoteError is type(through(broken, WITH_FIELDS))


def test_a_declared_exception_that_the_caller_does_not_know_is_a_remote_error() -> None:
    failure = decode_frame(encode_failure(1, WithFields("milk"), [WITH_FIELDS]))
    assert isinstance(failure, wire.Failure)
    error = decode_failure(failure)

    assert isinstance(error, RemoteError)
    assert ("WithFields", "no milk") == (error.remote_type, error.remote_message)


@pytest.mark.parametrize("error", [NoLeader("x"), DeadlineExceeded("x"), OutcomeUnknown("x")])
def test_our_errors_that_say_something_about_the_call_keep_their_class(error: Any) -> None:
    assert type(error) is type(through(error))


def test_our_errors_about_the_hosts_own_calls_do_not() -> None:
    """`Unreachable` promises that nothing was executed; here something was."""
    error = through(Unreachable("elsewhere"))

    assert isinstance(error, RemoteError)
    assert "liferaft.errors.Unreachable" == error.remote_type


def test_a_users_subclass_of_ours_arrives_as_ours() -> None:
    class Busy(Refused):
        pass

    assert Refused is type(through(Busy("x")))


def test_a_name_from_the_wire_is_never_looked_up_elsewhere() -> None:
    failure = wire.Failure(1, "liferaft", "os.system", "echo", "", RAW)

    assert RemoteError is type(decode_failure(failure))


def test_an_exception_whose_text_cannot_be_had_or_sent_still_arrives() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    mute, surrogate = through(Mute()), through(ValueError("\ud800"))

    assert isinstance(mute, RemoteError)
    assert isinstance(surrogate, RemoteError)
    assert ("<its text cannot be had: ValueError>", "\\ud800") == (
        mute.remote_message,
        surrogate.remote_message,
    )


TRAVELLING = (errors.Refused, errors.InvalidArgument, DeadlineExceeded, OutcomeUnknown)


def test_a_host_names_only_errors_that_tell_of_the_call() -> None:
    """A host must not be able to tell a caller that its own stub is closed, or its log broken."""
    for name, cls in vars(errors).items():
        if isinstance(cls, type):
            failure = wire.Failure(1, "liferaft", name, "x", "", RAW)
            expected = cls if issubclass(cls, TRAVELLING) else RemoteError

            assert expected is type(decode_failure(failure))


class Choosy(ExceptionGroup[Exception]):
    pass


def test_a_declared_exception_that_cannot_be_made_is_a_remote_error() -> None:
    """Found by the fuzzer: the `__new__` of a class may refuse what a host sends with any error."""
    row = msgspec.Raw(encode([["no exceptions", []]]))
    failure = wire.Failure(1, "declared", "Choosy", "x", "", row)

    assert RemoteError is type(decode_failure(failure, [ExceptionCodec(Choosy, {})]))


def test_what_does_not_fit_into_a_set_is_an_invalid_argument() -> None:
    """Found by the fuzzer: msgspec raises a bare TypeError for what cannot be hashed."""
    codec = ArgumentsCodec("Any.thing", ["many"], [set[Any]])

    with pytest.raises(InvalidArgument, match=r"Any\.thing: unhashable"):
        codec.decode(encode([[{}]]))


class Small(msgspec.Struct):
    size: int

    def __post_init__(self) -> None:
        if self.size > 9:
            raise ValueError("taken from\na list - at `$[7]`")


def test_what_a_users_class_says_is_not_mistaken_for_a_place() -> None:
    codec = ArgumentsCodec("Any.thing", ["one", "two"], [int, list[Small]])

    with pytest.raises(InvalidArgument) as caught:
        codec.decode(encode([1, [Small(1), {"size": 10}]]))
    assert str(caught.value) == "Any.thing(two): taken from\na list - at `$[7]` - at `[1]`"


def nested(levels: int, *, padding: int = 0) -> bytes:
    """Return a call whose frame lies as deep as that, its own array included."""
    arguments = b"\x92" + b"\x91" * (levels - 2) + b"\x01" + encode("." * padding)
    return encode(wire.Call(1, 1, "Any", "thing", None, msgspec.Raw(arguments)))


@pytest.mark.parametrize("padding", [0, 100_000])
def test_a_frame_may_be_nested_but_not_without_end(padding: int) -> None:
    """What is let in here is decoded again further in, where less of the stack is left."""
    decode_frame(nested(NESTING_MAX, padding=padding))
    for levels in (700, 900, 990, 10_000):
        with pytest.raises(ProtocolError, match="nested"):
            decode_frame(nested(levels, padding=padding))


def test_a_frame_with_many_containers_beside_each_other_is_not_deep() -> None:
    rows = msgspec.Raw(encode([[[]] * 10_000]))
    frame = wire.Call(1, 1, "Any", "thing", None, rows)

    assert frame == decode_frame(encode(frame))
