"""Where the bytes of pictures are stored: a folder, or a bucket of an object storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class PicturePlace(Protocol):
    """Bytes by name. Names are made by `PictureStore` and are the same in every place.

    Every method but `path` raises StorageDown if the place cannot be reached.
    """

    def put(self, name: str, data: bytes, media_type: str) -> None:
        """Stores bytes, which are safe when this returns: all of them, or none under this name."""

    def read(self, name: str) -> bytes:
        """The bytes; raises FileNotFoundError if there are none."""

    def has(self, name: str) -> bool:
        """Whether there are bytes under this name."""

    def remove(self, names: Sequence[str]) -> None:
        """Deletes bytes; missing ones count as deleted."""

    def path(self, name: str) -> Path | None:
        """The path of the file, existing or not; None if the bytes are not on this machine."""


@dataclass(frozen=True, kw_only=True)
class PictureFile:
    """The bytes of a picture: where they are, and what they are."""

    name: str
    media_type: str
    place: PicturePlace

    @property
    def path(self) -> Path | None:
        """The file on this machine; None if it is elsewhere."""
        return self.place.path(self.name)

    def read(self) -> bytes:
        """The bytes; raises FileNotFoundError if they are gone."""
        return self.place.read(self.name)
