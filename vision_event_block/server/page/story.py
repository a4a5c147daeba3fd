"""What happened before and after an event: its pictures labelled with their offset in time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.contract.names import SOURCE_IDS
from vision_event_block.server.api.ingest import RequestRefused, parse_timestamp
from vision_event_block.server.page.rendering import picture_address
from vision_event_block.server.page.tiles import display_position

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vision_event_block.server.store.records import StoredPicture

_THUMBNAIL_PX: Final = 160
_OFFSET: Final = re.compile(r"([+-]?)(\d{1,6}(?:\.\d{1,3})?) s")
#: Labels of a tracked object's pictures; the metadata says when each was taken.
_SEEN: Final = frozenset({"first", "best", "last"})
_MINUS: Final = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Still:
    """A small picture of an event, with the address of the page that shows it large."""

    href: str
    name: str
    is_current: bool
    thumbnail: str | None
    #: The whole picture; None if it is not on this server.
    picture: str | None
    #: In a story: when it was taken, relative to the event's own picture.
    offset_s: float = 0.0
    #: The offset in words, for screen readers.
    moment: str = ""


@dataclass(frozen=True)
class Strips:
    """The pictures of an event, split into story and others."""

    #: In order of time, with the event's own picture and those of a tracked object; empty if no
    #: picture is labelled with an offset.
    story: Sequence[Still]
    #: All others, in the event's order; empty if there is only one.
    film: Sequence[Still]


def offset_of(label: Any) -> float | None:
    """How many seconds after the event a picture was taken, as its label says.

    >>> offset_of("-3.5 s"), offset_of("+1.0 s"), offset_of("top")
    (-3.5, 1.0, None)
    """
    found = _OFFSET.fullmatch(label.replace(_MINUS, "-")) if isinstance(label, str) else None
    return None if found is None else float(found[1] + found[2])


def strips_of(
    body: Mapping[str, Any],
    pictures: Mapping[str, StoredPicture],
    address_of: Callable[[int], str],
    *,
    shown: int,
) -> Strips:
    """The images of an event, with the one at the position `shown` as the current one."""
    images = body.get("images") or []
    own = display_position(body)
    labels = [str(image.get("label") or "") for image in images]
    offsets = {row: offset_of(label) for row, label in enumerate(labels)}
    timed = {row: offset for row, offset in offsets.items() if offset is not None}
    if any(row != own for row in timed):
        for row, label in enumerate(labels):
            offset = _offset_in_metadata(label, body)
            if row not in timed and (offset is not None or row == own):
                timed[row] = offset or 0.0
    else:
        timed = {}

    def still(row: int, **values: Any) -> Still:
        there = next((each for each in SOURCE_IDS if images[row].get(each) in pictures), None)
        picture_id = None if there is None else images[row][there]
        return Still(
            href=address_of(row),
            is_current=row == shown,
            thumbnail=picture_id and picture_address(picture_id, _THUMBNAIL_PX),
            picture=picture_id and picture_address(picture_id),
            **values,
        )

    story = [
        still(row, name=_named(offset, labels[row]), offset_s=offset, moment=_in_words(offset))
        for row, offset in sorted(timed.items(), key=lambda item: (item[1], item[0]))
    ]
    others = [row for row in range(len(images)) if row == own or row not in timed]
    film = [still(row, name=labels[row] or f"Image {row + 1}") for row in others]
    return Strips(story, film if len(film) > 1 else [])


def _offset_in_metadata(label: str, body: Mapping[str, Any]) -> float | None:
    """For the first, best or last picture of a tracked object: how long after it appeared.

    The event's time may be unrelated: for a video file it is the time of recording.
    """
    metadata = body.get("customMetadata") or {}
    for word in label.split(" and "):
        seen = metadata.get(f"{word}_seen") if word in _SEEN else None
        if isinstance(seen, str):
            try:
                began = metadata.get("first_seen", body.get("timestamp"))
                times = [parse_timestamp(each, "time") for each in (seen, began)]
            except RequestRefused:
                return None
            return round((times[0] - times[1]).total_seconds(), 1)
    return None


def _named(offset_s: float, label: str) -> str:
    sign = _MINUS if offset_s < 0 else "+" if offset_s > 0 else ""
    seconds = abs(offset_s)
    text = f"{seconds:.1f}" if round(seconds, 1) == seconds else f"{seconds:g}"
    is_seen = _SEEN.issuperset(label.split(" and "))
    return f"{sign}{text} s" + (f" \N{MIDDLE DOT} {label}" if is_seen else "")


def _in_words(offset_s: float) -> str:
    if offset_s == 0:
        return "the event"
    seconds = f"{abs(offset_s):g} second" + ("" if abs(offset_s) == 1 else "s")
    return f"{seconds} {'before' if offset_s < 0 else 'after'}"
