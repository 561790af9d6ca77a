"""How often a wrong code may be tried."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """``burst`` tries at once, and one more each ``every_s`` seconds."""

    burst: int
    every_s: float


PER_ADDRESS, IN_ALL = Rate(20, 3.0), Rate(200, 0.5)
"""A class behind one address mistypes a few times; a guesser needs millions of tries."""
_MOST_ADDRESSES = 4096


class Attempts:
    """Counts wrong codes of each address and of all together. Thread-safe.

    A network of IPv6 counts as one address: whoever has one has all of it.
    """

    def __init__(
        self, each: Rate = PER_ADDRESS, all_of_them: Rate = IN_ALL, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._each, self._all, self._clock = each, all_of_them, clock
        self._lock = threading.Lock()
        self._spent: dict[str, tuple[float, float]] = {}
        self._spent_in_all = (0.0, clock())

    def wait_s(self, address: str) -> float:
        """Return the seconds until that address may try again; 0 when it may now."""
        with self._lock:
            own = self._left(self._spent.get(_network(address)), self._each)
            return max(_wait_s(own, self._each), _wait_s(self._left(self._spent_in_all, self._all), self._all))

    def failed(self, address: str) -> None:
        """Note a wrong code."""
        with self._lock:
            now, name = self._clock(), _network(address)
            if name not in self._spent and len(self._spent) >= _MOST_ADDRESSES:
                kept = ((other, held) for other, held in self._spent.items() if self._left(held, self._each) > 0)
                self._spent = dict(list(kept)[-_MOST_ADDRESSES // 2 :])
            self._spent[name] = (self._left(self._spent.get(name), self._each) + 1, now)
            self._spent_in_all = (self._left(self._spent_in_all, self._all) + 1, now)

    def _left(self, held: tuple[float, float] | None, rate: Rate) -> float:
        """What is still counted of the tries that were noted at a time."""
        if held is None:
            return 0.0
        spent, at = held
        return max(spent - (self._clock() - at) / rate.every_s, 0.0)


def _wait_s(spent: float, rate: Rate) -> float:
    return max((spent - rate.burst + 1) * rate.every_s, 0.0)


def _network(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address
