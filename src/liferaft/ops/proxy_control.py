"""The conditions of a proxy, changed and read from outside while it runs."""

from typing import Final, Protocol

import msgspec

from liferaft.errors import ConfigurationError
from liferaft.link.leak import Leak
from liferaft.ops.frame_proxy import FrameProxy
from liferaft.ops.proxy import ByteProxy, Conditions, ProxyStatus
from liferaft.rpc.interface import raises

CONTROL_OBJECT: Final = "leaky"


@raises(ConfigurationError)
class ProxyControl(Protocol):
    """What may be done to a proxy from outside. "Up" is towards the target."""

    async def set(
        self,
        *,
        delay: float | None = None,
        jitter: float | None = None,
        bytes_per_second: float | None = None,
        loss: float | None = None,
        duplicate: float | None = None,
        reorder: float | None = None,
    ) -> None:
        """Change what is given; what is left out stays as it is.

        Seconds and bytes; loss, duplicate and reorder are probabilities, of frames only.
        """

    async def cut(self, *, up: bool = True, down: bool = True) -> None:
        """Let nothing pass in these directions, while connections seem open."""

    async def heal(self) -> None:
        """Let everything pass again."""

    async def reset(self) -> int:
        """Break every connection, and return how many there were."""

    async def refuse(self, *, is_refusing: bool = True) -> None:
        """Reset new connections from now on, or take them again."""

    async def status(self) -> str:
        """Return what was done so far, as JSON."""


class ByteProxyControl:
    """Does it, to a proxy of bytes."""

    def __init__(self, proxy: ByteProxy) -> None:
        self._proxy = proxy

    async def set(
        self,
        *,
        delay: float | None = None,
        jitter: float | None = None,
        bytes_per_second: float | None = None,
        loss: float | None = None,
        duplicate: float | None = None,
        reorder: float | None = None,
    ) -> None:
        """See `ProxyControl`."""
        check_bytes_only(loss=loss, duplicate=duplicate, reorder=reorder)
        given = {"delay": delay, "jitter": jitter, "bytes_per_second": bytes_per_second}
        self._change(**{name: value for name, value in given.items() if value is not None})

    async def cut(self, *, up: bool = True, down: bool = True) -> None:
        """See `ProxyControl`."""
        self._change(is_cut_up=up, is_cut_down=down)

    async def heal(self) -> None:
        """See `ProxyControl`."""
        self._change(is_cut_up=False, is_cut_down=False, is_refusing=False)

    async def reset(self) -> int:
        """See `ProxyControl`."""
        return self._proxy.reset_all()

    async def refuse(self, *, is_refusing: bool = True) -> None:
        """See `ProxyControl`."""
        self._change(is_refusing=is_refusing)

    async def status(self) -> str:
        """See `ProxyControl`."""
        status: ProxyStatus = self._proxy.status()
        return msgspec.json.encode(status).decode()

    def _change(self, **changes: float | bool) -> None:
        before = msgspec.structs.asdict(self._proxy.conditions)
        self._proxy.change(Conditions(**(before | changes)))


class FrameProxyControl:
    """Does it, to a proxy of frames."""

    def __init__(self, proxy: FrameProxy, leak: Leak) -> None:
        self._proxy = proxy
        self._leak = leak

    async def set(
        self,
        *,
        delay: float | None = None,
        jitter: float | None = None,
        bytes_per_second: float | None = None,
        loss: float | None = None,
        duplicate: float | None = None,
        reorder: float | None = None,
    ) -> None:
        """See `ProxyControl`."""
        given = {
            "bytes_per_second": bytes_per_second,
            "loss": loss,
            "duplicate": duplicate,
            "reorder": reorder,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        if delay is not None or jitter is not None:
            least = self._leak.delay_min if delay is None else delay
            spread = self._leak.delay_max - self._leak.delay_min if jitter is None else jitter
            changes |= {"delay_min": least, "delay_max": least + spread}
        self._leak = Leak(**(msgspec.structs.asdict(self._leak) | changes))
        self._proxy.network.set(outgoing=self._leak, incoming=self._leak)

    async def cut(self, *, up: bool = True, down: bool = True) -> None:
        """See `ProxyControl`."""
        self._proxy.network.cut_all(outgoing=up, incoming=down)

    async def heal(self) -> None:
        """See `ProxyControl`."""
        self._proxy.network.heal_all()

    async def reset(self) -> int:
        """See `ProxyControl`."""
        return self._proxy.reset_all()

    async def refuse(self, *, is_refusing: bool = True) -> None:
        """See `ProxyControl`."""
        raise ConfigurationError(f"refuse({is_refusing}) is for proxies of bytes: cut instead")

    async def status(self) -> str:
        """See `ProxyControl`."""
        return msgspec.json.encode(self._proxy.statistics()).decode()


def check_bytes_only(*, loss: float | None, duplicate: float | None, reorder: float | None) -> None:
    """Raise `ConfigurationError` for what cannot be done to bytes."""
    for name, value in (("loss", loss), ("duplicate", duplicate), ("reorder", reorder)):
        if value:
            raise ConfigurationError(
                f"{name} is for frames of liferaft's own protocol only (--frames): in a stream of"
                " bytes TCP repairs what is lost, and a hole would be a broken stream; use a delay,"
                " a rate, a cut or a reset"
            )
