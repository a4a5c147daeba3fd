"""How much freed memory the allocator of a server process keeps."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

#: Options of glibc's `mallopt`.
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8
_LARGE_BYTES: Final = 256 * 1024
_ARENAS: Final = 2


def give_back_memory() -> None:
    """Returns freed bodies and answers to the system, where the allocator supports it.

    Otherwise, once a block of up to 32 MiB was freed, glibc keeps such blocks in each thread's
    arena, and a server stays as large as it was at its busiest.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_ARENA_MAX, _ARENAS)
