"""The command `vision-events`."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from vision_event_block import __version__
from vision_event_block.cli.dead_letters import drop, recheck, requeue
from vision_event_block.cli.deletion import delete
from vision_event_block.cli.demo import demo
from vision_event_block.cli.doctor import doctor
from vision_event_block.cli.drain import drain
from vision_event_block.cli.events import list_events, show
from vision_event_block.cli.export_upload import export, upload
from vision_event_block.cli.keys import keys
from vision_event_block.cli.manifests import manifests
from vision_event_block.cli.options import PlainFormatter
from vision_event_block.cli.serve import serve
from vision_event_block.cli.status import status
from vision_event_block.cli.verification import verify

app = typer.Typer(
    name="vision-events",
    help="Tools for the events of the Vision Event block, and the local Vision Events server.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",  # paragraphs flow, and brackets are text
)
app.command()(status)
app.command(name="list")(list_events)
app.command()(show)
app.command()(requeue)
app.command()(recheck)
app.command()(drop)
app.command()(drain)
app.command()(export)
app.command()(upload)
app.command()(verify)
app.command()(delete)
app.command()(doctor)
app.command()(manifests)
app.command()(serve)
app.add_typer(keys)
app.command()(demo)


@app.callback(invoke_without_command=True)
def _options(
    *, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Runs the command line."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for handler in logging.getLogger().handlers:
        handler.setFormatter(PlainFormatter("%(message)s"))
    app()
