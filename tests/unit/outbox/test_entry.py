"""An entry is a tar that anybody can read and that shows when it is damaged."""

from __future__ import annotations

import io
import json
import tarfile
import zlib

import pytest

from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.entry import (
    Address,
    ClockReading,
    Corrupt,
    DeliveryMetadata,
    pack,
    read_metadata,
    unpack,
)
from vision_event_block.outbox.slot import metadata_at

METADATA = DeliveryMetadata(
    Address("api", "https://api.invalid/é", "k"), ClockReading(1.5, 2.5, "boot"), is_urgent=True
)
PAYLOAD = {"bundleFormatVersion": 1, "eventId": "e", "images": [{"file": "images/a.jpg"}]}
PICTURES = {"images/a.jpg": b"jpeg" * 300}
TAR = b"".join(pack(json.dumps(PAYLOAD).encode(), PICTURES, METADATA))


def test_what_was_packed_comes_back():
    contents = unpack(TAR)
    assert (contents.payload, contents.pictures, contents.metadata) == (PAYLOAD, PICTURES, METADATA)


def test_any_reader_of_tar_files_finds_the_official_bundle():
    with tarfile.open(fileobj=io.BytesIO(TAR)) as archive:
        assert archive.getnames() == ["payload.json", "images/a.jpg"]
        assert json.load(archive.extractfile("payload.json")) == PAYLOAD
        assert archive.extractfile("images/a.jpg").read() == PICTURES["images/a.jpg"]


@pytest.mark.parametrize("what", [b"jpegjpeg", b'"eventId"', b"api.invalid", b"images/a.jpg"])
def test_a_changed_byte_is_noticed_wherever_it_is(what):
    spot = TAR.index(what)
    with pytest.raises(Corrupt):
        unpack(TAR[:spot] + b"?" + TAR[spot + 1 :])


def test_an_entry_whose_picture_was_cut_off_is_damaged():
    with pytest.raises(Corrupt):
        unpack(TAR[: TAR.index(b"jpegjpeg") - 512])


def test_notes_longer_than_a_head_are_read_all_the_same(tmp_path):
    metadata = DeliveryMetadata(
        METADATA.address, METADATA.taken, shed={f"images/{n}.jpg": "quota" for n in range(999)}
    )
    path = tmp_path / "1-e.tar"
    path.write_bytes(b"".join(pack(b'{"images": []}', {}, metadata)))
    assert metadata_at(RealDisk(), path) == metadata


def tar_of(*members, metadata=METADATA):
    """A tar with these members, of which the first one carries the delivery metadata."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number, (info, content) in enumerate(members):
            text = metadata.to_json()
            info.size = len(content)
            info.pax_headers = {"VISION_EVENT.crc32": f"{zlib.crc32(content):08x}"}
            if number == 0:
                info.pax_headers |= {
                    "VISION_EVENT.notes": text,
                    "VISION_EVENT.notes_crc32": f"{zlib.crc32(text.encode()):08x}",
                }
            archive.addfile(info, io.BytesIO(content))
    return whole.getvalue()


def link(name):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


PAYLOAD_FILE = tarfile.TarInfo("payload.json")


@pytest.mark.parametrize(
    ("tar", "words"),
    [
        (b"", "BadTar: it is cut off"),
        (tar_of((tarfile.TarInfo("images/a.jpg"), b"a")), "no valid payload.json"),
        (tar_of((PAYLOAD_FILE, b"[1]")), "no valid payload.json"),
        (tar_of((PAYLOAD_FILE, b"{}")), "`images` is not a list"),
        (tar_of((PAYLOAD_FILE, b'{"images": ["a"]}')), "`images` is not a list"),
        (
            tar_of((PAYLOAD_FILE, b'{"images": []}'), (link("images/a.jpg"), b"")),
            "not a regular file",
        ),
    ],
    ids=["nothing", "no payload", "no object", "no images", "odd images", "a link"],
)
def test_a_tar_that_is_no_event_is_damaged(tar, words):
    with pytest.raises(Corrupt, match=words):
        unpack(tar)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "BadTar: it is cut off"),
        (TAR[:600], "BadTar: it is cut off"),
        (tar_of((tarfile.TarInfo("images/a.jpg"), b"a")), "the first member is not payload.json"),
    ],
    ids=["nothing", "cut off", "a picture first"],
)
def test_notes_are_read_only_where_they_belong(head, words):
    with pytest.raises(Corrupt, match=words):
        read_metadata(head)


def test_an_address_is_written_with_its_key_if_it_has_one():
    assert str(Address("api", "http://there", "k")) == "http://there (key k)"
    assert str(Address("event_store", "http://here")) == "http://here"
    salted = Address("api", "http://there", f"{'5' * 32}:{'0123456789abcdef' * 4}")
    assert str(salted) == "http://there (key 0123456789ab)"


def test_files_of_an_entry_are_for_their_owner_only_wherever_they_are_unpacked():
    with tarfile.open(fileobj=io.BytesIO(TAR)) as archive:
        assert {member.mode for member in archive} == {0o600}
