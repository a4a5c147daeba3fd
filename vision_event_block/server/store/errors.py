"""What the store refuses. Every message says what to do and may be shown to a client."""

from __future__ import annotations

from typing import ClassVar


class StoreError(Exception):
    """The store refuses what it was asked; nothing was changed."""


class BadQuery(StoreError):  # noqa: N818 - named for what it is
    """A filter, a limit or a cursor cannot be read."""


class NotAPicture(StoreError):  # noqa: N818 - named for what it is
    """These bytes are not a picture of a known format, or it is too large."""


class NoSuchUseCase(StoreError):  # noqa: N818 - named for what it is
    """Nothing has this use case id."""


class NoSuchKey(StoreError):  # noqa: N818 - named for what it is
    """No API key has this name."""


class DuplicateName(StoreError):  # noqa: N818 - named for what it is
    """Another use case has this name or id, or another key this name."""


class AlreadyActive(StoreError):  # noqa: N818 - named for what it is
    """A use case that is not archived cannot be unarchived."""


class NewerSchema(StoreError):  # noqa: N818 - named for what it is
    """The database was written by a later version of this program."""


class LimitReached(StoreError):  # noqa: N818 - named for what it is
    """The server has reached its disk limit."""


class TooManyIdle(StoreError):  # noqa: N818 - named for what it is
    """Too many uploaded pictures are not in any event yet. They expire, or get their events."""

    #: Of the answer.
    headers: ClassVar = {"Retry-After": "30"}


class BadStorage(StoreError):  # noqa: N818 - named for what it is
    """The bucket for the pictures cannot be used as configured."""


class StorageDown(StoreError):  # noqa: N818 - named for what it is
    """The bucket for the pictures does not answer. It is safe to retry."""

    #: Of the answer; the seconds are enough for a storage that restarts.
    headers: ClassVar = {"Retry-After": "5"}


class Busy(StoreError):  # noqa: N818 - named for what it is
    """The server has too much to do at once. It is safe to retry."""

    #: Of the answer.
    headers: ClassVar = {"Retry-After": "5"}
