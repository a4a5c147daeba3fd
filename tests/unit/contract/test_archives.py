"""A bundle is read as it is meant, or refused; a stranger's archive harms nobody."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_event_block.contract.archives import (
    MAX_MEMBERS,
    MAX_UNPACKED_BYTES,
    BadArchive,
    read_archive,
)
from vision_event_block.contract.tar_members import MAX_HEADER_BYTES, tar_members
from vision_event_block.outbox.entry import Corrupt, read_metadata, unpack

PAYLOAD = {"bundleFormatVersion": 1, "eventId": "e-1", "images": [{"file": "images/a.jpg"}]}
MIB = 2**20


def member(name, content=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def payload(**changes):
    return member("payload.json", json.dumps({**PAYLOAD, **changes}).encode())


PICTURE = member("images/a.jpg", b"jpeg")


def tar(*members, fmt=tarfile.PAX_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=fmt) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "compressed"])
@pytest.mark.parametrize("fmt", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_a_bundle_is_read(pack, fmt):
    archive = read_archive(pack(tar(payload(), PICTURE, fmt=fmt)))

    assert archive.payload == PAYLOAD
    assert archive.pictures == {"images/a.jpg": b"jpeg"}


def test_a_picture_that_is_named_twice_is_one_member():
    both = [{"file": "images/a.jpg", "inputFile": "images/a.jpg"}]

    archive = read_archive(tar(payload(images=both), PICTURE))

    assert archive.payload["images"] == both
    assert archive.pictures == {"images/a.jpg": b"jpeg"}


HARMLESS = {
    "pictures before the payload": [PICTURE, payload()],
    "folders": [member("images", type=tarfile.DIRTYPE), payload(), PICTURE],
    "names that begin with a dot": [
        member(".", type=tarfile.DIRTYPE),
        member("./payload.json", payload()[1]),
        member("./images/a.jpg", b"jpeg"),
    ],
    "folders of kinds to come": [payload(), PICTURE, member("videos/clip.mp4", b"x" * 1000)],
    "other files": [payload(), PICTURE, member("README.txt", b"hello")],
    "pictures that nobody speaks of": [payload(), PICTURE, member("images/b.jpg", b"more")],
}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_is_harmless_is_read_or_ignored(case):
    assert read_archive(tar(*HARMLESS[case])).pictures == {"images/a.jpg": b"jpeg"}


def test_a_picture_in_a_folder_is_found_under_the_name_in_the_payload():
    archive = tar(
        payload(images=[{"file": "./images/a.jpg", "inputFile": "images/a.jpg"}]), PICTURE
    )

    assert read_archive(archive).pictures == {"./images/a.jpg": b"jpeg", "images/a.jpg": b"jpeg"}


@pytest.mark.parametrize("images", [None, "x", 5, [5], [{"file": ["a"]}], {}], ids=repr)
def test_images_of_a_wrong_shape_are_left_to_the_check_of_the_event(images):
    assert read_archive(tar(payload(images=images))).pictures == {}


UNSAFE = {
    "an absolute name": (member("/etc/passwd", b"x"), "outside"),
    "a name that climbs": (member("images/../../x", b"x"), "outside"),
    "a name that climbs at once": (member("../payload.json", b"{}"), "outside"),
    "a backslash": (member("images\\..\\x", b"x"), "outside"),
    "a link": (member("images/b.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "neither"),
    "a hard link": (
        member("images/b.jpg", type=tarfile.LNKTYPE, linkname="payload.json"),
        "neither",
    ),
    "a device": (member("images/b.jpg", type=tarfile.CHRTYPE), "neither"),
    "a pipe": (member("images/b.jpg", type=tarfile.FIFOTYPE), "neither"),
    "a link in an ignored folder": (
        member("other/b", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        "neither",
    ),
    "a second payload": (payload(), "twice"),
    "a second payload under another spelling": (member("./payload.json", b"{}"), "twice"),
    "a picture that is there already": (PICTURE, "twice"),
}


@pytest.mark.parametrize("case", UNSAFE)
def test_one_unsafe_member_spoils_the_archive(case):
    spoilt, words = UNSAFE[case]

    with pytest.raises(BadArchive, match=words):
        read_archive(tar(payload(), PICTURE, spoilt))


NO_BUNDLES = {
    "nothing": (b"", "not a tar file"),
    "text": (b"hello" * 500, "not a tar file"),
    "gzip of text": (gzip.compress(b"hello" * 500), "not a tar file"),
    "half a gzip": (gzip.compress(tar(payload(), PICTURE))[:-30], "damaged"),
    "half a tar": (tar(payload(), member("images/a.jpg", b"x" * 5000))[:3000], "damaged|cut off"),
    "an empty tar": (tar(), "no payload.json"),
    "no payload": (tar(PICTURE), "no payload.json"),
    "a payload in a folder": (tar(member("a/payload.json", payload()[1])), "no payload.json"),
    "a payload that is a folder": (tar(member("payload.json", type=tarfile.DIRTYPE)), "no payload"),
    "a payload that is no JSON": (tar(member("payload.json", b"{")), "not JSON"),
    "a payload with NaN": (tar(member("payload.json", b'{"a": NaN}')), "NaN"),
    "a payload that is a list": (tar(member("payload.json", b"[]")), "not a JSON object"),
    "no version": (tar(member("payload.json", b"{}")), "bundleFormatVersion"),
    "version 2": (tar(payload(bundleFormatVersion=2)), "bundleFormatVersion"),
    "version as text": (tar(payload(bundleFormatVersion="1")), "bundleFormatVersion"),
    "version as a boolean": (tar(payload(bundleFormatVersion=True)), "bundleFormatVersion"),
    "a picture that is missing": (tar(payload()), "images/a.jpg"),
    "a picture in a folder of no pictures": (
        tar(payload(images=[{"file": "other/a.jpg"}]), member("other/a.jpg", b"x")),
        "other/a.jpg",
    ),
    "a picture that is a number": (tar(payload(images=[{"file": 5}])), "5"),
    "too many members": (
        tar(payload(), PICTURE, *(member(f"other/{i}") for i in range(MAX_MEMBERS))),
        "members",
    ),
}


@pytest.mark.parametrize("case", NO_BUNDLES)
def test_what_is_no_bundle_is_refused_with_the_reason(case):
    content, words = NO_BUNDLES[case]

    with pytest.raises(BadArchive, match=words):
        read_archive(content)


def zeros(count):
    class Zeros(io.RawIOBase):
        def read(self, size=-1):
            return bytes(size)

    info = tarfile.TarInfo("other/zeros")
    info.size = count
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        archive.addfile(info, Zeros())
    return buffer.getvalue()


def test_a_bomb_is_refused_quickly_and_without_memory():
    bomb = zeros(400 * MIB)
    assert len(bomb) < 4 * MIB

    tracemalloc.start()
    started_s = time.thread_time()
    with pytest.raises(BadArchive, match=str(MAX_UNPACKED_BYTES)):
        read_archive(bomb)
    took_s, (_, peak_bytes) = time.thread_time() - started_s, tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 48 * MIB  # of all threads of the process; the bomb would take much more
    assert took_s < 10


def sparse(real_size):
    """A member of the old GNU kind: a terabyte of holes in no bytes at all."""
    info, _ = member("images/a.jpg", type=tarfile.GNUTYPE_SPARSE)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:398] = b"%011o\0" % 0
    header[398:410] = b"%011o\0" % 0
    header[483:495] = tarfile.itn(real_size, 12, tarfile.GNU_FORMAT)
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def test_holes_are_not_filled():
    whole = tar(payload())
    end = whole.rindex(b"}") // 512 * 512 + 512

    with pytest.raises(BadArchive, match="neither"):
        read_archive(whole[:end] + sparse(2**40) + bytes(1024))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "headers",
    [
        {"size": "-1536"},  # back to where it began
        {"size": "9" * 30},
        {"GNU.sparse.map": "0,1", "GNU.sparse.size": "1" + "0" * 15},
        {"GNU.sparse.map": "0,x", "GNU.sparse.size": "9"},
    ],
)
def test_a_member_that_claims_an_odd_size_spoils_the_archive(headers):
    claiming = member("images/b.jpg", b"", pax_headers=headers)

    with pytest.raises(BadArchive):
        read_archive(tar(payload(), PICTURE, claiming))


def headed(kind, content):
    """A header beside a member, as nobody writes them."""
    info, _ = member("h", content, type=kind)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


#: Each freezes Python's own reader, or has it hold what is claimed; all are small when compressed.
HEADERS_AGAINST_READERS = {
    "a PAX header of digits": headed(tarfile.XHDTYPE, b"1" * MAX_HEADER_BYTES),
    "a PAX header without an equals sign": headed(tarfile.XHDTYPE, b"9 a" * 300_000),
    "a PAX header of empty records": headed(tarfile.XHDTYPE, b"0 =\n" * 200_000),
    "a PAX header that counts backwards": headed(tarfile.XHDTYPE, b"-9 a=b\n"),
    "a PAX header for all": headed(tarfile.XGLTYPE, b"1" * (MAX_HEADER_BYTES + 1)),
    "a long name": headed(tarfile.GNUTYPE_LONGNAME, b"n" * (MAX_HEADER_BYTES + 1)),
    "a long name of a link": headed(tarfile.GNUTYPE_LONGLINK, b"n" * (MAX_HEADER_BYTES + 1)),
    "ten thousand headers in a row": headed(tarfile.XHDTYPE, b"1" * 300) * 10_000,
    "a map of holes": headed(tarfile.XHDTYPE, b"21 GNU.sparse.major=1\n"),
    "a header of another size": member("h", type=tarfile.XHDTYPE, size=2**60)[0].tobuf(
        tarfile.GNU_FORMAT
    ),
}


@pytest.mark.parametrize("case", HEADERS_AGAINST_READERS)
@pytest.mark.parametrize("read", [read_archive, unpack, read_metadata])
def test_headers_beside_the_members_freeze_nobody(read, case):
    content = HEADERS_AGAINST_READERS[case] + tar(payload(), PICTURE)

    started_s = time.thread_time()
    with pytest.raises((BadArchive, Corrupt)):
        read(gzip.compress(content, 1) if read is read_archive else content)

    assert time.thread_time() - started_s < 5


def test_a_member_that_claims_a_size_beyond_all_memory_is_cut_off():
    info, _ = member("images/a.jpg", size=2**60)

    with pytest.raises(BadArchive, match="cut off"):
        read_archive(info.tobuf(tarfile.GNU_FORMAT) + b"jpeg")


NAMES = st.text("aé/.", min_size=1, max_size=300).map(lambda name: f"x{name}x")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(NAMES, st.one_of(st.none(), st.binary(max_size=1200))), max_size=5),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.dictionaries(st.text("abcé.", min_size=1), st.text("a=\n é"), max_size=3),
)
def test_what_python_writes_is_read_as_python_reads_it(files, fmt, headers):
    given_members = [
        member(name, b"", type=tarfile.DIRTYPE)
        if content is None
        else member(name, content, pax_headers=headers)
        for name, content in files
    ]
    content = tar(*given_members, fmt=fmt)

    read = [
        (each.name, each.is_folder, each.read() if each.is_file else None, dict(each.headers))
        for each in tar_members(io.BytesIO(content))
    ]

    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert read == [
            (
                info.name,
                info.isdir(),
                archive.extractfile(info).read() if info.isfile() else None,
                info.pax_headers,
            )
            for info in archive
        ]


SOUND = tar(payload(), PICTURE, member("images/" + "n" * 200, b"long name"), member("x/y", b"z"))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.binary(min_size=1, max_size=16))),
    st.integers(0, len(SOUND)),
    st.booleans(),
)
def test_a_damaged_archive_is_read_or_refused_and_nothing_else(changes, end, is_packed):
    content = bytearray(SOUND)
    for position, data in changes:
        content[position : position + len(data)] = data
    content = bytes(content[:end] if end % 2 else content)

    try:
        archive = read_archive(gzip.compress(content, 1) if is_packed else content)
    except BadArchive:
        return
    assert archive.payload["bundleFormatVersion"] == 1
    assert all(".." not in name.split("/") for name in archive.pictures)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=2048), st.sampled_from([b"", b"\x1f\x8b\x08\x00"]))
def test_any_bytes_are_refused(content, head):
    with pytest.raises(BadArchive):
        read_archive(head + content)
