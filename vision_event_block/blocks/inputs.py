"""What the engine hands to `run()`, read once into types.

A workflow can connect any value to any field. A value that cannot be used is left out or replaced
by its default, and named as an adjustment: the rest of the event is still worth recording. What
decides whether the API takes the event at all (type, use case, time, data) is kept as given for
`build_event` to judge: a frame that the cooldown holds back is not judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vision_event_block.blocks.host_images import HostImage, is_picture
from vision_event_block.contract import limits
from vision_event_block.events.adjustments import Adjustment
from vision_event_block.events.encoding import MAX_JPEG_SIDE_PX
from vision_event_block.events.errors import UnfitEvent
from vision_event_block.events.event_data import DATA_FIELDS
from vision_event_block.events.values import as_text
from vision_event_block.story.ring import DEFAULT_FPS, DEFAULT_SIDE_PX

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

#: The safer one first.
DURABILITIES: Final = ("disk", "memory")

#: What `display_image` calls the workflow's own pictures, the default first.
MAIN_PICTURES: Final = ("output", "input")
#: In addition to the workflow's own, which take two entries if the input is on display.
MAX_EXTRA_IMAGES: Final = limits.MAX_IMAGES - 2
DEFAULT_COOLDOWN_S: Final = 1.0
#: Before and after an event, each.
MAX_STORY_S: Final = 60.0
MAX_STORY_FPS: Final = 10.0
MIN_STORY_SIDE_PX, MAX_STORY_SIDE_PX = 64, 1280

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class StoryOptions:
    """Which pictures from before and after an event it gets."""

    before_s: float = 0.0
    after_s: float = 0.0
    fps: float = DEFAULT_FPS
    side_px: int = DEFAULT_SIDE_PX

    @property
    def is_wanted(self) -> bool:
        return self.before_s > 0 or self.after_s > 0


_NO_STORY: Final = StoryOptions()


@dataclass(frozen=True, kw_only=True)
class EventInputs:
    """The fields that both blocks have."""

    # What is recorded.
    event_type: str
    use_case: str
    #: The values of `DATA_FIELDS`, as given.
    data: Mapping[str, Any]
    custom_metadata: Mapping[Any, Any]
    image_metadata: Mapping[Any, Any]
    #: Each is empty if it was not given.
    device_id: str
    stream_id: str
    workflow_id: str
    workflow_version: str
    #: As given.
    timestamp: Any

    # How it is recorded.
    occluded_below: float | None
    jpeg_quality: int | None
    max_image_side_px: int | None
    story: StoryOptions

    # Whether, and how far the workflow waits for it.
    is_disabled: bool
    #: Distinguishes this step from steps of the same name in other workflows.
    step_fingerprint: str
    waits_for_api: bool
    #: One of `DURABILITIES`.
    durability: str

    # Where it goes.
    write_to_event_store: bool
    event_store_url: str

    #: What was left out or replaced while reading.
    adjustments: tuple[Adjustment, ...]

    @property
    def is_stored_first(self) -> bool:
        """Whether the event is on disk before the workflow continues."""
        return self.waits_for_api or self.durability == "disk"

    @property
    def step(self) -> tuple[str, ...]:
        """What the events of a step have in common, whatever the frame."""
        return (self.step_fingerprint, self.use_case, self.event_type)


@dataclass(frozen=True, kw_only=True)
class Inputs(EventInputs):
    """The fields of one Vision Event step for one picture."""

    input_image: HostImage | None
    output_image: HostImage | None
    #: By label.
    extra_images: Mapping[Hashable, HostImage]
    #: On the input image, or on the output image if there is no input image.
    predictions: tuple[Any, ...]
    #: By the label of the extra image that they are on.
    extra_predictions: Mapping[Hashable, Any]
    display_image: str
    is_triggered: bool
    cooldown_s: float
    cooldown_key: str
    sample_percent: float

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Inputs:
        """Reads the inputs, given a value for each of the manifest's fields."""
        reader = FieldReader(values)
        return cls(
            **reader.shared(),
            input_image=reader.picture("input_image", values["input_image"]),
            output_image=reader.picture("output_image", values["output_image"]),
            extra_images=reader.extra_images(),
            predictions=(values["predictions"], *reader.more_predictions()),
            extra_predictions=reader.mapping("extra_predictions"),
            display_image=reader.text("display_image") or MAIN_PICTURES[0],
            is_triggered=is_on(values["trigger"]),
            cooldown_s=reader.seconds("cooldown_seconds", DEFAULT_COOLDOWN_S),
            cooldown_key=reader.text("cooldown_key"),
            sample_percent=reader.default_if_unfit("sample_percent", sample_percent, 100.0),
            adjustments=tuple(reader.adjustments),
        )

    @property
    def frame(self) -> HostImage | None:
        """The picture as the camera saw it, as far as it is connected."""
        return self.output_image if self.input_image is None else self.input_image

    def without_pictures(self) -> Inputs:
        """What is needed to record an event again under its id: where it goes, and how."""
        return replace(
            self,
            input_image=None,
            output_image=None,
            extra_images={},
            predictions=(),
            extra_predictions={},
            waits_for_api=False,
        )

    def images(self) -> list[HostImage]:
        """All connected pictures, the workflow's own first."""
        own = (self.input_image, self.output_image)
        return [image for image in (*own, *self.extra_images.values()) if image is not None]


class FieldReader:
    """Reads field by field and notes what could not be used."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self.adjustments: list[Adjustment] = []

    def shared(self) -> dict[str, Any]:
        """The fields of `EventInputs`, except for the adjustments."""
        values = self._values
        return {
            "event_type": as_text(values["event_type"]),
            "use_case": self.text("use_case"),
            "max_image_side_px": self.checked("max_image_side", max_image_side),
            "jpeg_quality": self.checked("jpeg_quality", jpeg_quality),
            "occluded_below": self.checked("occluded_below", share),
            "story": self.story(),
            "custom_metadata": self.mapping("custom_metadata"),
            "image_metadata": self.mapping("image_metadata"),
            "data": {name: values[name] for name in DATA_FIELDS},
            "device_id": self.text("device_id"),
            "stream_id": self.text("stream_id"),
            "workflow_id": self.text("workflow_id"),
            "workflow_version": self.text("workflow_version"),
            "timestamp": values["timestamp"],
            "is_disabled": is_on(values["disable_sink"]),
            "step_fingerprint": self.text("step_fingerprint"),
            "waits_for_api": not is_on(values["fire_and_forget"]),
            "durability": self.choice("durability", DURABILITIES),
            "write_to_event_store": is_on(values["write_to_event_store"]),
            "event_store_url": self.text("event_store_url").strip(),
        }

    def story(self) -> StoryOptions:
        values = self._values
        if not values["before_seconds"] and not values["after_seconds"]:
            return _NO_STORY
        after_s = self.default_if_unfit("after_seconds", story_seconds, 0.0)
        if after_s and is_on(values["write_to_event_store"]):
            why = "the event store would keep the replaced event as a separate one"
            self.adjustments.append(Adjustment("after_seconds", "taken as 0", why))
            after_s = 0.0
        return StoryOptions(
            self.default_if_unfit("before_seconds", story_seconds, 0.0),
            after_s,
            self.default_if_unfit("story_fps", story_fps, DEFAULT_FPS),
            self.default_if_unfit("story_side", story_side, DEFAULT_SIDE_PX),
        )

    def text(self, name: str) -> str:
        value = self._values[name]
        return "" if value is None else as_text(value)

    def mapping(self, name: str) -> Mapping[Any, Any]:
        value = self._values[name]
        if value is None or isinstance(value, Mapping):
            return value or {}
        self._leave_out(name, value, "must be keys and values")
        return {}

    def more_predictions(self) -> list[Any]:
        value = self._values["more_predictions"]
        if value is None or isinstance(value, list):
            return value or []
        self._leave_out("more_predictions", value, "must be a list")
        return []

    def picture(self, name: str, value: Any) -> HostImage | None:
        if value is None or is_picture(value):
            return value
        self._leave_out(name, value, "must be a picture of the host")
        return None

    def extra_images(self) -> dict[Hashable, HostImage]:
        given = self.mapping("extra_images")
        if len(given) > MAX_EXTRA_IMAGES:
            self.adjustments.append(
                Adjustment(
                    "extra_images",
                    f"the first {MAX_EXTRA_IMAGES} of {len(given)} kept",
                    f"the API takes at most {limits.MAX_IMAGES} images",
                )
            )
        read = {
            label: self.picture(f"extra_images.{label}", value)
            for label, value in list(given.items())[:MAX_EXTRA_IMAGES]
        }
        return {label: image for label, image in read.items() if image is not None}

    def checked(self, name: str, check: Callable[[Any], _Value]) -> _Value | None:
        """The value if it passes the check; else None, as if it were not given."""
        value = self._values[name]
        if value is None:
            return None
        try:
            return check(value)
        except UnfitEvent as error:
            self.adjustments.append(Adjustment(name, "taken as unset", str(error)))
            return None

    def default_if_unfit(
        self, name: str, check: Callable[[Any], _Value], default: _Value
    ) -> _Value:
        """The value if it passes the check; the default if none was given."""
        value = self._values[name]
        try:
            return default if value is None else check(value)
        except UnfitEvent as error:
            self.adjustments.append(Adjustment(name, f"taken as {default:g}", str(error)))
            return default

    def choice(self, name: str, options: Sequence[str]) -> str:
        """One of the options; the first, which is the default, for anything else."""
        value = self._values[name]
        text = as_text(value)
        if text in options:
            return text
        why = f"must be one of {', '.join(options)}, not {value!r}"
        self.adjustments.append(Adjustment(name, f"taken as {options[0]}", why))
        return options[0]

    def seconds(self, name: str, default_s: float) -> float:
        """A time that is not negative; the default if the value is not a number."""
        value = self._values[name]
        period_s = _number(value)
        if math.isfinite(period_s):
            return max(0.0, period_s)
        what = f"taken as {default_s:g}"
        self.adjustments.append(Adjustment(name, what, f"{value!r} is not a number"))
        return default_s

    def _leave_out(self, name: str, value: Any, rule: str) -> None:
        self.adjustments.append(Adjustment(name, f"a {type(value).__name__} left out", rule))


def is_on(value: Any) -> bool:
    """A switch; text counts as what it says.

    >>> is_on("off"), is_on("yes"), is_on(1)
    (False, True, True)
    """
    if isinstance(value, str):
        return value.strip().lower() not in ("", "0", "false", "no", "off")
    return bool(value)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _number_between(value: Any, *, name: str, least: float, most: float) -> float:
    number = _number(value)
    if not least <= number <= most:
        raise UnfitEvent(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")
    return number


def whole_number(value: Any, *, name: str, least: int, most: int) -> int:
    """The number; raises UnfitEvent for anything else."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or number != value or not least <= number <= most:
        raise UnfitEvent(f"{name} must be a whole number from {least} to {most}, not {value!r}")
    return number


def story_fps(value: Any) -> float:
    if _number(value) == 0:
        raise UnfitEvent("story_fps must be more than 0; set Seconds Before and After to 0 instead")
    return _number_between(value, name="story_fps", least=0, most=MAX_STORY_FPS)


# The checks of literals in a step, and of values as they arrive: each raises UnfitEvent.
jpeg_quality = partial(whole_number, name="jpeg_quality", least=1, most=100)
max_image_side = partial(whole_number, name="max_image_side", least=16, most=MAX_JPEG_SIDE_PX)
share = partial(_number_between, name="occluded_below", least=0, most=1)
sample_percent = partial(_number_between, name="sample_percent", least=0, most=100)
story_seconds = partial(
    _number_between, name="before_seconds and after_seconds", least=0, most=MAX_STORY_S
)
story_side = partial(
    whole_number, name="story_side", least=MIN_STORY_SIDE_PX, most=MAX_STORY_SIDE_PX
)
