"""The command `vision-events`."""

from __future__ import annotations

from typing import Annotated

import typer

from vision_event_block import __version__
from vision_event_block.cli.manifests import manifests

app = typer.Typer(
    name="vision-events",
    help="Tools beside the Vision Event block.",
    no_args_is_help=True,
    add_completion=False,
)
app.command()(manifests)


@app.callback(invoke_without_command=True)
def _options(
    *, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Runs the command line."""
    app()
