"""The real disk, on which operations fail that a test names."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from vision_event_block.outbox.disk import RealDisk

OPERATIONS = (
    "make_folder",
    "is_folder",
    "write",
    "append",
    "read",
    "read_head",
    "rename",
    "remove",
    "remove_folder",
    "sync_folder",
    "names",
    "size_bytes",
    "free_bytes",
    "lock",
)


@dataclass
class Fault:
    operation: str
    word: str
    error: Exception
    times: float
    is_done: bool


class FaultyDisk(RealDisk):
    """Fails as told, and calls whoever wants to act in the middle of an operation."""

    def __init__(self):
        self.faults = []
        #: Called before an operation, with its name and its paths.
        self.before = lambda operation, paths: None

    def fail(self, operation, word="", number=errno.EIO, *, times=float("inf"), is_done=False):
        """Fails an operation on paths that hold the word; with `is_done` after carrying it out."""
        error = OSError(number, "refused")
        self.faults.append(Fault(operation, word, error, times, is_done))

    def heal(self):
        self.faults.clear()

    def due(self, operation, paths):
        for fault in self.faults:
            is_meant = any(fault.word in str(path) for path in paths)
            if fault.operation == operation and fault.times > 0 and is_meant:
                fault.times -= 1
                return fault
        return None


def _with_faults(operation):
    honest = getattr(RealDisk, operation)

    def call(self, *paths, **options):
        self.before(operation, paths)
        fault = self.due(operation, paths)
        if fault is None:
            return honest(self, *paths, **options)
        if fault.is_done:
            honest(self, *paths, **options)
        raise fault.error

    return call


for _operation in OPERATIONS:
    setattr(FaultyDisk, _operation, _with_faults(_operation))
