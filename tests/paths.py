"""What lies in a folder that others are at work in."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def paths_in(folder: Path, pattern: str) -> list[Path]:
    """As `Path.glob` finds them, which up to Python 3.12 fails if a folder goes meanwhile."""
    while True:
        with suppress(FileNotFoundError):
            return list(folder.glob(pattern))
