"""The tracks of "CVAT for video 1.1": what each of them shows on each frame, and the tracks without some frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.annotations.cvat.shape_elements import whole_number
from mayhem_train.datasets.annotations.cvat.video_tasks import VideoTask, video_tasks
from mayhem_train.datasets.annotations.cvat.writing import number_text
from mayhem_train.datasets.annotations.plain_numbers import plain
from mayhem_train.datasets.quoting import quoted

# Every frame of a task is listed, so what a file claims is bounded: four days at 30 frames a second.
_MOST_FRAMES = 10_000_000

_LINEAR = {
    "box": ("xtl", "ytl", "xbr", "ybr"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "cuboid": tuple(f"{axis}{corner}{face}" for face in "12" for corner in ("tl", "bl", "tr", "br") for axis in "xy"),
}


@dataclass(frozen=True)
class TrackShape:
    """A track's shape on one frame: the `<track>` and the `<box>`, `<polygon>`, … in it or interpolated."""

    track: Element
    element: Element


@dataclass(frozen=True)
class TrackFrame:
    """A frame of a video task by its number in the file, and what the tracks show on it, in their order.

    `is_deleted`: it was taken out of the task in CVAT, which then leaves it out of every track, those that go on too.
    """

    task: VideoTask
    number: int
    shapes: tuple[TrackShape, ...]
    is_deleted: bool = False


@dataclass(frozen=True)
class _Track:
    element: Element
    task: VideoTask
    shapes: dict[int, Element]  # the shapes in it by the numbers of their frames, ascending
    place: str


def track_frames(root: Element, path: Path) -> list[TrackFrame]:
    """Every frame of every video task of a file, those on which nothing is visible included.

    A file does not list the frames that were deleted from its task. One is known by a track that shows something before
    it, does not end, and is not on it; where nothing was visible, nothing tells it from the others.

    CVAT writes the shape of every frame, interpolated ones as keyframe="0". Where a file holds none of these, as other
    programs write it, boxes and ellipses are interpolated between keyframes, turning the shorter way round, and so are
    polygons with as many points on both sides; others stay as they are until the next keyframe, and the last one until
    the task ends.

    Raises:
        MayhemError: a track goes backwards or repeats a frame, shows something on a frame that its task has not,
            or belongs to a task without the size of its frames; the sentence names the file and the track.
    """
    tasks = video_tasks(root, path)
    tracks = _tracks(root, tasks, path)
    only_keyframes = _only_keyframes(tracks)
    frames: list[TrackFrame] = []
    for task in tasks.values():
        members = [track for track in tracks if track.task is task]
        if task.size is None and members:
            raise MayhemError(
                f"{path} does not say how large the frames of its tracks are, as for a task of images: "
                'export that as "CVAT for images 1.1".'
            )
        if task.size is None:
            continue
        numbers = _numbers(task, members)
        if numbers and (numbers[-1] - numbers[0]) // numbers.step >= _MOST_FRAMES - len(frames):
            raise MayhemError(
                f"{path} claims frames {numbers[0]} to {numbers[-1]}, more than any task has: export it again."
            )
        shown: dict[int, list[TrackShape]] = {}
        skipped: set[int] = set()
        for track in members:
            for number, element in _visible(track, numbers, only_keyframes).items():
                shown.setdefault(number, []).append(TrackShape(track.element, element))
            if not only_keyframes:
                skipped.update(_skipped(track, numbers))
        for number in numbers:
            shapes = tuple(shown.get(number, ()))
            frames.append(TrackFrame(task, number, shapes, is_deleted=number in skipped and not shapes))
    return frames


def remove_frames(root: Element, removed: Iterable[TrackFrame], path: Path) -> None:
    """Takes frames out of the tracks of `root`, so that they show nothing there and the same as before elsewhere."""
    tasks = video_tasks(root, path)
    tracks = _tracks(root, tasks, path)
    only_keyframes = _only_keyframes(tracks)
    gone: dict[str, set[int]] = {}
    for frame in removed:
        gone.setdefault(frame.task.id, set()).add(frame.number)
    numbers_of = {task.id: _numbers(task, [track for track in tracks if track.task is task]) for task in tasks.values()}
    for track in tracks:
        numbers = numbers_of[track.task.id]
        visible = _visible(track, numbers, only_keyframes)
        left = {number: element for number, element in visible.items() if number not in gone.get(track.task.id, ())}
        if not left and visible:
            root.remove(track.element)
        elif len(left) < len(visible):
            track.element[:] = list(_with_gaps(left, numbers, only_keyframes))
    left_tracks = _tracks(root, tasks, path)
    if not only_keyframes and _only_keyframes(left_tracks):
        # Nothing says any more that all frames are written, so each track has to say where it ends.
        for track in left_tracks:
            numbers = numbers_of[track.task.id]
            track.element[:] = list(_with_gaps(_visible(track, numbers, False), numbers, False))


def _tracks(root: Element, tasks: dict[str, VideoTask], path: Path) -> list[_Track]:
    tracks = []
    for element in root.findall("track"):
        place = f"{path}, track {element.get('id', ''):.20} of {quoted(element.get('label', ''))}"
        identity = element.get("task_id", "") if "" not in tasks else ""
        if identity not in tasks:
            raise MayhemError(
                f"{place} belongs to task {quoted(identity)}, which the file does not describe: export it again."
            )
        shapes: dict[int, Element] = {}
        last: int | None = None
        for shape in element:
            number = whole_number(shape, "frame", f"{place}: a <{shape.tag}>")
            if last is not None and number <= last:
                raise MayhemError(f"{place} has frame {number} after frame {last}: export it from CVAT again.")
            shapes[number] = shape
            last = number
        tracks.append(_Track(element, tasks[identity], shapes, place))
    return tracks


def _only_keyframes(tracks: Iterable[_Track]) -> bool:
    return all(shape.get("keyframe") != "0" for track in tracks for shape in track.shapes.values())


def _numbers(task: VideoTask, tracks: Iterable[_Track]) -> range:
    """The numbers of the task's frames, up to the last visible one where the file does not say how many there are."""
    visible = [number for track in tracks for number, shape in track.shapes.items() if not _is_outside(shape)]
    return task.frames(max(visible, default=task.start - 1))


def _visible(track: _Track, numbers: range, only_keyframes: bool) -> dict[int, Element]:
    """What the track shows, by frame number."""
    for number, shape in track.shapes.items():
        if number not in numbers and not _is_outside(shape):
            raise MayhemError(
                f"{track.place} shows something on frame {number}, which is none of its task's "
                f"({_described(numbers)}): export it from CVAT again."
            )
    if only_keyframes:
        return dict(_interpolated(track, numbers))
    return {number: shape for number, shape in track.shapes.items() if not _is_outside(shape)}


def _skipped(track: _Track, numbers: range) -> Iterator[int]:
    """The frames that a track of a file with all frames leaves out though it goes on."""
    written = list(track.shapes.items())
    for place, (number, element) in enumerate(written):
        if _is_outside(element):
            continue
        if place + 1 < len(written):
            end = min(written[place + 1][0], numbers.stop)
        else:
            end = numbers.stop if _holds_to_the_end(track, numbers) else number
        yield from range(number + numbers.step, end, numbers.step)


def _holds_to_the_end(track: _Track, numbers: range) -> bool:
    """Whether a track whose last shape is visible stays until its task ends.

    CVAT ends a shape that was drawn on one frame only with an outside="1" on the next one, but leaves that out where
    the next one is the last, and in a project's file wherever the shape's number, which is shifted, lies beyond the
    task's own last one: such a shape is not meant to stay.
    """
    first = next(iter(track.shapes))
    return len(track.shapes) > 1 or (track.task.offset == 0 and first + numbers.step < numbers[-1])


def _interpolated(track: _Track, numbers: range) -> Iterator[tuple[int, Element]]:
    keyframes = list(track.shapes.items())
    attributes: dict[str, Element] = {}
    for place, (number, element) in enumerate(keyframes):
        attributes |= {attribute.get("name", ""): attribute for attribute in element.iterfind("attribute")}
        if _is_outside(element):
            continue
        shape = _with_attributes(element, attributes)
        yield number, shape
        if place + 1 < len(keyframes):
            following, target = keyframes[place + 1]
            for between in range(number + numbers.step, min(following, numbers.stop), numbers.step):
                yield between, _between(shape, target, (between - number) / (following - number), between)
        elif _holds_to_the_end(track, numbers):
            for after in range(number + numbers.step, numbers.stop, numbers.step):
                yield after, _between(shape, shape, 0.0, after)


def _between(shape: Element, target: Element, share: float, number: int) -> Element:
    """The shape on its way to another keyframe's."""
    moved = _copy(shape, number)
    moved.set("keyframe", "0")
    if shape.tag != target.tag or not share:
        return moved
    if shape.tag in ("polygon", "polyline"):
        start, end = (element.get("points", "").replace(";", ",").split(",") for element in (shape, target))
        if len(start) == len(end):
            numbers = [_mixed(a, b, share) for a, b in zip(start, end, strict=True)]
            moved.set("points", ";".join(",".join(numbers[i : i + 2]) for i in range(0, len(numbers), 2)))
        return moved
    for name in _LINEAR.get(shape.tag, ()):
        moved.set(name, _mixed(shape.get(name, ""), target.get(name, ""), share))
    angle, final = shape.get("rotation", "0"), target.get("rotation", "0")
    if shape.tag in _LINEAR and angle != final:
        moved.set("rotation", _turned(angle, final, share))
    return moved


def _mixed(start: str, end: str, share: float) -> str:
    """A number between two; text that is none stays, and is refused where it is read."""
    try:
        first, last = float(plain(start)), float(plain(end))
    except ValueError:
        return start
    return number_text(first + (last - first) * share)


def _turned(start: str, end: str, share: float) -> str:
    """An angle between two in degrees, by the shorter way round."""
    try:
        first, last = float(plain(start)), float(plain(end))
    except ValueError:
        return start
    return number_text((first + ((last - first + 180) % 360 - 180) * share) % 360)


def _with_attributes(element: Element, attributes: dict[str, Element]) -> Element:
    """The element with the attributes that hold since earlier keyframes."""
    if len(attributes) == len(element.findall("attribute")):
        return element
    complete = _copy(element, int(element.get("frame", "")))
    complete[:] = [child for child in complete if child.tag != "attribute"] + [*map(deepcopy, attributes.values())]
    return complete


def _with_gaps(visible: dict[int, Element], numbers: range, only_keyframes: bool) -> Iterator[Element]:
    """The shapes of a track that shows itself on these frames and on no others."""
    for number, element in visible.items():
        starts, ends = number - numbers.step not in visible, number + numbers.step not in visible
        shape = _copy(element, number)
        if only_keyframes or starts or ends:
            _set_everywhere(shape, "keyframe", "1")
        yield shape
        if ends and number + numbers.step in numbers:
            end = _copy(element, number + numbers.step)
            _set_everywhere(end, "keyframe", "1")
            _set_everywhere(end, "outside", "1")
            yield end


def _copy(element: Element, number: int) -> Element:
    copied = deepcopy(element)
    copied.set("frame", str(number))
    return copied


def _set_everywhere(element: Element, name: str, value: str) -> None:
    """Also in a skeleton's points, which have it too."""
    element.set(name, value)
    for part in element.iterfind("*[@outside]"):
        part.set(name, value)


def _is_outside(element: Element) -> bool:
    """A skeleton does not say it itself: it is outside where all of its points are."""
    own = element.get("outside")
    said = [part.get("outside") for part in element.iterfind("*[@outside]")] if own is None else [own]
    return bool(said) and all(outside == "1" for outside in said)


def _described(numbers: range) -> str:
    if not numbers:
        return "it has none"
    every = f", every {numbers.step}th" if numbers.step > 1 else ""
    return f"{numbers[0]} to {numbers[-1]}{every}"
