"""Writes the test vectors of docs/wire.md: `python -m tests.vectors.generate`.

For whoever writes a client in another language: frames as hexadecimal, with what they say, and
bytes that must be refused.
"""

import json
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from liferaft.rpc import wire
from liferaft.rpc.arrays import decode_array
from liferaft.rpc.codec import encode

DIRECTORY: Final = Path(__file__).parent
SESSION: Final = bytes(range(16))
NIL: Final = msgspec.Raw(b"\xc0")


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(encode(value))


FRAMES: Final[tuple[tuple[str, Any], ...]] = (
    ("the first frame of a caller", wire.Hello("liferaft", 1, SESSION)),
    ("with a token", wire.Hello("liferaft", 1, SESSION, "a secret")),
    ("the host's answer", wire.Welcome(1, SESSION[::-1], 64 * 1024 * 1024)),
    ("binding the only object", wire.Bind("", {}, is_resumed=False)),
    (
        "binding again, signatures compared",
        wire.Bind("todo", {"add": "add(text: str) -> int"}, is_resumed=True),
    ),
    ("it is there", wire.Bound("", "todo", is_durable=False)),
    ("it is not", wire.Unbound("", "missing", "there is no object ''")),
    ("a call", wire.Call(1, 1, "todo", "add", 2.5, raw(["milk", 2]))),
    ("a call without a deadline", wire.Call(300, 299, "todo", "items", None, raw([]))),
    (
        "a call with metadata",
        wire.Call(2, 1, "todo", "add", 1.0, raw(["é", -1]), {"traceparent": "00-1-2-01"}),
    ),
    ("a result", wire.Reply(1, raw({"id": 1, "text": "milk"}))),
    ("no result", wire.Reply(2, NIL)),
    ("a result that is an array", wire.Reply(12, raw(np.array([[1.5, -2.0]])))),
    (
        "an exception that is declared",
        wire.Failure(3, "declared", "NotFound", "no 7", "", raw([["no 7"], 7])),
    ),
    ("another exception", wire.Failure(4, "remote", "ValueError", "bad", "Traceback ...", NIL)),
    ("a refusal with a hint", wire.Failure(5, "liferaft", "Overloaded", "full", "", raw([0.5]))),
    ("a method's own refusal", wire.Failure(6, "raised", "PermissionDenied", "no", "", NIL)),
    ("elsewhere", wire.Redirect(0, "127.0.0.1:7402")),
    ("elsewhere, who knows where", wire.Redirect(6, None)),
    ("still at it", wire.Working(7)),
    ("no longer wanted", wire.Cancel(8)),
    ("a one-way call", wire.Notify("todo", "poke", raw([1.5, True, None]))),
    ("are you there", wire.Ping(9)),
    ("yes", wire.Pong()),
    ("the end", wire.Goodbye("the host stops", is_final=False)),
    ("the host is about to stop", wire.Leaving()),
    ("items of a result", wire.Chunk(10, 0, 3, [raw("a"), raw(2**40)], is_last=False)),
    ("the end of an argument", wire.Chunk(11, 2, 70_000, [], is_last=True)),
    ("credit", wire.Credit(10, 0, 5, 131_072, is_closed=False)),
    ("items that a host reads of its caller", wire.Chunk(-4, 0, 0, [raw("b")], is_last=True)),
)

INVALID: Final = (
    ("no array", "a3616263"),
    ("an empty array", "90"),
    ("a kind that there is not", "9163"),
    ("too few fields", "9107"),
    ("cut short", "9401a86c69666572"),
    ("a byte that begins no value", "c1"),
)


def vectors() -> dict[str, str]:
    """Return the files by their names."""
    frames = [
        {
            "name": name,
            "kind": type(frame).__name__,
            "hex": encode(frame).hex(),
            "decoded": _shown(msgspec.msgpack.decode(encode(frame))),
        }
        for name, frame in FRAMES
    ]
    invalid = [{"name": name, "hex": text} for name, text in INVALID]
    return {
        "frames.json": json.dumps(frames, indent=1, ensure_ascii=False) + "\n",
        "invalid.json": json.dumps(invalid, indent=1) + "\n",
    }


def _shown(value: Any) -> Any:
    """Return a value as JSON can hold it: bytes as {"hex": ...}, an array's with what they are."""
    if isinstance(value, msgspec.msgpack.Ext):
        array = decode_array(np.ndarray, value)
        element, shape = array.dtype.str, list(array.shape)
        return {"element": element, "shape": shape, "hex": array.tobytes().hex()}
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return value


if __name__ == "__main__":
    for file_name, text in vectors().items():
        (DIRECTORY / file_name).write_text(text, encoding="utf-8")
