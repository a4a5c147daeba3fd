"""Errors of the store. Every message says what to do and may be shown to a client."""

from __future__ import annotations

from typing import ClassVar


class StoreError(Exception):
    """The store refused a request; nothing was changed."""


class BadQuery(StoreError):  # noqa: N818 - named for what it is
    """A filter, a limit or a cursor is invalid."""


class NotAPicture(StoreError):  # noqa: N818 - named for what it is
    """These bytes are not a picture of a known format, or it is too large."""


class NoSuchUseCase(StoreError):  # noqa: N818 - named for what it is
    """No use case has this id."""


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
    """Too many uploaded pictures are in no event yet. They expire unless events refer to them."""

    #: Of the response.
    headers: ClassVar = {"Retry-After": "30"}


class BadStorage(StoreError):  # noqa: N818 - named for what it is
    """The bucket for the pictures cannot be used as configured."""


class StorageDown(StoreError):  # noqa: N818 - named for what it is
    """The bucket for the pictures does not answer. It is safe to retry."""

    #: Of the response; long enough for a storage server to restart.
    headers: ClassVar = {"Retry-After": "5"}


class Busy(StoreError):  # noqa: N818 - named for what it is
    """The server is too busy. It is safe to retry."""

    #: Of the response.
    headers: ClassVar = {"Retry-After": "5"}
