"""Reads "CVAT for images 1.1" and "CVAT for video 1.1": what was drawn on each image or each frame of a video."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from xml.etree.ElementTree import Element

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.annotations.cvat.documents import as_text, read_document
from mayhem_train.datasets.annotations.cvat.shape_elements import read_shape, whole_number
from mayhem_train.datasets.annotations.cvat.tracks import TrackFrame, track_frames
from mayhem_train.datasets.annotations.cvat.video_tasks import VideoTask, video_tasks
from mayhem_train.datasets.annotations.shapes import AnnotatedImage, AnnotationFile
from mayhem_train.datasets.quoting import quoted
from mayhem_train.recordings.frame import parse_frame_name

# How CVAT names the frames of a video, which have no names, where a video's task is exported as images.
_VIDEO_FRAME = re.compile(r"^frame_([0-9]{6,12})(?:\.(?:png|jpg|jpeg))?$", re.IGNORECASE)

# CVAT numbers the images of a project's tasks that share a name: a.png, a_1.png, a_2.png, and a_1_1.png beside a_1.png.
_NUMBERED = re.compile(r"^(.+-[0-9]{6,12})(?:_[0-9]+)+(\.(?:png|jpg|jpeg))$", re.IGNORECASE)


def read_cvat(path: Path, video_recordings: Mapping[str, str] = MappingProxyType({})) -> AnnotationFile:
    """Parses and checks one file, XML or the zip archive CVAT gives. Document types, so every entity, are refused.

    Its `original` holds everything but the images, in whose places stand empty ones; tracks stay in it.

    Args:
        path: the file.
        video_recordings: of which recordings videos are, by the video's, the task's or the annotation file's name;
            by "" that of all others. A video that is not named here is the recording of its own name.

    Raises:
        MayhemError: the file is missing, empty, truncated, not XML, not CVAT's, or holds an image name that is no frame
            name, a shape or a track that cannot be; the sentence names the file and the image or the track.
    """
    root = read_document(path)
    names = ((name.text or "").strip() for name in root.findall("meta/*/labels/label/name"))
    labels = tuple(name for name in names if name)
    listed = root.findall("image")
    has_tracks = root.find("track") is not None
    if has_tracks:
        if listed:
            raise MayhemError(f"{path} lists images and video tracks: export them as two files.")
        frames = track_frames(root, path)
        images = tuple(_frame(frame, path, video_recordings) for frame in frames)
    elif listed:
        tasks = video_tasks(root, path)
        images = tuple(_image(element, tasks, path, video_recordings) for element in listed)
        _empty(root)
    else:
        raise MayhemError(
            f'{path} lists no <image> and no <track>: export it as "CVAT for images 1.1" from a task with images.'
        )
    is_video = has_tracks or any(_VIDEO_FRAME.match(element.get("name", "")) for element in listed)
    return AnnotationFile(path, labels, images, as_text(root, str(path)), is_video)


def _image(
    element: Element, tasks: Mapping[str, VideoTask], path: Path, recordings: Mapping[str, str]
) -> AnnotatedImage:
    name = _frame_name(element, tasks, path, recordings)
    place = f"{path}, image {element.get('name')}"
    width, height = (whole_number(element, side, place) for side in ("width", "height"))
    if width < 1 or height < 1:
        raise MayhemError(f"{place}: its size is {width}x{height} pixels: export it from CVAT again.")
    shapes = tuple(
        read_shape(child, child.get("label"), child.get("source", ""), width, height, place)
        for child in element
        if child.tag != "tag"
    )
    element.tail, tail = None, element.tail
    original = as_text(element, place)
    element.tail = tail
    return AnnotatedImage(name, width, height, shapes, original)


def _frame(frame: TrackFrame, path: Path, recordings: Mapping[str, str]) -> AnnotatedImage:
    name = frame.task.image_name(frame.number, path, recordings)
    assert frame.task.size is not None
    place = f"{path}, frame {frame.number}"
    shapes = tuple(
        read_shape(shape.element, shape.track.get("label"), shape.track.get("source", ""), *frame.task.size, place)
        for shape in frame.shapes
    )
    return AnnotatedImage(name, *frame.task.size, shapes, is_deleted=frame.is_deleted)


def _frame_name(element: Element, tasks: Mapping[str, VideoTask], path: Path, recordings: Mapping[str, str]) -> str:
    """The frame's name behind an image's, which may stand in folders, as in tasks made of an archive."""
    name = element.get("name", "")
    video_frame = _VIDEO_FRAME.match(name)
    if video_frame:
        task = tasks.get(element.get("task_id", "") if "" not in tasks else "")
        if task is None:
            raise MayhemError(f"{path}: the file does not describe the task of image {name}: export it again.")
        return task.image_name(int(video_frame[1]), path, recordings)
    *folders, last = name.split("/")
    if element.get("task_id") is not None:  # it comes out of a project
        last = _NUMBERED.sub(r"\1\2", last)
    if "\\" in name or any(folder in ("", ".", "..") for folder in folders):
        last = name  # which is refused
    try:
        parse_frame_name(last)
    except MayhemError as error:
        raise MayhemError(
            f"{path}: Image name {quoted(name)} is not <recording>-<index>.png: name it as it was exported."
        ) from error
    return last


def _empty(root: Element) -> None:
    """Leaves of each image an element without anything in its place."""
    for place, child in enumerate(root):
        if child.tag == "image":
            empty = Element("image")
            empty.tail = child.tail
            root[place] = empty
