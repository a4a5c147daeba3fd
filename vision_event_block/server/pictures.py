"""The pictures: files in a folder, what is known of them in the database.

A picture's row is there before its file, and its file goes before its row, so that every file
has a row, and nothing is ever searched for. A row without a file is a picture that is not there.

    pictures/3f/3f0c...e1.jpg          the bytes as they came
    pictures/arriving/                 not yet complete
    thumbnails/3f/3f0c...e1-320.jpg    made on demand; may be deleted at any time
"""

from __future__ import annotations

import json
import os
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, select

from vision_event_block.server import schema
from vision_event_block.server.formats import FORMATS, appearance_of
from vision_event_block.server.records import Picture, PictureFile, is_picture_id
from vision_event_block.server.thumbnails import Thumbnails
from vision_event_block.server.times import moment_of, now_us
from vision_event_block.server.traits import storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from vision_event_block.server.database import Database
    from vision_event_block.server.times import Clock

_ID_BYTES: Final = 16
#: Of one statement.
_CHUNK: Final = 500
#: What has been arriving for so long was left behind by a process that died.
_ABANDONED_S: Final = 3600

_table = schema.pictures


class Pictures:
    """Pictures by ids that are made here; what a client says never becomes part of a path."""

    def __init__(self, folder: Path, database: Database, clock: Clock) -> None:
        self._folder = folder / "pictures"
        self._arriving = self._folder / "arriving"
        self._database = database
        self._clock = clock
        self._thumbnails = Thumbnails(folder / "thumbnails")
        self._make_folders()

    def put(
        self, data: bytes, name: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Picture:
        """A new picture, on disk when it returns.

        Raises:
            NotAPicture: the bytes are no picture of a known format, or one too large to look at.
        """
        appearance = appearance_of(data)
        picture = Picture(
            id=secrets.token_hex(_ID_BYTES),
            media_type=appearance.media_type,
            width=appearance.width,
            height=appearance.height,
            size_bytes=len(data),
            name=None if name is None else storable(name),
            metadata=dict(metadata or {}),
            uploaded_at=moment_of(now_us(self._clock)),
        )
        now = now_us(self._clock)
        with self._database.writing() as connection:
            connection.execute(
                insert(_table).values(
                    id=picture.id,
                    media_type=picture.media_type,
                    width=picture.width,
                    height=picture.height,
                    size_bytes=picture.size_bytes,
                    name=picture.name,
                    metadata=json.dumps(picture.metadata),
                    uploaded_us=now,
                    idle_since_us=now,
                )
            )
        self._write(self._path(picture.id, picture.media_type), data)
        return picture

    def get(self, picture_id: str) -> PictureFile | None:
        """Where the bytes lie; None if there is no such picture."""
        picture = self.info(picture_id)
        if picture is None:
            return None
        path = self._path(picture.id, picture.media_type)
        return PictureFile(path=path, media_type=picture.media_type) if path.is_file() else None

    def exists(self, picture_id: str) -> bool:
        """Whether there is such a picture."""
        return self.get(picture_id) is not None

    def info(self, picture_id: str) -> Picture | None:
        """What is known of a picture."""
        return self.info_of_many([picture_id]).get(picture_id)

    def info_of_many(self, picture_ids: Iterable[str]) -> dict[str, Picture]:
        """What is known of those that there are."""
        wanted = sorted({each for each in picture_ids if is_picture_id(each)})
        found = {}
        with self._database.reading() as connection:
            for start in range(0, len(wanted), _CHUNK):
                query = select(_table).where(_table.c.id.in_(wanted[start : start + _CHUNK]))
                found.update({row.id: _picture(row) for row in connection.execute(query)})
        return found

    def thumbnail(self, picture_id: str, side: int) -> bytes | None:
        """A JPEG that fits into a square of about this side, in pixels.

        Returns:
            None if there is no such picture, or if it cannot be decoded here.
        """
        file = self.get(picture_id)
        return None if file is None else self._thumbnails.get(picture_id, file, side)

    def remove_files(self, picture_id: str, media_type: str) -> None:
        """Forgets the bytes; the row is the caller's to delete, afterwards."""
        self._path(picture_id, media_type).unlink(missing_ok=True)
        self._thumbnails.remove(picture_id)

    def _path(self, picture_id: str, media_type: str) -> Path:
        return self._folder / picture_id[:2] / f"{picture_id}.{FORMATS[media_type][0]}"

    def _write(self, path: Path, data: bytes) -> None:
        """The whole file on disk under its name, or nothing under it."""
        arriving = self._arriving / path.name
        try:
            with arriving.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            arriving.replace(path)
        except BaseException:
            arriving.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)

    def _make_folders(self) -> None:
        """All folders that there will ever be, so that an upload syncs only one."""
        self._arriving.mkdir(parents=True, exist_ok=True)
        for number in range(256):
            (self._folder / f"{number:02x}").mkdir(exist_ok=True)
        _sync_folder(self._folder)
        _sync_folder(self._folder.parent)
        for path in self._arriving.iterdir():
            if path.stat().st_mtime < time.time() - _ABANDONED_S:
                path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _picture(row: Any) -> Picture:
    return Picture(
        id=row.id,
        media_type=row.media_type,
        width=row.width,
        height=row.height,
        size_bytes=row.size_bytes,
        name=row.name,
        metadata=json.loads(row.metadata),
        uploaded_at=moment_of(row.uploaded_us),
    )
