"""Reads "CVAT for images 1.1" and "CVAT for video 1.1": what was drawn on each image or each frame of a video."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from xml.etree.ElementTree import Element

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.annotations.counts import ImportCounts
from mayhem_train.datasets.annotations.cvat.documents import as_text, read_document
from mayhem_train.datasets.annotations.cvat.shape_elements import read_shape, whole_number
from mayhem_train.datasets.annotations.cvat.tracks import TrackFrame, track_frames
from mayhem_train.datasets.annotations.cvat.video_tasks import video_tasks
from mayhem_train.datasets.annotations.faults import Faults, LabelError, in_file
from mayhem_train.datasets.annotations.frame_names import video_frame
from mayhem_train.datasets.annotations.labelled_splits import split_of_file, split_of_word
from mayhem_train.datasets.annotations.recorded_frames import RecordedFrames
from mayhem_train.datasets.annotations.shapes import AnnotatedImage, AnnotationFile, Shape
from mayhem_train.datasets.quoting import quoted


def read_cvat(
    path: Path,
    video_recordings: Mapping[str, str] = MappingProxyType({}),
    *,
    frames: RecordedFrames | None = None,
    faults: Faults | None = None,
) -> AnnotationFile:
    """Parses and checks one file, XML or the zip archive CVAT gives. Document types, so every entity, are refused.

    Its `original` holds everything but the images, in whose places stand empty ones; tracks stay in it.

    Args:
        path: the file.
        video_recordings: of which recordings videos are, by the video's, the task's or the annotation file's name;
            by "" that of all others. A video that is not named here is the recording of its own name.
        frames: the recordings, by which images are found that tools renamed.
        faults: notes what cannot be, which is then left out; without it the first is raised.

    Raises:
        MayhemError: the file is missing, empty, truncated, not XML, not CVAT's, or holds an image name that is no frame
            name, a shape or a track that cannot be; the sentence names the file and the image or the track.
    """
    faults = Faults() if faults is None else faults
    root = read_document(path)
    names = ((name.text or "").strip() for name in root.findall("meta/*/labels/label/name"))
    labels = tuple(name for name in names if name)
    listed = root.findall("image")
    has_tracks = root.find("track") is not None
    if has_tracks and listed:
        raise MayhemError(f"{path} lists images and video tracks: export them as two files.")
    if not has_tracks and not listed:
        raise MayhemError(
            f'{path} lists no <image> and no <track>: export it as "CVAT for images 1.1" from a task with images.'
        )
    reader = _Reader(path, root, video_recordings, RecordedFrames(None) if frames is None else frames, faults)
    if has_tracks:
        images = [reader.frame(frame) for frame in track_frames(root, path)]
    else:
        images = []
        for element in listed:
            read = len(images)
            with faults.noting("image that cannot be"):
                images.append(reader.image(element))
            if len(images) == read:
                root.remove(element)  # what is faulty has no place among the file's images
        _empty(root)
    is_video = has_tracks or any(video_frame(element.get("name", "")) is not None for element in listed)
    counts = ImportCounts(renamed=reader.renamed)
    return AnnotationFile(path, labels, tuple(images), as_text(root, str(path)), is_video, counts)


class _Reader:
    """Reads the images of one file, and notes which of them tools renamed."""

    def __init__(
        self, path: Path, root: Element, recordings: Mapping[str, str], frames: RecordedFrames, faults: Faults
    ) -> None:
        self.renamed = 0
        self._path = path
        self._recordings = recordings
        self._frames = frames
        self._faults = faults
        self._tasks = video_tasks(root, path)
        self._subsets = _subsets(root)
        self._split = split_of_file(path)

    def image(self, element: Element) -> AnnotatedImage:
        name = self._frame_name(element)
        place = f"{self._path}, image {element.get('name')}"
        width, height = (whole_number(element, side, place) for side in ("width", "height"))
        if width < 1 or height < 1:
            raise LabelError(
                f"{place}: its size is {width}x{height} pixels: export it from CVAT again.",
                "image of an impossible size",
            )
        drawn = [(child, child) for child in element if child.tag != "tag"]
        shapes = self._shapes(drawn, (width, height), place)
        element.tail, tail = None, element.tail
        original = as_text(element, place)
        element.tail = tail
        subset = element.get("subset") or self._subsets.get(element.get("task_id", ""))
        return AnnotatedImage(
            name,
            width,
            height,
            shapes,
            original,
            is_incomplete=len(shapes) < len(drawn),
            split=split_of_word(subset) or self._split,
        )

    def frame(self, frame: TrackFrame) -> AnnotatedImage:
        name = frame.task.image_name(frame.number, self._path, self._recordings)
        assert frame.task.size is not None
        drawn = [(shape.element, shape.track) for shape in frame.shapes]
        shapes = self._shapes(drawn, frame.task.size, f"{self._path}, frame {frame.number}")
        split = split_of_word(self._subsets.get(frame.task.id)) or self._split
        return AnnotatedImage(
            name,
            *frame.task.size,
            shapes,
            is_deleted=frame.is_deleted,
            is_incomplete=len(shapes) < len(drawn),
            split=split,
        )

    def _shapes(self, drawn: Iterable[tuple[Element, Element]], size: tuple[int, int], place: str) -> tuple[Shape, ...]:
        """Shapes out of pairs: the element that says where it is, and the one that says its label and source."""
        shapes = []
        for element, owner in drawn:
            with self._faults.noting(f"<{element.tag}> that cannot be"):
                shapes.append(read_shape(element, owner.get("label"), owner.get("source", ""), *size, place))
        return tuple(shapes)

    def _frame_name(self, element: Element) -> str:
        """The frame's name behind an image's, which may stand in folders, as in tasks made of an archive."""
        name = element.get("name", "")
        number = video_frame(name)
        if number is not None:
            task = self._tasks.get(element.get("task_id", "") if "" not in self._tasks else "")
            if task is None:
                raise LabelError(
                    f"{self._path}: the file does not describe the task of image {name}: export it again.",
                    "image of a task that is not described",
                )
            return task.image_name(number, self._path, self._recordings)
        folders = re.split(r"[/\\]", name)[:-1]
        with in_file(self._path):
            if any(folder in ("", ".", "..") for folder in folders) and "://" not in name:
                raise LabelError(
                    f"Image name {quoted(name)} leaves its folder: name it as it was exported.",
                    "image whose name is no frame's",
                )
            found = self._frames.find(name)
        self.renamed += found.renamed
        return found.name


def _subsets(root: Element) -> dict[str, str]:
    """CVAT's subsets by the ids of a project's tasks; of a single task's file by ""."""
    tasks = {
        (task.findtext("id") or ""): task.findtext("subset") or "" for task in root.findall("meta/project/tasks/task")
    }
    return tasks or {"": root.findtext("meta/task/subset") or root.findtext("meta/job/subset") or ""}


def _empty(root: Element) -> None:
    """Leaves of each image an element without anything in its place."""
    for place, child in enumerate(root):
        if child.tag == "image":
            empty = Element("image")
            empty.tail = child.tail
            root[place] = empty
