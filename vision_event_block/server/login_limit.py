"""Limits how often a client may try to log in."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Wrong keys in a row without a wait, as when somebody mistypes one.
FREE_TRIES: Final = 5
#: After these, one more try per period.
TRY_EVERY_S: Final = 12.0
#: Addresses to remember; beyond that, those with the oldest tries are forgotten.
MAX_ADDRESSES: Final = 4096
#: The part of an IPv6 address that belongs to one customer of a provider.
_IPV6_PREFIX: Final = 64


class LoginLimit:
    """Counts tries by network address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        #: By address: until when its tries so far are spread. Guarded by the lock.
        self._spent_until_s: dict[str, float] = {}

    def admit(self, address: str) -> int:
        """Counts a try and returns 0, or returns the whole seconds to wait before the next one."""
        place, now_s = _place(address), self._clock()
        with self._lock:
            spent_until_s = max(self._spent_until_s.pop(place, now_s), now_s)
            wait_s = spent_until_s - now_s - (FREE_TRIES - 1) * TRY_EVERY_S
            if wait_s <= 0:
                spent_until_s += TRY_EVERY_S
            self._spent_until_s[place] = spent_until_s
            if len(self._spent_until_s) > MAX_ADDRESSES:
                del self._spent_until_s[next(iter(self._spent_until_s))]
        return max(0, math.ceil(wait_s))

    def forgive(self, address: str) -> None:
        """Forgets the tries of an address after a successful login."""
        with self._lock:
            self._spent_until_s.pop(_place(address), None)


def _place(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_PREFIX), strict=False))
    return str(found)
