"""Pictures are encoded by whoever asks and by two threads, in order, and a bad one alone fails."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from tests.waiting import TIMEOUT_S
from vision_event_block.delivery import encoder
from vision_event_block.events.encoding import jpeg_facts
from vision_event_block.events.errors import UnfitPicture
from vision_event_block.events.images import Snapshot


def picture(width_px):
    return Snapshot(pixels=np.zeros((10, width_px, 3), np.uint8), quality=90)


@pytest.mark.parametrize("encode", [encoder.encode_together, encoder.encode_in_turn])
def test_pictures_come_back_in_order_and_a_bad_one_in_its_place_with_the_reason(encode):
    no_picture = Snapshot(pixels=np.zeros((10, 10, 7), np.uint8), quality=90)
    unencodable = Snapshot(pixels=np.zeros((4, 4, 3), "U1"), quality=90)
    first, bad, odd, last = encode([picture(20), no_picture, unencodable, picture(30)])
    assert [jpeg_facts(it.content).width_px for it in (first, last)] == [20, 30]
    assert isinstance(bad, UnfitPicture)
    assert "7" in str(bad)
    assert isinstance(odd, UnfitPicture)
    assert str(odd)


@pytest.mark.parametrize("encode", [encoder.encode_together, encoder.encode_in_turn])
def test_no_pictures_are_no_work(encode):
    assert encode([]) == []


def test_two_threads_work_and_their_result_is_waited_for():
    both = threading.Barrier(2, timeout=TIMEOUT_S)

    def work(number):
        both.wait()
        return number, threading.current_thread().name

    results = [encoder.run_soon(work, number) for number in range(2)]
    (one, first), (two, second) = (it.result() for it in results)
    assert (one, two) == (0, 1)
    assert first != second
    assert {first[:-1], second[:-1]} == {"vision-event-encoder_"}


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="there is one processor, or nobody may choose it",
)
def test_work_begins_on_another_processor_than_the_callers_and_may_go_on_anywhere():
    this_processor = ctypes.CDLL(None).sched_getcpu
    allowed = os.sched_getaffinity(0)

    def where():
        return this_processor(), os.sched_getaffinity(0)

    def from_each_processor(begun):
        for number in sorted(allowed) * 20:
            os.sched_setaffinity(0, {number})
            begun.append((number, *encoder.run_soon(where).result(TIMEOUT_S)))

    encoder.run_soon(where).result(TIMEOUT_S)
    begun = []
    caller = threading.Thread(target=from_each_processor, args=[begun])
    caller.start()
    caller.join(TIMEOUT_S)

    assert len(begun) == 20 * len(allowed)
    assert all(may_run_on == allowed for *_, may_run_on in begun)
    # The kernel may have moved some of them by the time that they look; of unbound ones, half stay.
    assert sum(here == there for here, there, _ in begun) < len(begun) / 4


def test_a_forked_child_makes_threads_of_its_own():
    encoder.run_soon(int).result()
    child = os.fork()
    if child == 0:
        os._exit(7 if encoder.run_soon(lambda: 7).result() == 7 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_process_that_is_ending_still_encodes():
    program = (
        "import atexit\n"
        "from vision_event_block.delivery import encoder\n"
        "atexit.register(lambda: print(encoder.run_soon(lambda: 'done').result()))\n"
        "encoder.run_soon(int).result()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert ended.stdout == "done\n", ended.stderr
