"""Untrusted bundles: an event and its pictures in one tar file, read without touching the disk.

Whatever an archive claims, at most `MAX_UNPACKED_BYTES` of it are unpacked. One unsafe member
spoils the whole archive, even in a folder that would be ignored. Pure.
"""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from vision_event_block.contract import limits
from vision_event_block.contract.documents import NotJson, parse_json
from vision_event_block.contract.names import (
    FORMAT_VERSION,
    FORMAT_VERSION_KEY,
    MEMBERS,
    PAYLOAD_NAME,
    pictures_named,
)
from vision_event_block.contract.tar_members import BadTar, tar_members

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Buffer

    from vision_event_block.contract.tar_members import TarMember

#: As it is sent; the API takes no larger one.
MAX_ARCHIVE_BYTES: Final = 25 * 2**20
#: Pictures hardly compress, so an honest archive stays far below this.
MAX_UNPACKED_BYTES: Final = 4 * MAX_ARCHIVE_BYTES
#: As large as the body of an event that comes without an archive.
MAX_PAYLOAD_BYTES: Final = 10 * 2**20
#: Two pictures for each image, the payload, and folders.
MAX_MEMBERS: Final = 2 * limits.MAX_IMAGES + 100

#: The one folder that holds media of a known kind.
_IMAGES_FOLDER: Final = "images/"
_GZIP_MAGIC: Final = b"\x1f\x8b"


class BadArchive(ValueError):  # noqa: N818 -- named for what it is
    """Not a bundle, or not a safe one; the message says why."""


@dataclass(frozen=True)
class Archive:
    """A bundle that was read."""

    payload: dict[str, Any]
    #: By the name that the payload gives it; only those that the payload names.
    pictures: Mapping[str, bytes] = field(repr=False)


def is_gzipped(content: bytes) -> bool:
    return content.startswith(_GZIP_MAGIC)


def read_archive(content: bytes) -> Archive:
    """The bundle in a tar file, plain or compressed; raises BadArchive if it is not one."""
    if len(content) > MAX_ARCHIVE_BYTES:
        raise BadArchive(f"it is larger than {MAX_ARCHIVE_BYTES} bytes")
    try:
        members = _members(content)
    except BadTar as error:
        raise BadArchive(f"it is not a tar file, or it is damaged: {error}") from error
    except (zlib.error, EOFError, OSError) as error:  # from decompressing
        raise BadArchive("it is not a tar file, or it is damaged") from error
    if PAYLOAD_NAME not in members:
        raise BadArchive(f"it has no {PAYLOAD_NAME}")
    payload = _payload(members.pop(PAYLOAD_NAME))
    return Archive(payload, _pictures(payload, members))


class _Unpacked(io.RawIOBase):
    """The bytes of an archive, up to a limit beyond which it is refused."""

    def __init__(self, content: bytes) -> None:
        raw = io.BytesIO(content)
        self._source = gzip.GzipFile(fileobj=raw) if is_gzipped(content) else raw
        self._left_bytes = MAX_UNPACKED_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        chunk = self._source.read(min(len(view), self._left_bytes + 1))
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:
            raise BadArchive(f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        view[: len(chunk)] = chunk
        return len(chunk)


def _members(content: bytes) -> dict[str, bytes]:
    """The payload and the images by name, everything else left unread."""
    members: dict[str, bytes] = {}
    unpacked: BinaryIO = io.BufferedReader(_Unpacked(content))
    for number, member in enumerate(tar_members(unpacked), start=1):
        if number > MAX_MEMBERS:
            raise BadArchive(f"it has more than {MAX_MEMBERS} members")
        name = _safe_name(member)
        if member.is_folder or not (name == PAYLOAD_NAME or name.startswith(_IMAGES_FOLDER)):
            continue
        if name in members:
            raise BadArchive(f"it has {name!r} twice")
        if name == PAYLOAD_NAME and member.size_bytes > MAX_PAYLOAD_BYTES:
            raise BadArchive(f"its {PAYLOAD_NAME} is larger than {MAX_PAYLOAD_BYTES} bytes")
        members[name] = member.read()
    return members


def _safe_name(member: TarMember) -> str:
    """The path of a member in its shortest form; empty for the top folder."""
    name = _shortened(member.name)
    is_outside = member.name.startswith("/") or ".." in name.split("/")
    if is_outside or any(character in name for character in "\\:\0"):
        raise BadArchive(f"its member {member.name!r} points outside it")
    if not (member.is_file or member.is_folder):
        raise BadArchive(f"its member {member.name!r} is neither a file nor a folder")
    return name


def _shortened(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _payload(content: bytes) -> dict[str, Any]:
    try:
        payload = parse_json(content)
    except NotJson as error:
        raise BadArchive(f"its {PAYLOAD_NAME} is not JSON: {error}") from None
    if not isinstance(payload, dict):
        raise BadArchive(f"its {PAYLOAD_NAME} is not a JSON object")
    version = payload.get(FORMAT_VERSION_KEY)
    if isinstance(version, bool) or version != FORMAT_VERSION:
        raise BadArchive(f"{FORMAT_VERSION_KEY} must be {FORMAT_VERSION}")
    return payload


def _pictures(payload: Mapping[str, Any], members: Mapping[str, bytes]) -> dict[str, bytes]:
    try:
        named = pictures_named(payload, MEMBERS)
    except (TypeError, AttributeError):
        return {}  # `images` is not a list of objects; ingest warns about it
    pictures = {}
    for name in named:
        path = _shortened(name) if isinstance(name, str) else None
        if path is None or path not in members:
            raise BadArchive(f"its payload names {name!r}, which it does not hold")
        pictures[name] = members[path]
    return pictures
