"""Faults of the operating system and of memory, put into one process at a place that has a name.

A fault hits the n-th time that a place in our code calls a function of the system, starts a
thread or comes to a line. Places are named by file and function, not by number: a fault that was
found once is found again. What other code does in the same process is left alone.
"""

from __future__ import annotations

import builtins
import dis
import errno
import fcntl
import io
import os
import re
import socket
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import vision_event_block

#: Whose calls fail.
ROOMS: Final = ("outbox/", "delivery/", "server/relay/", "cli/")
#: Whose lines fail.
LINE_ROOMS: Final = ("outbox/", "delivery/")
_PACKAGE: Final = f"{Path(vision_event_block.__file__).parent}{os.sep}"
#: Says how the system is called; why it was called stands in the frame above it.
_SEAM: Final = "outbox/disk.py"

THREAD: Final = "thread"
LINE: Final = "line"
ONCE: Final = "once"
LASTING: Final = "lasting"
#: The call is carried out and reported as failed.
DONE: Final = "done"
#: A write takes half of what it is given, and the next one fails.
SHORT: Final = "short"

#: What the interpreter does with what it has.
_FRUGAL: Final = (
    *("NOP", "RESUME", "CACHE", "COPY", "SWAP", "POP_", "JUMP", "RETURN", "RERAISE", "IS_OP"),
    *("PUSH_", "CHECK_", "LOAD_FAST", "LOAD_CONST", "LOAD_GLOBAL", "LOAD_DEREF", "STORE_FAST"),
)
#: How it finds what is named: a function, say, or one of a module's.
_NAMES: Final = ("LOAD_GLOBAL", "LOAD_ATTR", "LOAD_METHOD")

_ANY: Final = ("ENOSPC", "EIO", "EMFILE", "EACCES", "ESTALE")
_CHANGE: Final = ("ENOSPC", "EIO", "EACCES", "ESTALE")
_LOOK: Final = ("EIO", "EACCES", "ESTALE")
#: With which errors each function may fail.
CALLS: Final[dict[str, tuple[str, ...]]] = {
    "open": _ANY,
    "write": ("ENOSPC", "EIO", "ESTALE"),
    "close": ("EIO", "ENOSPC"),
    "fstat": ("EIO", "ESTALE"),
    "ftruncate": ("EIO",),
    "fdatasync": ("EIO", "ENOSPC"),
    "fsync": ("EIO", "ENOSPC", "EACCES"),
    "rename": _CHANGE,
    "replace": _CHANGE,
    "link": _CHANGE,
    "unlink": _CHANGE,
    "remove": _CHANGE,
    "mkdir": _CHANGE,
    "rmdir": _CHANGE,
    "listdir": ("EIO", "EMFILE", "EACCES", "ESTALE"),
    "scandir": ("EIO", "EMFILE", "EACCES", "ESTALE"),
    "stat": _LOOK,
    "lstat": _LOOK,
    "statvfs": _LOOK,
    "chmod": ("EACCES", "EIO"),
    "fchmod": ("EACCES", "EIO"),
    "chown": ("EACCES", "EIO"),
    "fchown": ("EACCES", "EIO"),
    "posix_fallocate": ("ENOSPC", "EIO"),
    "flock": ("EIO", "ENOLCK", "ESTALE"),
    "read": ("EIO", "ESTALE"),
    "socket": ("EMFILE",),
}
#: Those that change something, and may have done so when they fail.
_CHANGES: Final = frozenset(
    [
        "write",
        "fdatasync",
        "fsync",
        "rename",
        "replace",
        "link",
        "unlink",
        "remove",
        "mkdir",
        "rmdir",
        "close",
    ]
)


@dataclass(frozen=True)
class Fault:
    """What goes wrong, where and when."""

    call: str
    #: The file and the function, for a line with its number in that.
    site: str
    number: int
    error: str
    mode: str = ONCE

    def __str__(self) -> str:
        return f"{self.call}@{self.site}#{self.number}={self.error}/{self.mode}"

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read back."""
        found = re.fullmatch(r"(\w+)@(.+)#(\d+)=(\w+)/(\w+)", text)
        if found is None:
            raise ValueError(f"no fault: {text}")
        call, site, number, error, mode = found.groups()
        return cls(call, site, int(number), error, mode)


def faults_at(call: str, site: str, hits: int, *, most: int) -> list[Fault]:
    """Every fault of a place that was come to so often, at its first few times."""
    numbers = range(1, min(hits, most) + 1)
    if call == LINE:
        return [Fault(call, site, number, "MemoryError") for number in numbers]
    if call == THREAD:
        modes = (ONCE, LASTING)
        return [Fault(call, site, n, "RuntimeError", mode) for n in numbers for mode in modes]
    faults = []
    for number in numbers:
        for error in CALLS[call]:
            faults += [Fault(call, site, number, error, mode) for mode in (ONCE, LASTING)]
        if call in _CHANGES:
            faults.append(Fault(call, site, number, "EIO", DONE))
        if call == "write":
            faults.append(Fault(call, site, number, "ENOSPC", SHORT))
    return faults


class Injector:
    """Counts what our code asks of the system while it is armed, and lets one call fail."""

    def __init__(self, fault: Fault | None, *, traces_lines: bool) -> None:
        self._fault = fault
        self._traces_lines = traces_lines
        self._lock = threading.Lock()
        self._is_armed = False
        #: How often each place was come to.
        self.hits: Counter[tuple[str, str]] = Counter()
        self.has_fired = False

    def install(self) -> None:
        """For good: the process is not to be used for anything else."""
        for name in CALLS:
            if name not in ("read", "socket", "flock") and hasattr(os, name):
                setattr(os, name, self._failing(name, getattr(os, name)))
        fcntl.flock = self._failing("flock", fcntl.flock)
        socket.socket.__init__ = self._failing("socket", socket.socket.__init__)
        builtins.open = io.open = self._opening(io.open)
        starter = "_start_joinable_thread"
        if not hasattr(threading, starter):
            starter = "_start_new_thread"
        setattr(threading, starter, self._failing(THREAD, getattr(threading, starter)))
        if self._traces_lines:
            threading.settrace(self._enter)
            sys.settrace(self._enter)

    def arm(self) -> None:
        """From now on it counts and fails."""
        self._is_armed = True

    def disarm(self) -> None:
        """From now on all is well."""
        self._is_armed = False

    def _mode_now(self, call: str, site: str) -> str | None:
        """How the call that is made just now fails; None if it does not."""
        with self._lock:
            self.hits[call, site] += 1
            fault = self._fault
            if fault is None or fault.call != call:
                return None
            if fault.site == site and fault.number == self.hits[call, site]:
                self.has_fired = True
                return fault.mode
            lasts = fault.mode in (LASTING, SHORT) and self.has_fired
            return LASTING if lasts else None

    def _failing(self, call: str, real: Any) -> Any:
        def function(*arguments: Any, **options: Any) -> Any:
            site = _site() if self._is_armed else None
            mode = None if site is None else self._mode_now(call, site)
            if mode is None:
                return real(*arguments, **options)
            if mode == SHORT:
                descriptor, content = arguments
                return real(descriptor, content[: max(1, len(content) // 2)])
            if mode == DONE or call == "close":  # a descriptor is closed whatever close says
                real(*arguments, **options)
            raise self._error()

        return function

    def _opening(self, real: Any) -> Any:
        failing = self._failing("open", real)
        injector = self

        class Reader(io.BufferedReader):
            """Fails when it is read, not when it is opened."""

            def read(self, *arguments: Any) -> bytes:
                return injector._failing("read", super().read)(*arguments)

        def function(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            opened = failing(file, mode, *arguments, **options)
            if self._is_armed and mode == "rb" and isinstance(opened, io.BufferedReader):
                return Reader(opened.detach())
            return opened

        return function

    def _error(self) -> Exception:
        assert self._fault is not None
        if self._fault.call == THREAD:
            return RuntimeError("can't start new thread")
        number = getattr(errno, self._fault.error)
        return OSError(number, os.strerror(number))

    def _enter(self, frame: Any, event: str, _: Any) -> Any:
        return self._come_to if _line_place(frame.f_code) else None

    def _come_to(self, frame: Any, event: str, _: Any) -> Any:
        if event == "line" and self._is_armed and needs_memory(frame.f_code, frame.f_lasti):
            site = f"{_line_place(frame.f_code)}+{frame.f_lineno - frame.f_code.co_firstlineno}"
            if self._mode_now(LINE, site) is not None:
                raise MemoryError
        return self._come_to


def _site() -> str | None:
    """The place in our code that asks, None if somebody else does."""
    frame, seam = sys._getframe(2), None
    while frame is not None:
        name = frame.f_code.co_filename
        if "importlib" in name:
            return None  # a module is read when it is first needed
        if name.startswith(_PACKAGE):
            file = name.removeprefix(_PACKAGE)
            place = f"{file}:{frame.f_code.co_qualname}"
            if not file.startswith(ROOMS):
                return seam
            if file != _SEAM:
                return place
            seam = place
        frame = frame.f_back
    return seam


@cache
def _line_place(code: Any) -> str | None:
    if not code.co_filename.startswith(_PACKAGE) or code.co_name == "<module>":
        return None
    file = code.co_filename.removeprefix(_PACKAGE)
    return f"{file}:{code.co_qualname}" if file.startswith(LINE_ROOMS) else None


@cache
def needs_memory(code: Any, offset: int) -> bool:
    """Whether memory may run out in the line that begins here.

    A `try:` or a `return` does without, and so does closing a descriptor, which makes nothing. So
    does the end of a `with`, where the interpreter would take an exception for one that came after
    the block, and the lock would be held for ever.
    """
    line = _instructions(code, offset)
    names = [each.argval for each in line if each.opname.startswith(_NAMES)]
    if names and names == ["os", "close"] * (len(names) // 2):
        return False  # once for the way on, and once for an exception's
    constants = [each.opname == "LOAD_CONST" and each.argval is None for each in line[:6]]
    leaves_with = any(all(constants[start : start + 3]) for start in range(3) if constants[start:])
    leaves_with |= any(each.opname == "WITH_EXCEPT_START" for each in line[:2])
    return not leaves_with and any(not each.opname.startswith(_FRUGAL) for each in line)


def _instructions(code: Any, offset: int) -> list[dis.Instruction]:
    """Those of the line, as far as they lie together."""
    starts = [start for start, _ in dis.findlinestarts(code) if start > offset]
    ends_at = min(starts, default=len(code.co_code))
    return [each for each in dis.get_instructions(code) if offset <= each.offset < ends_at]
