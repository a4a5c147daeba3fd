"""Every limit of the Vision Events API, in one table.

The block obeys these and a server checks them; no other module repeats a figure.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

EVENT_TYPES: Final = (
    "quality_check",
    "inventory_count",
    "safety_alert",
    "custom",
    "operator_feedback",
)
QC_RESULTS: Final = ("pass", "fail")
SEVERITIES: Final = ("low", "medium", "high")
FEEDBACKS: Final = ("correct", "incorrect", "inconclusive")

#: How old an event may be when it arrives, and how far in the future.
MAX_EVENT_AGE: Final = timedelta(days=365)
MAX_EVENT_LEAD: Final = timedelta(days=1)

MAX_USE_CASE_ID_CHARS: Final = 256
#: `deviceId`, `streamId` and `workflowId`.
MAX_CONTEXT_ID_CHARS: Final = 256
MAX_WORKFLOW_VERSION_CHARS: Final = 64

MAX_IMAGES: Final = 1000
#: `label` of an image. The API names no limit; this one is ours.
MAX_LABEL_CHARS: Final = 256
#: Entries in each annotation list of one image. One more empties all images of the event.
MAX_ANNOTATIONS: Final = 1000
#: Of any coordinate and size, positive or negative. The API names no limit; this one is ours: no
#: picture reaches it, and what draws such a number may run out of memory, or crash.
MAX_COORDINATE_PX: Final = 1_000_000
MIN_POLYGON_POINTS: Final = 3
MIN_KEYPOINTS: Final = 1

MAX_METADATA_KEYS: Final = 100
MAX_METADATA_KEY_CHARS: Final = 100
MAX_METADATA_VALUE_CHARS: Final = 1000
METADATA_DECIMALS: Final = 6
METADATA_KEY_PATTERN: Final = re.compile(r"[a-zA-Z0-9_ -]+")

#: `externalId`, `location` and `itemType`.
MAX_SHORT_TEXT_CHARS: Final = 1000
MAX_ALERT_TYPE_CHARS: Final = 256
ALERT_TYPE_PATTERN: Final = re.compile(r"[a-zA-Z0-9_-]+")
#: `description` of a safety alert and `value` of a custom event.
MAX_LONG_TEXT_CHARS: Final = 10_000
#: `comment` on operator feedback. The API names no limit; this one is ours.
MAX_COMMENT_CHARS: Final = 10_000

#: Beyond this a JSON reader with double floats changes the last digits, and the API calls a number
#: unsafe, whole or not.
MAX_EXACT_INTEGER: Final = 2**53 - 1

MAX_BATCH_EVENTS: Final = 100
#: Ids in one deletion.
MAX_DELETED_EVENTS: Final = 1_000
