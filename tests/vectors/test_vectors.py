"""The vectors say what this implementation says, and are up to date."""

import json

import pytest

from liferaft.errors import ProtocolError
from liferaft.rpc.codec import decode_frame, encode
from tests.vectors.generate import DIRECTORY, FRAMES, INVALID, vectors


def test_the_files_are_up_to_date() -> None:
    for name, text in vectors().items():
        assert text == (DIRECTORY / name).read_text(encoding="utf-8"), (
            "write them anew: python -m tests.vectors.generate"
        )


def test_every_frame_reads_as_it_was_written() -> None:
    listed = json.loads((DIRECTORY / "frames.json").read_text(encoding="utf-8"))
    for (_, frame), vector in zip(FRAMES, listed, strict=True):
        data = bytes.fromhex(vector["hex"])
        assert encode(frame) == data == encode(decode_frame(data))


@pytest.mark.parametrize(("name", "text"), INVALID)
def test_what_is_invalid_is_refused(name: str, text: str) -> None:
    with pytest.raises(ProtocolError):
        decode_frame(bytes.fromhex(text))
