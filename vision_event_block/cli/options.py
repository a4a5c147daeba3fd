"""What the commands share: the options, where the outbox is, and how a command ends.

Exit codes: 0 all is well, 1 something needs attention, 2 wrong usage.
"""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, Optional, TypeVar

import typer
from rich.console import Console

from vision_event_block import settings
from vision_event_block.delivery.errors import TransientError, VisionEventsError
from vision_event_block.delivery.secret import Secret
from vision_event_block.outbox.disk import OutboxUnusable, RealDisk
from vision_event_block.outbox.key_salt import key_salt
from vision_event_block.outbox.slot import SLOTS
from vision_event_block.outbox.snapshot import OutboxSnapshot, take_snapshot
from vision_event_block.redaction import printable, without_passwords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.text import Text

    from vision_event_block.delivery.client import VisionEventsClient
    from vision_event_block.delivery.destinations import ApiDestination
    from vision_event_block.delivery.http import Timeouts
    from vision_event_block.outbox.operator_outbox import OperatorOutbox
    from vision_event_block.outbox.slot import Entry
    from vision_event_block.outbox.snapshot import File

Reply = TypeVar("Reply")
Value = TypeVar("Value")

NEEDS_HELP: Final = 1
USAGE: Final = 2
DEFAULT_API_URL: Final = "https://api.roboflow.com"
DISK: Final = RealDisk()
#: Attempts for one request over a weak link; then the command ends and can be run again.
_TRIES: Final = 4
_MAX_PAUSE_S: Final = 30.0

OutboxOption = Annotated[
    Optional[Path],  # noqa: UP045 -- the oldest typer knows no `|`
    typer.Option(
        "--outbox",
        help="Outbox folder, if not the default one.",
        file_okay=False,
        show_default=False,
    ),
]
#: How long a live owner may take; it looks every few seconds, and ends a request first.
PATIENCE_S: Final = 15.0
PatienceOption = Annotated[
    float,
    typer.Option(min=0.0, help="Seconds to wait for a running host to hand events over."),
]
UtcOption = Annotated[bool, typer.Option("--utc", help="Show times in UTC.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class PlainFormatter(logging.Formatter):
    """Log lines whose text does nothing to a terminal; a traceback has its lines."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        lines = text.split("\n") if record.exc_info else [text]
        return "\n".join(map(printable, lines))


class _PlainConsole(Console):
    """A console on which text from elsewhere does nothing but stand there."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


def not_empty(value: Value) -> Value:
    """For ids and names: an empty one, as of a shell variable that is not set, is an error."""
    given = value if isinstance(value, list) else [value]
    if any(isinstance(each, str) and not each.strip() for each in given):
        raise typer.BadParameter("it is empty")
    return value


def fail(message: str, code: int = NEEDS_HELP) -> NoReturn:
    """Ends the command with a sentence about why."""
    aside(message)
    raise typer.Exit(code)


def aside(message: str) -> None:
    """A sentence beside the results, in which names and answers from elsewhere may stand."""
    typer.echo(printable(without_passwords(message)), err=True)


def console() -> Console:
    """Where results go; a pipe gets each row in one line, unless COLUMNS says how wide it is."""
    found = _PlainConsole(highlight=False, markup=False, emoji=False)
    if found.is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return found
    return _PlainConsole(width=200, highlight=False, markup=False)


def print_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2))


def variable_names(name: str) -> list[str]:
    """The variable and the old names that it may still have, the newest first."""
    return [name, *(old for old, new in settings.OLD_NAMES.items() if new == name)]


def current_settings() -> settings.Settings:
    """The settings of the environment, or the end of the command."""
    try:
        return settings.current()
    except ValueError as error:
        fail(str(error), USAGE)


def folder_of(outbox: Path | None) -> Path:
    """The outbox folder that is meant, whether it is there or not."""
    current_settings()
    return settings.outbox_folder() if outbox is None else outbox.expanduser().absolute()


def outbox_of(outbox: Path | None) -> Path:
    """The outbox folder that is meant, which is there, or the end of the command."""
    folder = folder_of(outbox)
    try:
        why = not_an_outbox(folder)
    except OSError as error:
        fail(unreadable(folder, error))
    if why:
        fail(f"{why}.", USAGE)
    return folder


def not_an_outbox(folder: Path) -> str:
    """What is wrong with a folder that is no outbox, empty if it is one; raises OSError."""
    if not folder.exists():
        return (
            f"There is no outbox in {folder}. The first event creates it; if there were events, "
            "give the host's folder with --outbox or VISION_EVENT_OUTBOX"
        )
    if not folder.is_dir():
        return f"{folder} is not a folder. Set VISION_EVENT_OUTBOX to one"
    if SLOTS not in DISK.names(folder):
        return (
            f"{folder} is not an outbox: it has no folder {SLOTS}/. Give the host's with --outbox "
            "or VISION_EVENT_OUTBOX"
        )
    return ""


def unreadable(folder: Path, error: OSError) -> str:
    """What to say of a folder that the user may not look into."""
    return f"{folder} cannot be read ({error.strerror}); run this as {_owner_of(folder)}"


def snapshot_of(folder: Path) -> OutboxSnapshot:
    """What is in the folder, or the end of the command."""
    try:
        return take_snapshot(folder, DISK)
    except OSError as error:
        fail(unreadable(folder, error))


@contextmanager
def opened(folder: Path) -> Iterator[OperatorOutbox]:
    """An own hold on an outbox; what is left in it is adopted by others."""
    from vision_event_block.delivery.dispatch import DispatchLimits  # noqa: PLC0415 -- brings numpy
    from vision_event_block.outbox.operator_outbox import OperatorOutbox  # noqa: PLC0415

    limits = DispatchLimits.of(current_settings(), folder).outbox
    try:
        outbox = OperatorOutbox(folder, limits, disk=DISK)
    except OutboxUnusable as error:
        fail(str(error))
    try:
        yield outbox
    finally:
        outbox.close()


def collected(own: OperatorOutbox, files: Iterable[File], *, patience_s: float) -> list[Entry]:
    """The entries of these files, in this process's slot now; the others were not given."""
    names: dict[str, list[str]] = {}
    for file in files:
        names.setdefault(file.folder.name, []).append(file.name)
    if not names:
        return []
    try:
        return own.collect(names, patience_s=patience_s)
    except OSError as error:
        fail(
            f"{own.folder} cannot be changed now ({error}); events that were moved are still in it"
        )


def chosen(files: Iterable[File], ids: Iterable[str]) -> list[File]:
    """The files of these events, each id given in full or by its beginning."""
    files, found = list(files), {}
    for event_id in ids:
        if not event_id.strip():  # as of a shell variable that is not set; each id begins so
            fail("An event id is empty.", USAGE)
        matches = [file for file in files if file.event_id == event_id]
        matches = matches or [file for file in files if file.event_id.startswith(event_id)]
        if not matches:
            fail(
                f"No event {event_id} in the outbox. It may have been delivered; "
                "vision-events list shows the others."
            )
        if len({file.event_id for file in matches}) > 1:
            fail(
                f"{event_id} matches {len(matches)} events; give more characters of the id.", USAGE
            )
        found.update({file.path: file for file in matches})
    return list(found.values())


def _owner_of(folder: Path) -> str:
    """The user whom a command has to be run as, by name where there is one."""
    try:
        return f"{folder.owner()}, who owns it"
    except KeyError:
        return f"user {folder.stat().st_uid}, who owns it"
    except (OSError, NotImplementedError):
        return "the user who owns it"


def api_url() -> str:
    """The Vision Events API's address by the environment."""
    given = current_settings().api_url
    return (given or os.environ.get("API_BASE_URL") or DEFAULT_API_URL).rstrip("/")


def api_key() -> Secret | None:
    """The key of the environment, None if there is none.

    Raises:
        ValueError: it cannot be sent.
    """
    key = os.environ.get("ROBOFLOW_API_KEY") or os.environ.get("API_KEY")
    if key:
        return Secret(key)
    # A server of one's own may need none, but the API wants a bearer.
    return Secret("local") if current_settings().api_url is not None else None


def timeouts() -> Timeouts:
    from vision_event_block.delivery.http import Timeouts  # noqa: PLC0415 -- brings requests

    given = current_settings()
    return Timeouts(connect_s=given.connect_timeout_s, read_s=given.read_timeout_s)


def given_key() -> Secret | None:
    """The key of the environment, None if there is none; or the end of the command."""
    try:
        return api_key()
    except ValueError as error:
        fail(f"{error}; set ROBOFLOW_API_KEY again", USAGE)


def required_key() -> Secret:
    """The key of the environment, or the end of the command."""
    key = given_key()
    if key is None:
        fail("There is no API key; set ROBOFLOW_API_KEY.", USAGE)
    return key


def api_destination(folder: Path, key: Secret) -> ApiDestination:
    """The API of this environment under a key, as the events of an outbox name it."""
    from vision_event_block.delivery.client import VisionEventsClient  # noqa: PLC0415 -- as above
    from vision_event_block.delivery.destinations import ApiDestination  # noqa: PLC0415

    url = api_url()
    client = VisionEventsClient(base_url=url, api_key=key, timeouts=timeouts())
    return ApiDestination(client, url, key, salt=key_salt(folder))


@contextmanager
def api_client() -> Iterator[VisionEventsClient]:
    """The API of this environment, closed in the end; or the end of the command if that fails."""
    from vision_event_block.delivery.client import VisionEventsClient  # noqa: PLC0415 -- as above

    client = VisionEventsClient(base_url=api_url(), api_key=required_key(), timeouts=timeouts())
    try:
        yield client
    except VisionEventsError as error:
        fail(f"{error}")
    finally:
        client.close()


def patiently(request: Callable[[], Reply]) -> Reply:
    """The reply, after a few tries if need be: the same request again does no harm."""
    for attempt in range(_TRIES - 1):
        try:
            return request()
        except TransientError as error:  # noqa: PERF203 -- the network is slower than a try
            time.sleep(min(_MAX_PAUSE_S, error.retry_after_s or 0.5 * 2**attempt))
    return request()
