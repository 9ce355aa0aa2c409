"""Addresses as users write them, and the sentences for those that are none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liferaft.errors import AddressError
from liferaft.link.address import Address, parse_address, parse_addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7400", Address("tcp", "127.0.0.1", 7400)),
        (" 127.0.0.1:0 ", Address("tcp", "127.0.0.1", 0)),
        ("node-1.example.org:65535", Address("tcp", "node-1.example.org", 65535)),
        ("[::1]:7400", Address("tcp", "::1", 7400)),
        ("unix:/run/liferaft.sock", Address("unix", "/run/liferaft.sock")),
        ("unix:relative", Address("unix", "relative")),
        ("memory:a", Address("memory", "a")),
    ],
)
def test_an_address_is_read_and_written_back(text: str, address: Address) -> None:
    assert address == parse_address(text)
    assert text.strip() == str(address)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "an address is empty"),
        ("   ", "an address is empty"),
        ("localhost", "has no port: write host:port"),
        (":7400", "has no host before the port: write it like 127.0.0.1:7400"),
        ("::1:7400", r"more than one colon: write IPv6 like \[::1\]:7400"),
        ("[::1]", "no IPv6 address with a port"),
        ("[::1", "no IPv6 address with a port"),
        ("[localhost]:7400", "no IPv6 address with a port"),
        ("host:", "has no number after the last colon"),
        ("host:port", "has no number after the last colon"),
        ("host:-1", "has no number after the last colon"),
        ("host:+1", "has no number after the last colon"),
        ("host:\u0661", "has no number after the last colon"),
        ("host:65536", "not between 0 and 65535"),
        ("host:" + "9" * 5000, "not between 0 and 65535"),
        ("a b:1", "is no host and port"),
        ("tcp//host:1", "is no host and port"),
        ("user@host:1", "is no host and port"),
        ("a\x00b:1", "characters that no address has"),
        ("a\nb:1", "characters that no address has"),
        ("x" * 64 + ":1", "cannot be the name of a host"),
        ("a..b:1", "cannot be the name of a host"),
        ("unix:", "ends after the colon: write it like unix:/"),
        ("memory:", "ends after the colon: write it like memory:"),
    ],
)
def test_what_is_no_address_gets_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(AddressError, match=sentence) as caught:
        parse_address(text)

    assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        address = parse_address(text)
    except AddressError:
        return

    assert address == parse_address(str(address))


def test_a_list_of_addresses_keeps_its_order() -> None:
    addresses = parse_addresses("b:2, a:1,unix:/x")

    assert ["b:2", "a:1", "unix:/x"] == [str(address) for address in addresses]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("a:1,", "is empty"),
        ("a:1,b", "no port"),
        ("a:1,b:2,a:1", "a:1 is listed"),
    ],
)
def test_a_list_is_refused_for_any_part_of_it(text: str, sentence: str) -> None:
    with pytest.raises(AddressError, match=sentence):
        parse_addresses(text)
