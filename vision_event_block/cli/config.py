"""`vision-events config`: every setting, its value, and where the value comes from."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import typer
from rich.table import Table

from vision_event_block import settings
from vision_event_block.cli.options import (
    NEEDS_HELP,
    JsonOption,
    api_url,
    console,
    current_settings,
    print_json,
    variable_names,
)
from vision_event_block.redaction import printable, without_passwords

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Variables of the host or the local server that the block or a command uses.
_OTHERS: Final = (
    "ROBOFLOW_API_KEY",
    "API_KEY",
    "EVENT_INGESTION_API_KEY",
    "API_BASE_URL",
    "OFFLINE_MODE",
    "MODEL_CACHE_DIR",
    "WORKFLOWS_PLUGINS",
    "REDIS_HOST",
    "PROMETHEUS_MULTIPROC_DIR",
    settings.API_KEYS,
    settings.DATABASE_URL,
    settings.PICTURES_URL,
)
_SECRETS: Final = frozenset(
    {"ROBOFLOW_API_KEY", "API_KEY", "EVENT_INGESTION_API_KEY", settings.API_KEYS}
)


@dataclass(frozen=True)
class _Setting:
    name: str
    value: str
    #: `environment`, `default`, or what it is derived from.
    source: str


def config(*, as_json: JsonOption = False) -> None:
    """Show every setting, its value, and whether it is set here or a default.

    Keys are not shown, only whether they are set. Exits with 1 if a variable looks like a setting
    but is not one.
    """
    rows = list(_rows())
    odd = settings.odd_variables(os.environ)
    if as_json:
        print_json(
            {
                "settings": [asdict(row) for row in rows],
                "unknown": [{"what": what, "advice": advice} for what, advice in odd],
            }
        )
    else:
        table = Table("setting", "value", "from", box=None, pad_edge=False)
        for row in rows:
            table.add_row(row.name, row.value, row.source)
        console().print(table)
        for what, advice in odd:
            typer.echo(printable(f"{what}; {advice}"), err=True)
    if odd:
        raise typer.Exit(NEEDS_HELP)


def _rows() -> Iterator[_Setting]:
    given, folder = current_settings(), settings.outbox_folder()
    found = {
        "outbox": (str(folder), "MODEL_CACHE_DIR, or the platform's folder"),
        "outbox_max_bytes": (str(settings.outbox_max_bytes(folder)), "the size of the disk"),
        "api_url": (api_url(), "API_BASE_URL, or the default"),
    }
    there = {name.upper() for name in os.environ}
    for field in type(given).model_fields:
        name, value = f"{settings.PREFIX}{field.upper()}", getattr(given, field)
        if name in there:
            yield _Setting(name, without_passwords(str(value)), "environment")
        elif value is None and field in found:
            yield _Setting(name, *found[field])
        else:
            yield _Setting(name, "" if value is None else f"{value}", "default")
    for name in _OTHERS:
        source = next(filter(os.environ.get, variable_names(name)), None)
        if source is None:
            yield _Setting(name, "", "not set")
        else:
            value = "set, not shown" if name in _SECRETS else os.environ[source]
            origin = "environment" if source == name else f"environment, as {source}"
            yield _Setting(name, without_passwords(value), origin)
