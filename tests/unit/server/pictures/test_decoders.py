"""A picture that harms its decoder costs one process and a bounded time, once."""

from __future__ import annotations

import io
import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from tests.hostile_pictures import endless_jpeg, hiding_its_size, huge_webp
from tests.unit.server.scenes import picture
from vision_event_block.server.pictures.decoders import DECODERS, MAX_WAITING, Decoders
from vision_event_block.server.pictures.folder import PictureFolder
from vision_event_block.server.pictures.place import PictureFile
from vision_event_block.server.store.errors import Busy

KINDS = {
    "image/jpeg": picture("JPEG"),
    "image/png": picture("PNG"),
    "image/webp": picture("WEBP"),
    "image/gif": picture("GIF"),
    "image/avif": picture("AVIF"),
}


class Memory:
    """Pictures that are no files of this machine; reading them waits until it may go on."""

    def __init__(self, content, *, waits=False):
        self.content = content
        self.reads = 0
        self.may_go_on = threading.Event()
        if not waits:
            self.may_go_on.set()

    def path(self, name):
        return None

    def read(self, name):
        self.reads += 1
        self.may_go_on.wait(60)
        if self.content is None:
            raise FileNotFoundError(name)
        return self.content


@contextmanager
def decoders(folder, **limits):
    opened = Decoders(folder / "lock", lambda *_: None, **limits)
    try:
        yield opened
    finally:
        opened.close()


def in_memory(content, media_type="image/jpeg", **options):
    return PictureFile(name="x", media_type=media_type, place=Memory(content, **options))


def on_disk(folder, content, media_type="image/jpeg"):
    (folder / "x").write_bytes(content)
    place = PictureFolder(folder)
    return PictureFile(name="x", media_type=media_type, place=place)


def children():
    """The processes of ours, by id."""
    listed = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return [int(child) for each in listed for child in each.read_text().split()]


@pytest.mark.parametrize("media_type", KINDS)
@pytest.mark.parametrize("put", [on_disk, lambda _, *content: in_memory(*content)])
def test_the_size_is_looked_at_once_the_picture_is_open(tmp_path, put, media_type):
    file = put(tmp_path, KINDS[media_type], media_type)

    with decoders(tmp_path, max_pixels=64 * 48) as just_enough:
        thumbnail = just_enough.ask("a", file, 32).result()
    with decoders(tmp_path, max_pixels=64 * 48 - 1) as too_few:
        assert too_few.ask("a", file, 32).result() is None

    with Image.open(io.BytesIO(thumbnail)) as opened:
        assert opened.size == (32, 24)


def test_an_avif_that_hides_its_size_is_measured_all_the_same(tmp_path):
    """An upload is searched for the size only so far; the decoder knows it."""
    hidden = in_memory(hiding_its_size(KINDS["image/avif"]), "image/avif")

    with decoders(tmp_path, max_pixels=64 * 48) as just_enough:
        assert just_enough.ask("a", hidden, 32).result() is not None
    with decoders(tmp_path, max_pixels=64 * 48 - 1) as too_few:
        assert too_few.ask("a", hidden, 32).result() is None


def test_all_who_ask_for_one_thumbnail_wait_for_one_decoding(tmp_path):
    file = in_memory(picture(), waits=True)

    with decoders(tmp_path) as shared:
        futures = {shared.ask("a", file, 160) for _ in range(10)}
        file.place.may_go_on.set()
        assert {future.result()[:2] for future in futures} == {b"\xff\xd8"}

    assert len(futures) == file.place.reads == 1


@pytest.mark.parametrize("content", [b"no picture", endless_jpeg(2000), huge_webp()], ids=len)
def test_a_failure_is_remembered_whatever_the_side(tmp_path, content):
    media_type = "image/webp" if content.startswith(b"RIFF") else "image/jpeg"
    file = in_memory(content, media_type)

    with decoders(tmp_path, max_cpu_s=1) as limited:
        assert limited.ask("a", file, 160).result(60) is None
        for side in (160, 320, 640):
            assert limited.ask("a", file, side).result(0) is None
        assert file.place.reads == 1
        # And the next picture finds a decoder.
        assert limited.ask("b", in_memory(picture()), 160).result(60) is not None
        limited.forget("a")
        assert limited.ask("a", in_memory(picture()), 160).result(60) is not None


def test_a_picture_whose_bytes_are_gone_has_not_failed(tmp_path):
    file = on_disk(tmp_path, picture())
    file.path.unlink()

    with decoders(tmp_path) as some:
        for gone in (file, in_memory(None)):
            with pytest.raises(FileNotFoundError):
                some.ask("a", gone, 160).result()
        assert some.ask("a", in_memory(picture()), 160).result() is not None


def test_a_decoder_that_somebody_ended_is_started_again(tmp_path):
    before = set(children())
    with decoders(tmp_path) as some:
        some.ask("a", in_memory(picture()), 160).result()
        (child,) = set(children()) - before
        os.kill(child, 9)
        while child in children() and b"Z" not in Path(f"/proc/{child}/stat").read_bytes():
            time.sleep(0.01)
        assert some.ask("b", in_memory(picture()), 160).result() is not None


def test_the_queue_is_bounded_and_closing_ends_it(tmp_path):
    before = set(children())
    with decoders(tmp_path) as some:
        waiting = in_memory(picture(), waits=True)
        futures = [some.ask(f"{number}", waiting, 160) for number in range(MAX_WAITING)]
        with pytest.raises(Busy, match="too many"):
            some.ask("one more", waiting, 160)
        assert some.ask("0", waiting, 160) is futures[0]
        waiting.place.may_go_on.set()
        assert futures[0].result(60) is not None

    assert all(future.result(60) is None or future.result() for future in futures)
    assert set(children()) <= before
    assert len(some._workers) == DECODERS


def test_a_decoder_knows_no_key_of_the_server(tmp_path, monkeypatch):
    monkeypatch.setenv("VISION_EVENT_API_KEYS", "secret-key")
    before = set(children())

    with decoders(tmp_path) as some:
        some.ask("a", in_memory(picture()), 160).result()
        (child,) = set(children()) - before
        environment = Path(f"/proc/{child}/environ").read_bytes()

    assert b"PYTHONPATH" in environment
    assert b"secret-key" not in environment
