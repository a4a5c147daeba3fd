"""What kind of file system a folder is on."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_MOUNT_POINT: Final = 4


def file_system(folder: Path, table: Path = Path("/proc/self/mountinfo")) -> str | None:
    """The kind of file system that a folder is on, None where that cannot be determined."""
    try:
        lines = table.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return None
    folder, found, kind = folder.resolve(), Path(), None
    for line in lines:
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if not dash or len(fields) <= _MOUNT_POINT:
            continue
        point = Path(fields[_MOUNT_POINT].replace("\\040", " "))
        # Of two mounts at one place, the later covers the earlier.
        is_above = point == folder or point in folder.parents
        if is_above and len(point.parts) >= len(found.parts):
            found, kind = point, after.split(" ")[0]
    return kind
