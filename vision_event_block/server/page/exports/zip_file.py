"""A document and the pictures it names as one zip file, written while it is sent."""

from __future__ import annotations

import io
import pickle
import zipfile
from contextlib import suppress
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Final

from vision_event_block.server.page.exports.samples import (
    NOT_HERE,
    NOT_TRAINABLE,
    Candidates,
    Samples,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vision_event_block.server.page.exports.data_set import DataSet
    from vision_event_block.server.store.records import StoredEvent, StoredPicture

_IN_MEMORY_BYTES: Final = 4 * 1024 * 1024
_CHUNK_BYTES: Final = 256 * 1024
_FOLDER: Final = "images"


def zipped(
    name: str,
    document: Callable[[Iterable[StoredEvent]], Iterator[bytes]],
    events: Iterable[StoredEvent],
    *,
    pictures_of: Callable[[StoredEvent], Iterable[str]],
    picture: Callable[[str], tuple[str, bytes] | None],
) -> Iterator[bytes]:
    """The zip file in pieces, with at most one picture in memory.

    Nothing is compressed: a JPEG would not get smaller, and the network is rarely the bottleneck.
    """
    waiting: list[str] = []
    packed: set[str] = set()

    def noting() -> Iterator[StoredEvent]:
        for event in events:
            waiting.extend(pictures_of(event))
            yield event

    sink = _Sink()
    with (
        _Archive(sink) as archive,
        SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as text,
    ):
        for piece in document(noting()):
            text.write(piece)
            for picture_id in waiting:
                if picture_id in packed:
                    continue
                packed.add(picture_id)
                if found := picture(picture_id):
                    archive.writestr(f"{_FOLDER}/{found[0]}", found[1])
                    yield from sink.drained()
            waiting.clear()
        text.seek(0)
        with archive.open(name, "w", force_zip64=True) as entry:
            while chunk := text.read(_CHUNK_BYTES):
                entry.write(chunk)
                yield from sink.drained()
    yield from sink.drained()


def zipped_data_set(
    data_set: DataSet,
    events: Iterable[StoredEvent],
    *,
    info: Callable[[str], StoredPicture | None],
    picture: Callable[[str], tuple[str, bytes] | None],
) -> Iterator[bytes]:
    """A data set as a zip file in pieces; its pictures come first, as they are found."""
    sink = _Sink()
    with _Archive(sink) as archive, Samples() as samples:
        candidates = Candidates(left_out=samples.left_out)
        for folder in data_set.folders:
            archive.writestr(f"{folder}/", b"")
        for event in events:
            for each in candidates.of(event.event_id, event.timestamp, event.body, event.feedback):
                known = info(each.picture_id)
                sample = known and each.with_picture(known)
                found = picture(each.picture_id) if sample else None
                if sample and found:
                    path = data_set.picture_path(sample.split, sample.name)
                    archive.writestr(path, found[1])
                    samples.add(sample)
                    yield from sink.drained()
                else:
                    samples.left_out[NOT_TRAINABLE if known and not sample else NOT_HERE] += 1
        for path, pieces in data_set.documents(samples):
            with archive.open(path, "w", force_zip64=True) as entry:
                for piece in pieces:
                    entry.write(piece)
                    yield from sink.drained()
    yield from sink.drained()


class _Archive(zipfile.ZipFile):
    """A zip file for writing only; its directory, which comes last, is kept in a temporary file."""

    def __init__(self, sink: _Sink) -> None:
        super().__init__(sink, "w", zipfile.ZIP_STORED)
        self.filelist = self._directory = _Directory()
        self.NameToInfo = _Forgetful()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.fp = None  # an interrupted file gets no directory
        self.close()

    def close(self) -> None:
        super().close()
        self._directory.file.close()


class _Directory(list[zipfile.ZipInfo]):
    """The part of `list` that a `ZipFile` needs, in a temporary file."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0
        self.file = SpooledTemporaryFile(max_size=_CHUNK_BYTES)  # noqa: SIM115 -- closed above

    def append(self, info: zipfile.ZipInfo) -> None:
        pickle.dump(info, self.file)
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[zipfile.ZipInfo]:
        self.file.seek(0)
        for _ in range(self._count):
            yield pickle.load(self.file)  # noqa: S301 -- written above, in a private file


class _Forgetful(dict[str, zipfile.ZipInfo]):
    """Stays empty: written files are never looked up by name."""

    def __setitem__(self, name: str, info: zipfile.ZipInfo) -> None:
        pass


class _Sink(io.RawIOBase):
    """Holds what the zip file writes until `drained` takes it; it cannot seek."""

    def __init__(self) -> None:
        # Large only once: at the end, when the directory is written.
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 -- closed below
        self._error: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        if self._error is not None:
            raise self._error
        try:
            return self._file.write(data)
        except OSError as error:
            # ZipFile writes again when it ends, but after an error the file is unreliable.
            self._error = error
            raise

    def drained(self) -> Iterator[bytes]:
        """What was written since the last call."""
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK_BYTES):
            yield chunk
        self._file.seek(0)
        self._file.truncate()

    def close(self) -> None:
        with suppress(OSError):  # flushing the rest to a full disk
            self._file.close()
        super().close()
