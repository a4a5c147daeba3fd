"""Pictures as objects in a bucket of an S3-compatible storage.

Its address, credentials and region come from the usual environment variables: AWS_ENDPOINT_URL,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION. Errors are reported in our
own words: the library's messages repeat whole requests, and an address may hold a password.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.extras import how_to_add
from vision_event_block.server.store.errors import BadStorage, StorageDown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Self

_URL: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([\w./=-]*))?", re.ASCII)
_ENDPOINT: Final = re.compile(
    r"https?://(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::(\d{1,5}))?(?:/[\w./-]*)?", re.ASCII
)
_MAX_PORT: Final = 65_535
_ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
#: Storage other than Amazon's needs one of these.
_CREDENTIAL_VARIABLES: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_SKIP_SIGNATURE",
)
#: An object written and deleted at startup, to check that both are allowed.
_PROBE: Final = "vision-events-probe"
_CONNECT_TIMEOUT_S: Final = 2
REQUEST_TIMEOUT_S: Final = 30.0
_RETRIES: Final = 2
_RETRY_TIMEOUT_S: Final = 10
#: After a failure, one thread retries this often; the others fail without waiting.
_PAUSE_S: Final = 2.0
_NO_BUCKET: Final = "there is no such bucket"
#: The parts of an answer that may be shown, best first.
_CODES: Final = (re.compile(r"<Code>(\w{1,60})</Code>"), re.compile(r"status code: (\d{3})"))

log = logging.getLogger(__name__)


class PictureBucket:
    """Objects under a prefix of a bucket; see `PicturePlace`."""

    def __init__(self, objects: Any, where: str) -> None:
        self._objects = objects
        #: The bucket and its host, for messages.
        self._where = where
        #: Guards the time from which a thread may retry; 0 while the storage answers.
        self._asking = threading.Lock()
        self._ask_from_s = 0.0

    @classmethod
    def open(cls, url: str, *, request_timeout_s: float = REQUEST_TIMEOUT_S) -> Self:
        """The bucket at `s3://bucket/prefix`, after writing and deleting a test object.

        Raises:
            BadStorage: the URL is invalid, the library is missing, or the storage cannot be used.
        """
        match = _URL.fullmatch(url)
        if match is None or ".." in url:
            raise BadStorage(
                "the address of the pictures must be s3://bucket or s3://bucket/prefix; "
                "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        endpoint = _endpoint()
        try:
            from obstore.store import S3Store  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise BadStorage(
                f"{error}. Pictures in a bucket need an extra: {how_to_add('server,s3')}"
            ) from None
        objects = S3Store(
            match[1],
            prefix=(match[2] or "").strip("/") or None,
            client_options={
                "connect_timeout": timedelta(seconds=_CONNECT_TIMEOUT_S),
                "timeout": timedelta(seconds=request_timeout_s),
                **({"allow_http": True} if endpoint.startswith("http:") else {}),
            },
            retry_config={
                "max_retries": _RETRIES,
                "retry_timeout": timedelta(seconds=_RETRY_TIMEOUT_S),
            },
        )
        where = f"the bucket {match[1]} at {endpoint.partition('//')[2] or 'AWS'}"
        _probe(objects, where)
        return cls(objects, where)

    def put(self, name: str, data: bytes, media_type: str) -> None:
        """Writes a whole object; the storage verifies its checksum."""
        with self._answering():
            try:
                self._objects.put(name, data, attributes={"Content-Type": media_type})
            except FileNotFoundError:
                raise _Unanswered(_NO_BUCKET) from None

    def read(self, name: str) -> bytes:
        with self._answering():
            return bytes(self._objects.get(name).bytes())

    def has(self, name: str) -> bool:
        with self._answering():
            try:
                self._objects.head(name)
            except FileNotFoundError:
                return False
            return True

    def remove(self, names: Sequence[str]) -> None:
        """Deletes objects, many per request; missing ones count as deleted."""
        if names:
            with self._answering():
                self._objects.delete(list(names))

    def path(self, name: str) -> None:
        """None: an object is not a file."""

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turns errors into StorageDown, and fails immediately while the storage is down."""
        from obstore.exceptions import BaseError  # noqa: PLC0415 - an extra

        if not self._may_ask():
            raise StorageDown(f"{self._where} does not answer")
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise StorageDown(self._is_down(_Unanswered(_NO_BUCKET))) from None
            self._answered()
            raise
        except (BaseError, OSError, _Unanswered) as error:
            raise StorageDown(self._is_down(error)) from None
        else:
            self._answered()

    def _is_down(self, error: Exception) -> str:
        """Notes that the storage cannot be used now; returns the message."""
        words = f"{self._where}: {_trouble(error)}"
        with self._asking:
            is_news, self._ask_from_s = self._ask_from_s == 0, time.monotonic() + _PAUSE_S
        if is_news:
            log.error("pictures cannot be kept or shown: %s", words)
        return words

    def _may_ask(self) -> bool:
        with self._asking:
            if self._ask_from_s == 0:
                return True
            if time.monotonic() < self._ask_from_s:
                return False
            # This thread retries; another one may do so if that takes too long.
            self._ask_from_s = time.monotonic() + _RETRY_TIMEOUT_S
            return True

    def _answered(self) -> None:
        with self._asking:
            was_down, self._ask_from_s = self._ask_from_s != 0, 0.0
        if was_down:
            log.warning("%s answers again", self._where)


class _Unanswered(Exception):  # noqa: N818 - never leaves this module
    """The storage refused; the message says why."""


def _endpoint() -> str:
    """The configured address; empty for AWS itself. The library handles invalid ones badly."""
    given = next(filter(None, map(os.environ.get, _ENDPOINT_VARIABLES)), "")
    match = _ENDPOINT.fullmatch(given)
    if given and (match is None or int(match[1] or 0) > _MAX_PORT):
        raise BadStorage(
            "AWS_ENDPOINT_URL must be an address such as https://host:9000, without credentials"
        )
    if given and not any(map(os.environ.get, _CREDENTIAL_VARIABLES)):
        # Without them, the library would ask a service that only exists on Amazon's machines.
        raise BadStorage("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set")
    return given


def _probe(objects: Any, where: str) -> None:
    """Checks that the storage accepts an object and deletes it again."""
    from obstore.exceptions import BaseError  # noqa: PLC0415 - an extra

    try:
        objects.put(_PROBE, b"")
        objects.delete(_PROBE)
    except (BaseError, OSError) as error:
        is_missing = isinstance(error, FileNotFoundError)
        words = _NO_BUCKET if is_missing else _trouble(error)
        raise BadStorage(f"Pictures cannot be kept in {where}: {words}") from None


def _trouble(error: Exception) -> str:
    """The error in words that are known to be harmless."""
    if isinstance(error, _Unanswered):
        return str(error)
    found = (code.search(str(error)) for code in _CODES)
    answer = next((match[1] for match in found if match), None)
    if type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        return f"it refuses the credentials or what they may do ({answer or 'no reason given'})"
    if answer is None:
        is_mute = "HTTP error" in str(error)
        return "it cannot be reached" if is_mute else "it answered what is none of S3"
    return f"it answered {answer}"
