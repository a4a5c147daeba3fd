"""How the allocator of a process that is a server keeps what was freed."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

#: Options of glibc's `mallopt`.
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8
_LARGE_BYTES: Final = 256 * 1024
_ARENAS: Final = 2


def give_back_memory() -> None:
    """Has bodies and answers that were freed go back to the system, where that can be asked for.

    Otherwise glibc keeps blocks of up to 32 MiB once one was freed, in an arena for each thread,
    and a server that was busy once stays as large as it was then.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_ARENA_MAX, _ARENAS)
