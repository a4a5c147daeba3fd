"""`vision-events keys`: create, list and revoke keys of the local server."""

from __future__ import annotations

import logging
import os
import re
import stat
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, Any, Final, Optional

import typer
from rich.table import Table

from vision_event_block import settings
from vision_event_block.cli.data_folder import DatabaseOption, DataOption, data_folder
from vision_event_block.cli.help_pages import PLAIN, PlainGroup
from vision_event_block.cli.options import (
    USAGE,
    JsonOption,
    console,
    fail,
    print_json,
    variable_names,
)
from vision_event_block.extras import how_to_add

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from vision_event_block.server.store.stored_keys import StoredKey, StoredKeys

_logger = logging.getLogger(__name__)

_SPAN: Final = re.compile(r"(\d{1,5})([dh])")

NameArgument = Annotated[str, typer.Argument(help="Name of the key.", show_default=False)]

keys = typer.Typer(
    name="keys",
    help="Create, list and revoke keys of the local server. A running server picks up changes "
    "within a second.",
    cls=PlainGroup,
    no_args_is_help=True,
    add_completion=False,
    **PLAIN,
)


@keys.command()
def new(
    name: NameArgument,
    *,
    scopes: Annotated[
        str, typer.Option(help="What the key allows, separated by commas.")
    ] = "read,write,manage",
    expires: Annotated[
        Optional[str],  # noqa: UP045 -- the oldest typer knows no `|`
        typer.Option(
            metavar="SPAN",
            show_default=False,
            help="Expiry: after `90d` or `12h`, or on a day such as 2027-01-31. "
            "[default: it does not expire]",
        ),
    ] = None,
    data: DataOption = None,
    database_url: DatabaseOption = None,
) -> None:
    """Create a key and print it once; only its hash is stored.

    Once there is a key, the server refuses requests without one.
    """
    ends_at = None if expires is None else _end(expires)
    with _kept(data, database_url) as kept:
        from vision_event_block.server.keys import SCOPES, scopes_named  # noqa: PLC0415

        try:
            named = scopes_named(scopes)
            key = kept.new(name, named, ends_at)
        except ValueError as error:
            fail(f"{_capital(error)}.", USAGE)
    may = ", ".join(scope for scope in SCOPES if scope in named)
    until = "does not expire" if ends_at is None else f"expires at {_moment(ends_at)}"
    typer.echo(f"The key {name} may {may} and {until}. It is shown only once:", err=True)
    typer.echo(key)


@keys.command(name="list")
def list_keys(
    *, as_json: JsonOption = False, data: DataOption = None, database_url: DatabaseOption = None
) -> None:
    """List the keys created here; keys in the environment and in files are not listed."""
    with _kept(data, database_url) as kept:
        found = kept.list()
    if as_json:
        print_json([_document(key) for key in found])
        return
    if not found:
        typer.echo("No keys yet; vision-events keys new creates one.")
        return
    table = Table("name", "may", "made", "ends", "state", box=None)
    for key in found:
        table.add_row(
            key.name,
            ", ".join(_document(key)["scopes"]),
            _moment(key.created_at),
            "never" if key.expires_at is None else _moment(key.expires_at),
            _state(key),
        )
    console().print(table)


@keys.command()
def revoke(
    name: NameArgument,
    *,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget",
            help="Remove it from the list as well. Once no keys are left, a server on loopback "
            "is open to everybody on this machine again.",
        ),
    ] = False,
    data: DataOption = None,
    database_url: DatabaseOption = None,
) -> None:
    """Revoke a key, and end the browser sessions that used it."""
    with _kept(data, database_url) as kept:
        kept.forget(name) if forget else kept.revoke(name)
    typer.echo(f"{'Forgotten' if forget else 'Revoked'}: {name}")


def given_keys(options: Iterable[str], file: Path | None) -> list[str]:
    """The keys of the command line, the environment and a file, as typed."""
    options = list(options)
    if options:
        _logger.warning(
            "every user of this machine can see --api-key in the process list; "
            "use vision-events keys, %s or --api-key-file",
            settings.API_KEYS,
        )
    given = next(filter(None, map(os.environ.get, variable_names(settings.API_KEYS))), "")
    found = [*options, *given.split()]
    if file is not None:
        if file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            _logger.warning(
                "other users can read %(file)s; fix it with chmod 600 %(file)s", {"file": file}
            )
        lines = map(str.strip, file.read_text(encoding="utf-8").splitlines())
        found += [line for line in lines if line and not line.startswith("#")]
    return found


@contextmanager
def _kept(data: Path | None, database_url: str | None) -> Iterator[StoredKeys]:
    """The keys of a server's database; ends the command if they cannot be opened."""
    try:
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        from vision_event_block.server.store.database import Database  # noqa: PLC0415
        from vision_event_block.server.store.errors import StoreError  # noqa: PLC0415
        from vision_event_block.server.store.stored_keys import StoredKeys  # noqa: PLC0415
        from vision_event_block.server.store.timestamps import utc_now  # noqa: PLC0415
    except ImportError as error:
        fail(f"{error}. The server needs an extra: {how_to_add('server')}")
    try:
        database = Database.open(data_folder(data, as_guest=True), database_url)
        try:
            yield StoredKeys(database, utc_now)
        finally:
            database.close()
    except (StoreError, ValueError) as error:
        fail(f"{_capital(error)}.")
    except SQLAlchemyError as error:
        fail(f"The database cannot be opened: {str(error).splitlines()[0]}")
    except OSError as error:
        fail(f"{error.filename}: {error.strerror or error}")


def _document(key: StoredKey) -> dict[str, Any]:
    from vision_event_block.server.keys import SCOPES  # noqa: PLC0415

    moments = {"created": key.created_at, "expires": key.expires_at, "revoked": key.revoked_at}
    return {
        "name": key.name,
        "scopes": [scope for scope in SCOPES if scope in key.scopes],
        "state": _state(key),
        **{name: None if each is None else each.isoformat() for name, each in moments.items()},
    }


def _state(key: StoredKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "valid" if key.is_valid(datetime.now(timezone.utc)) else "expired"


def _end(text: str) -> datetime:
    span = _SPAN.fullmatch(text)
    if span is not None:
        hours = int(span[1]) * (24 if span[2] == "d" else 1)
        return datetime.now(timezone.utc) + timedelta(hours=hours)
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc)
    except ValueError:
        fail(
            f"--expires is a span such as 90d or 12h, or a day such as 2027-01-31, not {text}.",
            USAGE,
        )


def _capital(error: Exception) -> str:
    words = str(error)
    return words[:1].upper() + words[1:]


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%MZ")
