"""Which of its addresses a caller turns to next, and when.

Each address has a backoff of its own: one that did not help is left alone for a while that doubles,
and the others are asked meanwhile. So it is one dead host that a caller waits for ever longer, and
never the host that took its place. Where a host says who helps, the caller goes there at once,
unless it has just come from there in vain. Pure: no I/O, no clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from liferaft.errors import AddressError
from liferaft.link.address import Address

BACKOFF_FIRST: Final = 0.02
BACKOFF_MAX: Final = 1.0
"""Seconds that an address is left alone, doubling, each jittered down to its half. The first is
also the least between two attempts, whatever the address."""
CONNECT_TIMEOUT: Final = 3.0
CONNECT_TIMEOUT_FIRST: Final = 1.0
"""Seconds that an address is given to let the caller in. Where there are others, the second figure
is the first time's, and it doubles: a machine that is gone says nothing, and far ones take long."""
REDIRECTS_AT_ONCE_MAX: Final = 2
"""How many redirects are followed without a pause: nodes may send a caller round in a circle."""
DISBELIEF_MAX: Final = 0.2
"""Seconds for which a host that was not there is not asked again merely because it is named: others
may not have noticed yet. Later they may know that it is back."""
ADDRESSES_MAX: Final = 64
"""Addresses known: hosts that redirect must not be able to grow the list for ever."""


@dataclass(slots=True, eq=False)
class _Host:
    """What is known of who listens at an address."""

    address: Address
    attempts: int = 0  # in vain, since any host helped
    again_at: float = 0.0
    gone_until: float = 0.0  # it was not there, so that until then nobody is believed who names it


class AddressBook:
    """The addresses at which a caller finds its hosts; `current` is the one it is at."""

    def __init__(self, addresses: Sequence[Address], random: Random) -> None:
        if not addresses:
            raise AddressError("no address to connect to")
        self._hosts = [_Host(address) for address in addresses]
        self._current = self._hosts[0]
        self._named: _Host | None = None
        self._redirects = 0
        self._is_seeking = False
        self._random = random

    @property
    def current(self) -> Address:
        """Where the caller is, or goes."""
        return self._current.address

    @property
    def connect_timeout(self) -> float:
        """How many seconds the current host is given to let the caller in."""
        if len(self._hosts) == 1:
            return CONNECT_TIMEOUT
        return min(CONNECT_TIMEOUT_FIRST * 2.0 ** min(self._current.attempts, 16), CONNECT_TIMEOUT)

    @property
    def addresses(self) -> list[Address]:
        """Every address known, those that the caller was made with first."""
        return [host.address for host in self._hosts]

    @property
    def others(self) -> list[Address]:
        """Every address but the current, in the order in which they come."""
        return [host.address for host in self._others_first()[:-1]]

    def redirected(self, address: Address) -> None:
        """Take a host's word that another than the current one helps."""
        for host in self._hosts:
            if host.address == address:
                self._named = host
                return
        if len(self._hosts) >= ADDRESSES_MAX:
            self._hosts.remove(next(h for h in reversed(self._hosts) if h is not self._current))
        self._named = _Host(address)
        self._hosts.append(self._named)

    def helped(self) -> None:
        """Know that the current host serves: the next failure of any is the first again."""
        if self._is_seeking:
            self._is_seeking = False
            for host in self._hosts:
                host.attempts = 0

    def turn(self, now: float, *, is_gone: bool, stays: bool = False) -> float:
        """Turn to the next address, and return how many seconds to wait before it is asked.

        `is_gone` tells a host that could not be reached, or fell silent, from one that refused.
        With `stays` the current one is asked again, as all others are alike.
        """
        left, named, self._named = self._current, self._named, None
        self._is_seeking = True
        left.attempts += 1
        left.again_at = now + self._pause(left.attempts)
        left.gone_until = min(left.again_at, now + DISBELIEF_MAX) if is_gone else now
        self._redirects = 0 if named is None else self._redirects + 1
        if stays:
            return left.again_at - now
        if named is not None and named.gone_until <= now:
            self._current = named
            at_once = self._redirects <= REDIRECTS_AT_ONCE_MAX
            return 0.0 if at_once else max(named.again_at - now, self._pause(1))
        earliest = now + self._pause(1)
        self._current = min(self._others_first(), key=lambda host: max(host.again_at, earliest))
        return max(self._current.again_at, earliest) - now

    def _others_first(self) -> list[_Host]:
        """Return all hosts in their order, from the one behind the current on."""
        start = self._hosts.index(self._current) + 1
        return self._hosts[start:] + self._hosts[:start]

    def _pause(self, attempts: int) -> float:
        ceiling = min(BACKOFF_FIRST * 2.0 ** min(attempts - 1, 16), BACKOFF_MAX)
        return ceiling * (0.5 + self._random.random() / 2)
