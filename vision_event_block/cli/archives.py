"""Bundle archives of strangers, read safely, and our own, written so that they last.

Reading never touches the disk: an archive that nobody vouches for cannot write anywhere.
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.events.bundle import encode_payload, picture_members
from vision_event_block.outbox.entry import PAYLOAD_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vision_event_block.outbox.disk import Disk

#: As it is sent; the API takes no larger one.
MAX_ARCHIVE_BYTES: Final = 25 * 2**20
#: Pictures hardly shrink, so that an honest archive is far below.
MAX_UNPACKED_BYTES: Final = 4 * MAX_ARCHIVE_BYTES
MAX_MEMBERS: Final = 4096
_GZIP_MAGIC: Final = b"\x1f\x8b"
_FORMAT_VERSION: Final = 1


class Unusable(ValueError):  # noqa: N818 - a state of a file
    """This is no bundle that can be sent; the message says why."""


@dataclass(frozen=True)
class Archive:
    """A bundle in memory."""

    payload: dict[str, Any]
    pictures: dict[str, bytes] = field(repr=False)


def is_gzipped(content: bytes) -> bool:
    """Whether the archive is compressed."""
    return content.startswith(_GZIP_MAGIC)


def is_safe(name: str) -> bool:
    """Whether a member's name stays below the place where it is unpacked, on any system."""
    path = PurePosixPath(name)
    is_below = not path.is_absolute() and ".." not in path.parts
    return bool(path.parts) and is_below and "\\" not in name and ":" not in name


def read_archive(content: bytes) -> Archive:
    """What a bundle archive holds, plain or compressed.

    Raises:
        Unusable: it is too large, damaged, unsafe, or no bundle.
    """
    if len(content) > MAX_ARCHIVE_BYTES:
        raise Unusable(f"it is larger than {MAX_ARCHIVE_BYTES} bytes")
    members = _members(_tar_of(content))
    try:
        payload = json.loads(members.pop(PAYLOAD_NAME))
    except KeyError:
        raise Unusable(f"it has no {PAYLOAD_NAME}") from None
    except (ValueError, RecursionError):
        raise Unusable(f"its {PAYLOAD_NAME} is not JSON") from None
    if not isinstance(payload, dict) or payload.get("bundleFormatVersion") != _FORMAT_VERSION:
        raise Unusable(f"it is no bundle of format version {_FORMAT_VERSION}")
    try:
        named = picture_members(payload)
        pictures = {name: members[name] for name in named}
    except KeyError as error:
        raise Unusable(f"it names {error} and does not hold it") from None
    except (TypeError, AttributeError):
        raise Unusable("its images are no list of images") from None
    return Archive(payload, pictures)


def pack_archive(
    payload: Mapping[str, Any], pictures: Mapping[str, bytes], *, plain: bool
) -> bytes:
    """The same bytes for the same event, so that a second try can tell what is there already."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in {PAYLOAD_NAME: encode_payload(payload), **pictures}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o600
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue() if plain else gzip.compress(buffer.getvalue(), 6, mtime=0)


def publish(disk: Disk, path: Path, content: bytes) -> None:
    """Writes a new file so that it is there as a whole, also after the stick was pulled out.

    Raises:
        FileExistsError: another file is there; one of the same content counts as written.
        OSError: it cannot be written.
    """
    if path.exists():
        if path.read_bytes() == content:
            return
        raise FileExistsError(f"{path} is there already, with another content")
    hidden = path.with_name(f".{path.name}.tmp")
    try:
        disk.write(hidden, [content], sync=True)
        disk.rename(hidden, path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
    disk.sync_folder(path.parent)


def _tar_of(content: bytes) -> bytes:
    if not is_gzipped(content):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            tar = file.read(MAX_UNPACKED_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Unusable(f"it is damaged: {error}") from None
    if len(tar) > MAX_UNPACKED_BYTES:
        raise Unusable(f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes")
    return tar


def _members(tar: bytes) -> dict[str, bytes]:
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
            infos = list(itertools.islice(archive, MAX_MEMBERS + 1))
            return {info.name: _content(archive, info) for info in _checked(infos)}
    except Unusable:
        raise
    # Damaged headers make the reader stumble in many ways.
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
        raise Unusable(f"it is no tar archive: {error}") from None


def _checked(infos: list[tarfile.TarInfo]) -> list[tarfile.TarInfo]:
    """The files among the members, after a look at all of them."""
    if len(infos) > MAX_MEMBERS:
        raise Unusable(f"it holds more than {MAX_MEMBERS} files")
    for info in infos:
        if not is_safe(info.name):
            raise Unusable(f"its member {info.name!r} leads out of it")
        if not info.isdir() and (not info.isreg() or info.issparse()):
            raise Unusable(f"its member {info.name!r} is no plain file")
    return [info for info in infos if not info.isdir()]


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(info)
    content = b"" if file is None else file.read()
    if len(content) != info.size:
        raise Unusable(f"its member {info.name!r} is cut off")
    return content
