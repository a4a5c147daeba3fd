"""Memory that runs out at one line, for tests of what is then left half done."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import vision_event_block
from tests.faults.injection import needs_memory

PACKAGE = Path(vision_event_block.__file__).parent


class OutOfMemory:
    """Raises a MemoryError at the n-th line that needs memory, once, in some of our modules.

    As a context manager it does so in this thread; `threading.settrace` takes it for others.
    """

    def __init__(self, number, modules):
        self._left = number
        self._files = {str(PACKAGE / module) for module in modules}
        self._lock = threading.Lock()
        #: Where it was; None as long as so many lines were not come to.
        self.place = None

    def __enter__(self):
        sys.settrace(self)
        return self

    def __exit__(self, *_):
        sys.settrace(None)

    def __call__(self, frame, event, _argument):
        if frame.f_code.co_filename not in self._files:
            return None
        if event == "line" and needs_memory(frame.f_code, frame.f_lasti):
            with self._lock:
                self._left -= 1
                is_now = self._left == 0
            if is_now:
                self.place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                raise MemoryError
        return self


def each_line(modules, do, most=2000):
    """Does something again and again, each time with a fault at the next line, until none is left.

    Gives for each time the place, and whether it raised.
    """
    for number in range(1, most):
        raised = False
        with OutOfMemory(number, modules) as fault:
            try:
                do()
            except MemoryError:
                raised = True
        yield fault.place, raised
        if fault.place is None:
            return
    raise AssertionError("there is always one more line")
