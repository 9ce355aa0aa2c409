"""The way to an object that a reference leads to, over the connection on which that came.

To a stub it is a connection like any other. It ends with the reference, and never makes a link.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from liferaft.errors import NoSuchObject, StubClosed
from liferaft.rpc.caller_streams import StreamedCall
from liferaft.rpc.codec import of_a_call
from liferaft.rpc.interface import Interface, MethodSignature

if TYPE_CHECKING:
    from liferaft.rpc.driving import CallDriver


class ReferenceConnection:
    """See `liferaft.rpc.interception.Connection`."""

    def __init__(
        self, driver: "CallDriver", object_name: str, number: int, interface: Interface, epoch: int
    ) -> None:
        self.interface = interface
        self.timeout = driver.timeout
        self._driver = driver
        self._object = object_name
        self._number = number
        self._epoch = epoch
        self._is_released = False

    @property
    def address_text(self) -> str:
        """Where the object is."""
        return f"{self._object} of {self._driver.interface.name}"

    @property
    def is_closed(self) -> bool:
        """Whether the reference was let go of, or its connection closed."""
        return self._is_released or self._driver.is_closed

    @property
    def takes_values(self) -> bool:
        """See `CallDriver`."""
        return False

    def open(self) -> None:
        """Do nothing: the connection is the one over which the reference came."""

    async def wait_bound(self) -> None:
        """Return at once: calls wait for the connection by themselves."""

    async def call(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        *,
        time_left: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """See `CallDriver`; raises `NoSuchObject` once the reference is no more."""
        self._check(method)
        return await self._driver.call(
            method, arguments, time_left=time_left, metadata=metadata, object=self._object
        )

    async def call_streaming(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...],
        *,
        time_left: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """See `CallDriver`."""
        self._check(method)
        return await self._driver.call_streaming(
            method, arguments, time_left=time_left, metadata=metadata, object=self._object
        )

    def start_streaming(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...],
        *,
        time_left: float | None,
        metadata: Mapping[str, str] | None = None,
    ) -> StreamedCall:
        """See `CallDriver`."""
        self._check(method)
        return self._driver.start_streaming(
            method, arguments, time_left=time_left, metadata=metadata, object=self._object
        )

    def notify(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """See `CallDriver`."""
        self._check(method)
        self._driver.notify(method, arguments, metadata=metadata, object=self._object)

    def close(self) -> None:
        """Let go of the reference."""
        if not self._is_released:
            self._is_released = True
            if self._epoch == self._driver.epoch:
                self._driver.references.release_number(self._number)

    async def aclose(self) -> None:
        """Let go of the reference."""
        self.close()

    def _check(self, method: MethodSignature) -> None:
        where = f"{self.interface.name}.{method.name}"
        if self._is_released:
            raise StubClosed(f"{where}: the reference was let go of")
        if self._epoch != self._driver.epoch:
            text = f"{where}: the peer that the reference came from has forgotten it"
            raise of_a_call(NoSuchObject(text))
