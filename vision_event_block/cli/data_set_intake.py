"""Events of a server and their pictures, each fetched once and written as a data set."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urljoin, urlsplit

import requests
import typer

from vision_event_block.cli import formatting
from vision_event_block.cli.export_state import Fetched
from vision_event_block.cli.options import api_url, aside, fail, patiently, timeouts
from vision_event_block.contract.limits import EVENT_TYPES, FEEDBACKS
from vision_event_block.contract.names import SOURCE_IDS
from vision_event_block.delivery.errors import NoAnswer, RejectedError, Unreachable
from vision_event_block.delivery.replies import Answer, error_for
from vision_event_block.server.api.ingest import Identity, RequestRefused, fit, parse_timestamp
from vision_event_block.server.page.exports.data_set import DataSet
from vision_event_block.server.page.exports.samples import (
    ENDINGS,
    NOT_HERE,
    NOT_TRAINABLE,
    SPLITS,
    Candidates,
    Samples,
)
from vision_event_block.server.pictures.formats import appearance_of
from vision_event_block.server.store.errors import NotAPicture
from vision_event_block.server.store.timestamps import microseconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from typing_extensions import Self

    from vision_event_block.cli.export_state import ExportState
    from vision_event_block.delivery.client import VisionEventsClient
    from vision_event_block.delivery.secret import Secret
    from vision_event_block.server.page.exports.data_set import Format
    from vision_event_block.server.page.exports.samples import Candidate, Sample

#: Events per request; events with many outlines are large.
PAGE_EVENTS: Final = 100
MAX_PICTURE_BYTES: Final = 256 * 2**20
_CHUNK_BYTES: Final = 256 * 1024
#: File of the picture that is being downloaded.
_ARRIVING: Final = ".arriving"
_FEEDBACK: Final = "operator_feedback"
_KEY_STATUSES: Final = (requests.codes.unauthorized, requests.codes.forbidden)
#: Keys under which an image may give its pictures' addresses; the API's own are not documented.
_ADDRESSES: Final = {
    SOURCE_IDS.input: ("inputUrl", "inputSourceUrl", "inputImageUrl"),
    SOURCE_IDS.output: ("url", "sourceUrl", "imageUrl"),
}


def list_events(client: VisionEventsClient, state: ExportState, filters: Mapping[str, Any]) -> None:
    """Stores all matching events and the feedback about them in the state, page by page."""
    about = {key: filters[key] for key in ("useCaseId", "startTime") if key in filters}
    queries = {
        "feedback": {**about, "eventTypes": [_FEEDBACK]},
        "events": {"eventTypes": [each for each in EVENT_TYPES if each != _FEEDBACK], **filters},
    }
    for name, query in queries.items():
        while not state.is_listed(name):
            cursor = state.cursor(name)
            page = {**query, "limit": PAGE_EVENTS, **({"cursor": cursor} if cursor else {})}
            try:
                reply = patiently(partial(client.query, page))
            except RejectedError:
                if cursor is None:
                    raise
                state.restart(name)  # an old cursor may have expired
                continue
            following = reply.next_cursor if reply.events else None
            following = None if following == cursor else following
            if name == "feedback":
                state.add_verdicts(_verdicts(reply.events), following)
            else:
                state.add_events(_dated(reply.events), following)
    aside(f"Listed: {formatting.count(state.event_count, 'event')}")


def fill(  # noqa: PLR0913 -- what an export is made of
    folder: Path,
    layout: Format,
    state: ExportState,
    key: Secret,
    shares: tuple[int, int, int],
    *,
    with_outputs: bool,
) -> None:
    """Writes the data set of the listed events to its folder; files that exist are kept."""
    data_set = DataSet(layout)
    with Samples() as samples, PictureSource(api_url(), key) as source:
        candidates = Candidates(shares, with_outputs=with_outputs, left_out=samples.left_out)
        intake = _Intake(folder, data_set, state, source)
        stderr = typer.get_text_stream("stderr")
        bar: Any  # click's own type has a parameter that means nothing here
        with typer.progressbar(
            length=state.event_count, label="Exporting", file=stderr, show_pos=True
        ) as bar:
            for event_id, body, feedback in state.events():
                moment = parse_timestamp(body["timestamp"], "timestamp")
                kept = _kept(event_id, body)
                for candidate in candidates.of(event_id, moment, kept, feedback):
                    intake.take(candidate, samples)
                bar.update(1)
        (folder / _ARRIVING).unlink(missing_ok=True)
        for name in data_set.folders:
            (folder / name).mkdir(parents=True, exist_ok=True)
        for path, pieces in data_set.documents(samples):
            with (folder / path).open("wb") as file:
                file.writelines(pieces)
        if samples.left_out[NOT_HERE] and not samples.counts:
            fail(
                "None of the pictures can be fetched: the server's events do not give their "
                "addresses, and it does not serve them by id."
            )
        counts = ", ".join(f"{name} {samples.counts[name]:,}" for name in SPLITS)
        typer.echo(f"Exported: {formatting.count(samples.counts.total(), 'picture')} ({counts})")
        for why, number in sorted(samples.left_out.items()):
            aside(f"Left out: {formatting.count(number, 'picture')} {why}")


class AddressExpired(NoAnswer):
    """The address in an event was refused; a new listing may give a fresh one."""


class PictureSource:
    """Fetches pictures by address: the API's own, or those that its events give."""

    def __init__(self, base_url: str, key: Secret) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key
        given = timeouts()
        self._timeouts_s = (given.connect_s, given.read_s)
        self._session = requests.Session()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def address_of(self, image: Mapping[str, Any], picture_id: str) -> str:
        which = SOURCE_IDS.input if picture_id == image.get(SOURCE_IDS.input) else SOURCE_IDS.output
        named = next((image[name] for name in _ADDRESSES[which] if image.get(name)), None)
        if isinstance(named, str):
            return urljoin(f"{self._base_url}/", named)
        return f"{self._base_url}/vision-events/pictures/{quote(picture_id, safe='')}"

    def fetch(self, address: str, into: Path) -> bool:
        """Whether the picture exists; if so, the file is complete and synced.

        Raises:
            RejectedError: it can never be fetched.
            VisionEventsError: it cannot be fetched now.
        """
        place = urlsplit(address)
        route = f"GET {place.path}"  # a query may hold a signature
        if place.scheme not in ("http", "https"):
            raise RejectedError("the address of a picture is not an http or https URL", route=route)
        try:
            with self._session.get(
                address, auth=self._sign, stream=True, timeout=self._timeouts_s
            ) as response:
                if response.status_code == requests.codes.ok:
                    self._save(response, into, route)
                    return True
                answer = Answer(
                    response.status_code,
                    response.raw.read(_CHUNK_BYTES, decode_content=True),
                    response.headers.get("Retry-After"),
                )
        except requests.ConnectionError as error:
            kind = NoAnswer if isinstance(error, requests.ReadTimeout) else Unreachable
            raise kind(_in_words(error, place.netloc), route=route) from None
        except requests.RequestException as error:
            raise NoAnswer(_in_words(error, place.netloc), route=route) from None
        if answer.status in (requests.codes.not_found, requests.codes.gone):
            return False
        if answer.status in _KEY_STATUSES and not self._is_ours(address):
            raise AddressExpired(
                f"{place.netloc} refused a picture ({answer.status}); its address may have "
                "expired, and new addresses will be requested",
                route=route,
            )
        raise error_for(answer, route, self._key.hide_in, server=place.netloc)

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sends the key to the API only. It also keeps `requests` from reading .netrc."""
        if self._is_ours(str(request.url)):
            request.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        return request

    def _is_ours(self, address: str) -> bool:
        return urlsplit(address)[:2] == urlsplit(self._base_url)[:2]

    def _save(self, response: requests.Response, into: Path, route: str) -> None:
        size_bytes = 0
        with into.open("wb") as file:
            for chunk in response.iter_content(_CHUNK_BYTES):
                size_bytes += file.write(chunk)
                if size_bytes > MAX_PICTURE_BYTES:
                    raise RejectedError(
                        f"the picture is larger than {MAX_PICTURE_BYTES:,} bytes", route=route
                    )
            file.flush()
            os.fsync(file.fileno())


@dataclass(frozen=True)
class _Intake:
    folder: Path
    data_set: DataSet
    state: ExportState
    source: PictureSource

    def take(self, candidate: Candidate, samples: Samples) -> None:
        """Adds the sample with its picture in place, or counts why it is left out."""
        address = self.source.address_of(candidate.sample.image, candidate.picture_id)
        known = self.state.fetched(address)
        sample, why_not = self._in_place(candidate), NOT_HERE
        if sample is None and known is None:
            if self._fetch(address):
                sample, why_not = self._placed(candidate), NOT_TRAINABLE
        elif sample is None and known is not None and known.path is not None:
            shutil.copyfile(self.folder / known.path, self.folder / _ARRIVING)
            sample = self._placed(candidate)
        elif sample is None and known is not None:
            why_not = known.why_not or NOT_HERE
        if known is None:
            path = None if sample is None else self._path(sample)
            self.state.remember(address, Fetched(path, None if sample else why_not))
        if sample is None:
            samples.left_out[why_not] += 1
        else:
            samples.add(sample)

    def _fetch(self, address: str) -> bool:
        try:
            return patiently(partial(self.source.fetch, address, self.folder / _ARRIVING))
        except RejectedError:
            return False
        except AddressExpired:
            self.state.restart("events")
            raise

    def _in_place(self, candidate: Candidate) -> Sample | None:
        """The sample if its picture is in place: a file under its final name is complete."""
        for ending in ENDINGS:
            named = f"{candidate.sample.name}.{ending}"
            path = self.folder / self.data_set.picture_path(candidate.sample.split, named)
            if path.is_file() and (sample := self._read(candidate, path)):
                return sample
        return None

    def _placed(self, candidate: Candidate) -> Sample | None:
        """The sample whose picture has just arrived, if it can be used for training."""
        arriving = self.folder / _ARRIVING
        sample = self._read(candidate, arriving)
        if sample is not None:
            path = self.folder / self._path(sample)
            path.parent.mkdir(parents=True, exist_ok=True)
            arriving.replace(path)
        return sample

    @staticmethod
    def _read(candidate: Candidate, path: Path) -> Sample | None:
        try:
            return candidate.with_picture(appearance_of(path.read_bytes()))
        except NotAPicture:
            return None

    def _path(self, sample: Sample) -> str:
        return self.data_set.picture_path(sample.split, sample.name)


def _dated(events: tuple[dict[str, Any], ...]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Events with id and time; those without either are skipped."""
    for event in events:
        event_id = event.get("eventId")
        if isinstance(event_id, str) and event_id:
            try:
                moment = parse_timestamp(event.get("timestamp"), "timestamp")
            except RequestRefused:
                continue
            yield event_id, microseconds(moment), event


def _verdicts(events: tuple[dict[str, Any], ...]) -> Iterator[tuple[str, int, str, str]]:
    for event_id, time_us, event in _dated(events):
        data = event.get("eventData")
        if isinstance(data, dict) and data.get("feedback") in FEEDBACKS:
            yield str(data.get("relatedEventId")), time_us, event_id, data["feedback"]


def _kept(event_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """The parts of an event that follow the API's rules, as the local server would keep them."""
    identity = Identity(
        event_id=event_id,
        event_type=str(body.get("eventType")),
        use_case_id="any",
        timestamp=parse_timestamp(body["timestamp"], "timestamp"),
    )
    return fit(body, identity).event.body


def _in_words(error: requests.RequestException, host: str) -> str:
    """Without the request, whose headers hold the key."""
    return f"a picture could not be read from {host} ({type(error).__name__})"
