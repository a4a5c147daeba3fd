"""What the commands share: options, finding the outbox, and how a command ends.

Exit codes: 0 all is well, 1 something needs attention, 2 usage error.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, Optional, TypeVar

import typer
from rich.console import Console

from vision_event_block import settings
from vision_event_block.cli import formatting
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
        readable=False,  # not checked here: `unreadable` says whose it is
        show_default=False,
    ),
]
#: How long a live owner may take: it checks every few seconds, and finishes its request first.
PATIENCE_S: Final = 15.0
PatienceOption = Annotated[
    float,
    typer.Option(min=0.0, help="Seconds to wait for a running host to hand events over."),
]
UtcOption = Annotated[bool, typer.Option("--utc", help="Show times in UTC.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class _PlainConsole(Console):
    """A console that prints text from elsewhere without its control characters."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


def not_empty(value: Value) -> Value:
    """For ids and names: an empty one, as from an unset shell variable, is an error."""
    given = value if isinstance(value, list) else [value]
    if any(isinstance(each, str) and not each.strip() for each in given):
        raise typer.BadParameter("it is empty")
    return value


def fail(message: str, code: int = NEEDS_HELP) -> NoReturn:
    """Ends the command with a sentence that says why."""
    aside(message)
    raise typer.Exit(code)


def aside(message: str) -> None:
    """Prints a sentence to stderr, safe for names and replies that come from elsewhere."""
    typer.echo(printable(without_passwords(message)), err=True)


def console() -> Console:
    """Where results go; in a pipe each row is one line, unless COLUMNS gives a width."""
    found = _PlainConsole(highlight=False, markup=False, emoji=False)
    if found.is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return found
    return _PlainConsole(width=200, highlight=False, markup=False)


def print_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2))


def seconds_in(option: str, text: str) -> float:
    """The seconds of a period such as 24h; ends the command if the option holds none."""
    try:
        return formatting.span_s(text)
    except ValueError as error:
        fail(f"{option} {error}", USAGE)


def variable_names(name: str) -> list[str]:
    """The variable's name and its old names that still work, newest first."""
    return [name, *(old for old, new in settings.OLD_NAMES.items() if new == name)]


def current_settings() -> settings.Settings:
    """The settings of the environment; ends the command if one is invalid."""
    try:
        return settings.current()
    except ValueError as error:
        fail(str(error), USAGE)


def folder_of(outbox: Path | None) -> Path:
    """The selected outbox folder, whether it exists or not."""
    current_settings()
    return settings.outbox_folder() if outbox is None else outbox.expanduser().absolute()


def outbox_of(outbox: Path | None) -> Path:
    """The selected outbox folder; ends the command if it is not an outbox."""
    folder = folder_of(outbox)
    try:
        why = not_an_outbox(folder)
    except OSError as error:
        fail(unreadable(folder, error))
    if why:
        fail(f"{why}.", USAGE)
    return folder


def not_an_outbox(folder: Path) -> str:
    """Why a folder is not an outbox; empty if it is one. Raises OSError."""
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
    """What to say about a folder that the user may not read."""
    return f"{folder} cannot be read ({error.strerror}); run this as {_owner_of(folder)}"


def snapshot_of(folder: Path) -> OutboxSnapshot:
    """What is in the folder; ends the command if it cannot be read."""
    try:
        return take_snapshot(folder, DISK)
    except OSError as error:
        fail(unreadable(folder, error))


@contextmanager
def opened(folder: Path) -> Iterator[OperatorOutbox]:
    """An outbox slot for this command; other processes adopt what is left in it."""
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
    """The entries of these files that their owners handed over, now in this process's slot."""
    names: dict[str, list[str]] = {}
    for file in files:
        names.setdefault(file.folder.name, []).append(file.name)
    if not names:
        return []
    try:
        return own.collect(names, patience_s=patience_s)
    except OSError as error:
        fail(f"{own.folder} cannot be changed now ({error}); events already moved are still in it")


def chosen(files: Iterable[File], ids: Iterable[str]) -> list[File]:
    """The files of these events, each id given in full or by its first characters."""
    files, found = list(files), {}
    for event_id in ids:
        if not event_id.strip():  # from an unset shell variable; every id starts with it
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
    """The user that has to run the command, by name if it has one."""
    try:
        return f"{folder.owner()}, who owns it"
    except KeyError:
        return f"user {folder.stat().st_uid}, who owns it"
    except (OSError, NotImplementedError):
        return "the user who owns it"


def api_url() -> str:
    """The Vision Events API's address according to the environment."""
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
    # Your own server may not need a key, but the API requires a bearer token.
    return Secret("local") if current_settings().api_url is not None else None


def timeouts() -> Timeouts:
    from vision_event_block.delivery.http import Timeouts  # noqa: PLC0415 -- brings requests

    given = current_settings()
    return Timeouts(connect_s=given.connect_timeout_s, read_s=given.read_timeout_s)


def given_key() -> Secret | None:
    """The key of the environment, None if there is none; ends the command if it is invalid."""
    try:
        return api_key()
    except ValueError as error:
        fail(f"{error}; set ROBOFLOW_API_KEY again", USAGE)


def required_key() -> Secret:
    """The key of the environment; ends the command if there is none."""
    key = given_key()
    if key is None:
        fail("There is no API key; set ROBOFLOW_API_KEY.", USAGE)
    return key


def api_destination(folder: Path, key: Secret) -> ApiDestination:
    """The API of this environment with a key, as events in the outbox refer to it."""
    from vision_event_block.delivery.client import VisionEventsClient  # noqa: PLC0415 -- as above
    from vision_event_block.delivery.destinations import ApiDestination  # noqa: PLC0415

    url = api_url()
    client = VisionEventsClient(base_url=url, api_key=key, timeouts=timeouts())
    return ApiDestination(client, url, key, salt=key_salt(folder))


@contextmanager
def api_client() -> Iterator[VisionEventsClient]:
    """A client for this environment's API, closed at the end; its errors end the command."""
    from vision_event_block.delivery.client import VisionEventsClient  # noqa: PLC0415 -- as above

    client = VisionEventsClient(base_url=api_url(), api_key=required_key(), timeouts=timeouts())
    try:
        yield client
    except VisionEventsError as error:
        fail(f"{error}")
    finally:
        client.close()


def patiently(request: Callable[[], Reply]) -> Reply:
    """The reply, after a few retries if necessary; only for requests that are safe to repeat."""
    for attempt in range(_TRIES - 1):
        try:
            return request()
        except TransientError as error:  # noqa: PERF203 -- the network is slower than a try
            time.sleep(min(_MAX_PAUSE_S, error.retry_after_s or 0.5 * 2**attempt))
    return request()
