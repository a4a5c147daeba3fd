"""What a server may do on the wire instead of answering correctly.

A misbehaviour turns the right answer into steps: bytes that are sent as they are, pauses, and an
end of the connection. Those here are ready to use with `StandInApi.misbehave`; to write your own,
pass a function:

    api.misbehave(Misbehaviour("half a line", lambda good: [good[:8], Pause(), End.RESET]))
"""

from __future__ import annotations

import gzip
import itertools
import json
from dataclasses import dataclass
from enum import Enum
from http.client import responses
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

#: An event id that no client sent.
SOMEBODY_ELSE: Final = "00000000-0000-4000-8000-00000000e15e"
_END: Final = b"\r\n\r\n"


@dataclass(frozen=True)
class Pause:
    """Sends nothing for this many seconds; None for as long as the client stays."""

    seconds: float | None = None


class End(Enum):
    """How a connection ends after the last step; without one it stays open."""

    CLOSE = "close"
    RESET = "reset"


Step = bytes | Pause | End

#: When it happens: on a new connection before anything is read, once a request's head is read, or
#: once all of it is.
Moment = Literal["connected", "asked", "read"]


@dataclass(frozen=True)
class Misbehaviour:
    name: str
    #: Takes the bytes of the right answer (empty unless the request is read), gives the steps.
    script: Callable[[bytes], Iterable[Step]]
    moment: Moment = "read"


def drip(
    every_s: float = 0.05, *, part: Literal["head", "body"] = "head", size_bytes: int = 1
) -> Misbehaviour:
    """The right answer, with its head or body sent in small pieces with pauses in between."""

    def script(good: bytes) -> Iterator[Step]:
        head, body = _parts(good)
        slow = head if part == "head" else body
        if part == "body":
            yield head
        for start in range(0, len(slow), size_bytes):
            yield slow[start : start + size_bytes]
            yield Pause(every_s)
        if part == "head":
            yield body

    return Misbehaviour(f"{part} drips", script)


def interim(
    status: int = 100, *, count: int | None = 1, every_s: float = 0.0, headers: str = ""
) -> Misbehaviour:
    """Interim answers before the right one; without a count they never end."""
    answer = f"HTTP/1.1 {status} Interim\r\n{headers}\r\n".encode()

    def script(good: bytes) -> Iterator[Step]:
        for _ in itertools.count() if count is None else range(count):
            yield answer
            yield Pause(every_s)
        yield good

    return Misbehaviour(f"{'endless' if count is None else count} interim {status}", script)


def stray_before(stray: bytes | None = None) -> Misbehaviour:
    """Another request's answer, immediately followed by the right one.

    If the client does not notice, all later answers on the connection are off by one.
    """
    return Misbehaviour("stray answer before", lambda good: [(stray or _stray(good)) + good])


def stray_after(stray: bytes | None = None, *, late_s: float = 0.0) -> Misbehaviour:
    """The right answer, and later an unsolicited one on the idle connection."""
    return Misbehaviour(
        "stray answer after", lambda good: [good, Pause(late_s), stray or _stray(good)]
    )


def says(document: Any, status: int = 201) -> Misbehaviour:
    """Other JSON in place of the reply."""
    body = json.dumps(document).encode()
    words = body.decode()
    name = words if len(words) <= 40 else f"{words[:40]}…"  # noqa: PLR2004 -- a name's length
    return Misbehaviour(f"says {name} ({status})", lambda _: [answer(status, body)])


def edited(name: str, edit: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Misbehaviour:
    """The right answer with its reply changed."""

    def script(good: bytes) -> list[Step]:
        head, body = _parts(good)
        status = int(head.split(b" ", 2)[1])
        return [answer(status, json.dumps(edit(json.loads(body))).encode())]

    return Misbehaviour(name, script)


def somebody_elses_id() -> Misbehaviour:
    """Gives every event and picture in the reply an id that was not sent."""

    def edit(reply: dict[str, Any]) -> dict[str, Any]:
        others = {"eventId": SOMEBODY_ELSE, "sourceId": SOMEBODY_ELSE, "id": SOMEBODY_ELSE}
        if "eventIds" in reply:
            ids = [f"{SOMEBODY_ELSE[:-4]}{number:04x}" for number in range(len(reply["eventIds"]))]
            return {**reply, "eventIds": ids}
        return {**reply, **{key: other for key, other in others.items() if key in reply}}

    return edited("somebody else's id", edit)


def not_created() -> Misbehaviour:
    """The reply says that nothing was created."""
    return edited("created is false", lambda reply: {**reply, "created": False})


def names_only(count: int) -> Misbehaviour:
    """A reply to a batch that counts and names only its first `count` events."""

    def edit(reply: dict[str, Any]) -> dict[str, Any]:
        if "eventIds" not in reply:
            return reply
        return {**reply, "created": count, "eventIds": reply["eventIds"][:count]}

    return edited(f"names only {count}", edit)


def html(status: int = 200, words: str = "Please accept our terms of use.") -> Misbehaviour:
    """A page for people, as a captive portal or a firewall sends it."""
    page = f"<!DOCTYPE html><html><body><h1>{words}</h1></body></html>".encode()
    return Misbehaviour(f"HTML {status}", lambda _: [answer(status, page, "text/html")])


def cut(after_bytes: int, *, resets: bool = False) -> Misbehaviour:
    """The first bytes of the right answer, then the end of the connection."""
    end = End.RESET if resets else End.CLOSE
    return Misbehaviour(
        f"{end.value} after {after_bytes} bytes", lambda good: [good[:after_bytes], end]
    )


def huge_head(size_bytes: int = 2**20, *, lines: int = 1) -> Misbehaviour:
    """The right answer with this many more bytes in its head, spread over `lines` lines."""
    more = (b"X-Huge: " + b"x" * (size_bytes // lines) + b"\r\n") * lines

    def script(good: bytes) -> list[Step]:
        first, _, rest = good.partition(b"\r\n")
        return [first + b"\r\n" + more + rest]

    return Misbehaviour(f"{lines} lines of {size_bytes} bytes in the head", script)


def huge_body(size_bytes: int = 2**30, *, in_chunks: bool = False) -> Misbehaviour:
    """A very long answer: this many spaces before a document."""
    head = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
    block = b" " * 2**16

    def script(_: bytes) -> Iterator[Step]:
        if in_chunks:
            yield head + b"Transfer-Encoding: chunked\r\n\r\n"
        else:
            yield head + f"Content-Length: {size_bytes}\r\n\r\n".encode()
        for _sent in range(0, size_bytes, len(block)):
            yield b"10000\r\n" + block + b"\r\n" if in_chunks else block
        yield End.CLOSE

    return Misbehaviour(f"{size_bytes} bytes{' in chunks' if in_chunks else ''}", script)


def bomb(size_bytes: int = 2**28) -> Misbehaviour:
    """A short compressed answer that expands to this size."""
    body = gzip.compress(b" " * size_bytes, 1)
    packed = answer(201, body, more="Content-Encoding: gzip\r\n")
    return Misbehaviour(f"compressed {size_bytes} bytes", lambda _: [packed])


def wrong_length(length: str) -> Misbehaviour:
    """The right answer with this text as its `Content-Length`, then the end of the connection."""

    def script(good: bytes) -> list[Step]:
        head, body = _parts(good)
        lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
        lines[1:1] = [f"Content-Length: {length}".encode()]
        return [b"\r\n".join(lines) + body, End.CLOSE]

    return Misbehaviour(f"Content-Length: {length}", script)


def chunks(*pieces: bytes) -> Misbehaviour:
    """A chunked answer whose body is these bytes, whether they are valid chunks or not."""
    head = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
    whole = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(pieces)
    return Misbehaviour(f"chunks {b''.join(pieces)[:20]!r}", lambda _: [whole, End.CLOSE])


def redirect(status: int = 302, location: str = "/vision-events") -> Misbehaviour:
    """Redirects the client, by default in a loop."""
    packed = answer(status, b"", more=f"Location: {location}\r\n")
    return Misbehaviour(f"redirect {status}", lambda _: [packed])


def raw(content: bytes, *, moment: Moment = "read", end: End | None = End.CLOSE) -> Misbehaviour:
    """Arbitrary bytes instead of an answer."""
    steps: list[Step] = [content] if end is None else [content, end]
    return Misbehaviour(f"{content[:20]!r} when {moment}", lambda _: steps, moment)


def silence(*, moment: Moment = "read") -> Misbehaviour:
    """Nothing, for as long as the client stays; before a request is read, it stays unread."""
    return Misbehaviour(f"silence when {moment}", lambda _: [Pause(), End.CLOSE], moment)


def early(status: int = 413, words: str = "too large") -> Misbehaviour:
    """An answer before the body is read, then the end of the connection."""
    body = json.dumps({"error": words}).encode()
    return Misbehaviour(f"{status} early", lambda _: [answer(status, body), End.CLOSE], "asked")


def answer(
    status: int, body: bytes, media_type: str = "application/json", *, more: str = ""
) -> bytes:
    """A well-formed answer as bytes; `more` are complete lines for its head."""
    reason = responses.get(status, "Odd")
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {media_type}\r\n{more}"
    return f"{head}Content-Length: {len(body)}{_END.decode()}".encode() + body


def _parts(good: bytes) -> tuple[bytes, bytes]:
    """The head, including the empty line after it, and the body."""
    head, end, body = good.partition(_END)
    return head + end, body


def _stray(good: bytes) -> bytes:
    """An answer that looks right but belongs to another event."""
    (lie,) = somebody_elses_id().script(good)
    return lie if isinstance(lie, bytes) else b""
