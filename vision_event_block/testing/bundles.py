"""A bundle as a stranger would read it: the files of a tar that nobody vouches for.

Pure: bytes in, bytes out; nothing is ever written to a disk.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Final

from vision_event_block.testing.routes import Refused

FORMAT_VERSION: Final = 1
PAYLOAD_NAME: Final = "payload.json"
#: As it is sent, the API's figure.
MAX_BUNDLE_BYTES: Final = 25 * 2**20
#: Of the tar inside. The API names none; pictures hardly shrink, so an honest one is far below.
MAX_TAR_BYTES: Final = 4 * MAX_BUNDLE_BYTES

_GZIP_MAGIC: Final = b"\x1f\x8b"


def read_members(body: bytes) -> dict[str, bytes]:
    """The files of a tar, plain or gzip-compressed, by their names in it.

    Raises:
        Refused: it is too large, no such archive, or holds a member that is no file or directory
            below the place where it would be unpacked.
    """
    if len(body) > MAX_BUNDLE_BYTES:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"over {MAX_BUNDLE_BYTES} bytes")
    try:
        with tarfile.open(fileobj=io.BytesIO(_tar_of(body)), mode="r:") as archive:
            return {
                member.name: _content(archive, member)
                for member in archive
                if not _checked(member).isdir()
            }
    # Damaged headers make the reader stumble in many ways.
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"no tar archive: {error}") from None


def _tar_of(body: bytes) -> bytes:
    if not body.startswith(_GZIP_MAGIC):
        return body
    with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
        tar = file.read(MAX_TAR_BYTES + 1)
    if len(tar) > MAX_TAR_BYTES:
        words = f"unpacks to over {MAX_TAR_BYTES} bytes"
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)
    return tar


def _checked(member: tarfile.TarInfo) -> tarfile.TarInfo:
    path = PurePosixPath(member.name)
    # A sparse file may claim any size; a negative one leads the reader back, and round for ever.
    is_plain = member.isreg() and not member.issparse() and member.size >= 0
    if not (is_plain or member.isdir()) or path.is_absolute() or ".." in path.parts:
        raise Refused(HTTPStatus.BAD_REQUEST, f"unsafe member: {member.name!r}")
    return member


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return b"" if file is None else file.read()
