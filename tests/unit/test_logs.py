"""The log is told once per kind and minute."""

from __future__ import annotations

import logging
import os
import signal

import pytest

from vision_event_block.logs import MAX_KINDS, QuietLog


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def log(clock):
    return QuietLog(logging.getLogger("quiet"), period_s=60.0, clock=clock)


def test_a_kind_is_said_once_a_minute_and_then_with_its_repeats(log, clock, caplog):
    for _ in range(30):
        log.say(logging.WARNING, "cut", "list cut")
    clock.now_s += 61
    log.say(logging.WARNING, "cut", "list cut")
    clock.now_s += 61
    log.say(logging.WARNING, "cut", "list cut")

    assert caplog.messages == ["list cut", "list cut (and 29 more like it before)", "list cut"]


def test_kinds_do_not_hide_each_other(log, caplog):
    log.say(logging.WARNING, "cut", "list cut")
    log.say(logging.ERROR, ("key", 401), "key refused")

    assert [(r.levelname, r.message) for r in caplog.records] == [
        ("WARNING", "list cut"),
        ("ERROR", "key refused"),
    ]


def test_its_memory_is_bounded(log, caplog):
    for number in range(MAX_KINDS + 50):
        log.say(logging.WARNING, number, "x")

    assert len(log._memory().said) == MAX_KINDS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_may_log_whatever_its_parent_was_doing(log):
    with log._memory().lock:  # as if another thread were logging right now
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends a child that hangs
            signal.alarm(10)
            try:
                log.say(logging.WARNING, "child", "said")
                os._exit(0)
            finally:
                os._exit(1)

    assert os.waitpid(child, 0)[1] == 0


def test_what_comes_from_elsewhere_forges_no_line_and_speaks_to_no_terminal(log, caplog):
    log.say(logging.ERROR, "x", "refused: \x1b[2Jno\nERROR all is well; http://me:s3cret@box/v1")

    assert caplog.messages == ["refused: \\x1b[2Jno\\nERROR all is well; http://***@box/v1"]
