"""`vision-events export` and `upload`: taking events to the API on a USB drive."""

from __future__ import annotations

import gzip
import io
import mimetypes
import tarfile
from datetime import datetime, timezone
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Optional

import typer

from vision_event_block.cli import formatting
from vision_event_block.cli.options import (
    DISK,
    NEEDS_HELP,
    PATIENCE_S,
    OutboxOption,
    PatienceOption,
    api_client,
    aside,
    collected,
    fail,
    not_empty,
    opened,
    outbox_of,
    patiently,
    snapshot_of,
)
from vision_event_block.cli.verification import TooManyEvents, pages, period_query
from vision_event_block.contract.archives import (
    MAX_ARCHIVE_BYTES,
    BadArchive,
    is_gzipped,
    read_archive,
)
from vision_event_block.contract.names import PAYLOAD_NAME
from vision_event_block.delivery.destinations import API, EVENT_STORE, RELAY
from vision_event_block.delivery.errors import AuthError, RejectedError, VisionEventsError
from vision_event_block.events.bundle import create_body, encode_payload, picture_members
from vision_event_block.events.times import parse_time
from vision_event_block.outbox import clock
from vision_event_block.outbox.entry import Corrupt, unpack
from vision_event_block.outbox.entry_names import stored_at_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vision_event_block.contract.archives import Archive
    from vision_event_block.delivery.client import VisionEventsClient
    from vision_event_block.outbox.entry import EntryContents
    from vision_event_block.outbox.outbox import Outbox
    from vision_event_block.outbox.slot import Entry
    from vision_event_block.outbox.snapshot import File

ONLY_THE_SERVER: Final = "Left to the server with --forward-to, which has their pictures"
#: An archive may arrive late: by then the API may have an even newer version.
ONLY_THE_NETWORK: Final = "Newer versions of delivered or exported events, left to the network"
#: As the journal and the status name it.
EXPORTED: Final = "exported"
SENT: Final = "sent"
_ENDINGS: Final = (".tar", ".tar.gz", ".tgz")


def export(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Target folder, such as a USB drive.", file_okay=False, show_default=False
        ),
    ],
    *,
    dead: Annotated[
        bool, typer.Option("--dead", help="Export rejected events instead of waiting ones.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Write uncompressed tar files.")] = False,
    patience: PatienceOption = PATIENCE_S,
    outbox: OutboxOption = None,
) -> None:
    """Export waiting events as bundle archives, one file each; with --dead, rejected ones.

    An event leaves the outbox only once its archive is safely written. Exits with 1 if an event
    could not be exported.
    """
    source = outbox_of(outbox)
    found = snapshot_of(source)
    waiting = list(found.dead) if dead else found.pending
    pending = [file for file in waiting if not file.is_update]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"{folder} cannot be created ({error.strerror})")
    done = 0
    kinds = [_kind(file) for file in pending]
    files = [file for file, kind in zip(pending, kinds, strict=True) if kind == API]
    if files:
        with opened(source) as own:
            bar: Any  # click's own type has a parameter that means nothing here
            if dead:
                with typer.progressbar(files, label="Exporting") as bar:
                    done = sum(_export_dead(own, file, folder, plain=plain) for file in bar)
            else:
                entries = collected(own, files, patience_s=patience)
                with typer.progressbar(entries, label="Exporting") as bar:
                    done = sum(_export(own, entry, folder, plain=plain) for entry in bar)
    typer.echo(f"Exported to {folder}: {formatting.count(done, 'event')}")
    if len(pending) < len(waiting):
        newer = formatting.count(len(waiting) - len(pending), "event")
        typer.echo(f"{ONLY_THE_NETWORK}: {newer}", err=True)
    if RELAY in kinds:
        theirs = formatting.count(kinds.count(RELAY), "event")
        typer.echo(f"{ONLY_THE_SERVER}: {theirs}", err=True)
    if EVENT_STORE in kinds:
        others = formatting.count(kinds.count(EVENT_STORE), "event")
        typer.echo(f"Not for the Vision Events API: {others}", err=True)
    if done < len(files):
        typer.echo(f"Still in the outbox or delivered: {len(files) - done:,}", err=True)
        raise typer.Exit(NEEDS_HELP)


def upload(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder with bundle archives.", file_okay=False, exists=True, show_default=False
        ),
    ],
    *,
    bundle_route: Annotated[
        bool, typer.Option("--bundle-route", help="Send each archive as a whole, in one request.")
    ] = False,
    use_case: Annotated[
        Optional[str],  # noqa: UP045 -- the oldest typer knows no `|`
        typer.Option(
            help="Use case id that replaces the one in the archives.",
            callback=not_empty,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Send bundle archives to the API, and move those that were sent to sent/ in the folder.

    An event that the API already has is not overwritten: the API may have a newer version. Exits
    with 1 if an archive is damaged or rejected, or the API cannot be reached. Run it again to
    continue.
    """
    paths = sorted(path for path in folder.iterdir() if _is_archive(path))
    sent = 0
    with api_client() as client:
        there = Presence(client)
        try:
            with typer.progressbar(paths, label="Uploading") as bar:
                for path in bar:
                    sent += _upload(client, path, use_case, there, as_bundle=bundle_route)
        except VisionEventsError as error:  # the next archive would fail the same way
            _aside(f"{error}")
    typer.echo(f"Sent: {sent - there.found:,} of {formatting.count(len(paths), 'archive')}")
    if there.found:
        found = formatting.count(there.found, "event")
        typer.echo(f"Not sent again, since the API has them: {found}")
    if there.why_unknown:
        aside(f"Sent without checking what the API already has: {there.why_unknown}")
    if sent < len(paths):
        raise typer.Exit(NEEDS_HELP)


def _aside(words: str) -> None:
    typer.echo(err=True)  # below the progress bar
    aside(words)


def _kind(file: File) -> str:
    try:
        return file.metadata(DISK).address.kind
    except (Corrupt, OSError):
        return API  # reading the whole entry shows what is wrong


def _export(own: Outbox, entry: Entry, folder: Path, *, plain: bool) -> bool:
    try:
        contents = own.read(entry)
    except OSError as error:
        _aside(f"{entry.event_id} cannot be read now: {error}")
        return False
    if contents is None:
        _aside(f"{entry.event_id} cannot be read; see vision-events list --dead")
        return False
    return _write(contents, entry, folder, lambda: own.drop(entry, EXPORTED), plain=plain)


def _export_dead(own: Outbox, file: File, folder: Path, *, plain: bool) -> bool:
    """The same for a dead letter, which stays where it is until its archive is written."""
    try:
        contents = unpack(DISK.read(file.path))
    except (Corrupt, OSError) as error:
        _aside(f"{file.event_id} cannot be read: {error}")
        return False
    return _write(contents, file, folder, lambda: own.drop_aside(file.path, EXPORTED), plain=plain)


def _write(
    contents: EntryContents,
    event: Entry | File,
    folder: Path,
    remove: Callable[[], object],
    *,
    plain: bool,
) -> bool:
    """Whether an event is in an archive now, and not in the outbox."""
    payload = _with_corrected_time(contents)
    archive = pack_archive(payload, contents.pictures, plain=plain)
    if len(archive) > MAX_ARCHIVE_BYTES:
        size = formatting.size(len(archive))
        _aside(f"{event.event_id} is too large for a bundle ({size}) and stays in the outbox")
        return False
    try:
        _publish(folder / _archive_name(payload, event, plain=plain), archive)
    except OSError as error:
        _aside(f"{event.event_id} cannot be written: {error}")
        return False
    try:
        remove()
    except OSError as error:
        _aside(f"{event.event_id} is exported but cannot be removed: {error}")
        return False
    return True


def _with_corrected_time(contents: EntryContents) -> dict[str, Any]:
    payload = dict(contents.payload)
    if isinstance(payload.get("timestamp"), str):
        now = clock.reading()
        payload["timestamp"] = clock.corrected(payload["timestamp"], contents.metadata.taken, now)
    return payload


def _archive_name(payload: dict[str, Any], entry: Entry | File, *, plain: bool) -> str:
    """`event_<UTC>_<event id>.tar.gz`, as the official writer names its own."""
    try:
        taken = datetime.fromisoformat(payload["timestamp"]).astimezone(timezone.utc)
    except (KeyError, TypeError, ValueError):
        taken = datetime.fromtimestamp(stored_at_s(entry.name), timezone.utc)
    stamp = taken.strftime("%Y%m%dT%H%M%S_%f")
    return f"event_{stamp}_{entry.event_id}.{'tar' if plain else 'tar.gz'}"


def pack_archive(
    payload: Mapping[str, Any], pictures: Mapping[str, bytes], *, plain: bool
) -> bytes:
    """The same bytes for the same event, so that a second try can tell what is there already."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in {PAYLOAD_NAME: encode_payload(payload), **pictures}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o600
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue() if plain else gzip.compress(buffer.getvalue(), 6, mtime=0)


def _publish(path: Path, content: bytes) -> None:
    """Writes a new file so that it is there as a whole, also after the stick was pulled out.

    Raises:
        FileExistsError: another file is there; one of the same content counts as written.
        OSError: it cannot be written.
    """
    if path.exists():
        if path.read_bytes() == content:
            return
        raise FileExistsError(f"{path} is there already, with another content")
    hidden = path.with_name(f".{path.name}.tmp")
    try:
        DISK.write(hidden, [content], sync=True)
        DISK.rename(hidden, path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
    DISK.sync_folder(path.parent)


def _is_archive(path: Path) -> bool:
    is_named_so = path.name.endswith(_ENDINGS) and not path.name.startswith(".")
    return is_named_so and path.is_file()


class Presence:
    def __init__(self, client: VisionEventsClient) -> None:
        self._client = client
        self.found = 0
        #: Why the last check failed.
        self.why_unknown = ""

    def has(self, payload: Mapping[str, Any], use_case: str | None) -> bool:
        """Whether the API has the event; False if that is unknown."""
        use_case_id = use_case or payload.get("useCaseId")
        try:
            taken = parse_time(payload["timestamp"])
        except (KeyError, TypeError, ValueError):
            return False  # the API will not accept it either
        if not use_case_id:
            return False
        replies = pages(self._client, period_query(use_case_id, taken, taken))
        try:
            for reply in replies:
                if any(each.get("eventId") == payload.get("eventId") for each in reply.events):
                    self.found += 1
                    return True
        except (RejectedError, AuthError, TooManyEvents) as error:
            if getattr(error, "status", None) == HTTPStatus.UNAUTHORIZED:
                raise
            self.why_unknown = str(error)
        return False


def _upload(
    client: VisionEventsClient,
    path: Path,
    use_case: str | None,
    there: Presence,
    *,
    as_bundle: bool,
) -> bool:
    """Whether the API has the event now; raises VisionEventsError if the others would fail too."""
    try:
        content = _read(path)
        archive = read_archive(content)
        _check_images(archive)
        if there.has(archive.payload, use_case):
            pass
        elif as_bundle:
            compressed = is_gzipped(content)
            patiently(lambda: client.bundle(content, is_gzipped=compressed, use_case_id=use_case))
        else:
            _send(client, archive, use_case)
        sent = path.parent / SENT
        sent.mkdir(exist_ok=True)
        path.replace(sent / path.name)
    except RejectedError as error:
        _aside(f"{path.name} was rejected: {error.message}")
        return False
    except (BadArchive, OSError) as error:
        _aside(f"{path.name} cannot be sent: {error}")
        return False
    return True


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_ARCHIVE_BYTES + 1)  # anything longer is refused when it is unpacked


def _check_images(archive: Archive) -> None:
    """Raises BadArchive where the API would only warn and keep the event without its pictures."""
    try:
        picture_members(archive.payload)
    except (TypeError, AttributeError):
        raise BadArchive("its images are not a list of images") from None


def _send(client: VisionEventsClient, archive: Archive, use_case: str | None) -> None:
    source_ids = {}
    for name, picture in archive.pictures.items():
        media_type = mimetypes.guess_type(name)[0] or "image/jpeg"
        upload_one = partial(
            client.upload, picture, file_name=Path(name).name, media_type=media_type
        )
        source_ids[name] = patiently(upload_one).source_id
    body = create_body(archive.payload, source_ids)
    patiently(lambda: client.create({**body, "useCaseId": use_case} if use_case else body))
