"""`vision-events serve`: the Vision Events API on this machine, with a web page."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import threading
from contextlib import contextmanager
from enum import Enum
from pathlib import Path  # noqa: TC003 -- typer reads annotations
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from vision_event_block import settings
from vision_event_block.cli.data_folder import DatabaseOption, DataOption, data_folder
from vision_event_block.cli.keys import given_keys
from vision_event_block.cli.options import USAGE, fail, variable_names
from vision_event_block.extras import how_to_add
from vision_event_block.logs import JsonFormatter, TimedFormatter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_logger = logging.getLogger(__name__)

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 -- compared, not bound


class LogFormat(str, Enum):
    TEXT = "text"
    JSON = "json"


def serve(  # noqa: PLR0913 -- a server has these settings
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Any but loopback requires a key.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on, 0 for a free one.")
    ] = 9100,
    data: DataOption = None,
    database_url: DatabaseOption = None,
    pictures_url: Annotated[
        Optional[str],  # noqa: UP045 -- the oldest typer knows no `|`
        typer.Option(
            envvar=variable_names(settings.PICTURES_URL),
            show_default=False,
            help="S3-compatible storage for the pictures, as s3://bucket/prefix. "
            "Address, region and credentials come from the AWS_ variables.",
        ),
    ] = None,
    api_key: Annotated[
        Optional[list[str]],  # noqa: UP045 -- as above
        typer.Option(
            show_default=False,
            help="A key that clients must send: KEY, or KEY:read,write,manage for some scopes "
            "only, which may also be spelled as in vision-events:read, visionEvents.write or "
            "device:update. The first colon ends the key; an unknown scope is an error. Repeat for "
            "more. Other users can see a command line: prefer vision-events keys, "
            f"{settings.API_KEYS} (keys separated by spaces) or --api-key-file.",
        ),
    ] = None,
    api_key_file: Annotated[
        Optional[Path],  # noqa: UP045 -- as above
        typer.Option(
            help="File with one key per line.", dir_okay=False, exists=True, show_default=False
        ),
    ] = None,
    allowed_host: Annotated[
        Optional[list[str]],  # noqa: UP045 -- as above
        typer.Option(
            help="A host name that clients use for the server. Repeat for more.",
            show_default=False,
        ),
    ] = None,
    trusted_proxy: Annotated[
        Optional[list[str]],  # noqa: UP045 -- as above
        typer.Option(
            metavar="ADDRESS",
            show_default=False,
            help="Address or network of a proxy in front of the server, whose X-Forwarded-For and "
            "X-Forwarded-Proto are trusted. Requires a key. Repeat for more.",
        ),
    ] = None,
    lookback_days: Annotated[
        str, typer.Option(help="Events older than this are left out of queries; or `unlimited`.")
    ] = "14",
    delete_after_days: Annotated[
        Optional[float],  # noqa: UP045 -- as above
        typer.Option(
            min=0.01,
            max=36_525,
            show_default=False,
            help="Age at which events and their pictures are deleted. [default: never]",
        ),
    ] = None,
    keep: Annotated[
        Optional[list[str]],  # noqa: UP045 -- as above
        typer.Option(
            metavar="[USE_CASE:][RESULT=]AGE",
            show_default=False,
            help="A different age for a use case, or for a result of quality checks: `pass=7d`, "
            "`fail=2y`, `line-4:30d`, `line-4:pass=36h`, `line-5:forever`. The most specific rule "
            "applies; of two equally specific ones, the longer age. Repeat for more.",
        ),
    ] = None,
    keep_bytes: Annotated[
        Optional[str],  # noqa: UP045 -- as above
        typer.Option(
            metavar="SIZE",
            show_default=False,
            help="Disk space for pictures and database, such as 200GB; beyond it the oldest data "
            "is removed: of each event first the original picture, then the annotated one, then "
            "the event, but nothing that is pinned or waiting to be forwarded. Pictures are also "
            "removed when the disk is full. [default: nothing is removed by size]",
        ),
    ] = None,
    thumbnail_megapixels: Annotated[
        int,
        typer.Option(
            min=1,
            max=1000,
            help="Largest picture to make thumbnails of; larger ones are shown as they are. Each "
            "megapixel takes 8 MB of memory while a picture is decoded.",
        ),
    ] = 40,
    max_bytes: Annotated[
        Optional[int],  # noqa: UP045 -- as above
        typer.Option(
            min=1,
            show_default=False,
            help="Disk space for pictures and database; beyond it events and pictures are refused "
            "with 507. [default: no limit]",
        ),
    ] = None,
    min_free_bytes: Annotated[
        Optional[int],  # noqa: UP045 -- as above
        typer.Option(
            min=0,
            show_default=False,
            help="Disk space to keep free. [default: 512 MiB, or 5 % of a small disk]",
        ),
    ] = None,
    max_idle_bytes: Annotated[
        int,
        typer.Option(
            min=1,
            help="Disk space for uploaded pictures that no event refers to yet; beyond it uploads "
            "are refused with 503.",
        ),
    ] = 512 * 2**20,
    forward_to: Annotated[
        Optional[str],  # noqa: UP045 -- as above
        typer.Option(
            metavar="URL",
            show_default=False,
            help="A Vision Events API to forward events to, such as https://api.roboflow.com. New "
            "events wait on disk until they are delivered; earlier ones are not forwarded. The "
            "key is read from ROBOFLOW_API_KEY.",
        ),
    ] = None,
    forward_deletes: Annotated[
        bool,
        typer.Option(
            "--forward-deletes",
            help="When events are deleted here, delete them where they were forwarded to as well.",
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Refuse events without `eventId` or `timestamp`, instead of generating an id and "
            "using the current time.",
        ),
    ] = False,
    shifts: Annotated[
        str,
        typer.Option(
            show_default=False,
            help="Names and hours of shifts, by which charts can be split: `early 6:00-14:00, "
            "late 14:00-22:00, night 22:00-6:00`. Hours are in the time zone that the page shows.",
        ),
    ] = "",
    log_requests: Annotated[
        bool, typer.Option("--log-requests", help="Log a line for each request.")
    ] = False,
    log_format: Annotated[
        LogFormat,
        typer.Option(
            help="text: lines with time and level. json: one object per line, with `time`, "
            "`level`, `logger` and `message`."
        ),
    ] = LogFormat.TEXT,
) -> None:
    """Serve the Vision Events API and a web page from this machine.

    Events and pictures are kept in a folder, or events in PostgreSQL and pictures in a bucket.
    Ctrl-C stops it.
    """
    try:
        from vision_event_block.server.http_server import serving  # noqa: PLC0415
        from vision_event_block.server.keys import (  # noqa: PLC0415
            HOW_TO_MAKE_ONE,
            MIN_KEY_CHARS,
            Keys,
        )
        from vision_event_block.server.memory import give_back_memory  # noqa: PLC0415
        from vision_event_block.server.page.shifts import shifts_of  # noqa: PLC0415
        from vision_event_block.server.relay.opening import relaying  # noqa: PLC0415
        from vision_event_block.server.storage import Store  # noqa: PLC0415
        from vision_event_block.server.store.disk_quota import DiskLimits  # noqa: PLC0415
        from vision_event_block.server.store.keep_rules import KeepRule, size_of  # noqa: PLC0415
    except ImportError as error:
        fail(f"{error}. The server needs an extra: {how_to_add('server')}")

    _set_log_format(log_format)
    settings.log_odd_variables()
    give_back_memory()
    lookback = _lookback(lookback_days)
    try:
        rules = [KeepRule.of(text) for text in keep or ()]
        limit_bytes = None if keep_bytes is None else size_of(keep_bytes)
    except ValueError as error:
        fail(f"{error}.", USAGE)
    if log_requests:
        logging.getLogger("uvicorn.access").setLevel(logging.INFO)
    with _in_words(f"{host}:{port}"):
        split_by = shifts_of(shifts)
        folder = data_folder(data)
        keys = Keys(given_keys(api_key or (), api_key_file))
        with (
            _signals() as ended,
            Store.open(
                folder,
                database_url=database_url,
                pictures_url=pictures_url,
                lookback_days=lookback,
                deletes_after_days=delete_after_days,
                keep_rules=rules,
                max_thumbnail_pixels=thumbnail_megapixels * 1_000_000,
                quota=DiskLimits(
                    max_bytes=max_bytes,
                    keep_bytes=limit_bytes,
                    min_free_bytes=min_free_bytes,
                    max_idle_bytes=max_idle_bytes,
                ),
            ) as store,
            relaying(
                forward_to,
                store,
                folder / "outbox",
                host=host,
                port=port,
                deletes=forward_deletes,
            ) as relay,
            serving(
                store,
                keys,
                host=host,
                port=port,
                names=allowed_host or (),
                forwarding=relay,
                proxies=trusted_proxy or (),
                strict=strict,
                shifts=split_by,
            ) as url,
        ):
            for name in {rule.use_case for rule in rules if rule.use_case is not None}:
                if store.use_cases.find(name) is None:
                    _logger.warning("--keep: there is no use case %r yet", name)
            is_locked = keys.in_force or store.keys.in_force
            say = _greeting(log_format)
            _say_all(
                say,
                {
                    "Vision Events at": url,
                    "Documentation at": f"{url}/docs",
                    "Data in": folder,
                    "For the block": f"VISION_EVENT_API_URL={url}",
                    "Clients need a key": "ROBOFLOW_API_KEY=..." if is_locked else None,
                    "Pictures in": pictures_url,
                    "Forwards to": forward_to,
                },
            )
            if keys.has_short_ones:
                _logger.warning(
                    "an API key is shorter than %d characters. It is accepted only while no "
                    "other machine can connect; %s",
                    MIN_KEY_CHARS,
                    HOW_TO_MAKE_ONE,
                )
            if host in _EVERYWHERE:
                port = int(url.rpartition(":")[2])
                _say_all(say, {"From elsewhere": f"http://{socket.gethostname()}:{port}"})
            say("Ctrl-C stops it.")
            ended.wait()
    say("Stopped.")


@contextmanager
def _in_words(where: str) -> Iterator[None]:
    """Ends the command with one line that says what keeps the server from starting."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from vision_event_block.server.http_server import KeyNeeded  # noqa: PLC0415
    from vision_event_block.server.keys import BadKey  # noqa: PLC0415
    from vision_event_block.server.middleware.proxy_headers import BadProxy  # noqa: PLC0415
    from vision_event_block.server.page.shifts import BadShifts  # noqa: PLC0415
    from vision_event_block.server.relay.opening import BadForwarding  # noqa: PLC0415
    from vision_event_block.server.store.errors import StoreError  # noqa: PLC0415

    try:
        yield
    except BadKey as error:
        fail(f"An API key cannot be used: {error}.", USAGE)
    except KeyNeeded as error:
        fail(
            f"{error}. Create one with vision-events keys, or pass it with --api-key-file or "
            f"{settings.API_KEYS}.",
            USAGE,
        )
    except (BadProxy, BadForwarding, BadShifts) as error:
        fail(f"{error}.", USAGE)
    except (StoreError, ValueError) as error:
        fail(str(error))
    except SQLAlchemyError as error:
        fail(f"The database cannot be opened: {str(error).splitlines()[0]}")
    except OSError as error:
        advice = "; choose another with --port" if error.errno == errno.EADDRINUSE else ""
        fail(f"{error.filename or where}: {error.strerror or error}{advice}")


def _set_log_format(log_format: LogFormat) -> None:
    formatter = JsonFormatter() if log_format is LogFormat.JSON else TimedFormatter()
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)


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


def _greeting(log_format: LogFormat) -> Callable[[str], None]:
    """How the startup lines are printed: in the JSON format they are log records."""
    if log_format is LogFormat.TEXT:
        return typer.echo
    _logger.setLevel(logging.INFO)
    return lambda line: _logger.info("%s", " ".join(line.split()))


def _say_all(say: Callable[[str], None], facts: Mapping[str, object]) -> None:
    """Prints a line for each fact that is known."""
    for name, fact in facts.items():
        if fact is not None:
            say(f"{name:20}{fact}")


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that is set when the server is asked to stop."""
    ended = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: ended.set()) for number in numbers]
    try:
        yield ended
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
