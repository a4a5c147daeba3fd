from __future__ import annotations

import io
import struct
import threading
import zlib
from contextlib import closing

import pytest
from PIL import Image, ImageDraw

from tests.unit.server.scenes import event, picture, thumbnail_of
from vision_event_block.server.pictures.folder import PictureFolder
from vision_event_block.server.pictures.picture_store import PictureStore
from vision_event_block.server.pictures.place import PictureFile
from vision_event_block.server.pictures.thumbnails import Thumbnails
from vision_event_block.server.store.errors import NotAPicture
from vision_event_block.server.store.records import is_picture_id

EXIF_TURNED = 6


def boxed(brand, *boxes):
    """The start of a HEIC or AVIF file: brands, then boxes."""

    def box(kind, content):
        return struct.pack(">I4s", 8 + len(content), kind) + content

    return box(b"ftyp", brand + bytes(4) + b"mif1" + brand) + b"".join(
        box(kind, content) for kind, content in boxes
    )


def size_box(width, height):
    return (b"ispe", bytes(4) + struct.pack(">II", width, height))


def png_of_size(width, height):
    """A PNG that says it is that large and holds next to nothing."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(99)))
        + chunk(b"IEND", b"")
    )


def turned_jpeg():
    exif = Image.Exif()
    exif[0x0112] = EXIF_TURNED
    return picture("JPEG", size=(64, 48), exif=exif)


@pytest.mark.parametrize(
    ("data", "media_type", "size"),
    [
        (picture("JPEG"), "image/jpeg", (64, 48)),
        (picture("PNG"), "image/png", (64, 48)),
        (picture("WEBP"), "image/webp", (64, 48)),
        (picture("GIF"), "image/gif", (64, 48)),
        (picture("TIFF"), "image/tiff", (64, 48)),
        (picture("BMP"), "image/bmp", (64, 48)),
        (turned_jpeg(), "image/jpeg", (48, 64)),
        (boxed(b"heic", size_box(512, 512), size_box(4032, 3024)), "image/heic", (4032, 3024)),
        (
            boxed(b"heic", size_box(4032, 3024), (b"irot", b"\x01")),
            "image/heic",
            (3024, 4032),
        ),
        (boxed(b"avif", size_box(640, 480)), "image/avif", (640, 480)),
        (boxed(b"heic"), "image/heic", (None, None)),
        (png_of_size(10_000, 10_000), "image/png", (10_000, 10_000)),
    ],
)
def test_a_picture_is_kept_byte_for_byte_under_the_type_that_its_bytes_say(
    store, data, media_type, size
):
    put = store.pictures.put(data, name="photo.html", metadata={"door": 4})

    assert (put.media_type, (put.width, put.height)) == (media_type, size)
    assert (put.name, put.metadata, put.size_bytes) == ("photo.html", {"door": 4}, len(data))
    assert is_picture_id(put.id)
    assert store.pictures.info(put.id) == put
    file = store.pictures.get(put.id)
    assert file.media_type == media_type
    assert file.path.read_bytes() == data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a JPEG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "not a JPEG"),
        (b"<!doctype html><script>alert(1)</script>", "not a JPEG"),
        (b"%PDF-1.7", "not a JPEG"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "not a JPEG"),
        (b"\xff\xd8\xff", "header of this image/jpeg is broken"),
        (b"\x89PNG\r\n\x1a\n<html>", "header of this image/png is broken"),
        (b"GIF89a", "header of this image/gif is broken"),
        (png_of_size(10_000, 10_001), "10000 x 10001 pixels; at most 100 megapixels"),
        (png_of_size(100_000, 100_000), "at most 100 megapixels"),
        (boxed(b"heic", size_box(60_000, 60_000)), "at most 100 megapixels"),
    ],
)
def test_what_is_no_picture_or_too_large_a_one_is_refused_with_the_reason(
    store, tmp_path, data, reason
):
    with pytest.raises(NotAPicture, match=reason):
        store.pictures.put(data, name="photo.jpg")

    assert [path for path in (tmp_path / "data" / "pictures").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "picture_id",
    ["", "../../x", "..", "0" * 32, "0" * 33, "/etc/passwd", "\0", "A" * 32, "0" * 31 + "\n"],
)
def test_an_id_that_was_not_made_here_finds_nothing(store, picture_id):
    store.pictures.put(picture())

    assert store.pictures.get(picture_id) is None
    assert store.pictures.info(picture_id) is None
    assert thumbnail_of(store, picture_id, 160) is None
    assert not store.pictures.exists(picture_id)


def test_a_picture_without_its_file_is_not_there(store):
    put = store.pictures.put(picture())
    store.pictures.get(put.id).path.unlink()

    assert not store.pictures.exists(put.id)
    assert thumbnail_of(store, put.id, 160) is None


def test_pictures_are_looked_up_together(store):
    ids = [store.pictures.put(picture(size=(n, n))).id for n in range(1, 4)]

    found = store.pictures.info_of_many([*ids, *ids, "../x", "0" * 32])

    assert [found[each].width for each in ids] == [1, 2, 3]
    assert len(found) == 3
    assert store.pictures.info_of_many([]) == {}


def test_a_name_of_any_text_is_kept(store):
    put = store.pictures.put(picture(), name="a\0b\ud800 ü")

    assert store.pictures.info(put.id).name == put.name == "a?b? ü"


def test_what_a_dead_process_left_half_written_is_removed_at_the_next_start(
    store, open_store, tmp_path, monkeypatch
):
    abandoned = tmp_path / "data" / "pictures" / "arriving" / "half.jpg"
    abandoned.write_bytes(b"half")
    open_store()
    assert abandoned.exists()

    later_s = abandoned.stat().st_mtime + 4000
    monkeypatch.setattr("time.time", lambda: later_s)
    open_store()

    assert not abandoned.exists()


def test_a_picture_that_cannot_be_written_leaves_nothing_behind(store, tmp_path):
    for folder in (tmp_path / "data" / "pictures").iterdir():
        if folder.name != "arriving":
            folder.rmdir()

    with pytest.raises(FileNotFoundError):
        store.pictures.put(picture())

    assert list((tmp_path / "data" / "pictures" / "arriving").iterdir()) == []


@pytest.mark.parametrize(("asked", "made"), [(1, 160), (160, 160), (161, 320), (9_999, 1280)])
def test_a_thumbnail_fits_into_the_next_larger_of_few_sides(store, asked, made):
    put = store.pictures.put(picture(size=(3000, 1500)))

    with Image.open(io.BytesIO(thumbnail_of(store, put.id, asked))) as thumbnail:
        assert thumbnail.format == "JPEG"
        assert thumbnail.size == (made, made // 2)


@pytest.mark.parametrize(
    ("data", "size", "colour"),
    [
        (turned_jpeg(), (48, 64), (254, 0, 0)),
        (picture("PNG", mode="RGBA", colour=(0, 0, 0, 0)), (64, 48), (255, 255, 255)),
        (picture("PNG", mode="P", colour=0), (64, 48), None),
        (picture("PNG", mode="1", colour=1), (64, 48), (255, 255, 255)),
        (picture("JPEG", mode="CMYK", colour=(0, 0, 0, 0)), (64, 48), (255, 255, 255)),
        (picture("GIF"), (64, 48), (254, 0, 0)),
        (picture("WEBP", lossless=True), (64, 48), (254, 0, 0)),
        (picture("TIFF"), (64, 48), (254, 0, 0)),
        (picture("BMP"), (64, 48), (254, 0, 0)),
    ],
)
def test_a_thumbnail_shows_the_picture_upright_and_on_white(store, data, size, colour):
    put = store.pictures.put(data)

    with Image.open(io.BytesIO(thumbnail_of(store, put.id, 160))) as thumbnail:
        assert thumbnail.size == size
        assert colour is None or thumbnail.getpixel((5, 5)) == colour


@pytest.mark.parametrize(
    "data", [boxed(b"heic", size_box(64, 48)), png_of_size(640, 480), picture("BMP")[:-300]]
)
def test_what_cannot_be_decoded_has_no_thumbnail(store, data):
    put = store.pictures.put(data)

    assert thumbnail_of(store, put.id, 160) is None


def test_a_thumbnail_is_made_once_and_read_from_disk_then(store, tmp_path):
    put = store.pictures.put(picture())
    made = thumbnail_of(store, put.id, 160)
    (kept,) = (tmp_path / "data" / "thumbnails").rglob("*.jpg")
    assert kept.read_bytes() == made
    kept.write_bytes(b"from the cache")

    assert thumbnail_of(store, put.id, 100) == b"from the cache"


def test_a_full_cache_of_thumbnails_drops_the_longest_unused(tmp_path):
    file = tmp_path / "picture.jpg"
    noisy = Image.effect_noise((400, 400), 90)
    ImageDraw.Draw(noisy).text((9, 9), "noise")
    noisy.save(file)
    place = PictureFolder(tmp_path)
    source = PictureFile(name=file.name, media_type="image/jpeg", place=place)
    with closing(Thumbnails(tmp_path / "measure")) as measuring:
        one_bytes = len(measuring.ask("0" * 32, source, 320).result())
    with closing(Thumbnails(tmp_path / "cache", max_bytes=int(5.5 * one_bytes))) as cache:
        cache.ask(f"{0:032x}", source, 320).result()
        (always_used,) = (tmp_path / "cache").rglob("*.jpg")
        always_used.write_bytes(b"the first")

        for number in range(1, 30):
            cache.ask(f"{number:032x}", source, 320).result()
            assert cache.ask(f"{0:032x}", source, 320).result() == b"the first"

    left = [path for path in (tmp_path / "cache").rglob("*.jpg") if path.is_file()]
    assert sum(path.stat().st_size for path in left) <= 5.5 * one_bytes
    assert len(left) >= 3
    assert f"{29:032x}-320.jpg" in {path.name for path in left}


def test_a_cache_is_as_full_as_an_earlier_process_left_it(tmp_path):
    file = tmp_path / "picture.jpg"
    file.write_bytes(picture(size=(400, 400)))
    place = PictureFolder(tmp_path)
    source = PictureFile(name=file.name, media_type="image/jpeg", place=place)
    with closing(Thumbnails(tmp_path / "cache")) as earlier:
        for number in range(9):
            earlier.ask(f"{number:032x}", source, 160).result()

    with closing(Thumbnails(tmp_path / "cache", max_bytes=1)) as cache:
        cache.ask(f"{9:032x}", source, 160).result()

    assert list((tmp_path / "cache").rglob("*.jpg")) == []


def test_uploads_from_many_threads_all_arrive(store):
    data = {n: picture(size=(n + 1, 5)) for n in range(24)}
    put = {}

    def upload(numbers):
        for number in numbers:
            put[number] = store.pictures.put(data[number]).id

    threads = [threading.Thread(target=upload, args=(range(n, 24, 4),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(put.values())) == 24
    for number, picture_id in put.items():
        assert store.pictures.get(picture_id).path.read_bytes() == data[number]


def test_the_row_of_a_picture_is_there_before_its_file(store, tmp_path, clock):
    """So that a kill between the two leaves no file that nobody knows of."""

    class Dies(PictureFolder):
        def put(self, name, data, media_type):
            raise KeyboardInterrupt

    folder = tmp_path / "data"
    thumbnails = Thumbnails(folder / "thumbnails")
    dying = PictureStore(
        store._database, Dies(folder / "pictures"), thumbnails, clock, store._quota
    )
    with pytest.raises(KeyboardInterrupt):
        dying.put(picture())
    clock.go(days=2)

    assert store.clean_up().pictures == 1


def test_events_refer_to_pictures_by_their_ids(store):
    put = store.pictures.put(picture())
    store.put([event("a", pictures=[put.id])])

    (image,) = store.get("a").body["images"]
    assert store.pictures.exists(image["sourceId"])
