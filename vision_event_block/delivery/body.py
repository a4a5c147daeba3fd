"""The body of a request in pieces, sent block by block and never copied together."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from urllib3.fields import RequestField

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Each block has to leave within the connection's time-out: an uplink of 110 kbit/s is fast
#: enough. A picture in one piece would have that time for the whole of it.
BLOCK_BYTES: Final = 64 * 1024


class Body:
    """Bytes that may be sent more than once: each iteration starts from the beginning."""

    def __init__(self, *pieces: bytes, content_type: str) -> None:
        self.content_type = content_type
        self._pieces = [memoryview(piece) for piece in pieces]

    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    def __iter__(self) -> Iterator[memoryview]:
        for piece in self._pieces:
            for start in range(0, len(piece), BLOCK_BYTES):
                yield piece[start : start + BLOCK_BYTES]


def json_body(document: bytes) -> Body:
    """A body that is encoded JSON."""
    return Body(document, content_type="application/json")


def form_body(*fields: tuple[str, bytes]) -> Body:
    """A multipart form of fields as `form_field` makes them."""
    boundary = secrets.token_hex(16)
    pieces: list[bytes] = []
    for head, content in fields:
        pieces += (f"--{boundary}\r\n{head}".encode(), content, b"\r\n")
    pieces.append(f"--{boundary}--\r\n".encode())
    return Body(*pieces, content_type=f"multipart/form-data; boundary={boundary}")


def form_field(
    name: str, content: bytes, *, file_name: str | None = None, media_type: str | None = None
) -> tuple[str, bytes]:
    """The head and the content of a form's field, with a file name if it is a file."""
    field = RequestField(name, content, filename=file_name)
    field.make_multipart(content_type=media_type)
    return field.render_headers(), content
