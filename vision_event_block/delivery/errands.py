"""The courier's errands, and the one who runs them. One errand is at most one request."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vision_event_block.delivery.errors import (
    AuthError,
    InternalError,
    RejectedError,
    TransientError,
    VisionEventsError,
)
from vision_event_block.delivery.parcel import Parcel, Verdict
from vision_event_block.events.bundle import picture_members
from vision_event_block.logs import QuietLog

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from vision_event_block.delivery.aftermath import Aftermath
    from vision_event_block.delivery.line import Line
    from vision_event_block.delivery.replies import Remark
    from vision_event_block.delivery.shelf import Shelf
    from vision_event_block.delivery.tally import Tally
    from vision_event_block.outbox.entry import Contents

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Open:
    """Read an event from disk and begin with it."""

    parcel: Parcel


@dataclass(frozen=True, eq=False)
class Upload:
    """Send one picture."""

    parcel: Parcel
    member: str
    picture: bytes
    send: Callable[[bytes], str]


@dataclass(frozen=True, eq=False)
class Create:
    """Send events whose pictures are up."""

    parcels: list[Parcel]


Errand = Open | Upload | Create


class Runner:
    """Carries errands out, on the thread that asks for it."""

    def __init__(  # noqa: PLR0913 -- what the courier's parts have in common
        self,
        shelf: Shelf,
        tally: Tally,
        aftermath: Aftermath,
        *,
        lock: threading.RLock,
        tell: Callable[[], None],
        clock_s: Callable[[], float],
        stopping: threading.Event,
    ) -> None:
        self._shelf = shelf
        self._tally = tally
        self._aftermath = aftermath
        #: Guards the lines; `tell` wakes whoever waits for them.
        self._lock = lock
        self._tell = tell
        self._clock = clock_s
        self._log = QuietLog(_logger)
        #: From then on nobody here goes on with what is begun.
        self._stopping = stopping

    def run(self, line: Line, errand: Errand, epoch: int) -> None:
        """Carries an errand out, with all that follows."""
        if isinstance(errand, Open):
            found = self._open(line, errand.parcel)
            if found is None:
                with self._lock:
                    line.gate.cancelled(epoch)
                    self._tell()
                return
            errand = found
        if isinstance(errand, Upload):
            self._upload(line, errand, epoch)
        elif isinstance(errand, Create):
            self._create(line, errand.parcels, epoch)

    def _open(self, line: Line, parcel: Parcel) -> Errand | None:
        """Reads the event; gives its first request, and puts the others in line."""
        try:
            is_there = self._shelf.fetch(parcel)
        except Exception as caught:  # noqa: BLE001 -- a disk's trouble of now, mostly
            self._aftermath.failed(line, [parcel], _unforeseen(caught))
            return None
        if not is_there:
            with self._lock:
                line.leave(parcel)
                self._tell()
            return None
        contents = _held(parcel)
        send = line.destination.upload
        uploads = [
            Upload(parcel, member, contents.pictures[member], send)
            for member in picture_members(contents.payload)
            if send is not None and member in contents.pictures and member not in parcel.source_ids
        ]
        parcel.error, parcel.uploads_left = None, len(uploads)
        if not uploads:
            self._forget_pictures(line, parcel)
        with self._lock:
            if uploads:
                line.add_uploads(uploads[1:])
                self._tell()
                return uploads[0]
            line.add_ready(parcel, self._clock())
            self._tell()
        return None

    def _upload(self, line: Line, upload: Upload, epoch: int) -> None:
        parcel = upload.parcel
        error: VisionEventsError | None = None
        started_s = self._clock()
        try:
            source_id = upload.send(upload.picture)
        except VisionEventsError as caught:
            error = caught.with_traceback(None)
        except Exception as caught:  # noqa: BLE001 -- functions of the host are called on the way
            error = _unforeseen(caught)
        self._tally.add_request("upload", _outcome(error), self._clock() - started_s)
        with self._lock:
            if error is None:
                self._aftermath.succeeded(line, epoch)
                parcel.source_ids[upload.member] = source_id
            else:
                parcel.note_error(error)
                self._aftermath.troubled(line, epoch, error)
            parcel.uploads_left -= 1
            is_last = parcel.uploads_left == 0
            if is_last and parcel.error is None:
                self._forget_pictures(line, parcel)
                line.add_ready(parcel, self._clock())
            self._tell()
        if is_last and parcel.error is not None:
            self._aftermath.failed(line, [parcel], parcel.error)
        elif self._stopping.is_set():
            self._shelf.note_progress(parcel)

    def _create(self, line: Line, parcels: list[Parcel], epoch: int) -> None:
        warnings: Sequence[Remark] = ()
        error: VisionEventsError | None = None
        started_s = self._clock()
        try:
            warnings = line.destination.send([(_held(p), p.source_ids) for p in parcels])
        except VisionEventsError as caught:
            error = caught.with_traceback(None)
        except (TypeError, ValueError) as caught:  # an odd event that cannot be written as JSON
            error = RejectedError(f"it cannot be sent: {caught}", route="create")
        except Exception as caught:  # noqa: BLE001 -- as above
            error = _unforeseen(caught)
        route = "create" if len(parcels) == 1 else "batch"
        self._tally.add_request(route, _outcome(error), self._clock() - started_s)
        if error is None:
            for parcel in parcels:
                self._shelf.take_off(parcel)
                parcel.end(Verdict.DELIVERED)
        with self._lock:
            line.creation_ended()
            if error is None:
                self._aftermath.succeeded(line, epoch)
                for parcel in parcels:
                    line.leave(parcel)
                    line.delivered += 1
                    parcel.settle(Verdict.DELIVERED, warnings=_about(parcel, warnings))
            else:
                self._aftermath.troubled(line, epoch, error)
            self._tell()
        if error is not None:
            self._aftermath.failed(line, parcels, error)
        for warning in warnings:
            self._log.say(
                logging.WARNING,
                ("warning", str(warning)),
                f"the API took an event with a warning: {warning}",
            )

    def _forget_pictures(self, line: Line, parcel: Parcel) -> None:
        """Pictures that are up, and on disk besides, need no memory."""
        if line.destination.upload is not None and parcel.entry is not None and parcel.contents:
            parcel.contents = replace(parcel.contents, pictures={})


def _about(parcel: Parcel, remarks: Sequence[Remark]) -> tuple[Remark, ...]:
    """Those of a batch's remarks that are not about another event."""
    return tuple(remark for remark in remarks if remark.event_id in (None, parcel.event_id))


def _held(parcel: Parcel) -> Contents:
    if parcel.contents is None:
        raise AssertionError("a parcel that is being sent holds its event")
    return parcel.contents


def _unforeseen(error: Exception) -> InternalError:
    """Odd trouble ends no event: it waits, and the others go on."""
    _logger.error("an errand of the courier failed", exc_info=error)
    return InternalError.of(error, "courier")


def _outcome(error: VisionEventsError | None) -> str:
    """Whose trouble it was, in a word."""
    for word, kind in (("event", RejectedError), ("key", AuthError), ("link", TransientError)):
        if isinstance(error, kind):
            return word
    return "ok"
