"""One misbehaviour of each kind, by name, for tests that try them all."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from vision_event_block.testing.misbehaviour import (
    End,
    bomb,
    chunks,
    cut,
    drip,
    early,
    html,
    huge_body,
    huge_head,
    interim,
    names_only,
    not_created,
    raw,
    redirect,
    says,
    silence,
    somebody_elses_id,
    stray_after,
    stray_before,
    wrong_length,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vision_event_block.testing.misbehaviour import Misbehaviour

#: A head of TLS 1.2: an alert (handshake failure), and the beginning of a hello.
_TLS_ALERT: Final = b"\x15\x03\x03\x00\x02\x02\x28"
_TLS_HELLO: Final = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76"

#: One of each, by name. A client that trusts none of them loses no event to any.
CATALOGUE: Final[Mapping[str, Misbehaviour]] = MappingProxyType(
    {
        each.name: each
        for each in (
            drip(part="head"),
            drip(part="body"),
            interim(100),
            interim(102),
            interim(103, headers="Link: </style.css>; rel=preload\r\n"),
            interim(101, headers="Upgrade: websocket\r\nConnection: Upgrade\r\n"),
            interim(100, count=200),
            interim(100, count=None, every_s=0.02),
            stray_before(),
            stray_after(),
            stray_after(late_s=0.02),
            says({}),
            says({}, 200),
            says([]),
            says(None),
            says("ok", 200),
            says({"status": "error"}, 200),
            says({"success": True}, 200),
            says({"created": True, "error": "not really"}),
            says({"created": "yes"}),
            says({"error": "internal"}, 200),
            somebody_elses_id(),
            not_created(),
            names_only(0),
            names_only(10),
            *(html(status) for status in range(200, 600, 9)),
            *(html(status) for status in (204, 304, 401, 403, 413, 422, 429, 451, 511)),
            *(says({}, status) for status in (202, 302, 400, 401, 403, 404, 413, 418, 422, 451)),
            *(cut(after_bytes) for after_bytes in (0, 1, 9, 12, 40, 110, 120)),
            *(cut(after_bytes, resets=True) for after_bytes in (0, 12, 120)),
            huge_head(),
            huge_head(2**16, lines=1000),
            huge_body(),
            huge_body(in_chunks=True),
            bomb(),
            *(wrong_length(text) for text in ("0", "5", "5000", "-1", "many", "9" * 30)),
            wrong_length("5\r\nContent-Length: 7"),
            chunks(b"0\r\n\r\n"),
            chunks(b"zz\r\nnonsense\r\n"),
            chunks(b"-5\r\nabcde\r\n0\r\n\r\n"),
            chunks(b"5\r\nab"),
            chunks(b"f" * 2**17),
            *(redirect(status) for status in (301, 302, 303, 307, 308)),
            raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
            raw(b"\x00" * 4096),
            raw(b"HTTP/1.1 201\r\n\r\n"),
            raw(b"HTTP/9.9 999 Odd\r\n\r\n"),
            raw(b"\r\n" * 100),
            raw(_TLS_ALERT, moment="connected"),
            raw(_TLS_HELLO, moment="connected"),
            raw(b"220 mail.example ESMTP\r\n", moment="connected"),
            raw(b"", moment="connected"),
            raw(b"", moment="connected", end=End.RESET),
            silence(),
            silence(moment="connected"),
            silence(moment="asked"),
            early(413),
            early(503),
        )
    }
)
