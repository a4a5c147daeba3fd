"""Things that a process has once. A forked child makes its own.

Threads do not follow their process into a child, a connection has one owner, and a lock that
another thread held at the time of the fork stays held for ever.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

_Thing = TypeVar("_Thing")

_all: WeakSet[OnePerProcess[Any]] = WeakSet()


class OnePerProcess(Generic[_Thing]):
    """When called, returns the one thing of its kind that this process has.

    >>> numbers = OnePerProcess(list)
    >>> numbers() is numbers()
    True
    """

    def __init__(
        self, make: Callable[[], _Thing], *, abandon: Callable[[_Thing], None] | None = None
    ) -> None:
        """The first call makes the thing; a forked child abandons what it has inherited."""
        self._make = make
        self._abandon = abandon
        self._lock = threading.Lock()
        self._thing: _Thing | None = None
        _all.add(self)

    def __call__(self) -> _Thing:
        thing = self._thing
        if thing is None:
            with self._lock:
                if self._thing is None:
                    self._thing = self._make()
                thing = self._thing
        return thing

    def forget(self) -> None:
        """The thing belongs to the parent process; the next call makes another."""
        inherited, self._thing, self._lock = self._thing, None, threading.Lock()
        if inherited is not None and self._abandon is not None:
            self._abandon(inherited)


def _forget_all() -> None:
    for each in list(_all):
        each.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
