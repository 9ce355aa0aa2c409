"""Addresses as users write them: `127.0.0.1:7400`, `[::1]:7400`, `unix:/run/x`, `memory:name`."""

from typing import Literal

import msgspec

from liferaft.errors import AddressError


class Address(msgspec.Struct, frozen=True):
    """Where to listen or to connect.

    `host` is a name or an IP address for tcp, the path for unix, the name for memory. `port` is
    0 where the system shall choose one, and always 0 for unix and memory.
    """

    kind: Literal["tcp", "unix", "memory"]
    host: str
    port: int = 0

    def __str__(self) -> str:
        if self.kind != "tcp":
            return f"{self.kind}:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Return the address that `text` names; raises `AddressError` when it names none."""
    raise AddressError(text)
