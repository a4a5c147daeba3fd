"""The host's pictures as snapshots and as places within their root picture."""

from __future__ import annotations

import logging
import sys
from typing import Any, TypeAlias

from vision_event_block.convert.placement import PictureFrame
from vision_event_block.events.encoding import decode_base64, resize_factor
from vision_event_block.events.errors import UnfitPicture
from vision_event_block.events.images import Picture, Snapshot
from vision_event_block.logs import QuietLog

_log = QuietLog(logging.getLogger(__name__))

#: How a JPEG in base64 begins, with and without the prefix of a data URL.
JPEG_IN_BASE64 = ("/9j/", "data:image/jpeg", "data:image/jpg")
#: How the host extends a camera's id for a part of its picture.
_CROP_OF_CAMERA = " | crop: "

#: The host's `WorkflowImageData`, which is in one of two packages, depending on the host's version.
HostImage: TypeAlias = Any


def snapshot(image: HostImage, *, quality: int, max_side_px: int | None) -> Picture | Snapshot:
    """The picture as it is now, not copied; if its device can encode it, as JPEG bytes.

    Once this run is over, other steps may draw into the very array that the host hands out.

    Raises:
        UnfitPicture: the host itself cannot read it.
    """
    # The bytes that the picture came as, if the host still has them. Reading the property
    # `base64_image` instead would make it encode one.
    text = getattr(image, "_base64_image", None)
    original = None
    if isinstance(text, str) and text.startswith(JPEG_IN_BASE64):
        original = decode_base64(text)
    tensor = _pixels_on_device(image)
    if tensor is not None and original is None:
        encoded = _encoded_on_device(tensor, quality=quality, max_side_px=max_side_px)
        if encoded is not None:
            return encoded
    pixels = image.numpy_image
    if pixels is None:
        raise UnfitPicture("the host found no picture in it")
    return Snapshot(
        pixels=pixels,
        quality=quality,
        max_side_px=max_side_px,
        original=original,
    )


def _pixels_on_device(image: HostImage) -> Any:
    """The tensor (3, h, w) of RGB on a GPU that holds the picture; None if it is here already."""
    tensor = getattr(image, "_tensor_image", None)
    if tensor is None or getattr(image, "_numpy_image", None) is not None:
        return None
    return tensor if tensor.is_cuda and tensor.ndim == 3 and tensor.shape[0] == 3 else None  # noqa: PLR2004 - as above


def _encoded_on_device(tensor: Any, *, quality: int, max_side_px: int | None) -> Picture | None:
    """The picture encoded there, so that only its bytes are copied; None where that fails."""
    height, width = tensor.shape[1:]
    # A host that hands out tensors has imported torch.
    encode = getattr(sys.modules.get("torchvision.io"), "encode_jpeg", None)
    if encode is None or resize_factor(int(width), int(height), max_side_px) != 1.0:
        return None
    try:
        return Picture(content=encode(tensor, quality=quality).cpu().numpy().tobytes())
    except Exception as error:  # noqa: BLE001 - this torchvision, driver or device cannot
        _log.say(
            logging.INFO,
            ("device", type(error)),
            f"pictures are copied from the device before they are encoded: {error}",
        )
        return None


def is_picture(value: Any) -> bool:
    """Whether this is one of the host's pictures: a wildcard wire can bring anything."""
    return hasattr(type(value), "numpy_image")


def root_id_of(image: HostImage) -> str:
    """What tells the pictures of a batch apart, and is the same for all crops of a picture."""
    try:
        return str(image.workflow_root_ancestor_metadata.parent_id)
    except Exception:  # noqa: BLE001 - the host decodes the picture for this, and may fail to
        return ""


def frame_of(image: HostImage) -> PictureFrame:
    """Where the picture lies within its root picture."""
    tensor = _pixels_on_device(image)
    height, width = image.numpy_image.shape[:2] if tensor is None else tensor.shape[1:]
    origin = image.workflow_root_ancestor_metadata.origin_coordinates
    return PictureFrame(
        width_px=int(width),
        height_px=int(height),
        picture_id=str(image.parent_metadata.parent_id),
        root_id=root_id_of(image),
        root_left_px=float(origin.left_top_x),
        root_top_px=float(origin.left_top_y),
        root_size_px=(int(origin.origin_width), int(origin.origin_height)),
    )


def camera_of(image: HostImage) -> str | None:
    """The video source's id; None for a still, for which the host would invent one."""
    metadata = getattr(image, "_video_metadata", None)
    return None if metadata is None else str(metadata.video_identifier)


def live_frame_time(image: HostImage) -> Any:
    """When a live camera took the frame; None for stills and for recorded video."""
    metadata = getattr(image, "_video_metadata", None)
    if metadata is None or getattr(metadata, "comes_from_video_file", None):
        return None
    return metadata.frame_timestamp


def video_time_s(image: HostImage) -> float | None:
    """The frame's position in its video file, in seconds; None if it is not from a file."""
    metadata = getattr(image, "_video_metadata", None)
    if metadata is None or not getattr(metadata, "comes_from_video_file", None):
        return None
    try:
        return float(metadata.frame_number / metadata.fps)
    except (TypeError, ZeroDivisionError):  # a container that does not say how fast it is
        return _seconds_of(metadata.frame_timestamp)


def frame_time_s(image: HostImage) -> float | None:
    """The frame's own clock, in seconds from any starting point; None for a still."""
    metadata = getattr(image, "_video_metadata", None)
    if metadata is None:
        return None
    in_file_s = video_time_s(image)
    return _seconds_of(metadata.frame_timestamp) if in_file_s is None else in_file_s


def frame_identity(image: HostImage) -> str | None:
    """What identifies a video frame, and its crops that are still video, to all steps; or None."""
    metadata = getattr(image, "_video_metadata", None)
    if metadata is None:
        return None
    return f"{camera_of(image)}".partition(_CROP_OF_CAMERA)[0] + f" {metadata.frame_number}"


def is_of_its_own(image: HostImage) -> bool:
    """Whether the picture is a crop, neither a frame nor whole, so that none came before it."""
    if getattr(image, "_video_metadata", None) is not None:
        return False
    return str(image.parent_metadata.parent_id) != root_id_of(image)


def _seconds_of(moment: Any) -> float | None:
    try:
        return float(moment.timestamp())
    except (AttributeError, OverflowError, OSError, ValueError):
        return None
