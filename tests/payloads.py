"""Whether the API would take an event's payload as it is."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from vision_event_block.server.api.ingest import ingest


def assert_within_limits(payload, *, now=None):
    """Fails unless the local server takes this body of `POST /vision-events` without a warning."""
    text = json.dumps(payload, allow_nan=False, ensure_ascii=False)
    assert json.loads(text.encode("utf-8")) == payload
    ingested = ingest(json.loads(text), now=now or datetime.now(timezone.utc))
    assert not ingested.event.warnings
    assert not ingested.deprecations
    assert ingested.event.body == {"eventData": {}, **payload}
