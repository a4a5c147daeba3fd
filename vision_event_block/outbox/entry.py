"""An entry as bytes: the tar of one event, written and read back.

Pure: bytes in, bytes out. The layout is the bundle layout of the Vision Events API; our additions
are in PAX headers, which other readers of tar files skip.
"""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from sys import intern
from typing import TYPE_CHECKING, Any, Final

from vision_event_block.contract.names import PAYLOAD_NAME
from vision_event_block.contract.tar_members import tar_members
from vision_event_block.redaction import without_passwords

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vision_event_block.contract.tar_members import TarMember

#: Longer than any event of a camera; a file that claims more is damaged.
MAX_MEMBER_BYTES: Final = 2**30
_CHECKSUM: Final = "VISION_EVENT.crc32"
_METADATA: Final = "VISION_EVENT.notes"
_METADATA_CHECKSUM: Final = "VISION_EVENT.notes_crc32"
_BLOCK_BYTES: Final = 512
#: The errors that mean damage. Any other, such as too little memory, says nothing about the file.
_DAMAGE: Final = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    OverflowError,
)


class Corrupt(ValueError):  # noqa: N818 - a state of a file
    """The bytes are not those that were written; the message says where."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where an event goes, in a form that may be written down."""

    #: `api`, or `event_store` for the service on the device.
    kind: str
    url: str
    #: The identity of the key, empty where none is needed.
    key: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """Where the versions of one event meet, whatever the key."""
        return self.kind, self.url

    def __str__(self) -> str:
        url = without_passwords(self.url)
        return f"{url} (key {shown_key(self.key)})" if self.key else url


def shown_key(identity: str) -> str:
    """Twelve digits, enough for people to tell keys apart."""
    return identity.rpartition(":")[2][:12]


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The clocks when the event was taken, to correct its time if the wall clock was wrong."""

    wall_s: float
    #: Since the machine was started.
    uptime_s: float
    boot_id: str


@dataclass(frozen=True, slots=True)
class DeliveryMetadata:
    """What travels with an event in addition to its bundle."""

    address: Address
    taken: ClockReading
    is_urgent: bool = False
    #: Why pictures are missing: the reason by member.
    shed: dict[str, str] = field(default_factory=dict)
    #: Which version of its event this is; a newer one replaces an older one.
    version: int = 0
    #: The event is counted elsewhere, as its first version or as one that has replaced that.
    is_update: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> DeliveryMetadata:
        """Parses it; raises ValueError, KeyError or TypeError for anything else.

        Fields that a later version may have added are ignored.
        """
        metadata = json.loads(text)
        address, taken = metadata["address"], metadata["taken"]
        return cls(
            address=_address(address["kind"], address["url"], address["key"]),
            taken=ClockReading(taken["wall_s"], taken["uptime_s"], intern(taken["boot_id"])),
            is_urgent=bool(metadata["is_urgent"]),
            shed=dict(metadata["shed"]),
            version=int(metadata.get("version", 0)),
            is_update=bool(metadata.get("is_update", False)),
        )


@dataclass(frozen=True)
class EntryContents:
    """What an entry holds; pictures are JPEG bytes by member."""

    payload: dict[str, Any]
    pictures: dict[str, bytes] = field(repr=False)
    metadata: DeliveryMetadata


def pack(payload: bytes, pictures: Mapping[str, bytes], metadata: DeliveryMetadata) -> list[bytes]:
    """The tar in pieces, the payload first."""
    text = metadata.to_json()
    headers = {_METADATA: text, _METADATA_CHECKSUM: _crc32(text.encode())}
    chunks = [*_member(PAYLOAD_NAME, payload, headers)]
    for name, content in pictures.items():
        chunks += _member(name, content, {})
    chunks.append(bytes(2 * _BLOCK_BYTES))
    return chunks


def unpack(tar: bytes) -> EntryContents:
    """What the tar holds, with every checksum verified.

    Raises:
        Corrupt: the bytes are not those that were written. Any other error says nothing about them.
    """
    payload, pictures, metadata = None, {}, None
    try:
        for member in tar_members(io.BytesIO(tar)):
            content = _content(member)
            if member.name == PAYLOAD_NAME:
                payload = json.loads(content)
                metadata = _metadata(member)
            else:
                pictures[member.name] = content
    except Corrupt:
        raise
    except _DAMAGE as error:
        raise Corrupt(f"{type(error).__name__}: {error}") from None
    if not isinstance(payload, dict) or metadata is None:
        raise Corrupt(f"it holds no valid {PAYLOAD_NAME}")
    missing = _named(payload) - pictures.keys()
    if missing:
        raise Corrupt(f"{min(missing)} is missing")
    return EntryContents(payload, pictures, metadata)


def read_metadata(head: bytes) -> DeliveryMetadata:
    """The delivery metadata from the beginning of a tar; raises Corrupt if it is not there."""
    try:
        member = next(tar_members(io.BytesIO(head)), None)
        if member is None or member.name != PAYLOAD_NAME:
            raise Corrupt(f"the first member is not {PAYLOAD_NAME}")  # noqa: TRY301 -- a word of its own
        return _metadata(member)
    except Corrupt:
        raise
    except _DAMAGE as error:
        raise Corrupt(f"{type(error).__name__}: {error}") from None


@lru_cache(maxsize=256)
def _address(kind: str, url: str, key: str) -> Address:
    """One object for all events that go there: an outbox may hold a hundred thousand."""
    return Address(kind, url, key)


def _member(name: str, content: bytes, headers: dict[str, str]) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o600
    info.pax_headers = {_CHECKSUM: _crc32(content), **headers}
    yield info.tobuf(tarfile.PAX_FORMAT)
    yield content
    yield bytes(-len(content) % _BLOCK_BYTES)


def _metadata(member: TarMember) -> DeliveryMetadata:
    text = member.headers[_METADATA]
    if _crc32(text.encode()) != member.headers[_METADATA_CHECKSUM]:
        raise Corrupt("the checksum of the delivery metadata does not match")
    return DeliveryMetadata.from_json(text)


def _crc32(content: bytes) -> str:
    return f"{zlib.crc32(content):08x}"


def _content(member: TarMember) -> bytes:
    if not member.is_file or member.size_bytes > MAX_MEMBER_BYTES:
        raise Corrupt(f"{member.name!r} is not a regular file of an entry")
    content = member.read()
    if _crc32(content) != member.headers.get(_CHECKSUM):
        raise Corrupt(f"the checksum of {member.name!r} does not match")
    return content


def _named(payload: dict[str, Any]) -> set[str]:
    images = payload.get("images")
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise Corrupt("`images` is not a list of objects")
    return {image[key] for image in images for key in ("file", "inputFile") if key in image}
