import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liferaft.rpc import nesting
from liferaft.rpc.codec import encode
from liferaft.rpc.nesting import NESTING_MAX, is_nested_too_deep
from liferaft.rpc.wire import Call

LONG = "n" * 65_536
VALUES_MAX = nesting._VALUES_MAX


def call(*arguments: object) -> bytes:
    row = msgspec.Raw(encode(arguments))
    return encode(Call(1, 1, "Orders", "place", None, row))


def nested(depth: int, innermost: bytes = b"\x01") -> msgspec.Raw:
    return msgspec.Raw(b"\x91" * depth + innermost)


@pytest.fixture(params=["by the limit", "by rows"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have frames looked at as up to Python 3.13, and as from 3.14 on."""
    monkeypatch.setattr(nesting, "_HAS_FIXED_LIMIT", request.param == "by the limit")


KINDS = {
    "positive fixint": b"\x7f",
    "fixstr": b"\xbf" + b"s" * 31,
    "nil": b"\xc0",
    "false": b"\xc2",
    "true": b"\xc3",
    "bin 8": b"\xc4\xff" + bytes(255),
    "bin 16": b"\xc5\x01\x2c" + bytes(300),
    "bin 32": b"\xc6\x00\x00\x01\x2c" + bytes(300),
    "ext 8": b"\xc7\xff\x05" + bytes(255),
    "ext 16": b"\xc8\x01\x2c\x05" + bytes(300),
    "ext 32": b"\xc9\x00\x00\x01\x2c\x05" + bytes(300),
    "float 32": b"\xca" + bytes(4),
    "float 64": b"\xcb" + bytes(8),
    "uint 8": b"\xcc\x91",
    "uint 16": b"\xcd\x91\x91",
    "uint 32": b"\xce" + b"\x91" * 4,
    "uint 64": b"\xcf" + b"\x91" * 8,
    "int 8": b"\xd0\x91",
    "int 16": b"\xd1\x91\x91",
    "int 32": b"\xd2" + b"\x91" * 4,
    "int 64": b"\xd3" + b"\x91" * 8,
    "fixext 1": b"\xd4\x05" + b"\x91",
    "fixext 2": b"\xd5\x05" + b"\x91" * 2,
    "fixext 4": b"\xd6\x05" + b"\x91" * 4,
    "fixext 8": b"\xd7\x05" + b"\x91" * 8,
    "fixext 16": b"\xd8\x05" + b"\x91" * 16,
    "str 8": b"\xd9\xff" + b"s" * 255,
    "str 16": b"\xda\x01\x2c" + b"s" * 300,
    "str 32": b"\xdb\x00\x00\x01\x2c" + b"s" * 300,
    "negative fixint": b"\xe0",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_of_each_kind_is_passed_over_whole_and_nothing_more(kind: str) -> None:
    value = KINDS[kind]

    assert nesting._has_few_values((VALUES_MAX - 1) * value + KINDS["str 32"])
    assert not nesting._has_few_values(VALUES_MAX * value + KINDS["str 32"])


def test_what_lies_in_a_container_counts_by_itself() -> None:
    for head in (b"\x80", b"\x8f", b"\x90", b"\x9f", b"\xdc\xff\xff", b"\xde\xff\xff"):
        pairs = (head + b"\x01") * (VALUES_MAX // 2)
        assert nesting._has_few_values(pairs[:-1] + KINDS["str 32"])
        assert not nesting._has_few_values(pairs + KINDS["str 32"])
    for head in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"):
        assert nesting._has_few_values(head * (VALUES_MAX - 1) + KINDS["str 32"])
        assert not nesting._has_few_values(head * VALUES_MAX + KINDS["str 32"])


def test_in_the_last_bytes_there_may_be_any_values_for_they_cannot_lie_deep() -> None:
    rest = NESTING_MAX - VALUES_MAX
    head = b"\x91" * (VALUES_MAX - 1) + KINDS["str 32"]

    assert nesting._has_few_values(head + b"\x91" * rest)
    assert not nesting._has_few_values(head + b"\x91" * (rest + 1))


@pytest.mark.parametrize("head", [b"\x91", b"\xdc\x00\x01", b"\xdd\x00\x00\x00\x01"])
@pytest.mark.parametrize("beside", ["", LONG, LONG[:4_000], LONG * 20])
def test_arrays_of_each_kind_may_be_so_deep_and_no_deeper(head: bytes, beside: str) -> None:
    assert not is_nested_too_deep(call(beside, msgspec.Raw(head * (NESTING_MAX - 8) + b"\x01")))
    assert is_nested_too_deep(call(beside, msgspec.Raw(head * 700 + b"\x01")))


@pytest.mark.parametrize("head", [b"\x81\xa1k", b"\xde\x00\x01\xa1k", b"\xdf\x00\x00\x00\x01\xa1k"])
def test_maps_of_each_kind_may_be_so_deep_and_no_deeper(head: bytes) -> None:
    assert not is_nested_too_deep(call(LONG, msgspec.Raw(head * (NESTING_MAX - 8) + b"\x01")))
    assert is_nested_too_deep(call(LONG, msgspec.Raw(head * 700 + b"\x01")))


@pytest.mark.parametrize("times", [1, 20])
@pytest.mark.parametrize("before", [*range(VALUES_MAX + 2), 1_000])
def test_what_is_deep_is_found_behind_any_number_of_values(before: int, times: int) -> None:
    assert is_nested_too_deep(call(LONG * times, *range(before), nested(700)))
    assert not is_nested_too_deep(call(LONG * times, *range(before), nested(NESTING_MAX - 3)))


@pytest.mark.parametrize("row", [nested(100), {"key": nested(100)}, [nested(20)] * 40, LONG])
def test_many_rows_are_as_deep_as_the_deepest_of_them(row: object) -> None:
    many = [row] * 300

    assert not is_nested_too_deep(call(many))
    assert not is_nested_too_deep(call([*many, nested(NESTING_MAX - 4), *many]))
    assert is_nested_too_deep(call([*many, nested(700), *many]))
    assert is_nested_too_deep(call([*many, {"key": [nested(700)]}, *many]))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_deep_is_found_behind_many_values_of_each_kind(kind: str) -> None:
    beside = [msgspec.Raw(KINDS[kind])] * 2_000

    assert not is_nested_too_deep(call(beside, {1: nested(NESTING_MAX - 4)}))
    assert is_nested_too_deep(call(beside, {1: nested(700)}))


def test_rows_that_each_hold_the_rest_of_all_are_followed_to_the_deepest() -> None:
    def linked(links: int) -> msgspec.Raw:
        rest = b"\xc0"
        for _ in range(links):
            rest = b"\x92" + encode("i" * 300) + rest
        return msgspec.Raw(rest)

    assert not is_nested_too_deep(call(linked(NESTING_MAX - 3)))
    assert is_nested_too_deep(call(linked(700)))
    assert is_nested_too_deep(call(LONG * 20, linked(700)))


def test_what_is_deep_is_found_behind_what_lies_less_deep_in_a_map() -> None:
    beside = [{"a": i, "b": [i, [i]]} for i in range(200)]

    assert not is_nested_too_deep(call({"beside": beside, "deep": nested(NESTING_MAX - 4)}))
    assert is_nested_too_deep(call({"beside": beside, "deep": nested(700)}))


def test_rows_and_what_lies_in_them_count_together() -> None:
    innermost = msgspec.Raw(b"\x81\xa1k" * 598 + encode(list(range(300))))

    assert is_nested_too_deep(call(nested(5, bytes(innermost))))


def test_a_frame_that_is_gone_over_too_often_is_looked_at_value_by_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bytes_seen = 0

    def rows(part: bytes) -> list[msgspec.Raw]:
        nonlocal bytes_seen
        bytes_seen += len(part)
        return msgspec.msgpack.decode(part, type=list[msgspec.Raw])

    monkeypatch.setattr(nesting, "_rows", rows)
    frame = call(msgspec.Raw(b"\x91" * 200 + encode(list(range(20_000)))))

    assert not is_nested_too_deep(frame)
    assert bytes_seen <= 8 * len(frame)


def test_what_looks_like_containers_in_a_long_string_is_none() -> None:
    assert not is_nested_too_deep(call(b"\x91" * 65_536))


@given(st.binary(min_size=1, max_size=3_000), st.integers(0, 60))
def test_any_bytes_are_looked_at_without_an_error(data: bytes, cut: int) -> None:
    is_nested_too_deep(data)
    is_nested_too_deep(call(LONG[:3_000])[: 3_000 - cut] + data)


def test_what_was_cut_off_is_for_its_decoder_to_refuse() -> None:
    assert not is_nested_too_deep(call(LONG)[:-10])
    assert not is_nested_too_deep(call(*range(20_000))[:-10])
    assert not is_nested_too_deep(b"\xdb\xff" * 200)
