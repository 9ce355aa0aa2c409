"""An object that lacks what the host calls back."""

from typing import Protocol

import liferaft


class Listener(Protocol):
    async def heard(self, text: str) -> None: ...


class Radio(Protocol):
    async def listen(self, listener: Listener) -> None: ...


class Deaf:
    async def saw(self, text: str) -> None: ...


async def use(address: str) -> None:
    radio = await liferaft.aconnect(Radio, address)
    await radio.listen(Deaf())  # error: Argument 1 to "listen"
