"""The Vision Events API as calls: upload a picture, create events, query, delete; use cases.

And the event store on the device, which has one call: store this event, with its pictures in it.

A call sends one request and returns the reply or raises one of `delivery.errors`. It neither waits,
nor retries, nor logs: that is up to the caller, who knows what else is due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from requests.structures import CaseInsensitiveDict

from vision_event_block.contract import limits
from vision_event_block.delivery.body import Body, form_body, form_field, json_body
from vision_event_block.delivery.errors import AuthError, RejectedError
from vision_event_block.delivery.http import Timeouts
from vision_event_block.delivery.query_replies import DeleteReply, QueryReply, UseCaseReply
from vision_event_block.delivery.replies import (
    ApiWarning,
    BatchReply,
    CreateReply,
    EventStoreReply,
    UploadReply,
)
from vision_event_block.delivery.secret import Credentials, Secret
from vision_event_block.delivery.service import Service
from vision_event_block.events.bundle import encode_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vision_event_block.delivery.service import Reply

__all__ = [
    "ApiWarning",
    "BatchReply",
    "CreateReply",
    "EventStoreClient",
    "EventStoreReply",
    "Secret",
    "Timeouts",
    "UploadReply",
    "VisionEventsClient",
]


class VisionEventsClient:
    """The API under one address and key. Any number of threads may use it at the same time."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: Secret,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 -- frozen
        wrap_url: Callable[[str], str] | None = None,
        build_headers: Callable[[Mapping[str, str] | None], Mapping[str, str | list[str]]]
        | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            base_url: Such as "https://api.roboflow.com".
            api_key: Sent as bearer.
            timeouts: How long a request may make no progress.
            wrap_url: Turns the full address into the one to call, such as a gateway's.
            build_headers: Called with None, returns headers to add to each request. An
                `Authorization` among them replaces the bearer.
        """
        self._service = Service(
            name="the API", base_url=base_url, timeouts=timeouts, wrap_url=wrap_url
        )
        self._api_key = api_key
        self._build_headers = build_headers

    def upload(
        self,
        picture: bytes,
        *,
        file_name: str = "image.jpg",
        media_type: str = "image/jpeg",
        metadata: Mapping[str, Any] | None = None,
    ) -> UploadReply:
        """The id under which the API keeps an encoded picture from now on."""
        fields = [form_field("file", picture, file_name=file_name, media_type=media_type)]
        if metadata:
            fields.append(form_field("metadata", encode_payload(metadata)))
        return self._ask("/vision-events/upload", UploadReply.from_json, form_body(*fields))

    def create(self, event: Mapping[str, Any]) -> CreateReply:
        """What the API says about one event. The same `eventId` again overwrites it."""
        return self._ask(
            "/vision-events",
            lambda reply: CreateReply.from_json(reply, sent=event.get("eventId")),
            _encoded(event, "/vision-events"),
        )

    def batch(self, events: Sequence[Mapping[str, Any]]) -> BatchReply:
        """What the API says about up to a hundred events at once."""
        if not 1 <= len(events) <= limits.MAX_BATCH_EVENTS:
            raise ValueError(
                f"a batch holds 1 to {limits.MAX_BATCH_EVENTS} events, not {len(events)}"
            )
        return self._ask(
            "/vision-events/batch",
            lambda reply: BatchReply.from_json(reply, sent=[str(it["eventId"]) for it in events]),
            _encoded({"events": list(events)}, "/vision-events/batch"),
        )

    def bundle(
        self, archive: bytes, *, is_gzipped: bool, use_case_id: str | None = None
    ) -> CreateReply:
        """What the API says about an event sent as one archive with its pictures.

        Args:
            archive: A tar file in the bundle format, version 1.
            is_gzipped: Whether it is compressed.
            use_case_id: Takes the place of the use case that the archive names.
        """
        return self._ask(
            "/vision-events/bundle",
            CreateReply.from_json,
            Body(archive, content_type="application/gzip" if is_gzipped else "application/x-tar"),
            query={"useCaseId": use_case_id} if use_case_id else None,
        )

    def query(self, query: Mapping[str, Any]) -> QueryReply:
        """A page of the events that match the whole query, newest first."""
        return self._ask(
            "/vision-events/query", QueryReply.from_json, _encoded(query, "/vision-events/query")
        )

    def delete(
        self, use_case_id: str, event_ids: Sequence[str], *, with_pictures: bool = False
    ) -> DeleteReply:
        """How many of these events of a use case were deleted, and which did not exist.

        Args:
            use_case_id: The use case of the events.
            event_ids: At most a thousand.
            with_pictures: Pictures that no other event shows are deleted at the same time; only
                the local server has this option.
        """
        document: dict[str, Any] = {"useCaseId": use_case_id, "eventIds": list(event_ids)}
        if with_pictures:
            document["withPictures"] = True
        return self._ask(
            "/vision-events/delete",
            lambda reply: DeleteReply.from_json(reply, sent=event_ids),
            _encoded(document, "/vision-events/delete"),
        )

    def use_cases(self, status: str = "active") -> list[UseCaseReply]:
        """The use cases that are `active`, or `inactive`: archived."""
        return self._ask(
            "/vision-events/use-cases",
            UseCaseReply.all_from_json,
            json_body(b""),
            query={"status": status},
            method="GET",
        )

    def create_use_case(self, name: str) -> UseCaseReply:
        """A new use case, with the id that events name it by."""
        path = "/vision-events/use-cases"
        return self._ask(path, UseCaseReply.from_json, _encoded({"name": name}, path))

    def archive_use_case(self, use_case_id: str) -> None:
        """Makes a use case take no new events; those that it has stay."""
        path = f"/vision-events/use-cases/{quote(use_case_id, safe='')}/archive"
        self._ask(path, lambda _: None, json_body(b""))

    def close(self) -> None:
        """Closes its connections. A later call opens a new one."""
        self._service.close()

    def _ask(
        self,
        path: str,
        parse: Callable[[Mapping[str, Any]], Reply],
        body: Body,
        query: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Reply:
        headers, credentials = self._headers(path)
        return self._service.ask(
            path,
            parse,
            body,
            credentials=credentials,
            headers=headers,
            query=query,
            method=method,
        )

    def _headers(self, path: str) -> tuple[CaseInsensitiveDict[str], Credentials]:
        headers: CaseInsensitiveDict[str] = CaseInsensitiveDict()
        if self._build_headers is not None:
            for name, value in self._build_headers(None).items():
                headers[name] = ", ".join(value) if isinstance(value, list) else str(value)
        authorization = headers.pop("Authorization", f"Bearer {self._api_key.reveal()}")
        try:
            return headers, Credentials({"Authorization": Secret(authorization)})
        except ValueError:
            words = "the host's own Authorization header is not a valid HTTP header"
        raise AuthError(words, route=f"POST {path}")


class EventStoreClient:
    """The event store under one address. Any number of threads may use it at the same time.

    Its errors are those of the Vision Events API. A full store answers 529, which is `NotNow`: it
    has space again once its own uploads are done.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: Secret | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 -- frozen
    ) -> None:
        """Opens nothing yet.

        Args:
            base_url: Such as "http://localhost:8001".
            api_key: Sent as `X-API-Key`; None for a store that needs none. Never the key of the
                Vision Events API, which does not concern it.
            timeouts: How long a request may make no progress.
        """
        self._service = Service(
            name="the event store", base_url=base_url, timeouts=timeouts, word="detail"
        )
        self._credentials = Credentials({} if api_key is None else {"X-API-Key": api_key})

    def create(self, body: Mapping[str, Any]) -> EventStoreReply:
        """What the store says about an event. Sending the same body again adds another event."""
        return self._service.ask(
            "/v2/events",
            EventStoreReply.from_json,
            json_body(encode_payload(body)),
            credentials=self._credentials,
        )

    def close(self) -> None:
        """Closes its connections. A later call opens a new one."""
        self._service.close()


def _encoded(document: Mapping[str, Any], path: str) -> Body:
    """The body of a request; if JSON cannot express the event, that is the event's own fault."""
    try:
        return json_body(encode_payload(document))
    except (TypeError, ValueError, RecursionError) as odd:
        words = f"it cannot be sent: {odd}"
    raise RejectedError(words, route=f"POST {path}")
