"""Which topics of a recording are extracted, and as what."""

from __future__ import annotations

from dataclasses import dataclass

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.recordings.depth import is_image_message
from mayhem_train.recordings.ingest.camera_info import CameraInfoExtractor
from mayhem_train.recordings.ingest.clouds import CloudExtractor
from mayhem_train.recordings.ingest.extraction import Extractor
from mayhem_train.recordings.ingest.images import ColourExtractor, DepthExtractor
from mayhem_train.recordings.ingest.imu import ImuExtractor
from mayhem_train.recordings.ingest.options import NONE, IngestOptions
from mayhem_train.recordings.ingest.places import topic_place
from mayhem_train.recordings.ingest.poses import POSE_TYPES, TRANSFORMS, PoseExtractor, TransformsExtractor
from mayhem_train.recordings.recording import IMAGES, Recording, Topic

COLOUR, DEPTH, CLOUDS, IMU, POSES, TRANSFORM, CAMERA_INFO = (
    "colour",
    "depth",
    "clouds",
    "imu",
    "poses",
    "transforms",
    "camera_info",
)
PARTNERS = {DEPTH: "depth", CLOUDS: "cloud", IMU: "imu", POSES: "pose"}
"""The kinds that colour frames are paired with, and what their columns begin with."""

FILE_KINDS = (COLOUR, DEPTH, CLOUDS)
"""The kinds of which every message becomes a file."""

_KINDS = {
    "sensor_msgs/msg/PointCloud2": CLOUDS,
    "sensor_msgs/msg/Imu": IMU,
    "sensor_msgs/msg/CameraInfo": CAMERA_INFO,
    TRANSFORMS: TRANSFORM,
    **dict.fromkeys(POSE_TYPES, POSES),
}
_LOOKED_AT = 10  # messages read to find one that says in which encoding its topic holds depth


@dataclass(frozen=True)
class ChosenTopic:
    """One topic to extract.

    Attributes:
        kind: "colour", "depth" and so on.
        form: what its messages or rows are written as; "none" where only its stamps are wanted, for the table.
        extractor: None where only its stamps are wanted.
    """

    topic: Topic
    kind: str
    form: str
    extractor: Extractor | None

    @property
    def place(self) -> str:
        """What its files and folders are called."""
        return topic_place(self.topic.name)


def choose_topics(recording: Recording, options: IngestOptions) -> tuple[ChosenTopic, ...]:
    """The topics that `options` ask for, by name; those without messages are passed over.

    Raises:
        UsageError: a topic asked for is absent or of a type that cannot be extracted, or depth cannot be written in
            the form asked for.
        MayhemError: nothing is left to extract.
    """
    for name in options.topics:
        _require_extractable(recording, recording.topic(name))
    chosen = []
    for topic in recording.topics:
        if not topic.count or (options.topics and topic.name not in options.topics):
            continue
        kind = _kind(recording, topic, options)
        if kind is None:
            continue
        form = getattr(options, POSES if kind == TRANSFORM else kind)
        if kind == DEPTH and form == "png":
            _refuse_float_as_png(recording, topic)
        wanted = form != NONE or (options.table != NONE and kind in (COLOUR, *PARTNERS))
        if wanted:
            extractor = None if form == NONE else _extractor(kind, options, recording, topic)
            chosen.append(ChosenTopic(topic, kind, form, extractor))
    if not any(choice.extractor or choice.kind == COLOUR for choice in chosen):
        listed = ", ".join(f"{topic.name} ({topic.type}, {topic.count} messages)" for topic in recording.topics)
        raise MayhemError(f"{recording.path} has nothing of what is asked for: it has {listed}.")
    places: dict[str, str] = {}
    for choice in chosen:
        if choice.place in places:
            raise UsageError(
                f"The topics {places[choice.place]} and {choice.topic.name} of {recording.path} would share the place "
                f"{choice.place}: choose one of them with --topics."
            )
        places[choice.place] = choice.topic.name
    return tuple(chosen)


def topics_left_out(recording: Recording, options: IngestOptions) -> tuple[Topic, ...]:
    """The topics with messages that nobody declined, but whose type is not extracted."""
    if options.topics:
        return ()
    return tuple(topic for topic in recording.topics if topic.count and not _is_extractable(recording, topic))


def _is_extractable(recording: Recording, topic: Topic) -> bool:
    return topic.type in _KINDS or topic in recording.image_topics


def _require_extractable(recording: Recording, topic: Topic) -> None:
    if _is_extractable(recording, topic):
        return
    candidates = [t for t in recording.topics if _is_extractable(recording, t)]
    listed = ", ".join(f"{t.name} ({t.type})" for t in candidates) or "no topic that can be"
    raise UsageError(
        f"{topic.name} of {recording.path} holds {topic.type}, which cannot be extracted: it has {listed}."
    )


def _kind(recording: Recording, topic: Topic, options: IngestOptions) -> str | None:
    if topic.type not in IMAGES:
        return _KINDS.get(topic.type)
    is_ranged = options.intensity_range is not None and topic.name in options.topics
    return DEPTH if recording.is_depth(topic, is_ranged=is_ranged) else COLOUR


def _refuse_float_as_png(recording: Recording, topic: Topic) -> None:
    """Looks at the first image that can be read, if one of the first few messages is such."""
    for index in range(min(topic.count, _LOOKED_AT)):
        try:
            message = recording.read_message(topic.name, index)
        except MayhemError:
            continue
        if not is_image_message(message):
            continue
        encoding = getattr(message, "encoding", None) or message.format
        if "32fc1" in encoding.lower():
            raise UsageError(
                f"The depth on {topic.name} of {recording.path} is {encoding}, float metres that a 16-bit PNG cannot "
                "hold: pass --depth tiff or auto."
            )
        return


def _extractor(kind: str, options: IngestOptions, recording: Recording, topic: Topic) -> Extractor:
    if kind == DEPTH:
        return DepthExtractor(options.depth, recording.depth_unit(topic.name))
    extractors: dict[str, Extractor] = {
        COLOUR: ColourExtractor(options.colour, options.jpeg_quality, options.intensity_range),
        CLOUDS: CloudExtractor(options.clouds),
        IMU: ImuExtractor(),
        POSES: PoseExtractor(),
        TRANSFORM: TransformsExtractor(),
        CAMERA_INFO: CameraInfoExtractor(),
    }
    return extractors[kind]
