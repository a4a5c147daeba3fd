"""Help that is not cut off in a narrow terminal, and is also shown for `-h`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from typer.core import TyperGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

#: For each group of commands. Plain click text that wraps: Rich's boxed tables cut words off.
PLAIN: Final[dict[str, Any]] = {
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


#: Of click, or of the click within typer: which of them depends on its version.
_ContextBase: Final[Any] = TyperGroup.context_class
_FormatterBase: Final[Any] = _ContextBase.formatter_class


class _Formatter(_FormatterBase):  # type: ignore[misc]
    def write_dl(
        self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        # Typer escapes brackets for Rich wherever Rich is installed, even if Rich does not print.
        plain = [(name, text.replace("\\[", "[")) for name, text in rows]
        super().write_dl(plain, col_max, col_spacing)


class _Context(_ContextBase):  # type: ignore[misc]
    formatter_class = _Formatter


def plain(command: click.Command) -> click.Command:
    """The command, with plain help."""
    command.context_class = _Context
    return command


class PlainGroup(TyperGroup):
    """Commands whose list shows the whole first sentence of each."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        return None if found is None else plain(found)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [
            (name, command.get_short_help_str(limit=1000))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
