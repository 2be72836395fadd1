"""What stands on both sides of a split: near-duplicate frames, and neighbours in time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.console import track, warn
from mayhem_train.datasets.description.summary import split_names
from mayhem_train.datasets.frame_reader import FrameReader, UnreadableFrame
from mayhem_train.datasets.index import DatasetIndex, LabelledImage
from mayhem_train.datasets.splits.splitting import UNUSED
from mayhem_train.recordings.pruning.similarity import NRMSE_WEIGHT, Reference, to_grey
from mayhem_train.recordings.pruning.window import WINDOW

# Thumbnails of every frame are held, greys of the last few: 3 kB and, at 640x480, 300 kB each.
_THUMBNAIL = (24, 32)
_GREYS_BYTES = 256 * 2**20


@dataclass(frozen=True)
class NearDuplicate:
    """A held-out frame and, among the frames of a split before it, the one most like it.

    Attributes:
        frame: name of the held-out frame.
        split: its split.
        other: name of the frame it is like.
        other_split: that one's split.
        similarity: 0.4 SSIM + 0.6 (1 - NRMSE), as pruning compares; 1 is the same picture.
    """

    frame: str
    split: str
    other: str
    other_split: str
    similarity: float


@dataclass(frozen=True)
class NearDuplicates:
    """The pairs, most alike first; how many frames were compared; and the ones that could not be read."""

    pairs: tuple[NearDuplicate, ...]
    frames: int
    unreadable: tuple[UnreadableFrame, ...]


@dataclass(frozen=True)
class TimeNeighbours:
    """Frames of one recording in two splits, recorded shortly after one another.

    Attributes:
        recording: its stem.
        split: the held-out split.
        other_split: the split before it.
        frames: how many frames of `split` have a frame of `other_split` within the limit.
        frame: the one that is closest.
        other: the frame it is closest to.
        seconds: how far they are apart.
    """

    recording: str
    split: str
    other_split: str
    frames: int
    frame: str
    other: str
    seconds: float


def find_time_neighbours(index: DatasetIndex, seconds: float) -> tuple[TimeNeighbours, ...]:
    """Where one recording is in two splits with less than `seconds` (of log time) between them, closest first."""
    found = []
    for stem in sorted({image.recording for image in index.images}):
        part = DatasetIndex(index.categories, tuple(image for image in index.images if image.recording == stem))
        for earlier, held_out in _pairs_of_splits(part):
            times = np.array([image.log_time_ns for image in earlier], np.int64)
            gaps = [int(np.abs(times - image.log_time_ns).min()) for image in held_out]
            close = sum(gap < seconds * 1e9 for gap in gaps)
            if close:
                closest = held_out[int(np.argmin(gaps))]
                other = earlier[int(np.abs(times - closest.log_time_ns).argmin())]
                found.append(
                    TimeNeighbours(stem, closest.split, other.split, close, closest.name, other.name, min(gaps) / 1e9)
                )
    return tuple(sorted(found, key=lambda neighbours: neighbours.seconds))


def find_near_duplicates(index: DatasetIndex, reader: FrameReader, limit: float) -> NearDuplicates:
    """For every held-out frame the most similar frame of the splits before its own, where it is as alike as `limit`.

    Not every pair is compared in full. Taking means over the cells of a thumbnail never makes a root mean square
    larger, so the RMSE of two thumbnails is at most that of the frames; and SSIM is at most 1. Therefore
    1 - 0.6 RMSE(thumbnails) / RMS(frame) is an upper bound of the similarity. The others are compared from the highest
    bound downwards until none is left above the best similarity found. So nothing is missed, except perhaps between
    frames of different sizes: there the larger is reduced to the smaller. Frames smaller than SSIM's window are
    enlarged by repeating their pixels.

    Args:
        index: all splits; frames of the split "unused" do not count.
        reader: reads its frames.
        limit: least similarity to be told.
    """
    images = [image for image in index.images if image.split != UNUSED]
    if len({image.split for image in images}) < 2:
        return NearDuplicates((), 0, ())  # there is nothing to compare them with
    thumbnails = _Thumbnails(_Greys(reader), images)
    pairs = []
    for earlier, held_out in _pairs_of_splits(DatasetIndex(index.categories, tuple(thumbnails.images))):
        for image in track(held_out, f"comparing {held_out[0].split} with {earlier[0].split}"):
            best = thumbnails.most_similar(image, earlier, limit)
            if best is not None:
                other, similarity = best
                pairs.append(NearDuplicate(image.name, image.split, other.name, other.split, similarity))
    pairs.sort(key=lambda pair: (-pair.similarity, pair.frame, pair.other))
    warn(*reader.take_warnings())
    compared = len(thumbnails.images) if len({image.split for image in thumbnails.images}) > 1 else 0
    return NearDuplicates(tuple(pairs), compared, tuple(thumbnails.unreadable))


def _pairs_of_splits(index: DatasetIndex) -> Iterator[tuple[tuple[LabelledImage, ...], tuple[LabelledImage, ...]]]:
    """Every two splits' images, the earlier of train, val, test first."""
    for first, second in combinations([name for name in split_names(index) if name != UNUSED], 2):
        yield index.split(first).images, index.split(second).images


class _Thumbnails:
    """Small versions of all frames, by which most pairs are known to be unlike.

    Attributes:
        images: the frames that could be read.
        unreadable: the others.
    """

    def __init__(self, greys: _Greys, images: Sequence[LabelledImage]) -> None:
        self.images: list[LabelledImage] = []
        self.unreadable: list[UnreadableFrame] = []
        self._greys = greys
        self._thumbnails = np.zeros((len(images), _THUMBNAIL[0] * _THUMBNAIL[1]), np.float32)
        self._powers = np.zeros(len(images))
        self._rows: dict[int, int] = {}
        for image in track(images, "looking at frames"):
            try:
                grey = greys.read(image)
            except UsageError:
                raise
            except MayhemError as error:
                self.unreadable.append(UnreadableFrame(image.name, str(error)))
                continue
            row = self._rows[image.id] = len(self.images)
            self._thumbnails[row] = thumbnail(grey).ravel()
            self._powers[row] = cv2.norm(grey, cv2.NORM_L2SQR) / grey.size
            self.images.append(image)

    def most_similar(
        self, image: LabelledImage, others: Sequence[LabelledImage], limit: float
    ) -> tuple[LabelledImage, float] | None:
        """The most similar of the others and its similarity; None where all are below `limit`."""
        own = self._rows[image.id]
        rows = [self._rows[other.id] for other in others]
        bounds = upper_bounds(self._thumbnails[own], self._powers[own], self._thumbnails[rows])
        grey = self._greys.read(image)
        reference = Reference(_at_least_a_window(grey))
        best: tuple[LabelledImage, float] | None = None
        for place in np.argsort(-bounds, kind="stable").tolist():
            if bounds[place] < limit or (best is not None and bounds[place] <= best[1]):
                break
            similarity = _similarity(reference, grey, self._greys.read(others[place]))
            if similarity >= limit and (best is None or similarity > best[1]):
                best = others[place], similarity
        return best


def thumbnail(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 [24, 32]: the means over equal cells of an image of any size; pixels on a border count by their share."""
    (height, width), (rows, columns) = grey.shape, _THUMBNAIL
    return np.asarray(_shares(height, rows) @ grey.astype(np.float32) @ _shares(width, columns).T, np.float32)


def upper_bounds(
    reference: NDArray[np.float32], reference_power: float, others: NDArray[np.float32]
) -> NDArray[np.float64]:
    """float64 [N]: no frame with one of these thumbnails [N, P] is more similar to the reference than this.

    Args:
        reference: the reference's thumbnail [P].
        reference_power: the mean of the reference frame's squared pixels.
        others: the other frames' thumbnails.
    """
    differences = others - reference
    rmse = np.sqrt(np.einsum("ij,ij->i", differences, differences, dtype=np.float64) / reference.size)
    # float32 thumbnails of 8-bit images are right within a ten-thousandth of a level.
    rmse = np.maximum(rmse - 1e-3, 0)
    return np.asarray(1 - NRMSE_WEIGHT * rmse / max(reference_power**0.5, 1e-9))


@lru_cache(maxsize=16)
def _shares(pixels: int, cells: int) -> NDArray[np.float32]:
    """float32 [cells, pixels]: which share of each cell lies in each pixel, both dividing the same length."""
    edges = np.linspace(0, pixels, cells + 1)
    starts = np.arange(pixels)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return np.asarray(np.clip(overlap, 0, None) * cells / pixels, np.float32)


def _similarity(reference: Reference, grey: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """`reference` is `grey`, prepared for comparisons at its own size."""
    if other.shape == grey.shape:
        return reference.similarity(_at_least_a_window(other))
    if other.size > grey.size:
        return reference.similarity(_at_least_a_window(_reduced(other, grey.shape)))
    return Reference(_at_least_a_window(_reduced(grey, other.shape))).similarity(_at_least_a_window(other))


def _reduced(grey: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(grey, (shape[1], shape[0]), interpolation=cv2.INTER_AREA), np.uint8)


def _at_least_a_window(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeats the pixels of a very small image; its NRMSE stays what it is."""
    factor = -(-WINDOW // min(grey.shape))
    return grey if factor == 1 else grey.repeat(factor, 0).repeat(factor, 1)


class _Greys:
    """The frames' grey images, the last ones kept."""

    def __init__(self, reader: FrameReader) -> None:
        self._reader = reader
        self._kept: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._bytes = 0

    def read(self, image: LabelledImage) -> NDArray[np.uint8]:
        """uint8 [H, W]."""
        if image.id in self._kept:
            self._kept.move_to_end(image.id)
            return self._kept[image.id]
        grey = to_grey(self._reader.read(image))
        self._kept[image.id] = grey
        self._bytes += grey.nbytes
        while self._bytes > _GREYS_BYTES and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return grey
