"""What is called in the RPC benchmark: typed arguments, a dataclass as the result."""

import struct
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

HOST: Final = "127.0.0.1"
LENGTH: Final = struct.Struct(">I")
ORDER_BYTES_MIN: Final = 60
"""What the fixed fields of an order take; the note fills up the rest."""


@dataclass(frozen=True)
class Receipt:
    """What an order is answered with: its own content, so that both ways carry the same."""

    number: int
    customer: str
    note: str
    amounts: list[int]


class Order(msgspec.Struct, frozen=True, array_like=True):
    """An order as one message, for those who have messages rather than arguments."""

    number: int
    customer: str
    note: str
    amounts: list[int]


class Orders(Protocol):
    """The interface that is measured."""

    async def place(self, number: int, customer: str, note: str, amounts: list[int]) -> Receipt:
        """Place an order."""


class BlockingOrders(Protocol):
    """The same, for a stub that blocks."""

    def place(self, number: int, customer: str, note: str, amounts: list[int]) -> Receipt:
        """Place an order."""


class OrderBook:
    """The implementation."""

    async def place(self, number: int, customer: str, note: str, amounts: list[int]) -> Receipt:
        """Place an order."""
        return Receipt(number, customer, note, amounts)


def note_for(size_bytes: int) -> str:
    """Return the note that makes an order about so large."""
    return "n" * max(0, size_bytes - ORDER_BYTES_MIN)
