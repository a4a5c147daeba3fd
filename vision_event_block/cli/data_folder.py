"""The folder of the local server: where it is, and who may read it."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Optional

import platformdirs
import typer

from vision_event_block import settings
from vision_event_block.cli.options import fail, variable_names

if TYPE_CHECKING:
    from collections.abc import Iterator

_logger = logging.getLogger(__name__)

DataOption = Annotated[
    Optional[Path],  # noqa: UP045 -- the oldest typer knows no `|`
    typer.Option(
        help="Folder for events and pictures. [default: the user's data folder]",
        file_okay=False,
        show_default=False,
    ),
]
DatabaseOption = Annotated[
    Optional[str],  # noqa: UP045 -- as above
    typer.Option(
        envvar=variable_names(settings.DATABASE_URL),
        show_default=False,
        help="PostgreSQL database for the events, as postgresql://user:password@host/name. "
        "Pictures are not stored in it.",
    ),
]

#: What the server creates in its folder; it does not touch anything else in there.
_OURS: Final = ("vision-events.db*", "pictures", "thumbnails", "outbox")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def default_folder() -> Path:
    return Path(platformdirs.user_data_dir("vision-events", appauthor=False)) / "server"


def data_folder(given: Path | None, *, as_guest: bool = False) -> Path:
    """The folder, created if missing and closed to other users: it holds what cameras see.

    A folder that already exists keeps its permissions, with a warning if others may read it; the
    server's own files in it are closed. A folder that its group may write to stays open to that
    group. A guest command refuses to run as root when the server does not: the server could not
    use the files that it creates.
    """
    folder = (given or default_folder()).expanduser().absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    owners = {path.stat().st_uid for path in _ours(folder)} - {os.geteuid()}
    if as_guest and owners and os.geteuid() == 0:
        fail(f"The server in {folder} runs as user {min(owners)}; run this as that user.")
    kept = stat.S_IRWXG if found.st_mode & stat.S_IWGRP else 0
    os.umask(_OTHERS & ~kept)
    for path in _ours(folder):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS & ~kept:
            try:
                path.chmod(mode & ~(_OTHERS & ~kept))
            except OSError as error:
                _logger.warning(
                    "other users can read %s, and its permissions cannot be changed: %s",
                    path,
                    error.strerror,
                )
    if found.st_mode & stat.S_IRWXO:
        _logger.warning(
            "other users can open %(folder)s. The server's own files there are closed to them; "
            "chmod o-rwx %(folder)s closes the rest",
            {"folder": folder},
        )
    return folder


def _ours(folder: Path) -> Iterator[Path]:
    for pattern in _OURS:
        for path in folder.glob(pattern):
            if not path.is_symlink():  # what a link points to is the owner's decision
                yield path
