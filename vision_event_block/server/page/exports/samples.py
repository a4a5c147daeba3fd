"""The samples of a data set, kept on disk until all of them are known.

A data set has to know all its classes, and the key points of each, before it can number them. So
samples wait in a file, and memory does not grow with the number of events.

The split of an event depends on its id alone: it does not change as more events come, and all
pictures of the event, which look alike, stay together.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.contract.names import CLASSES, PLACED_LISTS, SOURCE_IDS
from vision_event_block.server.page.exports.picture_names import safe_name
from vision_event_block.server.page.story import offset_of
from vision_event_block.server.pictures.formats import FORMATS
from vision_event_block.server.store.timestamps import iso_milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from typing_extensions import Self

    from vision_event_block.server.pictures.formats import Appearance
    from vision_event_block.server.store.records import StoredPicture

SPLITS: Final = ("train", "valid", "test")
#: In per cent, in the order of SPLITS.
DEFAULT_SHARES: Final = (70, 20, 10)
#: The media types that tools for training can read.
TRAINABLE: Final = ("image/jpeg", "image/png", "image/webp", "image/tiff", "image/bmp")

ENDINGS: Final = tuple(FORMATS[each][0] for each in TRAINABLE)

#: Why an image is not part of a data set.
NO_INPUT: Final = "without an input picture; an output picture may have been drawn on"
NOT_LOOKED_AT: Final = "before or after the event, on which nothing was looked for"
ONLY_CLASSIFIED: Final = "classified as a whole, without boxes"
NOT_HERE: Final = "no longer there"
NOT_TRAINABLE: Final = "in a format that tools for training do not read"

#: Joints of one class. More are not a skeleton but a mistake, and would fill every annotation.
MAX_JOINTS: Final = 512
#: For each split; larger ones go to disk.
_IN_MEMORY_BYTES: Final = 256 * 1024
_PLAIN_ID: Final = re.compile(r"[0-9a-z-]{1,64}")
_HASH_BITS: Final = 64


@dataclass(frozen=True)
class Sample:
    """One image of an event, with a picture of known size."""

    #: In a data set, without its suffix until the picture's format is known.
    name: str
    width: int
    height: int
    event_id: str
    #: ISO 8601.
    captured: str
    #: The latest verdict about the event.
    feedback: str | None
    image: Mapping[str, Any]
    split: str = ""

    @property
    def objects(self) -> list[Mapping[str, Any]]:
        """All annotations that have a position, from all lists."""
        return [entry for key in PLACED_LISTS for entry in self.image.get(key) or ()]


@dataclass(frozen=True)
class Candidate:
    """An image of an event that belongs in a data set if its picture is available."""

    picture_id: str
    #: Still without the picture's size and suffix.
    sample: Sample

    def with_picture(self, picture: StoredPicture | Appearance) -> Sample | None:
        """The sample; None if tools for training do not read such a picture."""
        if picture.media_type not in TRAINABLE or not (picture.width and picture.height):
            return None
        name = f"{self.sample.name}.{FORMATS[picture.media_type][0]}"
        return replace(self.sample, name=name, width=picture.width, height=picture.height)


class Samples:
    """Samples by split, each split in the order in which they were added."""

    def __init__(self) -> None:
        self._files: dict[str, SpooledTemporaryFile[bytes]] = {}
        self._classes: set[str] = set()
        self._joints: dict[str, dict[Any, None]] = {}
        #: The number of samples by split.
        self.counts: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def add(self, sample: Sample) -> Sample:
        for entry in sample.objects:
            name = class_of(entry)
            self._classes.add(name)
            for point in entry.get("keypoints") or ():
                joints = self._joints.setdefault(name, {})
                if len(joints) < MAX_JOINTS:
                    joints.setdefault(point["id"])
        if sample.split not in self._files:
            made = SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 -- closed above
            self._files[sample.split] = made
        self.counts[sample.split] += 1
        self._files[sample.split].write(json.dumps(sample.__dict__).encode() + b"\n")
        return sample

    def of(self, split: str) -> Iterator[Sample]:
        """The samples of a split, from the first on. Not for two iterations at the same time."""
        file = self._files.get(split)
        if file is not None:
            file.seek(0)
            for line in file:
                yield Sample(**json.loads(line))

    def __iter__(self) -> Iterator[Sample]:
        return chain.from_iterable(map(self.of, sorted(self._files)))

    @property
    def classes(self) -> list[str]:
        """Sorted by name, whatever the order of the events."""
        return sorted(self._classes)

    def places(self, name: str) -> dict[Any, int]:
        """The position of each joint of a class: its id if all ids are small numbers, or its rank.

        Ranks follow the sorted ids, so that they do not depend on the order of the events.
        """
        found = self._joints.get(name, {})
        if all(isinstance(each, int) and 0 <= each < MAX_JOINTS for each in found):
            return {number: number for number in range(max(found, default=-1) + 1)}
        ranked = sorted(found, key=lambda joint: (isinstance(joint, str), joint))
        return {joint: place for place, joint in enumerate(ranked)}


@dataclass(frozen=True)
class Candidates:
    """Which images of an event belong in a data set, and in which split.

    Only input pictures do: the workflow may have drawn its boxes on an output picture.
    """

    shares: tuple[int, int, int] = DEFAULT_SHARES
    #: Uses the output picture of an image that has no input picture.
    with_outputs: bool = False
    left_out: Counter[str] = field(default_factory=Counter)

    def of(
        self, event_id: str, moment: datetime, body: Mapping[str, Any], feedback: str | None
    ) -> Iterator[Candidate]:
        """The candidates of one event; counts the images that are left out."""
        for position, image in enumerate(body.get("images") or ()):
            picture_id = image.get(SOURCE_IDS.input)
            if not picture_id and self.with_outputs:
                picture_id = image.get(SOURCE_IDS.output)
            if why := _unfit(image, picture_id):
                self.left_out[why] += 1
                continue
            sample = Sample(
                name=f"{moment:%Y%m%dT%H%M%S}Z_{_file_part(event_id)}_{position}",
                width=0,
                height=0,
                event_id=event_id,
                captured=iso_milliseconds(moment),
                feedback=feedback,
                image=image,
                split=split_of(event_id, self.shares),
            )
            yield Candidate(picture_id, sample)


def split_of(event_id: str, shares: tuple[int, int, int] = DEFAULT_SHARES) -> str:
    """The split of an event, from a hash of its id.

    >>> split_of("5b0a3a52-6d2f-4f0e-9a3b-0c0f6f6d1e77")
    'train'
    """
    digest = hashlib.sha256(event_id.encode("utf-8", "surrogatepass")).digest()
    place = int.from_bytes(digest[: _HASH_BITS // 8], "big") * sum(shares) >> _HASH_BITS
    return SPLITS[0 if place < shares[0] else 1 if place < shares[0] + shares[1] else 2]


def class_of(entry: Mapping[str, Any]) -> str:
    return str(entry.get("class") or "unknown")


def _unfit(image: Mapping[str, Any], picture_id: str | None) -> str | None:
    """Why an image is unfit for training; None if it is fit."""
    is_empty = not any(image.get(key) for key in PLACED_LISTS)
    if is_empty and image.get(CLASSES):
        return ONLY_CLASSIFIED
    if is_empty and offset_of(image.get("label")) is not None:
        return NOT_LOOKED_AT
    return None if picture_id else NO_INPUT


def _file_part(event_id: str) -> str:
    """The id as part of a file's name, different for different ids on any file system."""
    if _PLAIN_ID.fullmatch(event_id):
        return event_id
    digest = hashlib.sha256(event_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{safe_name(event_id)[:48]}-{digest[:12]}"
