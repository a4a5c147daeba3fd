"""What this process has open."""

from __future__ import annotations

import os
from pathlib import Path


def open_in(folder):
    """The files below a folder that are open, also those that are removed.

    The number of all open files says nothing: what earlier tests left behind may go at any time.
    """
    paths = map(os.path.realpath, Path("/proc/self/fd").iterdir())
    return [path for path in paths if path.startswith(f"{folder}/")]
