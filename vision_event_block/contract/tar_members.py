"""The members of a tar file, read in one pass from any writer.

Python's own reader is not used for foreign files: in the versions that we support, a header of a
few hundred kilobytes keeps it busy for hours. Here every step moves forward through the bytes,
extended headers are bounded, and features that a bundle has no use for (sparse files, sizes in
global headers) have no code that could go wrong. The formats are ustar, PAX and GNU with long
names. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BLOCK_BYTES: Final = 512
#: Of one extended header, PAX or a long name. Ours take less, even with the reasons for a thousand
#: pictures that were left out.
MAX_HEADER_BYTES: Final = 2**20

_FILES: Final = (b"0", b"\0", b"7")
_FOLDER: Final = b"5"
_PAX, _PAX_FOR_ALL = (b"x", b"X"), b"g"
_LONG_NAME, _LONG_LINK = b"L", b"K"
_MAX_DIGITS: Final = 20
#: Content is read in such pieces, so that a false size takes no memory.
_AT_ONCE_BYTES: Final = 2**20


class BadTar(ValueError):  # noqa: N818 -- named for what it is
    """Not a tar file, or a damaged one; the message says where."""


@dataclass(frozen=True)
class TarMember:
    """A member, whose content can be read until the next one is asked for."""

    name: str
    is_file: bool
    is_folder: bool
    size_bytes: int
    #: Of its PAX header.
    headers: Mapping[str, str]
    _content: _Content = field(repr=False)

    def read(self) -> bytes:
        """All of its bytes; raises BadTar if some are missing."""
        return self._content.rest()


def tar_members(source: BinaryIO) -> Iterator[TarMember]:
    """The members in their order; raises BadTar where they cannot be read.

    Args:
        source: Read forward only, and never further than the end of the archive.
    """
    headers: dict[str, str] = {}
    long_name: str | None = None
    is_first = True
    while header := _header(source, is_first=is_first):
        is_first = False
        kind, size_bytes = header[156:157], _number(header[124:136])
        if kind in (*_PAX, _PAX_FOR_ALL, _LONG_NAME, _LONG_LINK):
            content = _beside(source, size_bytes)
            if kind in _PAX:
                headers |= _records(content)
            elif kind == _LONG_NAME:
                long_name = _text(content)
            continue
        if any(key.startswith("GNU.sparse.") for key in headers):
            raise BadTar("it has a sparse file")
        name = headers.get("path", long_name)
        if name is None:
            name = _name(header)
        is_folder = kind == _FOLDER or (kind == b"\0" and name.endswith("/"))
        is_file = kind in _FILES and not is_folder
        if is_file and "size" in headers:
            size_bytes = _decimal(headers["size"])
        content_left = _Content(source, size_bytes if is_file else 0)
        yield TarMember(name.rstrip("/"), is_file, is_folder, size_bytes, headers, content_left)
        content_left.skip()
        headers, long_name = {}, None


class _Content:
    """The bytes of a member that have not been read yet, and the padding of its last block."""

    def __init__(self, source: BinaryIO, size_bytes: int) -> None:
        self._source = source
        self._left_bytes = size_bytes
        self._filling_bytes = -size_bytes % BLOCK_BYTES

    def rest(self) -> bytes:
        content = _up_to(self._source, self._left_bytes)
        self._left_bytes -= len(content)
        if self._left_bytes:
            raise BadTar("it is cut off")
        return content

    def skip(self) -> None:
        left_bytes = self._left_bytes + self._filling_bytes
        while left_bytes:
            skipped = self._source.read(min(left_bytes, _AT_ONCE_BYTES))
            if not skipped:
                if left_bytes > self._filling_bytes:
                    raise BadTar("it is cut off")
                return
            left_bytes -= len(skipped)


def _header(source: BinaryIO, *, is_first: bool) -> bytes | None:
    """The next header; None at the end of the archive."""
    header = _up_to(source, BLOCK_BYTES)
    if not header and not is_first:
        return None  # some writers leave out the blocks at the end
    if len(header) < BLOCK_BYTES:
        raise BadTar("it is cut off")
    if not any(header):
        return None
    if sum(header) - sum(header[148:156]) + 8 * ord(" ") != _number(header[148:156]):
        raise BadTar("a header's checksum does not match")
    return header


def _up_to(source: BinaryIO, size_bytes: int) -> bytes:
    """This many bytes, or all that are left."""
    pieces = []
    while size_bytes > 0 and (piece := source.read(min(size_bytes, _AT_ONCE_BYTES))):
        pieces.append(piece)
        size_bytes -= len(piece)
    return b"".join(pieces)


def _beside(source: BinaryIO, size_bytes: int) -> bytes:
    if size_bytes > MAX_HEADER_BYTES:
        raise BadTar(f"a header of {size_bytes} bytes is too large")
    content = _Content(source, size_bytes)
    beside = content.rest()
    content.skip()
    return beside


def _name(header: bytes) -> str:
    name, prefix = _text(header[:100]), ""
    if header[257:263] == b"ustar\0":
        prefix = _text(header[345:500])
    return f"{prefix}/{name}" if prefix else name


def _text(field_bytes: bytes) -> str:
    return field_bytes.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _number(field_bytes: bytes) -> int:
    """A number of a header: octal digits, or the bytes of a number too large for them."""
    if field_bytes[0] & 0x80:
        number = int.from_bytes(bytes([field_bytes[0] & 0x7F]) + field_bytes[1:], "big")
        if field_bytes[0] & 0x40:
            raise BadTar("a header has a negative number")
        return number
    digits = field_bytes.partition(b"\0")[0].strip()
    if digits.strip(b"01234567"):
        raise BadTar("a header has a number with characters other than digits")
    return int(digits or b"0", 8)


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise BadTar(f"a size of {text[:_MAX_DIGITS]!r} is not a number")
    return int(text)


def _records(content: bytes) -> dict[str, str]:
    """A PAX header: records such as `30 mtime=1350244992.023960108` with their length in front."""
    records = {}
    start = 0
    while start < len(content) and content[start]:
        digits, space, _ = content[start : start + _MAX_DIGITS].partition(b" ")
        if not (space and digits.isdigit()):
            raise BadTar("a PAX header cannot be read")
        end = start + int(digits)
        key, equals, value = content[start + len(digits) + 1 : end].partition(b"=")
        if end > len(content) or not (key and equals and value.endswith(b"\n")):
            raise BadTar("a PAX header cannot be read")
        records[key.decode("utf-8", "surrogateescape")] = value[:-1].decode(
            "utf-8", "surrogateescape"
        )
        start = end
    return records
