"""Annotations and recordings become one dataset index: frames found, shapes converted, splits assigned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import astuple, dataclass
from pathlib import Path

from pycocotools import mask as rle_codec

from mayhem_ros.errors import MayhemError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.console import track
from mayhem_train.datasets.annotations.classes import BACKGROUND_LABEL, ClassMap, infer_class_map
from mayhem_train.datasets.annotations.extracted_images import find_images, refuse_other_range
from mayhem_train.datasets.annotations.shapes import (
    AnnotatedImage,
    AnnotationFile,
    AreaShape,
    BoxShape,
    OtherShape,
    PolygonShape,
)
from mayhem_train.datasets.annotations.surfaces import paint, shape_rle
from mayhem_train.datasets.index import (
    BACKGROUND,
    BoxLabel,
    Category,
    DatasetIndex,
    LabelledImage,
    Origin,
    SourceDocument,
    SurfaceLabel,
)
from mayhem_train.datasets.quoting import quoted
from mayhem_train.datasets.splits.splitting import SplitPlan, assign_splits
from mayhem_train.recordings.frame import Frame, parse_frame_name
from mayhem_train.recordings.recording import Recording, find_recordings
from mayhem_train.recordings.sixteen_bits import AskedRange, chosen_range, is_sixteen_bit


@dataclass(frozen=True)
class ImportCounts:
    """What did not go into the index as it was drawn.

    Attributes:
        unlabelled: images listed without shapes, left out.
        deleted: images that were deleted where they were labelled, left out.
        clipped: boxes cut at the image's border.
        outside: boxes of which nothing lies in the image.
        flat: boxes in the image without any area.
        invisible: surface classes of an image of which no pixel remains visible.
    """

    unlabelled: int = 0
    deleted: int = 0
    clipped: int = 0
    outside: int = 0
    flat: int = 0
    invisible: int = 0

    def __add__(self, other: ImportCounts) -> ImportCounts:
        return ImportCounts(*(own + more for own, more in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class ImportedDataset:
    """A dataset index and the count of what was left out or cut on the way."""

    index: DatasetIndex
    counts: ImportCounts


@dataclass(frozen=True)
class _Entry:
    """An image together with the file that lists it, `number` images before it."""

    path: Path
    image: AnnotatedImage
    number: int

    @property
    def place(self) -> str:
        return f"{self.path}, image {self.image.name}"


def import_annotations(
    files: Sequence[AnnotationFile],
    recordings: Path,
    *,
    classes: ClassMap | None = None,
    topic: str | None = None,
    distro: str | None = None,
    images: Path | None = None,
    empty_means_empty: bool = False,
    traced_polygons: bool = False,
    intensity_range: AskedRange = None,
    plan: SplitPlan = SplitPlan(),  # noqa: B008 (it is frozen)
) -> ImportedDataset:
    """Builds the index; files count in the order of their names.

    Args:
        files: what was drawn, as each format's reader gives it.
        recordings: the folder that holds the recordings the image names speak of.
        classes: things and surfaces; inferred from how labels are drawn where it is None.
        topic: the image topic the frames were exported from; None where each recording has one only.
        distro: where recordings carry no message definitions, the ROS distribution whose definitions to take.
        images: a folder of extracted images; the index then says for each frame that has one there where it is.
        empty_means_empty: an image listed without shapes shows nothing, rather than being unlabelled and left out.
        traced_polygons: polygon vertices are pixel indices, as contour tracing writes them; see `shape_rle`.
        intensity_range: what 16-bit cameras show, "auto" for what is found in the labelled recordings.
        plan: how frames are split; see `assign_splits`.

    Raises:
        MayhemError: something in a file or a recording is not as it must be; the sentence names the file.
        UsageError: the splits ask for recordings that are not there.
    """
    files = sorted(files, key=lambda file: (file.path.name, str(file.path)))
    class_map = infer_class_map(files) if classes is None else classes
    entries = _entries_by_frame(files, empty_means_empty)
    labelled = {
        key: entry for key, entry in entries.items() if entry.image.is_labelled(empty_means_empty=empty_means_empty)
    }
    if not labelled:
        raise MayhemError(
            f"No image in {_list(files)} has shapes: label them, or pass --empty-means-empty if they show nothing."
        )
    frames = _find_frames(labelled, recordings, topic, distro, {file.path for file in files if file.is_video})
    cameras = {(frame.recording, frame.topic) for frame in frames.values()}
    found = chosen_range(intensity_range, _opened(sorted(cameras), recordings, distro))
    splits = assign_splits({key: frames[key].log_time_ns for key in sorted(frames)}, plan)
    file_names = {} if images is None else find_images(images, frames.values())
    if images is not None:
        _refuse_images_of_other_range(file_names, images, found, recordings, distro)
    documents = _documents(files, {(entry.path, entry.number) for entry in labelled.values()})

    deleted = sum(entry.image.is_deleted for entry in entries.values())
    counts = ImportCounts(unlabelled=len(entries) - len(labelled) - deleted, deleted=deleted)
    labelled_images = []
    document_of = {file.path: number for number, file in enumerate(file for file in files if file.original)}
    background = Category(BACKGROUND, BACKGROUND_LABEL, is_thing=False)
    category_of = {category.name: category for category in (background, *class_map.categories)}
    for number, key in enumerate(track(sorted(labelled), "importing", total=len(labelled)), start=1):
        entry, frame = labelled[key], frames[key]
        shapes = _labelled_shapes(entry, class_map, category_of)
        boxes, box_counts = _boxes(shapes, entry.image)
        surfaces, surface_counts = _surfaces(shapes, entry.image, traced_polygons)
        counts = counts + box_counts + surface_counts
        document = document_of.get(entry.path)
        labelled_images.append(
            LabelledImage(
                id=number,
                width=entry.image.width,
                height=entry.image.height,
                recording=frame.recording,
                topic=frame.topic,
                index=frame.index,
                log_time_ns=frame.log_time_ns,
                stamp_ns=frame.stamp_ns,
                split=splits[key],
                boxes=boxes,
                surfaces=surfaces,
                file_name=file_names.get(frame),
                origin=None if document is None else Origin(document, entry.number, entry.image.original),
            )
        )
    return ImportedDataset(DatasetIndex(class_map.categories, tuple(labelled_images), documents, found), counts)


def _entries_by_frame(files: Sequence[AnnotationFile], empty_means_empty: bool) -> dict[tuple[str, int], _Entry]:
    """What each frame's image says; of one that is listed twice the labelled one, where the other is unlabelled."""
    entries: dict[tuple[str, int], _Entry] = {}
    for file in files:
        for number, image in enumerate(file.images):
            key = parse_frame_name(image.name)
            listed = entries.get(key)
            if listed is not None and not image.is_labelled(empty_means_empty=empty_means_empty):
                continue
            if listed is not None and listed.image.is_labelled(empty_means_empty=empty_means_empty):
                raise MayhemError(
                    f"Image {image.name} is listed in {listed.path} and again in {file.path}: keep one of them."
                )
            entries[key] = _Entry(file.path, image, number)
    return entries


def _documents(files: Sequence[AnnotationFile], labelled: Set[tuple[Path, int]]) -> tuple[SourceDocument, ...]:
    """The files that can be written again; `labelled` names the images that go into the index, by file and place."""
    return tuple(
        SourceDocument(
            name=file.path.name,
            xml=file.original,
            left_out=tuple(
                (place, image.original)
                for place, image in enumerate(file.images)
                if image.original and (file.path, place) not in labelled
            ),
        )
        for file in files
        if file.original
    )


def _find_frames(
    entries: dict[tuple[str, int], _Entry],
    folder: Path,
    topic_name: str | None,
    distro: str | None,
    videos: Set[Path],
) -> dict[tuple[str, int], Frame]:
    """Looks every image up in its recording; also checks its index and its size."""
    paths = find_recordings(folder, wanted={stem for stem, _ in entries})
    frames: dict[tuple[str, int], Frame] = {}
    by_recording: dict[str, list[tuple[int, _Entry]]] = {}
    for (stem, index), entry in sorted(entries.items(), key=lambda item: item[0]):
        by_recording.setdefault(stem, []).append((index, entry))
    for stem, members in by_recording.items():
        if stem not in paths:
            path = members[0][1].path
            remedy = ", or say with --video-recording what it is called" if path in videos else ""
            raise MayhemError(
                f"{path} labels frames of the recording {quoted(stem)}, which is not in {folder}: "
                f"put it there or name its folder with --recordings{remedy}."
            )
        with Recording(paths[stem], distro=distro) as recording:
            topic = recording.image_topic(topic_name)
            indices = [index for index, _ in members if index < topic.count]
            size = _first_size(recording, topic.name, indices)
            for index, entry in members:
                if index >= topic.count:
                    raise MayhemError(
                        f"{entry.place}: {paths[stem]} has only {topic.count} images on {topic.name}: "
                        "pass the recording or the --topic it was exported from."
                    )
                listed = entry.image.width, entry.image.height
                actual = size if listed == size else _first_size(recording, topic.name, [index])
                if listed != actual:
                    raise MayhemError(
                        f"{entry.place} is {listed[0]}x{listed[1]} pixels, but {topic.name} of {paths[stem]} is "
                        f"{actual[0]}x{actual[1]}: pass the recording or the --topic it was exported from."
                    )
                frames[stem, index] = recording.frame(topic.name, index)
    return frames


def _refuse_images_of_other_range(
    file_names: dict[Frame, str],
    images: Path,
    intensity_range: IntensityRange | None,
    recordings: Path,
    distro: str | None,
) -> None:
    """Looks at one extracted image of each 16-bit camera."""
    one_of_each = {(frame.recording, frame.topic): name for frame, name in file_names.items()}
    for recording, topic in _opened(sorted(one_of_each), recordings, distro):
        with recording:
            if is_sixteen_bit(recording, topic):
                refuse_other_range(images / one_of_each[recording.stem, topic], intensity_range)


def _opened(cameras: Sequence[tuple[str, str]], folder: Path, distro: str | None) -> Iterator[tuple[Recording, str]]:
    """Each (stem, topic) with its recording."""
    paths = find_recordings(folder, wanted={stem for stem, _ in cameras})
    return ((Recording(paths[stem], distro=distro), topic) for stem, topic in cameras)


def _first_size(recording: Recording, topic: str, indices: Sequence[int]) -> tuple[int, int]:
    """(width, height) of the first of these images that can be decoded."""
    for index in indices:
        try:
            height, width = recording.read_image(topic, index).shape[:2]
        except MayhemError:
            if index == indices[-1]:
                raise
        else:
            return width, height
    return 0, 0


def _labelled_shapes(
    entry: _Entry, class_map: ClassMap, category_of: dict[str, Category]
) -> list[tuple[AreaShape, Category]]:
    """The image's shapes with their categories, without the ignored ones."""
    shapes: list[tuple[AreaShape, Category]] = []
    for shape in entry.image.shapes:
        if shape.label in class_map.ignore:
            continue
        if isinstance(shape, OtherShape):
            raise MayhemError(
                f"{entry.place} has a <{shape.kind}> of {quoted(shape.label)}, which is neither box, polygon nor mask: "
                "draw it as one of these, or list its label under `ignore` in a class map."
            )
        name = class_map.rename.get(shape.label, shape.label)
        if name not in category_of:
            raise MayhemError(
                f"{entry.place} has the label {quoted(shape.label)}, which the class map does not name: "
                "add it to things, surfaces, rename or ignore."
            )
        shapes.append((shape, category_of[name]))
    return shapes


def _boxes(
    shapes: Sequence[tuple[AreaShape, Category]], image: AnnotatedImage
) -> tuple[tuple[BoxLabel, ...], ImportCounts]:
    """The image's things, clipped to it; one drawn as polygon or mask gets the box around it."""
    labels = []
    clipped = outside = flat = 0
    for shape, category in shapes:
        if not category.is_thing:
            continue
        drawn = _box_around(shape, image)
        is_crowd = isinstance(shape, BoxShape) and shape.is_crowd
        x1, y1, x2, y2 = drawn
        box = max(x1, 0.0), max(y1, 0.0), min(x2, float(image.width)), min(y2, float(image.height))
        if box[2] <= box[0] or box[3] <= box[1]:
            is_flat = x1 == x2 or y1 == y2
            flat, outside = flat + is_flat, outside + (not is_flat)
            continue
        clipped += box != drawn
        labels.append(BoxLabel(category.id, box, is_crowd))
    return tuple(labels), ImportCounts(clipped=clipped, outside=outside, flat=flat)


def _surfaces(
    shapes: Sequence[tuple[AreaShape, Category]], image: AnnotatedImage, traced: bool
) -> tuple[tuple[SurfaceLabel, ...], ImportCounts]:
    """The image's surfaces: a higher z-order, then a later shape, covers what lies below."""
    layers = [(shape, category) for shape, category in shapes if not category.is_thing]
    layers.sort(key=lambda layer: layer[0].z_order)  # stable: document order within a z-order
    size = image.width, image.height
    encoded = [(category.id, shape_rle(shape, *size, traced=traced)) for shape, category in layers]
    visible = paint(encoded, *size)
    drawn = {category for category, _ in encoded if category != BACKGROUND}
    labels = tuple(SurfaceLabel(category, rle) for category, rle in sorted(visible.items()))
    return labels, ImportCounts(invisible=len(drawn) - len(labels))


def _box_around(shape: AreaShape, image: AnnotatedImage) -> tuple[float, float, float, float]:
    if isinstance(shape, BoxShape):
        return shape.box
    if isinstance(shape, PolygonShape):
        (x1, y1), (x2, y2) = shape.points.min(0).tolist(), shape.points.max(0).tolist()
        return x1, y1, x2, y2
    x, y, width, height = rle_codec.toBbox(shape_rle(shape, image.width, image.height)).tolist()
    return x, y, x + width, y + height


def _list(files: Sequence[AnnotationFile]) -> str:
    return ", ".join(str(file.path) for file in files)
