"""What to do when an optional part of this package is missing."""

from __future__ import annotations


def how_to_add(extra: str) -> str:
    """The end of a message: true for a checkout, for a wheel and for a name on an index."""
    return (
        f"install vision-event-block again, with [{extra}] after its path or name: README, Install"
    )
