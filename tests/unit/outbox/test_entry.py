"""An entry is a tar that anybody can read and that shows when it is damaged."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from vision_event_block.outbox.disk import RealDisk
from vision_event_block.outbox.entry import Address, Corrupt, Moment, Notes, pack, unpack
from vision_event_block.outbox.slot import notes_at

NOTES = Notes(
    Address("api", "https://api.invalid/é", "k"), Moment(1.5, 2.5, "boot"), is_urgent=True
)
PAYLOAD = {"bundleFormatVersion": 1, "eventId": "e", "images": [{"file": "images/a.jpg"}]}
PICTURES = {"images/a.jpg": b"jpeg" * 300}
TAR = b"".join(pack(json.dumps(PAYLOAD).encode(), PICTURES, NOTES))


def test_what_was_packed_comes_back():
    contents = unpack(TAR)
    assert (contents.payload, contents.pictures, contents.notes) == (PAYLOAD, PICTURES, NOTES)


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
    notes = Notes(NOTES.address, NOTES.taken, shed={f"images/{n}.jpg": "quota" for n in range(999)})
    path = tmp_path / "1-e.tar"
    path.write_bytes(b"".join(pack(b'{"images": []}', {}, notes)))
    assert notes_at(RealDisk(), path) == notes
