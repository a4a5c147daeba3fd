"""The keys that several packages read or write in the JSON of the Vision Events API."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class PictureKeys(NamedTuple):
    """How an entry of `images` names its annotated picture and the original."""

    output: str
    input: str


#: By the ids of uploads, as the API takes and answers them.
SOURCE_IDS: Final = PictureKeys("sourceId", "inputSourceId")
#: By members of the archive, in a bundle.
MEMBERS: Final = PictureKeys("file", "inputFile")

#: The member of a bundle that holds the event.
PAYLOAD_NAME: Final = "payload.json"
FORMAT_VERSION_KEY: Final = "bundleFormatVersion"
FORMAT_VERSION: Final = 1

# The annotation lists of an image.
BOXES: Final = "objectDetections"
OUTLINES: Final = "instanceSegmentations"
KEY_POINTS: Final = "keypoints"
CLASSES: Final = "classifications"
#: Those whose entries have a place on the picture.
PLACED_LISTS: Final = (BOXES, OUTLINES, KEY_POINTS)
ANNOTATION_LISTS: Final = (*PLACED_LISTS, CLASSES)

#: What else an image may hold, as far as the API's names are known.
IMAGE_KEYS: Final = frozenset({"label", *SOURCE_IDS, *ANNOTATION_LISTS})
#: The key for an image's own metadata. The API's name for it is documented nowhere; this one is
#: the likeliest, and any other object in an image is read the same way.
IMAGE_METADATA: Final = "metadata"

AnnotationLists: TypeAlias = dict[str, list[dict[str, Any]]]

#: What `eventData` may hold, by event type, in the order of the API's documentation.
EVENT_DATA_KEYS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "quality_check": ("result", "externalId"),
        "inventory_count": ("location", "itemCount", "itemType", "externalId"),
        "safety_alert": ("alertType", "severity", "description", "externalId"),
        "custom": ("value", "externalId"),
        "operator_feedback": ("relatedEventId", "feedback"),
    }
)
#: The keys without which the API does not take the data.
REQUIRED_EVENT_DATA: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"operator_feedback": ("relatedEventId", "feedback")}
)


def pictures_named(payload: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """The pictures that the payload names under these keys, each once, image by image.

    >>> pictures_named({"images": [{"file": "b", "inputFile": "a"}, {"file": "a"}]}, MEMBERS)
    ['b', 'a']
    """
    named = (image.get(key) for image in payload.get("images", ()) for key in keys)
    return list(dict.fromkeys(picture for picture in named if picture))
