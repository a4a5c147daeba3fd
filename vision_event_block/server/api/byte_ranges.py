"""Pictures that are no files of this machine as answers: whole, or the piece that is asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

#: One range, as players and downloads ask; for anything else the whole is a right answer.
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def whole_or_piece(
    content: bytes, asked: Mapping[str, str], *, tag: str, media_type: str, headers: dict[str, str]
) -> Response:
    """Status 200, 206 or 416, as the headers of a request ask.

    Args:
        content: The whole.
        asked: The request's headers, by names in lower case.
        tag: Names the content for ever, for `ETag` and `If-Range`.
        media_type: Of the content.
        headers: To be sent besides.
    """
    size_bytes = len(content)
    headers = {**headers, "Accept-Ranges": "bytes", "ETag": f'"{tag}"'}
    match = _RANGE.fullmatch(asked.get("range", "").replace(" ", ""))
    is_outdated = asked.get("if-range", headers["ETag"]) != headers["ETag"]
    if match is None or match[0] == "bytes=-" or is_outdated:
        return Response(content, media_type=media_type, headers=headers)
    if match[1]:
        first, last = int(match[1]), min(int(match[2] or size_bytes), size_bytes - 1)
    else:
        first, last = max(0, size_bytes - int(match[2])), size_bytes - 1
    if first > last:
        headers["Content-Range"] = f"bytes */{size_bytes}"
        return Response(status_code=416, headers=headers)
    headers["Content-Range"] = f"bytes {first}-{last}/{size_bytes}"
    return Response(content[first : last + 1], 206, media_type=media_type, headers=headers)
