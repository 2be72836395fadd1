"""What a CVAT file's head says about video tasks: which frames of which video they show, and how large these are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.quoting import quoted
from mayhem_train.recordings.frame import frame_name, parse_frame_name

_STEP = re.compile(r"^\s*step\s*=\s*([1-9][0-9]{0,8})\s*$")
_VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")


@dataclass(frozen=True)
class VideoTask:
    """A task (or job) as the head of a file describes it.

    CVAT numbers frames as the video does, whatever its task starts with or leaves out: the frames of a task with
    start frame 10 and frame filter "step=5" are 10, 15, 20, … In the file of a project, where several tasks share one
    row of numbers, each task's numbers are shifted by `offset`.

    Attributes:
        id: its id in a project's file, else empty.
        name: its name, empty where the file does not say.
        source: the video's file name, empty where the file does not say.
        size: (width, height) of its frames in pixels, or None where the file does not say, as for tasks of images.
        start: its first frame's number in the file.
        stop: its last frame's number in the file, or None where the file does not say.
        step: from one frame's number to the next.
        offset: a frame's number in the file less its number in the video.
    """

    id: str
    name: str
    source: str
    size: tuple[int, int] | None
    start: int
    stop: int | None
    step: int
    offset: int

    def frames(self, last: int) -> range:
        """The numbers of its frames in the file; `last` is the last of them where the head does not say it."""
        return range(self.start, (last if self.stop is None else self.stop) + 1, self.step)

    def image_name(self, number: int, path: Path, recordings: Mapping[str, str]) -> str:
        """The name of the frame with that number in the file: the video's frame n is the recording's image n.

        The recording's stem is what `recordings` gives for the video's name, the task's name, the file's name or "",
        and else the name of the video or of the task without its suffix.

        Raises:
            MayhemError: there is no such name, or it is none that a recording can have.
        """
        keys = [*filter(None, (self.source, self.name)), path.name, ""]
        named = next((recordings[key] for key in keys if key in recordings), None)
        stem = named or _stem(self.source) or _stem(self.name)
        if not stem:
            raise MayhemError(f"{path} does not say which video its frames are of: name it with --video-recording.")
        name = frame_name(stem, number - self.offset)
        try:
            parse_frame_name(name)
        except MayhemError as error:
            raise MayhemError(
                f"{path} is of the video {quoted(stem)}, which no recording can be called: "
                "name it with --video-recording."
            ) from error
        return name


def video_tasks(root: Element, path: Path) -> dict[str, VideoTask]:
    """The tasks of a file, by their ids in a project's file; else one with the id "".

    Raises:
        MayhemError: a number is none, or cannot be; the sentence names the file.
    """
    meta = root.find("meta")
    if meta is None:
        meta = Element("meta")
    listed = meta.findall("project/tasks/task")
    if not listed:
        single = meta.find("task") if meta.find("task") is not None else meta.find("job")
        return {"": _task(Element("task") if single is None else single, meta, "", 0, path)}
    tasks: dict[str, VideoTask] = {}
    subset, offset = None, 0
    for element in listed:
        if element.findtext("subset") != subset:  # each subset counts anew
            subset, offset = element.findtext("subset"), 0
        identity = (element.findtext("id") or "").strip()
        task = _task(element, meta, identity, offset, path)
        tasks[identity] = task
        offset = task.start + task.step * (_whole_number(element, "size", path) or 0)
    return tasks


def _task(element: Element, meta: Element, identity: str, offset: int, path: Path) -> VideoTask:
    start = _whole_number(element, "start_frame", path) or 0
    stop, count = _whole_number(element, "stop_frame", path), _whole_number(element, "size", path)
    frame_filter = (element.findtext("frame_filter") or "").strip()
    match = _STEP.match(frame_filter)
    if frame_filter and match is None:
        raise MayhemError(f"{path} has the frame filter {quoted(frame_filter)}, which is not step=N: export it again.")
    step = int(match[1]) if match else 1
    if stop is None and count:
        stop = start + (count - 1) * step
    return VideoTask(
        id=identity,
        name=(element.findtext("name") or "").strip(),
        source=PurePosixPath((element.findtext("source") or meta.findtext("source") or "").strip()).name,
        size=_size(element, meta, path),
        start=start + offset,
        stop=None if stop is None else stop + offset,
        step=step,
        offset=offset,
    )


def _size(element: Element, meta: Element, path: Path) -> tuple[int, int] | None:
    found = next((e for e in (element.find("original_size"), meta.find("original_size")) if e is not None), None)
    if found is None:
        return None
    width, height = _whole_number(found, "width", path), _whole_number(found, "height", path)
    if not width or not height:
        raise MayhemError(f"{path} has frames of {width}x{height} pixels: export it from CVAT again.")
    return width, height


def _whole_number(element: Element, name: str, path: Path) -> int | None:
    """A child's number from 0 on, or None where there is no such child."""
    text = (element.findtext(name) or "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise MayhemError(f"{path} has the {name} {quoted(text)}, which is no frame count or size: export it again.")
    return int(text)


def _stem(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in _VIDEO_SUFFIXES else name
