"""Bodies of requests to the API: an event, and the archive of a bundle."""

from __future__ import annotations

import io
import tarfile
import uuid
from datetime import datetime, timezone


def event(**changes):
    return {
        "eventId": str(uuid.uuid4()),
        "eventType": "quality_check",
        "useCaseId": "line-4",
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "eventData": {"result": "pass"},
        **changes,
    }


def tar(members, *, mode="w"):
    """A tar of contents by name; a `TarInfo` stands for a member without content."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return file.getvalue()
