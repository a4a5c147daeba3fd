"""`vision-events export-dataset`: events of a server as a training data set."""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from enum import Enum
from pathlib import Path  # noqa: TC003 -- typer reads annotations
from typing import TYPE_CHECKING, Annotated, Any, Final, Optional

import typer

from vision_event_block.cli.export_state import NAME, ExportState
from vision_event_block.cli.options import (
    USAGE,
    api_client,
    api_url,
    fail,
    required_key,
    seconds_in,
)
from vision_event_block.delivery.errors import AuthError, RejectedError, VisionEventsError
from vision_event_block.extras import how_to_add
from vision_event_block.redaction import without_passwords

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_AGAIN: Final = "Run the same command again to continue where it stopped."


class DataSetFormat(str, Enum):
    YOLO = "yolo"
    YOLO_SEG = "yolo-seg"
    YOLO_POSE = "yolo-pose"
    COCO = "coco"


def export_dataset(  # noqa: PLR0913 -- an export has these options
    folder: Annotated[
        Path, typer.Argument(help="Folder for the data set.", file_okay=False, show_default=False)
    ],
    *,
    use_case: Annotated[
        str, typer.Option("--use-case", help="Id of the use case.", show_default=False)
    ],
    layout: Annotated[
        DataSetFormat,
        typer.Option("--format", help="YOLO with boxes, outlines or key points; or COCO."),
    ] = DataSetFormat.YOLO,
    since: Annotated[
        Optional[str],  # noqa: UP045 -- the oldest typer knows no `|`
        typer.Option(
            help="How far back to go: 90m, 24h, 7d. [default: no limit]", show_default=False
        ),
    ] = None,
    only_wrong: Annotated[
        bool, typer.Option("--only-wrong", help="Only events that somebody judged incorrect.")
    ] = False,
    query: Annotated[
        str,
        typer.Option(
            help="More filters: the JSON of an API query, such as "
            '\'{"deviceId": {"operator": "eq", "value": "cam-2"}}\'.'
        ),
    ] = "{}",
    split: Annotated[
        str,
        typer.Option(help="Shares of train, valid and test; an event always goes to the same one."),
    ] = "70/20/10",
    with_outputs: Annotated[
        bool,
        typer.Option(
            "--with-outputs",
            help="Take the output picture of images without an input picture. Only for workflows "
            "that draw nothing on it.",
        ),
    ] = False,
) -> None:
    """Export events of the API or the local server as a data set, with their pictures.

    Uses the address and key of the environment. If it is interrupted, the same command continues
    where it stopped. Exits with 1 if the server cannot be reached or refuses.
    """
    try:
        from vision_event_block.cli import data_set_intake  # noqa: PLC0415 -- needs an extra
    except ModuleNotFoundError as error:
        fail(f"{error}. Data sets need the server's extra: {how_to_add('server')}")
    key, shares, filters = required_key(), _shares(split), _filters(query)
    options = {
        "server": without_passwords(api_url()),
        "use case": use_case,
        "format": layout.value,
        "since": since,
        "only wrong": only_wrong,
        "query": dict(filters),
        "split": shares,
        "with outputs": with_outputs,
    }
    filters |= {"useCaseId": use_case, **_period(since)}
    if only_wrong:
        filters["feedbackStatus"] = ["incorrect"]
    with api_client() as client, _advising(folder), _state_in(folder, options) as state:
        data_set_intake.list_events(client, state, filters)
        data_set_intake.fill(folder, layout.value, state, key, shares, with_outputs=with_outputs)
        state.remove()


@contextmanager
def _state_in(folder: Path, options: Mapping[str, Any]) -> Iterator[ExportState]:
    """The state of the export in a folder; a new one if the folder is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / NAME).exists() and any(folder.iterdir()):
        fail(f"{folder} is not empty. Give a new folder, or that of an interrupted export.", USAGE)
    with ExportState(folder) as state:
        if not state.agree(options):
            fail(
                f"{folder} holds an interrupted export with other options. Finish that one with "
                "its own options, or give another folder.",
                USAGE,
            )
        yield state


@contextmanager
def _advising(folder: Path) -> Iterator[None]:
    """Ends the command with what went wrong, and whether to try again."""
    try:
        yield
    except (KeyboardInterrupt, typer.Abort):
        fail(f"Interrupted. {_AGAIN}")
    except AuthError as error:
        fail(f"{error}. Set another ROBOFLOW_API_KEY, then run the same command again.")
    except RejectedError as error:
        fail(f"{error}. Trying again will not help; check --use-case and --query.")
    except VisionEventsError as error:
        fail(f"{error}. {_AGAIN}")
    except sqlite3.OperationalError as error:
        fail(f"{folder / NAME} cannot be used ({error}). Is another export running in this folder?")
    except OSError as error:
        fail(f"{error.filename or folder}: {error.strerror}. Once that is fixed: {_AGAIN}")


def _filters(query: str) -> dict[str, Any]:
    try:
        found = json.loads(query)
    except ValueError as error:
        fail(f"--query is not JSON: {error}", USAGE)
    if not isinstance(found, dict):
        fail("--query must be a JSON object.", USAGE)
    return found


def _period(since: str | None) -> dict[str, str]:
    if since is None:
        return {}
    start = datetime.now(timezone.utc) - timedelta(seconds=seconds_in("--since", since))
    return {"startTime": start.isoformat(timespec="seconds").replace("+00:00", "Z")}


def _shares(split: str) -> tuple[int, int, int]:
    parts = split.split("/")
    if len(parts) != 3 or not all(each.isdecimal() for each in parts) or not any(map(int, parts)):  # noqa: PLR2004
        fail("--split takes three whole numbers such as 70/20/10.", USAGE)
    train, valid, test = map(int, parts)
    return train, valid, test
