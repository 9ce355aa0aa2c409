"""What a client process tells its parent: one JSON object a line on its stdout."""

from typing import Final

import msgspec


class Asked(msgspec.Struct, frozen=True, tag="asked"):
    """The client is about to add an item. Until it is told otherwise, nobody knows the outcome."""

    text: str


class Added(msgspec.Struct, frozen=True, tag="added"):
    """The cluster acknowledged the item under this number."""

    text: str
    item_id: int


class Completed(msgspec.Struct, frozen=True, tag="completed"):
    """The cluster acknowledged that the item is done, first of all by `done_by`."""

    item_id: int
    done_by: str


class Unknown(msgspec.Struct, frozen=True, tag="unknown"):
    """A call ended without an answer, for this reason: it may have been executed, or not."""

    call: str
    reason: str


class Saw(msgspec.Struct, frozen=True, tag="saw"):
    """The client asked for the list and saw so many items, so many of them done."""

    items: int
    done: int


Report = Asked | Added | Completed | Unknown | Saw

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Report)


def encode_report(report: Report) -> str:
    """Return the report as one line, without the line's end."""
    return _encoder.encode(report).decode()


def decode_report(line: str) -> Report:
    """Return the report in a line; raises `msgspec.DecodeError` when there is none."""
    report: Report = _decoder.decode(line)
    return report
