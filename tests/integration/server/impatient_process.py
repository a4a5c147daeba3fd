"""The server of `vision-events serve` with less patience: what it waits for is over sooner.

python -m tests.integration.server.impatient_process --port 0 --data FOLDER
"""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from vision_event_block.server.app import Patience
from vision_event_block.server.http_server import serving
from vision_event_block.server.memory import give_back_memory
from vision_event_block.server.storage import Store

PATIENCE = Patience(place_s=2.0, export_place_s=1.0)
THUMBNAIL_CPU_S = 2


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int)
    options.add_argument("--data", type=Path)
    given = options.parse_args()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    give_back_memory()
    with (
        Store.open(given.data, max_thumbnail_cpu_s=THUMBNAIL_CPU_S) as store,
        serving(store, port=given.port, patience=PATIENCE) as url,
    ):
        print(url)  # noqa: T201 -- as the command does
        print("Ctrl-C stops it.", flush=True)  # noqa: T201 -- as above
        ended.wait()


if __name__ == "__main__":
    main()
