"""Frames, arguments, results and exceptions to bytes and back; decoding is the gateway.

What came over the wire is checked here against what the interface says, once, and trusted further
in. Nothing is ever unpickled, evaluated or imported by a name from the wire: an exception becomes
a class that the interface declares, a class of liferaft.errors, or a `RemoteError`.
"""

import re
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from liferaft import errors
from liferaft.errors import InvalidArgument, LiferaftError, ProtocolError, RemoteError
from liferaft.rpc.arrays import decode_array, encode_array, read_extension
from liferaft.rpc.nesting import NESTING_MAX, is_nested_too_deep
from liferaft.rpc.wire import Failure, Frame

NOTHING: Final = msgspec.Raw(b"\xc0")
"""The encoded None, for fields that a frame does not use."""

TRACEBACK_CHARACTERS_MAX: Final = 16 * 1024
"""A recursion error's traceback is long and says the same thing over and over."""

RETRY_AFTER_MAX: Final = 3600.0
"""Seconds; a host's hint beyond it is not believed."""

_encoder: Final = msgspec.msgpack.Encoder(enc_hook=encode_array)
_decoder: Final[msgspec.msgpack.Decoder[Frame]] = msgspec.msgpack.Decoder(Frame)
_PATH: Final = re.compile(r"(.*) - at `\$\[(\d+)\]([^`]*)`", re.DOTALL)
"""msgspec's own is the last: what a user's class raises may end like that, too."""

encode = _encoder.encode

_TRAVELLING: Final = (
    errors.Refused,
    errors.InvalidArgument,
    errors.DeadlineExceeded,
    errors.OutcomeUnknown,
)
"""What keeps its class on the way. Another one (`Unreachable`, say) would tell the caller about
this host's own calls, and its promise that nothing was executed would be false for the caller's."""

OurErrorT = TypeVar("OurErrorT", bound=LiferaftError)

_OURS: Final[Mapping[str, type[LiferaftError]]] = {
    name: value
    for name, value in sorted(vars(errors).items())
    if isinstance(value, type) and issubclass(value, LiferaftError) and value is not RemoteError
}


def make_decoder(wanted: Any) -> msgspec.msgpack.Decoder[Any]:
    """Return what decodes a value of this type: an argument, a result or an item."""
    return msgspec.msgpack.Decoder(wanted, dec_hook=decode_array, ext_hook=read_extension)


def decode_frame(data: bytes) -> Frame:
    """Return the frame in `data`; raises `ProtocolError` when it is none, or nested too deep."""
    if len(data) > NESTING_MAX and is_nested_too_deep(data):
        raise ProtocolError(f"a frame that is nested more than {NESTING_MAX} deep")
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ProtocolError(f"a frame that cannot be read: {error}") from error


class ArgumentsCodec:
    """The arguments of one method, as the array of all its parameters in their order."""

    def __init__(self, method: str, names: Sequence[str], types: Sequence[Any]) -> None:
        self._method = method
        self._names = tuple(names)
        row: Any = tuple.__class_getitem__(tuple(types))
        self._decoder: msgspec.msgpack.Decoder[tuple[Any, ...]] = make_decoder(row)

    def encode(self, arguments: tuple[Any, ...]) -> msgspec.Raw:
        """Return the arguments as bytes; raises `InvalidArgument` for what cannot travel."""
        try:
            return msgspec.Raw(encode(arguments))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self.unfit(arguments, error) from error

    def decode(self, data: msgspec.Raw | bytes) -> tuple[Any, ...]:
        """Return the arguments in `data`; raises `InvalidArgument` naming the parameter."""
        try:
            return self._decoder.decode(data)
        except msgspec.ValidationError as error:
            raise InvalidArgument(self._explain(str(error))) from error
        except Exception as error:  # a user's class may raise anything at all when it is made
            raise InvalidArgument(f"{self._method}: {error}") from error

    def unfit(self, arguments: tuple[Any, ...], cause: Exception) -> InvalidArgument:
        """Return the error for arguments that could not be encoded, naming the first such."""
        for name, argument in zip(self._names, arguments, strict=True):
            try:
                encode(argument)
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                return of_a_call(InvalidArgument(f"{self._method}({name}): {error}"))
        return of_a_call(InvalidArgument(f"{self._method}: {cause}"))

    def _explain(self, text: str) -> str:
        found = _PATH.fullmatch(text)
        if found is None:
            return f"{self._method}: {text}"
        rest = f" - at `{found[3].lstrip('.')}`" if found[3] else ""
        return f"{self._method}({self._names[int(found[2])]}): {found[1]}{rest}"


class ExceptionCodec:
    """One exception class that an interface declares: its annotated fields, or else its args."""

    def __init__(self, cls: type[BaseException], fields: Mapping[str, Any]) -> None:
        self.cls = cls
        self.name = cls.__name__
        self.fields = dict(fields)
        row: Any = tuple.__class_getitem__((list[Any], *fields.values()))
        self._decoder: msgspec.msgpack.Decoder[tuple[Any, ...]] = msgspec.msgpack.Decoder(row)

    def encode(self, error: BaseException) -> msgspec.Raw:
        """Return args and fields as bytes; raises when a field is missing or cannot travel."""
        values = [getattr(error, name) for name in self.fields]
        try:
            row = msgspec.Raw(encode([list(error.args), *values]))
            self._decoder.decode(row)
        except (TypeError, ValueError, OverflowError, RecursionError):
            # An argument that cannot travel is no reason to lose the class and its fields.
            row = msgspec.Raw(encode([[str(error)], *values]))
            self._decoder.decode(row)
        return row

    def decode(self, data: msgspec.Raw) -> BaseException:
        """Return the exception rebuilt, its `__init__` not run; raises anything where that fails.

        `__init__` may take other arguments than the exception keeps, and may do anything.
        """
        args, *values = self._decoder.decode(data)
        error = self.cls.__new__(self.cls, *args)
        error.args = tuple(args)
        for name, value in zip(self.fields, values, strict=True):
            object.__setattr__(error, name, value)
        return error


def encode_failure(
    number: int, error: BaseException, declared: Sequence[ExceptionCodec] = ()
) -> bytes:
    """Return the `Failure` frame that carries `error` to the caller of call `number`."""
    for ancestor in type(error).__mro__:
        for codec in declared:
            if codec.cls is ancestor:
                try:
                    fields = codec.encode(error)
                except Exception:  # noqa: BLE001 - a user's attribute may raise anything at all
                    return _encode_remote(number, error)
                return encode(Failure(number, "declared", codec.name, _text(error), "", fields))
    if isinstance(error, _TRAVELLING):
        name = _travelling_name(error)
        return encode(Failure(number, "liferaft", name, _text(error), "", _hint(error)))
    return _encode_remote(number, error)


def encode_raised(
    number: int, error: BaseException, declared: Sequence[ExceptionCodec] = ()
) -> bytes:
    """Return the `Failure` frame for what a method raised.

    That nothing was executed is for the method alone to say: not for a call that it made.
    """
    if not isinstance(error, errors.Refused | errors.InvalidArgument):
        return encode_failure(number, error, declared)
    if isinstance(error, tuple(codec.cls for codec in declared)):
        return encode_failure(number, error, declared)
    if error.is_of_a_call:
        return _encode_remote(number, error)
    name = _travelling_name(error)
    return encode(Failure(number, "raised", name, _text(error), "", _hint(error)))


def of_a_call(error: OurErrorT) -> OurErrorT:
    """Return the error, marked as that of a call which a stub makes; see `LiferaftError`."""
    error.is_of_a_call = True
    return error


def decode_failure(failure: Failure, declared: Sequence[ExceptionCodec] = ()) -> BaseException:
    """Return the exception to raise at the caller."""
    if failure.kind == "declared":
        for codec in declared:
            if codec.name == failure.type_name:
                try:
                    return codec.decode(failure.fields)
                except Exception:  # noqa: BLE001 - a user's `__new__` may raise anything at all
                    break
    if failure.kind in ("liferaft", "raised"):
        error = our_error(failure.type_name, failure.message)
        if isinstance(error, errors.Overloaded):
            error.retry_after = _read_hint(failure.fields)
        if isinstance(error, _TRAVELLING):
            return of_a_call(error)
    return RemoteError(failure.type_name, failure.message, failure.traceback)


def our_error(name: str, message: str) -> LiferaftError | None:
    """Return the error of liferaft.errors that `name` names, or None when it names none."""
    cls = _OURS.get(name)
    return None if cls is None else cls(message)


def _travelling_name(error: BaseException) -> str:
    """Return the nearest class of ours: a subclass made by a user is not known over there."""
    return next(cls.__name__ for cls in type(error).__mro__ if _OURS.get(cls.__name__) is cls)


def _hint(error: BaseException) -> msgspec.Raw:
    """Return when to try again, if the error says so, in place of a declared exception's fields."""
    if not isinstance(error, errors.Overloaded) or error.retry_after is None:
        return NOTHING
    return msgspec.Raw(encode([float(error.retry_after)]))


def _read_hint(fields: msgspec.Raw) -> float | None:
    try:
        (seconds,) = msgspec.msgpack.decode(fields, type=tuple[float])
    except msgspec.DecodeError:
        return None  # nothing was said, or nothing that can be understood
    return seconds if 0 <= seconds < RETRY_AFTER_MAX else None


def _encode_remote(number: int, error: BaseException) -> bytes:
    cls = type(error)
    is_builtin = cls.__module__ == "builtins"
    name = cls.__qualname__ if is_builtin else f"{cls.__module__}.{cls.__qualname__}"
    lines = "".join(traceback.format_exception(error))
    text = _sendable(lines[-TRACEBACK_CHARACTERS_MAX:])
    return encode(Failure(number, "remote", _sendable(name), _text(error), text, NOTHING))


def _text(error: BaseException) -> str:
    try:
        return _sendable(str(error))
    except Exception as broken:  # noqa: BLE001 - a user's __str__ may raise anything at all
        return f"<its text cannot be had: {type(broken).__name__}>"


def _sendable(text: str) -> str:
    """Return the text without lone surrogates, which MessagePack's UTF-8 cannot carry."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
