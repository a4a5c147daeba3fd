"""`vision-events demo`: events of real workflows in the browser, with no account or model."""

from __future__ import annotations

import signal
import tempfile
import threading
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Optional

import typer

from vision_event_block.cli.options import NEEDS_HELP, console, fail
from vision_event_block.extras import how_to_add


def demo(
    *,
    data: Annotated[
        Optional[Path],  # noqa: UP045 -- the oldest typer knows no `|`
        typer.Option(
            help="Folder for the events. [default: a temporary one]",
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page, 0 for a free one.")
    ] = 0,
    ends: Annotated[
        bool,
        typer.Option(
            "--exit",
            help="For scripts: exit after the table, with 0 if every event arrived with its "
            "pictures.",
        ),
    ] = False,
) -> None:
    """Run sample workflows and show their events on a local page.

    The workflows run on generated recordings through Roboflow Inference and send their events to
    a local server. Nothing leaves this machine: no account, no model, no network. Takes about
    a minute, then serves the page until Ctrl-C.
    """
    if find_spec("inference") is None:
        fail("The demo needs Roboflow Inference, which is not installed here: README, Install")
    try:
        from vision_event_block.server.http_server import serving  # noqa: PLC0415
        from vision_event_block.server.storage import Store  # noqa: PLC0415
        from vision_event_block.server.store.errors import StoreError  # noqa: PLC0415
    except ImportError as error:
        fail(f"{error}. The demo needs the server's extra: {how_to_add('server')}")
    from vision_event_block.demo import show  # noqa: PLC0415 -- brings OpenCV

    # However it is stopped, it cleans up.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    is_complete = False
    try:
        with ExitStack() as stack:
            folder = _folder(data, stack)
            store = stack.enter_context(Store.open(folder))
            show.create_use_cases(store)
            url = stack.enter_context(serving(store, port=port))
            typer.echo(f"Vision Events at  {url}")
            typer.echo("Nothing leaves this machine. Events appear there within half a minute.\n")
            outcomes = show.run(store, url, console())
            console().print(show.table_of(outcomes))
            troubles = show.troubles_of(outcomes)
            is_complete = not troubles
            for trouble in troubles:
                typer.echo(trouble, err=True)
            if data is not None:
                typer.echo(f"To see them again: vision-events serve --data {data}")
            typer.echo(f"\nSee them at:  {url}")
            if not ends:
                typer.echo("Ctrl-C stops it.")
                threading.Event().wait()
    except KeyboardInterrupt:
        typer.echo("\nStopped.")
    except (StoreError, OSError) as error:
        fail(_reason(error, port))
    if not is_complete:
        raise typer.Exit(NEEDS_HELP)


def _reason(error: Exception, port: int) -> str:
    if not isinstance(error, OSError):
        return str(error)
    return f"{error.filename or f'127.0.0.1:{port}'}: {error.strerror or error}"


def _folder(data: Path | None, stack: ExitStack) -> Path:
    if data is None:
        made = tempfile.TemporaryDirectory(prefix="vision-events-demo-", ignore_cleanup_errors=True)
        return Path(stack.enter_context(made))
    folder = data.expanduser().absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
