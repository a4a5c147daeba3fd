"""Faults that make an event or a picture impossible to send, found before anything is sent."""

from __future__ import annotations


class UnfitEvent(ValueError):  # noqa: N818 - named for what it is
    """The API would reject this event as it is; the message says what to change."""


class UnfitPicture(ValueError):  # noqa: N818 - named for what it is
    """This picture cannot be encoded; the event goes without it."""
