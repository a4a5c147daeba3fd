"""Vision Event: a Roboflow Workflows block that puts what a camera saw on record.

The host finds the block through `load_blocks`. Importing this package imports no host: the
engine freezes its settings with its first import, so that must happen in the host's own order.
"""

from __future__ import annotations

__version__ = "0.1.0.dev0"
