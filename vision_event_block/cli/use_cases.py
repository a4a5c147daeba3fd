"""`vision-events use-cases`: list, create and archive the use cases that events belong to."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from vision_event_block.cli.help_pages import PLAIN, PlainGroup
from vision_event_block.cli.options import (
    JsonOption,
    api_client,
    aside,
    console,
    not_empty,
    patiently,
    print_json,
)
from vision_event_block.redaction import printable

use_cases = typer.Typer(
    name="use-cases",
    cls=PlainGroup,
    help="List, create and archive use cases. An event names its use case by id. Uses the key and "
    "address of the environment.",
    no_args_is_help=True,
    add_completion=False,
    **PLAIN,
)


@use_cases.command(name="list")
def list_use_cases(
    *,
    archived: Annotated[
        bool, typer.Option("--archived", help="List archived ones, which take no new events.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the use cases with their ids."""
    status = "inactive" if archived else "active"
    with api_client() as client:
        found = patiently(lambda: client.use_cases(status))
    if as_json:
        print_json([asdict(each) for each in found])
        return
    if not found:
        typer.echo("No use cases; vision-events use-cases create NAME creates one.")
        return
    table = Table("id", "name", "events", box=None, pad_edge=False)
    for each in found:
        table.add_row(each.id, each.name, "" if each.events is None else f"{each.events:,}")
    console().print(table)


@use_cases.command()
def create(
    name: Annotated[
        str, typer.Argument(help="Name of the use case.", callback=not_empty, show_default=False)
    ],
) -> None:
    """Create a use case and print its id, for the block's field Use Case."""
    with api_client() as client:
        made = client.create_use_case(name)  # no retry: it would create another one, or be refused
    aside(f"Created: {made.name or name}. Its id:")
    typer.echo(printable(made.id))


@use_cases.command()
def archive(
    use_case_id: Annotated[
        str, typer.Argument(help="Id of the use case.", callback=not_empty, show_default=False)
    ],
) -> None:
    """Archive a use case: its events stay, and it takes no new ones."""
    with api_client() as client:
        patiently(lambda: client.archive_use_case(use_case_id))
    typer.echo(printable(f"Archived: {use_case_id}"))
