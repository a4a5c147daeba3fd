"""Events as tiles of the grid: one picture with its overlay, and a line or two."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from vision_event_block.contract.names import SOURCE_IDS
from vision_event_block.server.page.formatting import TYPE_NAMES, Headline, duration, headline
from vision_event_block.server.page.overlay import TILE, Overlay, overlay
from vision_event_block.server.page.rendering import event_address, picture_address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vision_event_block.server.storage import Store
    from vision_event_block.server.store.records import StoredEvent, StoredPicture

Which = Literal["input", "output"]

THUMBNAIL_PX: Final = 480
_KEYS: Final = {"input": (SOURCE_IDS.input, SOURCE_IDS.output), "output": SOURCE_IDS}


@dataclass(frozen=True)
class Tile:
    event: StoredEvent
    headline: Headline
    #: The id of the part, or of anything else that the event is about.
    external_id: str | None
    href: str
    picture: str | None
    alt: str
    overlay: Overlay | None
    more_images: int
    #: How long the event lasted, in words.
    duration: str | None
    #: Changes whenever the event is written again, judged or pinned.
    version: str


def tiles_of(
    store: Store,
    events: Sequence[StoredEvent],
    *,
    which: Which,
    slots: Mapping[str, int],
    query: str,
) -> list[Tile]:
    """The tiles; a single query reads the data of all their pictures."""
    shown = (display_image(event.body) for event in events)
    ids = {image[key] for image in shown for key in _KEYS[which] if key in image}
    pictures = store.pictures.info_of_many(sorted(ids), also_shed=True)
    return [_tile(event, pictures, which=which, slots=slots, query=query) for event in events]


def display_position(body: Mapping[str, Any]) -> int:
    """Which of an event's images is shown first."""
    images = body.get("images") or []
    position = int(body.get("displayImagePosition") or 0)
    return position if 0 <= position < len(images) else 0


def display_image(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The image of an event that is shown first; an empty one if it has none."""
    images = body.get("images") or [{}]
    image: Mapping[str, Any] = images[display_position(body)]
    return image


def size_of(picture: StoredPicture | None) -> tuple[int, int] | None:
    """Width and height, if both are known."""
    if picture is None or picture.width is None or picture.height is None:
        return None
    return picture.width, picture.height


def seen_in_words(event_type: str, headline: Headline, overlay: Overlay | None) -> str:
    """A description of a picture's content for readers who cannot see it."""
    found = Counter(shape.class_name for shape in overlay.shapes) if overlay else Counter[str]()
    seen = ", ".join(f"{count} {name}" for name, count in found.most_common(5))
    words = f"{TYPE_NAMES.get(event_type, event_type)}: {headline.text}"
    return f"{words}. Seen: {seen}" if seen else words


def _tile(
    event: StoredEvent,
    pictures: Mapping[str, StoredPicture],
    *,
    which: Which,
    slots: Mapping[str, int],
    query: str,
) -> Tile:
    image = display_image(event.body)
    known = [pictures[image[key]] for key in _KEYS[which] if image.get(key) in pictures]
    there = [picture.id for picture in known if picture.shed_at is None]
    # Annotations refer to the input, else the output.
    sizes = (size_of(pictures.get(image.get(key, ""))) for key in _KEYS["input"])
    size = next(filter(None, sizes), None)
    drawn = overlay(image, size, slots=slots, frame=TILE)
    shown = drawn if drawn.shapes or drawn.tags else None
    data = event.body.get("eventData") or {}
    words = headline(event.event_type, data)
    return Tile(
        event=event,
        headline=words,
        external_id=str(data["externalId"]) if data.get("externalId") else None,
        href=event_address(event.event_id, query),
        picture=picture_address(there[0], THUMBNAIL_PX) if there else None,
        alt=seen_in_words(event.event_type, words, shown),
        overlay=shown,
        more_images=max(len(event.body.get("images") or ()) - 1, 0),
        duration=duration(event.body.get("customMetadata") or {}),
        version=f"{event.received_at.timestamp():.6f} {event.feedback or ''} "
        f"{event.feedback_by or ''} {'pinned' if event.is_pinned else ''}",
    )
