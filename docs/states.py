"""Draws the states of an event into architecture.md, from the table that the code uses."""

# ruff: noqa: INP001 -- a script

from __future__ import annotations

import re
from pathlib import Path

from vision_event_block.delivery.queued_event import diagram

PAGE = Path(__file__).with_name("architecture.md")
_PLACE = re.compile(r"(<!-- states -->\n).*?(<!-- /states -->)", re.DOTALL)


def with_diagram(page: str) -> str:
    """The page with the diagram in its place."""
    drawn = f"\n```mermaid\n{diagram()}\n```\n\n"
    return _PLACE.sub(lambda found: found[1] + drawn + found[2], page)


if __name__ == "__main__":
    PAGE.write_text(with_diagram(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
