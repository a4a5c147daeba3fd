"""The commands by name. A module is imported only when its command is called: some are slow."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Final

import typer

from vision_event_block import __version__
from vision_event_block.cli.help_pages import PLAIN, PlainGroup, plain
from vision_event_block.logs import PlainFormatter

if TYPE_CHECKING:
    import click

#: Where each command is, in the order of the help.
_COMMANDS: Final = {
    "status": "status:status",
    "list": "events:list_events",
    "show": "events:show",
    "tail": "tail:tail",
    "retry": "retry:retry",
    "requeue": "dead_letters:requeue",
    "recheck": "dead_letters:recheck",
    "drop": "dead_letters:drop",
    "drain": "drain:drain",
    "export": "export_upload:export",
    "upload": "export_upload:upload",
    "verify": "verification:verify",
    "export-dataset": "export_dataset:export_dataset",
    "delete": "deletion:delete",
    "send": "send:send",
    "use-cases": "use_cases:use_cases",
    "doctor": "doctor:doctor",
    "config": "config:config",
    "serve": "serve:serve",
    "keys": "keys:keys",
    "demo": "demo:demo",
}


class _Commands(PlainGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- of click
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(f"vision_event_block.cli.{module}"), name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, rich_markup_mode=None)
            alone.command()(found)
            found = alone
        command = plain(typer.main.get_command(found))
        command.name = cmd_name
        return command


app = typer.Typer(
    name="vision-events",
    cls=_Commands,
    help="Tools for the events of the Vision Event block, and the local Vision Events server.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they print each variable, and so keys and passwords
    **PLAIN,
)


@app.callback(invoke_without_command=True)
def _options(
    *, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def run() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for handler in logging.getLogger().handlers:
        handler.setFormatter(PlainFormatter("%(message)s"))
    app()
