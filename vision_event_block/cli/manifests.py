"""`vision-events manifests`: the block's schema as a file, for review."""

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
    """Compare the files in manifests/ with the block as the installed host describes it.

    Exits with 1 if a file is missing or stale.
    """
    path, text = rendered()
    path = folder / path
    if write:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        typer.echo(f"Written: {path}")
    elif path.is_file() and path.read_text(encoding="utf-8") == text:
        typer.echo(f"Up to date: {path}")
    else:
        typer.echo(f"Stale: {path}. Run vision-events manifests --write", err=True)
        raise typer.Exit(1)


def rendered() -> tuple[Path, str]:
    """Name and content of the block's file."""
    os.environ.setdefault("WORKFLOWS_PLUGINS", "vision_event_block")
    os.environ.setdefault("TELEMETRY_OPT_OUT", "True")
    # What the host says about itself while it loads is not about the manifest.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    try:
        from vision_event_block import host  # noqa: PLC0415 - takes the host's 20 seconds
        from vision_event_block.blocks.manifest import BLOCK_TYPE  # noqa: PLC0415
    except ImportError as error:
        typer.echo(
            f"Roboflow Inference is not installed here ({error}): README, Install",
            err=True,
        )
        raise typer.Exit(2) from None
    finally:
        logging.disable(logging.NOTSET)
    description = host.describe_block(BLOCK_TYPE)
    name = BLOCK_TYPE.rpartition("/")[2]
    return Path(f"{name}.json"), json.dumps(description, indent=2, ensure_ascii=False) + "\n"
