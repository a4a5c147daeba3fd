"""The command `vision-events`."""

from __future__ import annotations

import sys

from vision_event_block import __version__


def main() -> None:
    if sys.argv[1:] == ["--version"]:  # for scripts: answered before anything is loaded
        sys.stdout.write(f"{__version__}\n")
        return
    from vision_event_block.cli.commands import run  # noqa: PLC0415 -- slow to import

    run()
