"""Addresses as users write them: `127.0.0.1:7400`, `[::1]:7400`, `unix:/run/x`, `memory:name`.

Reading an address never looks anything up: whether a host exists is found out when connecting.
"""

import ipaddress
from typing import Literal

import msgspec

from liferaft.errors import AddressError

_FORMS = "host:port, [ipv6]:port, unix:/path or memory:name"
_PORT_MAX = 65535


class Address(msgspec.Struct, frozen=True):
    """Where to listen or to connect.

    `host` is a name or an IP address for tcp, the path for unix, the name for memory. `port` is
    0 where the system shall choose one, and always 0 for unix and memory.
    """

    kind: Literal["tcp", "unix", "memory"]
    host: str
    port: int = 0

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; a name is not looked up for this."""
        if self.kind != "tcp":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower().rstrip(".") == "localhost"

    def __str__(self) -> str:
        if self.kind != "tcp":
            return f"{self.kind}:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Return the address that `text` names; raises `AddressError` when it names none."""
    text = text.strip()
    if not text:
        raise AddressError(f"an address is empty: write {_FORMS}")
    if not text.isprintable():
        raise AddressError(f"{text!r} holds characters that no address has: write {_FORMS}")
    kind, _, rest = text.partition(":")
    if kind == "unix":
        return Address(kind="unix", host=_checked_rest(text, rest, "unix:/run/liferaft.sock"))
    if kind == "memory":
        return Address(kind="memory", host=_checked_rest(text, rest, "memory:name"))
    host, port = _split_host(text)
    return Address(kind="tcp", host=_checked_host(text, host), port=_checked_port(text, port))


def parse_addresses(text: str) -> tuple[Address, ...]:
    """Return the addresses that `text` lists, with commas between them, in their order.

    Raises `AddressError` when one of them cannot be read, or when one is named twice.
    """
    addresses = tuple(parse_address(part) for part in text.split(","))
    for position, address in enumerate(addresses):
        if address in addresses[:position]:
            raise AddressError(f"{address} is listed twice: write each address once")
    return addresses


def _checked_rest(text: str, rest: str, example: str) -> str:
    if not rest:
        raise AddressError(f"{text!r} ends after the colon: write it like {example}")
    return rest


def _split_host(text: str) -> tuple[str, str]:
    """Return what stands for the host and for the port, with the brackets of IPv6 taken off."""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]:")
        if not bracket or ":" not in host:
            raise AddressError(f"{text!r} is no IPv6 address with a port: write it like [::1]:7400")
        return host, port
    host, colon, port = text.rpartition(":")
    if not colon:
        raise AddressError(f"{text!r} has no port: write {_FORMS}")
    if ":" in host:
        raise AddressError(f"{text!r} has more than one colon: write IPv6 like [::1]:7400")
    return host, port


def _checked_host(text: str, host: str) -> str:
    if not host:
        raise AddressError(f"{text!r} has no host before the port: write it like 127.0.0.1{text}")
    if any(character.isspace() or character in "/@[]" for character in host):
        raise AddressError(f"{text!r} is no host and port: write {_FORMS}")
    try:
        # The resolver does this later, and would then fail in the middle of connecting.
        host.encode("idna")
    except UnicodeError as error:
        raise AddressError(f"{host!r} cannot be the name of a host: {error}") from error
    return host


def _checked_port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdigit()):
        raise AddressError(f"{text!r} has no number after the last colon: write {_FORMS}")
    # The length is looked at first: int() refuses thousands of digits with a ValueError.
    if len(port) > len(str(_PORT_MAX)) or int(port) > _PORT_MAX:
        raise AddressError(f"{text!r} has a port that is not between 0 and {_PORT_MAX}")
    return int(port)
