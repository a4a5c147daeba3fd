"""The blocks' schemas as files, for review.

python docs/manifests.py            # exits with 1 if a file is missing or stale
python docs/manifests.py --write
"""

# ruff: noqa: INP001 -- a script

from __future__ import annotations

import json
import logging
import os
import warnings
from pathlib import Path
from typing import Annotated

import typer

FOLDER = Path("manifests")


def manifests(
    *,
    folder: Annotated[Path, typer.Option(help="Folder of the files.", file_okay=False)] = FOLDER,
    write: Annotated[bool, typer.Option("--write", help="Write the files.")] = False,
) -> None:
    """Compare the files in manifests/ with the blocks as the installed host describes them.

    Exits with 1 if a file is missing or stale.
    """
    is_stale = False
    for name, text in _rendered().items():
        path = folder / name
        if write:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            typer.echo(f"Written: {path}")
        elif path.is_file() and path.read_text(encoding="utf-8") == text:
            typer.echo(f"Up to date: {path}")
        else:
            typer.echo(f"Stale: {path}. Run make manifests", err=True)
            is_stale = True
    if is_stale:
        raise typer.Exit(1)


def _rendered() -> dict[str, str]:
    """The content of each block's file, by the file's name."""
    os.environ.setdefault("WORKFLOWS_PLUGINS", "vision_event_block")
    os.environ.setdefault("TELEMETRY_OPT_OUT", "True")
    # What the host says about itself while it loads is not about the manifest.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    try:
        from vision_event_block import host  # noqa: PLC0415 - takes the host's 20 seconds
        from vision_event_block.blocks.manifest import BLOCK_TYPES  # noqa: PLC0415
    except ImportError as error:
        typer.echo(
            f"Roboflow Inference is not installed here ({error}): README, Install",
            err=True,
        )
        raise typer.Exit(2) from None
    finally:
        logging.disable(logging.NOTSET)
    return {
        f"{block_type.rpartition('/')[2]}.json": json.dumps(
            host.describe_block(block_type), indent=2, ensure_ascii=False
        )
        + "\n"
        for block_type in BLOCK_TYPES
    }


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(manifests)

if __name__ == "__main__":
    app()
