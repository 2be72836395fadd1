"""Annotations and recordings become one dataset index: frames found, shapes converted, splits assigned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from pycocotools import mask as rle_codec

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.console import track
from mayhem_train.datasets.annotations.classes import (
    BACKGROUND_LABEL,
    ClassMap,
    infer_class_map,
    without_undeclared,
)
from mayhem_train.datasets.annotations.counts import ImportCounts
from mayhem_train.datasets.annotations.extracted_images import find_images, refuse_other_range
from mayhem_train.datasets.annotations.faults import Faults, LabelError, NothingLabelledError, in_file
from mayhem_train.datasets.annotations.recorded_frames import RecordedFrames
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
from mayhem_train.recordings.sixteen_bits import AskedRange, chosen_range, is_sixteen_bit

_OTHER_VIDEO = "say with --video-recording what it is called"


@dataclass(frozen=True)
class ImportedDataset:
    """A dataset index, the count of what was left out or cut on the way, and the splits that the labels carry.

    `labelled_splits` counts the frames in each split that the labels say themselves, those in another one of the index
    (`moved`) among them.
    """

    index: DatasetIndex
    counts: ImportCounts
    labelled_splits: Counter[str]
    moved: int


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
    faults: Faults | None = None,
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
        faults: notes what cannot be, which is then left out; without it the first is raised.

    Raises:
        MayhemError: something in a file or a recording is not as it must be; the sentence names the file.
        UsageError: the splits ask for recordings that are not there.
    """
    faults = Faults() if faults is None else faults
    recorded = RecordedFrames(recordings, topic=topic, distro=distro)
    files = sorted(files, key=lambda file: (file.path.name, str(file.path)))
    if classes is None:
        files = [without_undeclared(file, faults) for file in files]
    class_map = infer_class_map(files) if classes is None else classes
    entries = _entries_by_frame(files, empty_means_empty, faults)
    labelled = {
        key: entry for key, entry in entries.items() if entry.image.is_labelled(empty_means_empty=empty_means_empty)
    }
    unlabelled = len(entries) - len(labelled)
    if not labelled:
        raise NothingLabelledError(
            f"No image in {_list(files)} has shapes: label them, or pass --empty-means-empty if they show nothing."
        )
    frames = _find_frames(labelled, recorded, {file.path for file in files if file.is_video}, faults)
    if not frames:
        raise NothingLabelledError(f"No frame is left that {_list(files)} label: pass the recordings they speak of.")
    cameras = {(frame.recording, frame.topic) for frame in frames.values()}
    if intensity_range is None:
        _refuse_depth(cameras, recorded)
    found = chosen_range(intensity_range, ((recorded.recording(stem)[0], topic) for stem, topic in sorted(cameras)))
    labelled = {key: entry for key, entry in labelled.items() if key in frames}
    said = {key: entry.image.split for key, entry in labelled.items()}
    splits = assign_splits({key: frames[key].log_time_ns for key in sorted(frames)}, plan, said)
    file_names = {} if images is None else find_images(images, frames.values())
    if images is not None:
        _refuse_images_of_other_range(file_names, images, found, recorded)
    recorded.close()
    documents = _documents(files, {(entry.path, entry.number) for entry in labelled.values()})

    deleted = sum(entry.image.is_deleted for entry in entries.values())
    counts = sum((file.counts for file in files), ImportCounts(unlabelled=unlabelled - deleted, deleted=deleted))
    labelled_images = []
    document_of = {file.path: number for number, file in enumerate(file for file in files if file.original)}
    background = Category(BACKGROUND, BACKGROUND_LABEL, is_thing=False)
    category_of = {category.name: category for category in (background, *class_map.categories)}
    for number, key in enumerate(track(sorted(labelled), "importing", total=len(labelled)), start=1):
        entry, frame = labelled[key], frames[key]
        shapes = _labelled_shapes(entry, class_map, category_of, faults)
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
    index = DatasetIndex(class_map.categories, tuple(labelled_images), documents, found)
    moved = sum(bool(split) and split != splits[key] for key, split in said.items())
    return ImportedDataset(index, counts, Counter(split for split in said.values() if split), moved)


def _entries_by_frame(
    files: Sequence[AnnotationFile], empty_means_empty: bool, faults: Faults
) -> dict[tuple[str, int], _Entry]:
    """What each frame's image says; of one that is listed twice the labelled one, where the other is unlabelled."""
    entries: dict[tuple[str, int], _Entry] = {}
    for file in files:
        for number, image in enumerate(file.images):
            key = parse_frame_name(image.name)
            listed = entries.get(key)
            if listed is not None and not image.is_labelled(empty_means_empty=empty_means_empty):
                continue
            with faults.noting():
                if listed is not None and listed.image.is_labelled(empty_means_empty=empty_means_empty):
                    raise LabelError(
                        f"Image {image.name} is listed in {listed.path} and again in {file.path}: keep one of them.",
                        "image that is listed twice",
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
    entries: dict[tuple[str, int], _Entry], recorded: RecordedFrames, videos: Set[Path], faults: Faults
) -> dict[tuple[str, int], Frame]:
    """Looks every image up in its recording; also checks its index and its size."""
    frames: dict[tuple[str, int], Frame] = {}
    by_recording: dict[str, list[tuple[int, _Entry]]] = {}
    for (stem, index), entry in sorted(entries.items(), key=lambda item: item[0]):
        by_recording.setdefault(stem, []).append((index, entry))
    for stem, members in by_recording.items():
        with faults.noting():
            path = members[0][1].path
            with in_file(path, remedy=_OTHER_VIDEO if path in videos else ""):
                recorded.recording(stem, labelled=len(members))
            unreadable = []
            for index, entry in members:
                with faults.noting():
                    with in_file(entry.place):
                        frames[stem, index] = recorded.frame(stem, index)
                    try:
                        _check_size(entry, recorded, stem, index)
                    except LabelError:
                        del frames[stem, index]
                        raise
                    except MayhemError as error:
                        unreadable.append(error)
            if len(unreadable) == len(members):
                for index, _ in members:
                    del frames[stem, index]
                raise unreadable[0]
    return frames


def _refuse_depth(cameras: Iterable[tuple[str, str]], recorded: RecordedFrames) -> None:
    """Labels of depth could be imported, but never trained on; grey whose topic's name says depth can."""
    for stem, name in sorted(cameras):
        with recorded.recording(stem)[0] as recording:
            if not recording.is_depth(recording.topic(name)):
                continue
            try:
                recording.read_image(name, 0)
            except MayhemError as error:
                raise UsageError(
                    f"{name} of {recording.path} is depth: pass a colour --topic, or --intensity-range if a thermal "
                    "camera sent it."
                ) from error


def _refuse_images_of_other_range(
    file_names: dict[Frame, str],
    images: Path,
    intensity_range: IntensityRange | None,
    recorded: RecordedFrames,
) -> None:
    """Looks at one extracted image of each 16-bit camera."""
    one_of_each = {(frame.recording, frame.topic): name for frame, name in file_names.items()}
    for stem, topic in sorted(one_of_each):
        with recorded.recording(stem)[0] as recording:
            if is_sixteen_bit(recording, topic):
                refuse_other_range(images / one_of_each[stem, topic], intensity_range)


def _check_size(entry: _Entry, recorded: RecordedFrames, stem: str, index: int) -> None:
    """Each image for itself, since the frames of a recording may differ.

    Raises:
        LabelError: the image is of another size than the frame.
        MayhemError: the frame cannot be read.
    """
    listed = entry.image.width, entry.image.height
    actual = recorded.size(stem, index)
    if listed != actual:
        recording, topic = recorded.recording(stem)
        raise LabelError(
            f"{entry.place} is {listed[0]}x{listed[1]} pixels, but {topic.name} of {recording.path} is "
            f"{actual[0]}x{actual[1]}: pass the recording or the --topic it was exported from.",
            "image of another size than its frame",
        )


def _labelled_shapes(
    entry: _Entry, class_map: ClassMap, category_of: dict[str, Category], faults: Faults
) -> list[tuple[AreaShape, Category]]:
    """The image's shapes with their categories, without the ignored ones."""
    shapes: list[tuple[AreaShape, Category]] = []
    for shape in entry.image.shapes:
        if shape.label in class_map.ignore:
            continue
        with faults.noting():
            if isinstance(shape, OtherShape):
                raise LabelError(
                    f"{entry.place} has a <{shape.kind}> of {quoted(shape.label)}, which is neither box, polygon nor "
                    "mask: draw it as one of these, or list its label under `ignore` in a class map.",
                    f"<{shape.kind}>, which is neither box, polygon nor mask",
                )
            name = class_map.rename.get(shape.label, shape.label)
            if name not in category_of:
                raise LabelError(
                    f"{entry.place} has the label {quoted(shape.label)}, which the class map does not name: "
                    "add it to things, surfaces, rename or ignore.",
                    "label that the class map does not name",
                )
            shapes.append((shape, category_of[name]))
    return shapes


def _boxes(
    shapes: Sequence[tuple[AreaShape, Category]], image: AnnotatedImage
) -> tuple[tuple[BoxLabel, ...], ImportCounts]:
    """The image's things, clipped to it, each once; one drawn as polygon or mask gets the box around it."""
    labels: dict[BoxLabel, None] = {}
    clipped = outside = flat = repeated = 0
    for shape, category in shapes:
        if not category.is_thing:
            continue
        drawn = _box_around(shape, image)
        is_crowd = isinstance(shape, BoxShape) and shape.is_crowd
        x1, y1, x2, y2 = drawn
        box = max(x1, 0.0), max(y1, 0.0), min(x2, float(image.width)), min(y2, float(image.height))
        label = BoxLabel(category.id, box, is_crowd)
        if not label.has_area:
            is_flat = not BoxLabel(category.id, drawn).has_area
            flat, outside = flat + is_flat, outside + (not is_flat)
        elif label in labels:
            repeated += 1
        else:
            clipped += box != drawn
            labels[label] = None
    return tuple(labels), ImportCounts(clipped=clipped, outside=outside, flat=flat, repeated=repeated)


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
