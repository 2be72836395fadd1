"""One image of a topic, decoded: what its camera sends, and whether it can be decoded at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_ros.image_decoding import DecodedImage
from mayhem_train.recordings.depth import DepthImage, is_depth_message, is_image_message
from mayhem_train.recordings.recording import Recording, Topic


@dataclass(frozen=True)
class ImageSample:
    """What was found of an image topic.

    Attributes:
        width, height: in pixels, of the image that was decoded, else as a raw one says; None where neither is known.
        encoding: of the same image; a compressed image's `format`.
        message: the image that was decoded, None where none could be.
        pixels: what it decodes to: uint8 [H, W, 3] RGB, or depth as `DepthImage` has it.
        problems: one sentence each, on messages that could not be read or decoded, on this one where it is flawed, on
            the topic where none can be decoded or the last one is of another size.
    """

    width: int | None = None
    height: int | None = None
    encoding: str | None = None
    message: Any = None
    pixels: NDArray[Any] | None = None
    problems: tuple[str, ...] = ()


def sample_image(recording: Recording, topic: Topic) -> ImageSample:
    """Decodes the topic's first image and its last, to see that they are of one size; the first one is described."""
    found = ImageSample()
    unreadable, undecodable, resized = [], [], []
    for index in sorted({0, topic.count - 1} if topic.count else ()):
        try:
            message = recording.read_message(topic.name, index)
        except MayhemError as error:
            unreadable.append(str(error))
            continue
        if not is_image_message(message):
            continue
        try:
            image = _decoded(recording, topic, index, message)
        except MayhemError as error:
            undecodable.append(str(error))
            image = _as_it_says(message)
        if found.pixels is None:
            found = image
        elif image.pixels is not None and (image.width, image.height) != (found.width, found.height):
            resized.append(
                f"The size on {topic.name} of {recording.path} changes from {found.width}x{found.height} to "
                f"{image.width}x{image.height}: --verify counts the images of each."
            )
    if undecodable and found.pixels is None:
        undecodable = [f"The images on {topic.name} of {recording.path} cannot be decoded: {undecodable[0]}"]
    return ImageSample(**{**vars(found), "problems": (*found.problems, *resized, *unreadable, *undecodable)})


def _decoded(recording: Recording, topic: Topic, index: int, message: Any) -> ImageSample:
    decoded: DepthImage | DecodedImage
    if is_depth_message(message, topic.name):
        decoded = recording.read_depth(topic.name, index)
    else:
        decoded = recording.read_with_flaws(topic.name, index)
    flaws = tuple(
        f"Message {index} on {topic.name} of {recording.path} is flawed, but was decoded: {flaw.rstrip('.')}."
        for flaw in decoded.flaws[:1]
    )
    height, width = decoded.pixels.shape[:2]
    return ImageSample(width, height, _encoding(message), message, decoded.pixels, flaws)


def _as_it_says(message: Any) -> ImageSample:
    return ImageSample(getattr(message, "width", None), getattr(message, "height", None), _encoding(message))


def _encoding(message: Any) -> str:
    return str(message.encoding if hasattr(message, "encoding") else message.format)
