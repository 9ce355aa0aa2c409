"""`liferaft leaky`: a proxy that makes a bad network of a good one, until it is told to stop."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

from liferaft.api import aserve
from liferaft.cli.exits import ExitStatus
from liferaft.link.address import Address, parse_address
from liferaft.link.leak import Leak
from liferaft.ops.frame_proxy import FrameProxy
from liferaft.ops.proxy import ByteProxy, Conditions
from liferaft.ops.proxy_control import (
    CONTROL_OBJECT,
    ByteProxyControl,
    FrameProxyControl,
    ProxyControl,
    check_bytes_only,
)


def leaky(
    listen: str,
    target: str,
    /,
    *,
    delay: float = 0.0,
    jitter: float = 0.0,
    rate: float = 0.0,
    loss: float = 0.0,
    duplicate: float = 0.0,
    reorder: float = 0.0,
    frames: bool = False,
    seed: int = 0,
    control: str = "",
) -> int:
    """Pass connections on, and make them suffer on the way.

    Before any TCP server: bytes are delayed, throttled, held back and reset. Before a host of
    liferaft, with --frames: whole frames are lost, repeated and reordered as well. What happens can
    be changed while it runs: liferaft call CONTROL leaky.set --delay 0.5, or leaky.cut, leaky.heal,
    leaky.reset, leaky.refuse, leaky.status.

    Parameters
    ----------
    listen
        Where to listen: 127.0.0.1:8000, with port 0 for any, or unix:/path.
    target
        Where to pass connections on to.
    delay
        Hold everything for so many seconds, each way.
    jitter
        Hold it for up to so many seconds more, drawn anew for each piece. Bytes keep their order,
        frames overtake each other.
    rate
        Let so many bytes a second pass, each way on each connection; 0 for no bound.
    loss
        How likely a frame is lost, from 0 to 1.
    duplicate
        How likely a frame arrives twice.
    reorder
        How likely a frame is overtaken by later ones.
    frames
        The target speaks liferaft's own protocol: pass on whole frames.
    seed
        Where the chances come from: the same seed, the same fates.
    control
        Serve the object `leaky` at this address, for changes while the proxy runs.
    """
    where, whither = parse_address(listen), parse_address(target)
    if frames:
        leak = Leak(
            delay_min=delay,
            delay_max=delay + jitter,
            bytes_per_second=rate,
            loss=loss,
            duplicate=duplicate,
            reorder=reorder,
        )
        asyncio.run(_pass_frames(where, whither, leak, seed, control))
    else:
        check_bytes_only(loss=loss, duplicate=duplicate, reorder=reorder)
        conditions = Conditions(delay=delay, jitter=jitter, bytes_per_second=rate)
        asyncio.run(_pass_bytes(where, whither, conditions, seed, control))
    return ExitStatus.OK


async def _pass_bytes(
    listen: Address, target: Address, conditions: Conditions, seed: int, control: str
) -> None:
    proxy = ByteProxy(listen, target, conditions=conditions, seed=seed)
    async with proxy, _controlled(ByteProxyControl(proxy), control):
        await _until_told(f"{proxy.address} passes bytes on to {target}")


async def _pass_frames(
    listen: Address, target: Address, leak: Leak, seed: int, control: str
) -> None:
    proxy = FrameProxy(listen, target, leak=leak, seed=seed)
    async with proxy, _controlled(FrameProxyControl(proxy, leak), control):
        await _until_told(f"{proxy.address} passes frames on to {target}")


@contextlib.asynccontextmanager
async def _controlled(implementation: object, address: str) -> AsyncIterator[None]:
    if not address:
        yield
        return
    async with await aserve(implementation, ProxyControl, address, name=CONTROL_OBJECT) as host:
        print(f"control at {host.address}", flush=True)
        yield


async def _until_told(sentence: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    print(sentence, flush=True)
    await stop.wait()
