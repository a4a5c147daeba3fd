"""A data set for training: pictures in three splits, labels, and a README that explains them.

It is made of samples, wherever their pictures come from: the server packs it into a zip file; the
command line writes it to a folder.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from vision_event_block.server.page.exports.coco import coco
from vision_event_block.server.page.exports.csv_table import harmless
from vision_event_block.server.page.exports.samples import SPLITS
from vision_event_block.server.page.exports.yolo import Labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vision_event_block.server.page.exports.samples import Sample, Samples

Format = Literal["yolo", "yolo-seg", "yolo-pose", "coco"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
#: Next to the pictures of a split, as in Roboflow's own exports.
COCO_NAME: Final = "_annotations.coco.json"
_COLUMNS: Final = ("file", "split", "event_id", "time", "feedback")
_ABOUT: Final = """\
Data set of Vision Events

The labels are what the model saw, and nobody has corrected them. pictures.csv has what people said
about each event: "incorrect" means that what the model saw is wrong, not what would be right; look
at those labels before you train on them. A picture without labels is one on which the model saw
nothing.

An event is in train, valid or test by a hash of its id, and stays there in later exports.
Classes are in the order of their names; a new class may change the numbers of others, so go by
the names.

Load it with supervision:

"""
_LOADING: Final = {
    True: """\
    sv.DetectionDataset.from_coco(
        images_directory_path="train",
        annotations_path="train/_annotations.coco.json",
    )
""",
    False: """\
    sv.DetectionDataset.from_yolo(
        images_directory_path="train/images",
        annotations_directory_path="train/labels",
        data_yaml_path="data.yaml",
    )
""",
}


@dataclass(frozen=True)
class DataSet:
    format: Format

    @property
    def folders(self) -> list[str]:
        """The folders that a loader reads, including those of splits without pictures."""
        parts = [""] if self.format == "coco" else ["/images", "/labels"]
        return [split + part for split in SPLITS for part in parts]

    def picture_path(self, split: str, name: str) -> str:
        return f"{split}/{name}" if self.format == "coco" else f"{split}/images/{name}"

    def documents(self, samples: Samples) -> Iterator[tuple[str, Iterable[bytes]]]:
        """All other files, by path. Read the contents of each before advancing to the next."""
        if self.format == "coco":
            for split in SPLITS:
                yield f"{split}/{COCO_NAME}", coco(_Split(samples, split), samples, clips=True)
        else:
            labels = Labels(samples, self.format)
            for sample in samples:
                stem = sample.name.rpartition(".")[0]
                yield f"{sample.split}/labels/{stem}.txt", [labels.of(sample)]
            yield "data.yaml", [labels.data_yaml()]
        yield "pictures.csv", self._table(samples)
        yield "README.txt", [self._about(samples)]

    def _table(self, samples: Samples) -> Iterator[bytes]:
        yield (",".join(_COLUMNS) + "\r\n").encode()
        for sample in samples:
            line = io.StringIO()
            file = self.picture_path(sample.split, sample.name)
            row = (file, sample.split, sample.event_id, sample.captured, sample.feedback or "")
            csv.writer(line).writerow([harmless(cell) for cell in row])
            yield line.getvalue().encode()

    def _about(self, samples: Samples) -> bytes:
        text = _ABOUT + _LOADING[self.format == "coco"]
        if samples.left_out:
            text += "\nLeft out, pictures of events:\n\n"
            text += "".join(f"    {n:,} {why}\n" for why, n in sorted(samples.left_out.items()))
        return text.encode()


@dataclass(frozen=True)
class _Split:
    """The samples of one split; can be iterated more than once."""

    samples: Samples
    name: str

    def __iter__(self) -> Iterator[Sample]:
        return self.samples.of(self.name)
