"""Bundle archives that are written so that they last."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from vision_event_block.contract.names import PAYLOAD_NAME
from vision_event_block.events.bundle import encode_payload

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vision_event_block.outbox.disk import Disk


def is_safe(name: str) -> bool:
    """Whether a member's name stays below the place where it is unpacked, on any system."""
    path = PurePosixPath(name)
    is_below = not path.is_absolute() and ".." not in path.parts
    return bool(path.parts) and is_below and "\\" not in name and ":" not in name


def pack_archive(
    payload: Mapping[str, Any], pictures: Mapping[str, bytes], *, plain: bool
) -> bytes:
    """The same bytes for the same event, so that a second try can tell what is there already."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in {PAYLOAD_NAME: encode_payload(payload), **pictures}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o600
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue() if plain else gzip.compress(buffer.getvalue(), 6, mtime=0)


def publish(disk: Disk, path: Path, content: bytes) -> None:
    """Writes a new file so that it is there as a whole, also after the stick was pulled out.

    Raises:
        FileExistsError: another file is there; one of the same content counts as written.
        OSError: it cannot be written.
    """
    if path.exists():
        if path.read_bytes() == content:
            return
        raise FileExistsError(f"{path} is there already, with another content")
    hidden = path.with_name(f".{path.name}.tmp")
    try:
        disk.write(hidden, [content], sync=True)
        disk.rename(hidden, path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
    disk.sync_folder(path.parent)
