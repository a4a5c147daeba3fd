"""What a process has once."""

from __future__ import annotations

import gc
import os
import threading
import weakref

import pytest

from vision_event_block.process import OnePerProcess


def test_it_is_made_once_and_when_it_is_first_asked_for():
    made = []
    one = OnePerProcess(lambda: made.append(1) or object())
    assert made == []

    with_threads = []
    threads = [threading.Thread(target=lambda: with_threads.append(one())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(map(id, with_threads))) == 1
    assert made == [1]


def test_what_could_not_be_made_is_tried_again():
    results = iter([OSError("once"), "made"])

    def make():
        result = next(results)
        if isinstance(result, OSError):
            raise result
        return result

    one = OnePerProcess(make)
    with pytest.raises(OSError, match="once"):
        one()
    assert one() == "made"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_makes_its_own_though_the_lock_was_held():
    abandoned = []
    one = OnePerProcess(object, abandon=abandoned.append)
    of_the_parent = one()
    with one._lock:
        child = os.fork()
        if child == 0:
            is_right = one() is not of_the_parent and abandoned == [of_the_parent]
            os._exit(0 if is_right else 1)

    assert os.waitpid(child, 0)[1] == 0
    assert one() is of_the_parent
    assert abandoned == []


def test_one_that_nobody_has_any_more_is_forgotten():
    one = weakref.ref(OnePerProcess(object))
    gc.collect()
    assert one() is None
