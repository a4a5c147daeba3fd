"""The pictures: bytes in a folder or a bucket, their properties in the database.

A picture's row is written before its bytes, and its bytes are deleted before its row, so that all
bytes have a row, and nothing has to be searched for. A row without bytes counts as no picture.

    pictures/3f/3f0c...e1.jpg          the bytes as they came; in a bucket without `pictures/`
    thumbnails/3f/3f0c...e1-320.jpg    made on demand; may be deleted at any time
"""

from __future__ import annotations

import json
import secrets
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, insert, select, true

from vision_event_block.server.pictures.formats import FORMATS, appearance_of
from vision_event_block.server.pictures.place import PictureFile
from vision_event_block.server.store import schema
from vision_event_block.server.store.errors import TooManyIdle
from vision_event_block.server.store.facets import storable
from vision_event_block.server.store.records import StoredPicture, is_picture_id
from vision_event_block.server.store.retention import sweep_uploads
from vision_event_block.server.store.timestamps import moment_of, now_us

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vision_event_block.server.pictures.place import PicturePlace
    from vision_event_block.server.pictures.thumbnails import Thumbnails
    from vision_event_block.server.store.database import Database
    from vision_event_block.server.store.disk_quota import DiskQuota
    from vision_event_block.server.store.timestamps import Clock

_ID_BYTES: Final = 16
#: Ids per statement.
_CHUNK: Final = 500

_table = schema.pictures


class PictureStore:
    """Pictures by generated ids; no path contains anything that a client sent."""

    def __init__(
        self,
        database: Database,
        place: PicturePlace,
        thumbnails: Thumbnails,
        clock: Clock,
        quota: DiskQuota,
    ) -> None:
        self._database = database
        self._place = place
        self.thumbnails = thumbnails
        self._clock = clock
        self._quota = quota
        self._sweeping = threading.Lock()

    def put(
        self, data: bytes, name: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> StoredPicture:
        """Stores a new picture, which is safe when this returns.

        Raises:
            NotAPicture: the bytes are not a picture of a known format, or it is too large.
            StorageDown: the bucket cannot be reached.
            LimitReached: it would exceed the server's disk limit.
            TooManyIdle: there are too many pictures that no event refers to.
        """
        appearance = appearance_of(data)
        picture = StoredPicture(
            id=secrets.token_hex(_ID_BYTES),
            media_type=appearance.media_type,
            width=appearance.width,
            height=appearance.height,
            size_bytes=len(data),
            name=None if name is None else storable(name),
            metadata=dict(metadata or {}),
        )
        now = now_us(self._clock)
        with self._room_for(len(data)), self._database.writing() as connection:
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
        self._place.put(_name(picture.id, picture.media_type), data, picture.media_type)
        return picture

    @contextmanager
    def _room_for(self, size_bytes: int) -> Iterator[None]:
        """Reserves room for a picture until its row is written."""
        try:
            self._quota.reserve_picture(size_bytes)
        except TooManyIdle:
            with self._sweeping:
                if not sweep_uploads(self._database, self.remove_bytes, self._clock):
                    raise
                self._quota.sum_up_again()
            self._quota.reserve_picture(size_bytes)
        try:
            yield
        finally:
            self._quota.release_picture(size_bytes)

    def get(self, picture_id: str) -> PictureFile | None:
        """Where the bytes are; None if there is no such picture.

        A bucket is not asked: bytes missing despite the row are noticed when they are read.
        """
        picture = self.info(picture_id)
        if picture is None:
            return None
        file = PictureFile(
            name=_name(picture.id, picture.media_type),
            media_type=picture.media_type,
            place=self._place,
        )
        return file if file.path is None or file.path.is_file() else None

    def read(self, picture_id: str) -> tuple[PictureFile, bytes] | None:
        """The file and its bytes as received; None if there is no such picture."""
        file = self.get(picture_id)
        with suppress(FileNotFoundError):  # removed in the meantime
            return None if file is None else (file, file.read())
        return None

    def exists(self, picture_id: str) -> bool:
        file = self.get(picture_id)
        return file is not None and self._place.has(file.name)

    def info(self, picture_id: str) -> StoredPicture | None:
        return self.info_of_many([picture_id]).get(picture_id)

    def info_of_many(
        self, picture_ids: Iterable[str], *, also_shed: bool = False
    ) -> dict[str, StoredPicture]:
        """The properties of those that exist; `also_shed`: also those removed to free space."""
        there = and_(
            _table.c.idle_since_us.is_distinct_from(schema.REMOVING),
            true() if also_shed else _table.c.shed_us.is_(None),
        )
        wanted = sorted({each for each in picture_ids if is_picture_id(each)})
        found = {}
        with self._database.reading() as connection:
            for start in range(0, len(wanted), _CHUNK):
                query = select(_table).where(_table.c.id.in_(wanted[start : start + _CHUNK]), there)
                found.update({row.id: _picture(row) for row in connection.execute(query)})
        return found

    def remove_bytes(self, media_types: Mapping[str, str]) -> None:
        """Deletes the bytes of pictures by id; the caller then deletes the rows."""
        self._place.remove([_name(*each) for each in media_types.items()])
        for picture_id in media_types:
            self.thumbnails.remove(picture_id)

    def sweep_thumbnails(self) -> None:
        """Removes thumbnails of pictures that another server on the same database has removed."""
        kept = sorted(self.thumbnails.picture_ids())
        for start in range(0, len(kept), _CHUNK):
            chunk = kept[start : start + _CHUNK]
            for picture_id in set(chunk) - set(self.info_of_many(chunk)):
                self.thumbnails.remove(picture_id)


def _name(picture_id: str, media_type: str) -> str:
    """Its name, the same in every place: a folder can be copied into a bucket as it is."""
    return f"{picture_id[:2]}/{picture_id}.{FORMATS[media_type][0]}"


def _picture(row: Any) -> StoredPicture:
    return StoredPicture(
        id=row.id,
        media_type=row.media_type,
        width=row.width,
        height=row.height,
        size_bytes=row.size_bytes,
        name=row.name,
        metadata=json.loads(row.metadata),
        shed_at=None if row.shed_us is None else moment_of(row.shed_us),
    )
