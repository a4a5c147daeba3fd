"""`vision-events serve`: the Vision Events API on this machine, with a page to look at it."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import platformdirs
import typer

from vision_event_block.cli.options import USAGE, fail

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KEYS_VARIABLE = "VISION_EVENTS_API_KEYS"
DATABASE_VARIABLE = "VISION_EVENTS_DATABASE_URL"
PICTURES_VARIABLE = "VISION_EVENTS_PICTURES_URL"

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 -- compared, not bound


def serve(  # noqa: PLR0913 -- a server has these settings
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen at. Other than this machine's needs a key.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at, 0 for a free one.")
    ] = 9100,
    data: Annotated[
        Optional[Path],  # noqa: UP045 -- the oldest typer knows no `|`
        typer.Option(
            help="Folder of events and pictures. [default: the user's data folder]",
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    database_url: Annotated[
        Optional[str],  # noqa: UP045 -- as above
        typer.Option(
            envvar=DATABASE_VARIABLE,
            show_default=False,
            help="PostgreSQL to keep the events in, as postgresql://user:password@host/name. "
            "Pictures stay where they are.",
        ),
    ] = None,
    pictures_url: Annotated[
        Optional[str],  # noqa: UP045 -- as above
        typer.Option(
            envvar=PICTURES_VARIABLE,
            show_default=False,
            help="S3-compatible storage to keep the pictures in, as s3://bucket/prefix. "
            "Address, region and credentials come from the AWS_ variables.",
        ),
    ] = None,
    api_key: Annotated[
        Optional[list[str]],  # noqa: UP045 -- as above
        typer.Option(
            show_default=False,
            help="A key that clients must show: KEY, or KEY:read,write,manage for some scopes "
            f"only. Repeat it for more. Others see a command line: prefer {KEYS_VARIABLE}, where "
            "spaces divide the keys, or --api-key-file.",
        ),
    ] = None,
    api_key_file: Annotated[
        Optional[Path],  # noqa: UP045 -- as above
        typer.Option(
            help="File with a key on each line.", dir_okay=False, exists=True, show_default=False
        ),
    ] = None,
    allowed_host: Annotated[
        Optional[list[str]],  # noqa: UP045 -- as above
        typer.Option(
            help="A name under which clients reach the server. Repeat it for more.",
            show_default=False,
        ),
    ] = None,
    lookback_days: Annotated[
        str, typer.Option(help="Age from which queries leave events out, or `unlimited`.")
    ] = "14",
    delete_after_days: Annotated[
        Optional[float],  # noqa: UP045 -- as above
        typer.Option(
            min=0.01,
            show_default=False,
            help="Age at which events and their pictures are deleted. [default: never]",
        ),
    ] = None,
    thumbnail_megapixels: Annotated[
        int,
        typer.Option(
            min=1,
            max=1000,
            help="Size up to which pictures are made smaller for the page; what is larger is shown "
            "as it is. Each megapixel takes 8 MB of memory while a picture is decoded.",
        ),
    ] = 40,
    forward_to: Annotated[
        Optional[str],  # noqa: UP045 -- as above
        typer.Option(
            metavar="URL",
            show_default=False,
            help="A Vision Events API, such as https://api.roboflow.com, to send events on to. "
            "Each one that comes in waits on disk until it is there; what came in before stays "
            "here. The key is the one in ROBOFLOW_API_KEY.",
        ),
    ] = None,
    log_requests: Annotated[
        bool, typer.Option("--log-requests", help="Write a line for each request.")
    ] = False,
) -> None:
    """Serve the Vision Events API and its page from this machine.

    Events and pictures go to a folder, or events to PostgreSQL and pictures to a bucket. Ends
    with Ctrl-C.
    """
    try:
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        from vision_event_block.relay.opening import BadForwarding, relaying  # noqa: PLC0415
        from vision_event_block.server.errors import StoreError  # noqa: PLC0415
        from vision_event_block.server.keys import BadKey, Keys  # noqa: PLC0415
        from vision_event_block.server.running import KeyNeeded, serving  # noqa: PLC0415
        from vision_event_block.server.store import Store  # noqa: PLC0415
    except ImportError as error:
        fail(f"{error}. The server needs its extra: pip install 'vision-event-block[server]'")

    folder = (data or default_folder()).expanduser().absolute()
    lookback = _lookback(lookback_days)
    if log_requests:
        logging.getLogger("uvicorn.access").setLevel(logging.INFO)
    try:
        # Not for everybody's eyes: it will hold pictures of whatever cameras see.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = Keys(_given_keys(api_key or (), api_key_file))
        with (
            _signals() as ended,
            Store.open(
                folder,
                database_url=database_url,
                pictures_url=pictures_url,
                lookback_days=lookback,
                deletes_after_days=delete_after_days,
                max_thumbnail_pixels=thumbnail_megapixels * 1_000_000,
            ) as store,
            relaying(forward_to, store, folder / "outbox", host=host, port=port) as relay,
            serving(
                store, keys, host=host, port=port, names=allowed_host or (), forwarding=relay
            ) as url,
        ):
            _greet(url, folder, keys.in_force, pictures_url, forward_to)
            if host in _EVERYWHERE:
                port = int(url.rpartition(":")[2])
                typer.echo(f"From elsewhere      http://{socket.gethostname()}:{port}")
            typer.echo("Ctrl-C stops it.")
            ended.wait()
    except BadKey as error:
        fail(f"An API key cannot be used: {error}.", USAGE)
    except KeyNeeded as error:
        fail(f"{error}, with --api-key-file or {KEYS_VARIABLE}.", USAGE)
    except BadForwarding as error:
        fail(f"{error}.", USAGE)
    except (StoreError, ValueError) as error:
        fail(str(error))
    except SQLAlchemyError as error:
        fail(f"The database cannot be opened: {str(error).splitlines()[0]}")
    except OSError as error:
        where = error.filename or f"{host}:{port}"
        advice = "; choose another with --port" if error.errno == errno.EADDRINUSE else ""
        fail(f"{where}: {error.strerror or error}{advice}")
    typer.echo("Stopped.")


def default_folder() -> Path:
    """Where the server keeps everything unless it is told otherwise."""
    return Path(platformdirs.user_data_dir("vision-events", appauthor=False)) / "server"


def _lookback(text: str) -> float | None:
    if text == "unlimited":
        return None
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0 < days < 36_525:  # noqa: PLR2004 -- a century is long enough to be a mistake
        fail(f"--lookback-days is a number of days or `unlimited`, not {text}", USAGE)
    return days


def _given_keys(options: Iterable[str], file: Path | None) -> list[str]:
    keys = [*options, *os.environ.get(KEYS_VARIABLE, "").split()]
    if file is not None:
        lines = map(str.strip, file.read_text(encoding="utf-8").splitlines())
        keys += [line for line in lines if line and not line.startswith("#")]
    return keys


def _greet(
    url: str,
    folder: Path,
    keys_in_force: bool,  # noqa: FBT001 -- in one place
    pictures_url: str | None,
    forward_to: str | None,
) -> None:
    typer.echo(f"Vision Events at    {url}")
    typer.echo(f"Its documentation   {url}/docs")
    typer.echo(f"Data in             {folder}")
    typer.echo(f"For the block       VISION_EVENT_API_URL={url}")
    if keys_in_force:
        typer.echo("Clients need a key  ROBOFLOW_API_KEY=...")
    if pictures_url is not None:
        typer.echo(f"Pictures in         {pictures_url}")
    if forward_to is not None:
        typer.echo(f"Forwards to         {forward_to}")


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that is set once somebody wants the server to stop."""
    ended = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: ended.set()) for number in numbers]
    try:
        yield ended
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
