"""The salt of an outbox: what entries and status show of a key reveals the key to nobody."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.own_slot import make_folders

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "key.salt"
LENGTH_BYTES: Final = 16
#: Used where none can be kept.
_OF_THE_PROCESS: Final = secrets.token_bytes(LENGTH_BYTES)


def key_salt(folder: Path) -> bytes:
    """The salt of the outbox in a folder, created if needed; else one for this process.

    Each entry holds the salt that it was written with, so no event depends on this file: it lets
    all processes show the same digits for the same key.
    """
    if read_key_salt(folder) is None:
        disk = RealDisk()
        with suppress(OSError):
            make_folders(folder, disk)
            beside = folder / f"{NAME}.tmp"
            disk.write(beside, [secrets.token_hex(LENGTH_BYTES).encode()], sync=True)
            disk.rename(beside, folder / NAME)  # of two made at the same time, one stays
    return read_key_salt(folder) or _OF_THE_PROCESS


def read_key_salt(folder: Path) -> bytes | None:
    try:
        salt = bytes.fromhex(RealDisk().read(folder / NAME).decode())
    except (OSError, ValueError):
        return None
    return salt if len(salt) == LENGTH_BYTES else None
