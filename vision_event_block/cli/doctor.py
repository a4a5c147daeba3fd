"""`vision-events doctor`: what is wrong on this machine, and what to do about it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import typer

from vision_event_block import settings
from vision_event_block.cli import formatting
from vision_event_block.cli.options import (
    DISK,
    NEEDS_HELP,
    JsonOption,
    OutboxOption,
    api_key,
    api_url,
    current_settings,
    folder_of,
    not_an_outbox,
    print_json,
    timeouts,
)
from vision_event_block.cli.status import findings_of
from vision_event_block.cli.verdict import MAX_AGE_S
from vision_event_block.delivery.client import VisionEventsClient
from vision_event_block.delivery.errors import AuthError, RejectedError, TransientError
from vision_event_block.outbox import clock
from vision_event_block.outbox.disk import OutboxUnusable
from vision_event_block.outbox.entry import Corrupt, shown_key, unpack
from vision_event_block.outbox.key_salt import read_key_salt
from vision_event_block.outbox.mounts import file_system
from vision_event_block.outbox.quota import SHED_FROM
from vision_event_block.outbox.snapshot import take_snapshot
from vision_event_block.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vision_event_block.outbox.snapshot import File

PLUGIN: Final = "vision_event_block"
#: File systems that lose their contents when the machine or the container restarts.
PASSING: Final = frozenset({"tmpfs", "ramfs", "overlay", "aufs"})
#: Importing the host takes 20 s on a small board.
HOST_TIMEOUT_S: Final = 180.0
#: Run in a process of its own: the host prints while it loads, and may fail in any way.
_ASK_HOST: Final = """
from vision_event_block import host
from vision_event_block.blocks.manifest import BLOCK_TYPES
for block_type in BLOCK_TYPES:
    host.describe_block(block_type)
"""
_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_TRUE: Final = frozenset({"1", "true", "yes"})


@dataclass(frozen=True)
class Check:
    matter: str
    words: str
    #: What to do; empty if all is well.
    advice: str = ""

    @property
    def is_fine(self) -> bool:
        return not self.advice


def doctor(
    *,
    outbox: OutboxOption = None,
    as_json: JsonOption = False,
    host: Annotated[
        bool, typer.Option(help="Load the host to check that it finds the block.")
    ] = True,
) -> None:
    """Check what keeps events from reaching the API, and say what to do.

    Run it where the host runs, with the same environment. Exits with 1 if something is wrong.
    """
    folder = folder_of(outbox)
    found = []
    for check in _look(folder, host=host):
        found.append(check)
        if not as_json:
            _tell(check)
    if as_json:
        print_json([{**asdict(check), "is_fine": check.is_fine} for check in found])
    if not all(check.is_fine for check in found):
        raise typer.Exit(NEEDS_HELP)


def _look(folder: Path, *, host: bool) -> Iterator[Check]:
    yield from _of_variables()
    if host:
        yield from _of_plugin()
    yield from _of_api()
    try:
        yield from _of_folder(folder)
        if why := not_an_outbox(folder):
            words, _, advice = why.partition(". ")
            yield Check(
                "outbox", words, f"{advice}; vision-events send --through-outbox creates one"
            )
        yield from _of_room(folder)
        if not why:
            yield from _of_events(folder)
    except OSError as error:
        words = f"{error.filename or folder} cannot be read ({error.strerror})"
        advice = "run this as the user who owns it, or set VISION_EVENT_OUTBOX"
        yield Check("outbox", words, advice)
    yield from _of_clock()


def _tell(check: Check) -> None:
    mark = "ok   " if check.is_fine else "wrong"
    typer.echo(f"{mark}  {check.matter:7} {printable(check.words)}")
    if check.advice:
        typer.echo(f"{'':14} -> {check.advice}")


def _of_variables() -> Iterator[Check]:
    odd = settings.odd_variables(os.environ)
    yield from (Check("setting", what, advice) for what, advice in odd)
    if not odd:
        yield Check("setting", f"every {settings.PREFIX}... variable is a known setting")


def _of_plugin() -> Iterator[Check]:
    named = [name.strip() for name in os.environ.get("WORKFLOWS_PLUGINS", "").split(",")]
    if PLUGIN not in named:
        advice = f"set WORKFLOWS_PLUGINS={PLUGIN} where the host runs"
        yield Check("plugin", f"WORKFLOWS_PLUGINS does not name {PLUGIN}", advice)
        return
    if find_spec("inference") is None and find_spec("roboflow_workflows") is None:
        advice = "install it here, or run doctor in the host's environment"
        yield Check("plugin", "the host is not installed in this environment", advice)
        return
    try:
        asked = subprocess.run(  # noqa: S603 -- our own words to our own interpreter
            [sys.executable, "-c", _ASK_HOST],
            capture_output=True,
            text=True,
            timeout=HOST_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        words = f"the host did not load within {HOST_TIMEOUT_S:g} s"
        yield Check("plugin", words, "check the load on this machine and try again")
        return
    if asked.returncode == 0:
        yield Check("plugin", "the host finds the block")
    else:
        last = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        advice = "start python and import inference.core.workflows to see the full error"
        yield Check("plugin", f"the host does not find the block: {last}", advice)


def _of_api() -> Iterator[Check]:
    """Whether there is a key, the API answers, and it accepts the key."""
    if current_settings().api_url is None and os.environ.get("OFFLINE_MODE", "").lower() in _TRUE:
        advice = "unset OFFLINE_MODE, or set VISION_EVENT_API_URL to a server of your own"
        yield Check("api", "OFFLINE_MODE keeps the host from reaching the API", advice)
        return
    try:
        key = api_key()
    except ValueError as error:
        yield Check("key", str(error), "set ROBOFLOW_API_KEY again")
        return
    if key is None:
        advice = "set ROBOFLOW_API_KEY where the host runs, or send api_key with each request"
        yield Check("key", "no key in the environment", advice)
        return
    url = api_url()
    client = VisionEventsClient(base_url=url, api_key=key, timeouts=timeouts())
    salt = read_key_salt(settings.outbox_folder())
    shown = "the key" if salt is None else f"the key {shown_key(key.identity(salt))}"
    try:
        # The API refuses an empty event, but only after checking the key.
        client.create({})
    except RejectedError:
        yield Check("api", f"{url} answers")
        yield Check("key", f"{shown} is accepted")
    except AuthError as error:
        yield Check("api", f"{url} answers")
        advice = "create a key with the scope vision-events:write and set ROBOFLOW_API_KEY"
        yield Check("key", f"{shown} is refused: {error.message}", advice)
    except TransientError as error:
        if urlsplit(url).hostname in _THIS_MACHINE:
            advice = "start it (vision-events serve); events wait on disk meanwhile"
        else:
            advice = "check network, DNS, proxy and firewall; events wait on disk meanwhile"
        yield Check("api", f"{url} does not answer: {error.message}", advice)
    else:
        advice = "check VISION_EVENT_API_URL"
        yield Check("api", f"{url} accepts an empty event", advice)
    finally:
        client.close()


def _of_folder(folder: Path) -> Iterator[Check]:
    there = _nearest(folder)
    where = "set VISION_EVENT_OUTBOX to a folder on a local disk"
    DISK.names(there)  # fails if it is not a folder, or not readable
    kind = file_system(there)
    if kind in PASSING:
        advice = f"mount a volume, or {where}"
        yield Check("outbox", f"{folder} is on {kind}, which does not survive a restart", advice)
    if there == folder and not (problem := _unsafe(folder)).is_fine:
        yield problem
        return
    if why := _unwritable(there):
        yield Check("outbox", f"{there} cannot be written to: {why}", where)
    elif kind not in PASSING:
        yield Check("outbox", f"{folder} can be written to, on {kind or 'a disk'}")


def _of_room(folder: Path) -> Iterator[Check]:
    given = current_settings()
    free_bytes = DISK.free_bytes(_nearest(folder))
    advice = "free disk space, or move the outbox to another disk with VISION_EVENT_OUTBOX"
    if free_bytes < given.outbox_min_free_bytes:
        least = formatting.size(given.outbox_min_free_bytes)
        yield Check(
            "room", f"{formatting.size(free_bytes)} free, less than the {least} to keep", advice
        )
    found = take_snapshot(folder, DISK)
    room_bytes = settings.outbox_max_bytes(folder)
    used = f"{formatting.size(found.size_bytes)} of {formatting.size(room_bytes)} in use"
    if found.size_bytes > SHED_FROM * room_bytes:
        advice = "restore the connection, export events, or raise VISION_EVENT_OUTBOX_MAX_BYTES"
        yield Check("room", f"{used}; pictures are being shed", advice)
    elif free_bytes >= given.outbox_min_free_bytes:
        yield Check("room", f"{used}, {formatting.size(free_bytes)} free on the disk")


def _of_events(folder: Path) -> Iterator[Check]:
    """The findings of `status`, with what to do about them."""
    found = take_snapshot(folder, DISK)
    for finding in findings_of(folder, found, max_age_s=MAX_AGE_S):
        yield Check("events", finding.words, finding.advice)
    if whole := sum(map(_is_healthy, found.corrupt)):
        advice = "vision-events recheck requeues them"
        yield Check("events", f"{formatting.count(whole, 'event')} set aside but intact", advice)


def _is_healthy(file: File) -> bool:
    try:
        unpack(DISK.read(file.path))
    except (Corrupt, OSError):
        return False
    return True


def _of_clock() -> Iterator[Check]:
    now_s = time.time()
    if clock.is_plausible(now_s):
        yield Check("clock", formatting.time_of(now_s))
    else:
        advice = "set the clock, or run a time service; event times are corrected once it is right"
        yield Check(
            "clock", f"the system clock is implausible: {formatting.time_of(now_s)}", advice
        )


def _nearest(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _unsafe(folder: Path) -> Check:
    status = folder.stat()
    user = os.geteuid() if hasattr(os, "geteuid") else status.st_uid
    if status.st_uid != user:
        advice = "run as its owner, or set VISION_EVENT_OUTBOX to a folder of your own"
        return Check("outbox", f"{folder} belongs to user {status.st_uid}", advice)
    if stat.S_IMODE(status.st_mode) & 0o077:
        return Check("outbox", f"other users can read {folder}", f"chmod 700 {folder}")
    return Check("outbox", "")


def _unwritable(folder: Path) -> str:
    """Why nothing can be stored in a folder; empty if it can."""
    path = folder / f".doctor-{os.getpid()}"
    try:
        DISK.write(path, [b"?"], sync=True)
        lock = DISK.lock(path)
        if lock is not None:
            DISK.unlock(lock)
        DISK.sync_folder(folder)
    except OSError as error:
        return error.strerror or str(error)
    except OutboxUnusable as error:
        return str(error)
    finally:
        path.unlink(missing_ok=True)
    return ""
