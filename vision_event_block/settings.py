"""Settings of the process, from environment variables `VISION_EVENT_*`.

`Settings` holds those of the block and its outbox. Those of the local server are options of
`vision-events serve` that may be given as variables.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import platformdirs
from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from vision_event_block.redaction import without_passwords

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

_logger = logging.getLogger(__name__)

PREFIX: Final = "VISION_EVENT_"
_OLD_PREFIX: Final = "VISION_EVENTS_"
API_KEYS: Final = "VISION_EVENT_API_KEYS"
DATABASE_URL: Final = "VISION_EVENT_DATABASE_URL"
PICTURES_URL: Final = "VISION_EVENT_PICTURES_URL"
#: Names from earlier versions, which still work.
OLD_NAMES: Final[Mapping[str, str]] = {
    name.replace(PREFIX, _OLD_PREFIX, 1): name for name in (API_KEYS, DATABASE_URL, PICTURES_URL)
}

#: An address to which paths are added. A user name or password in it would be kept in files and
#: shown in figures, and a request carries the key in its place anyway.
_ADDRESS = re.compile(r"https?://[^\s?#@\\]+")


class Settings(BaseSettings):
    """Each field is the variable `VISION_EVENT_` plus its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    api_url: str | None = Field(
        default=None,
        description="Address of a Vision Events API to use in place of the Roboflow platform, "
        "such as a local server. Requests go there directly, without the host's gateway and "
        "extra headers.",
    )
    store_url: str | None = Field(
        default=None,
        description="Address of the Event Ingestion Service for blocks that write to it, and the "
        "one that gets EVENT_INGESTION_API_KEY. Unset: http://localhost:8001.",
    )
    store_allowed_urls: str | None = Field(
        default=None,
        description="Further addresses that a workflow may name as its Event Store URL, with "
        "spaces between them. They get the key too.",
    )
    connect_timeout_s: PositiveFloat = Field(
        le=3_600, default=5.0, description="Longest wait for a connection to the API."
    )
    read_timeout_s: PositiveFloat = Field(
        le=3_600, default=30.0, description="Longest wait for the answer to one request."
    )
    wait_s: PositiveFloat = Field(
        le=3_600,
        default=10.0,
        description="With Fire and Forget off: longest wait of the workflow for the API's answer. "
        "After that the event is sent in the background.",
    )
    senders: int = Field(
        default=16, ge=1, le=64, description="Number of sender threads (one connection each)."
    )
    outbox: Path | None = Field(
        default=None,
        description="Folder on a local disk where events wait for the API. Unset: next to the "
        "host's cache folder if that is persistent, else the platform's folder for application "
        "data.",
    )
    outbox_max_bytes: PositiveInt | None = Field(
        default=None,
        description="Disk space for waiting events and dead letters; beyond it their pictures are "
        "shed, oldest first. Unset: 2 GiB or a tenth of the disk, whichever is smaller.",
    )
    outbox_min_free_bytes: int = Field(
        default=512 * 1024 * 1024, ge=0, description="Disk space to keep free for other programs."
    )
    outbox_max_events: PositiveInt = Field(
        default=100_000, description="Events that may wait on disk; further ones are refused."
    )
    outbox_max_age_days: PositiveFloat = Field(
        le=3_650,
        default=30.0,
        description="Events that have waited longer are dropped, and counted. Dead letters do "
        "not expire.",
    )
    max_pending_bytes: PositiveInt = Field(
        default=64 * 1024 * 1024,
        description="Memory for events that are not stored yet; beyond it events are stored before "
        "the workflow continues.",
    )
    max_track_bytes: PositiveInt = Field(
        default=256 * 1024 * 1024,
        description="Memory for the pictures of objects that a Track Event block follows; beyond "
        "it the events of the oldest objects are completed early.",
    )
    hold_s: float = Field(
        default=2.0,
        ge=0,
        le=60,
        description="With durability: memory, how long an event may be sent from memory before it "
        "is written to disk; 0 writes each one.",
    )
    backlog_bytes_per_s: int = Field(
        default=0,
        ge=0,
        description="Bandwidth limit for the backlog after an outage, to leave room on a "
        "narrow uplink; 0 means no limit. New events are not limited.",
    )
    max_backoff_s: PositiveFloat = Field(
        le=86_400,
        default=60.0,
        description="Longest pause between two attempts while the API is unreachable.",
    )
    key_retry_s: PositiveFloat = Field(
        le=604_800,
        default=300.0,
        description="Pause between two attempts after the API refused the key.",
    )
    image_reuse_s: PositiveFloat = Field(
        le=86_400,
        default=21_600.0,
        description="How long an uploaded picture is reused while its event is not created yet; "
        "after that it is uploaded again. The API does not keep unreferenced pictures for ever.",
    )
    image_metadata_key: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z][A-Za-z0-9_]{0,99}$",
        description="The API's name for the metadata of an image. Unset: Image Metadata is not "
        "sent, since that name is not documented. On a local server it is metadata.",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="Port of 127.0.0.1 on which a process without an HTTP server of its own, such "
        "as a pipeline, serves `/metrics`. Of several processes with one outbox, the first takes "
        "the port and answers for all.",
    )
    close_timeout_s: float = Field(
        default=5.0,
        ge=0,
        le=3600,
        description="Longest wait for pending events when a pipeline or the process ends.",
    )

    @field_validator("api_url", "store_url")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None:
            _check_address(value)
        return value

    @field_validator("store_allowed_urls")
    @classmethod
    def _each_is_an_address(cls, value: str | None) -> str | None:
        for url in (value or "").split():
            _check_address(url)
        return value


def _check_address(url: str) -> None:
    """Raises ValueError with what is wrong with an address, to follow the variable's name."""
    shown = without_passwords(url)
    if not _ADDRESS.fullmatch(url):
        raise ValueError(
            f"{shown} is not an http:// or https:// address, or contains ?, #, @ or spaces"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:  # half a bracket, a port that is not a number
        raise ValueError(f"{shown} is not an address: {error}") from None
    if not parts.hostname:
        raise ValueError(f"{shown} is not an address: it names no host")
    if port == 0:
        raise ValueError(f"{shown} is not an address: nothing listens on port 0")


@lru_cache(maxsize=1)
def current() -> Settings:
    """The settings of this process, read once.

    Raises:
        ValueError: a variable has an invalid value; the message names it.
    """
    log_odd_variables()
    try:
        return Settings()
    except ValidationError as error:
        wrong = (
            f"{PREFIX}{'_'.join(map(str, found['loc'])).upper()}: {_what_is_wrong(found)}"
            for found in error.errors()
        )
        raise ValueError("; ".join(wrong)) from None


def _what_is_wrong(found: ErrorDetails) -> str:
    if found["type"] == "value_error":  # in our own words, with the value in them
        return found["msg"].removeprefix("Value error, ")
    return f"{found['msg']}, not {without_passwords(repr(found['input']))}"


class OddVariable(NamedTuple):
    """A variable with our prefix that is not read, or is read under an old name."""

    what: str
    advice: str


def odd_variables(environment: Mapping[str, str]) -> list[OddVariable]:
    """The variables that look like ours and are misspelled, unknown or outdated.

    >>> odd_variables({"VISION_EVENT_SENDER": "3"})[0].advice
    'did you mean VISION_EVENT_SENDERS?'
    """
    known = [name.upper() for name in Settings.model_fields]
    known += [name.removeprefix(PREFIX) for name in OLD_NAMES.values()]
    found = []
    for name in sorted(environment):
        if name in OLD_NAMES:
            found.append(OddVariable(f"{name} is an old name", f"rename it to {OLD_NAMES[name]}"))
            continue
        prefix = next(filter(name.upper().startswith, (PREFIX, _OLD_PREFIX)), None)
        if prefix is None:
            continue
        rest = name.upper().removeprefix(prefix)
        if prefix == PREFIX and rest in known:
            continue
        # Compared without the prefix, which would make all of them alike.
        alike = get_close_matches(rest, known, n=1, cutoff=0.8)
        advice = f"did you mean {PREFIX}{alike[0]}?" if alike else "remove it"
        found.append(OddVariable(f"{name} is not a setting", advice))
    return found


@lru_cache(maxsize=1)
def log_odd_variables() -> None:
    """Logs them, once for each process."""
    for what, advice in odd_variables(os.environ):
        _logger.warning("%s; %s", what, advice)


def outbox_folder() -> Path:
    """Where events wait, the same for every process with the same environment."""
    given = current().outbox
    if given is not None:
        return given.expanduser().absolute()
    cache = os.environ.get("MODEL_CACHE_DIR")
    if cache:
        folder = Path(cache).absolute()
        if folder.is_mount():  # a volume: anything next to it would go with the container
            return folder / "vision-events-outbox"
        if Path(tempfile.gettempdir()) not in folder.parents:
            return folder.parent / "vision-events-outbox"
    return Path(platformdirs.user_data_dir("vision-events", appauthor=False)) / "outbox"


def outbox_max_bytes(folder: Path) -> int:
    """The space for waiting events on the disk of this folder."""
    given = current().outbox_max_bytes
    if given is not None:
        return given
    while not folder.exists():
        folder = folder.parent
    return min(2 * 2**30, shutil.disk_usage(folder).total // 10)
