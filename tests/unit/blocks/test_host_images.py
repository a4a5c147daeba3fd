"""Pictures whose pixels lie on another device; how they are encoded there only a GPU can show."""

from __future__ import annotations

import base64
import sys

import cv2
import numpy as np
import pytest

from tests.pictures import assert_shows
from vision_event_block.blocks import host_images
from vision_event_block.events.images import Picture, Snapshot

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision.io")


class OnDevice(torch.Tensor):
    """Says that it is on a GPU; torchvision still encodes it where it really is."""

    is_cuda = True


class HostPicture:
    """The host's picture, as far as it is read here; counts what is brought over."""

    def __init__(self, tensor, *, pixels=None, text=None):
        self._tensor_image = tensor
        self._numpy_image = pixels
        self._base64_image = text
        self.brought_over = 0
        self.parent_metadata = self.workflow_root_ancestor_metadata = self
        self.parent_id = "image"
        self.origin_coordinates = self
        self.left_top_x = self.left_top_y = 0
        self.origin_width, self.origin_height = 160, 120

    @property
    def numpy_image(self):
        if self._numpy_image is None:
            self.brought_over += 1
            pixels = self._tensor_image.as_subclass(torch.Tensor).permute(1, 2, 0).numpy()
            self._numpy_image = pixels[:, :, ::-1].astype(np.uint8)
        return self._numpy_image


@pytest.fixture
def photo():
    rows, columns = np.mgrid[0:120, 0:160]
    return np.stack([columns, rows * 2, 255 - columns], axis=2).astype(np.uint8)


def on_device(pixels, dtype=torch.uint8):
    """The tensor that the host makes of BGR pixels: RGB, colours first."""
    tensor = torch.from_numpy(pixels[:, :, ::-1].copy()).permute(2, 0, 1).to(dtype)
    return tensor.contiguous().as_subclass(OnDevice)


def snapshot(image, **changes):
    options = {"quality": 95, "max_side_px": None, **changes}
    return host_images.snapshot(image, **options)


def test_of_a_picture_on_a_gpu_only_the_bytes_travel(photo):
    image = HostPicture(on_device(photo))

    taken, frame = snapshot(image), host_images.frame_of(image)

    assert isinstance(taken, Picture)
    assert_shows(taken.content, photo)
    assert (frame.width_px, frame.height_px) == (160, 120)
    assert image.brought_over == 0


def test_the_quality_is_the_one_asked_for(photo):
    small, large = (snapshot(HostPicture(on_device(photo)), quality=q) for q in (30, 95))

    assert len(small.content) < len(large.content)


@pytest.mark.parametrize(
    ("dtype", "options"),
    [(torch.float32, {}), (torch.uint8, {"max_side_px": 80})],
    ids=["of a type that is not encoded", "to be made smaller"],
)
def test_what_the_device_does_not_do_is_brought_over_once(photo, dtype, options):
    image = HostPicture(on_device(photo, dtype))

    taken, frame = snapshot(image, **options), host_images.frame_of(image)

    assert isinstance(taken, Snapshot)
    np.testing.assert_array_equal(taken.pixels, photo)
    assert (frame.width_px, frame.height_px) == (160, 120)
    assert image.brought_over == 1


def test_a_host_without_an_encoder_for_tensors_is_served_all_the_same(photo, monkeypatch):
    monkeypatch.delitem(sys.modules, "torchvision.io")

    assert isinstance(snapshot(HostPicture(on_device(photo))), Snapshot)


def test_a_tensor_that_is_here_already_is_encoded_with_all_others(photo):
    image = HostPicture(on_device(photo).as_subclass(torch.Tensor))

    assert isinstance(snapshot(image), Snapshot)


def test_pixels_that_are_here_go_before_the_tensor_since_a_step_may_have_drawn_on_them(photo):
    drawn = cv2.circle(photo.copy(), (80, 60), 30, (0, 0, 255), -1)

    taken = snapshot(HostPicture(on_device(photo), pixels=drawn))

    assert_shows(taken.encode().content, drawn)


def test_the_bytes_that_a_picture_came_as_go_before_a_new_encoding(photo):
    came_as = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 70])[1].tobytes()
    decoded = cv2.imdecode(np.frombuffer(came_as, np.uint8), cv2.IMREAD_COLOR)
    text = base64.b64encode(came_as).decode()

    assert snapshot(HostPicture(on_device(decoded), text=text)).encode().content == came_as
