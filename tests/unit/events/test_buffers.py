"""Memory that is used again never shows in two pictures at once."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

from vision_event_block.events.buffers import MAX_IDLE, MAX_IDLE_BYTES, Buffers


def picture(value, shape=(40, 60, 3), dtype=np.uint8):
    return np.full(shape, value, dtype)


@pytest.mark.parametrize(
    "pixels",
    [
        picture(7),
        picture(7, (40, 60)),
        picture(60_000, (4, 5), np.uint16),
        picture(0.5, (4, 5, 3), np.float32),
        picture(7, (40, 60, 3))[::2, ::-1],
        picture(7, (0, 60, 3)),
    ],
    ids=["colour", "gray", "16 bits", "floats", "a view with steps", "empty"],
)
def test_a_copy_is_the_same_and_independent(pixels):
    copied = Buffers().copy(pixels)

    assert copied.dtype == pixels.dtype
    assert np.array_equal(copied, pixels)
    before = copied.copy()
    pixels[...] = 1
    assert np.array_equal(copied, before)


def test_the_memory_of_a_copy_that_nobody_holds_is_used_again():
    buffers = Buffers()
    first = buffers.copy(picture(1))
    address = first.ctypes.data
    del first

    second = buffers.copy(picture(2))

    assert second.ctypes.data == address
    assert (second == 2).all()


def test_the_memory_of_a_copy_in_use_is_left_alone():
    buffers = Buffers()
    kept = [buffers.copy(picture(value)) for value in range(10)]

    assert [set(np.unique(copied)) for copied in kept] == [{value} for value in range(10)]


def test_a_small_picture_does_not_take_the_memory_of_a_large_one():
    buffers = Buffers()
    buffers.copy(picture(1, (400, 600, 3)))

    assert buffers.copy(picture(1, (4, 6, 3))).base.nbytes == 72
    assert buffers.idle_bytes >= 400 * 600 * 3


def test_little_is_kept_idle():
    buffers = Buffers()
    many = [buffers.copy(picture(1)) for _ in range(20)]
    del many
    assert buffers.idle_bytes == MAX_IDLE * picture(1).nbytes

    large = [buffers.copy(picture(1, (30 * 2**20,))) for _ in range(4)]
    del large
    gc.collect()
    assert buffers.idle_bytes <= MAX_IDLE_BYTES


def test_threads_never_get_the_same_memory():
    buffers, wrong = Buffers(), []

    def work(value):
        for _ in range(300):
            copied = buffers.copy(picture(value, (20, 20, 3)))
            if not (copied == value).all():
                wrong.append(value)

    crowd = [threading.Thread(target=work, args=(value,)) for value in range(8)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()

    assert wrong == []
