"""One camera's topics: what comes in, what goes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo

from mayhem_ros.health import Health
from mayhem_ros.image_decoding import sixteen_bit_samples
from mayhem_ros.intensity_range import SampleCounts
from mayhem_ros.live_video import LivePicture, LiveVideo
from mayhem_ros.messages import detections_message, image_message, label_info_message
from mayhem_ros.onnx_model import OnnxModel
from mayhem_ros.overlay import draw_prediction
from mayhem_ros.parameters import CARD_THRESHOLDS, Parameters
from mayhem_ros.prediction import Prediction

DETECTIONS = "detections"
DETECTION_LABELS = "detections/label_info"
MASK = "segmentation/mask"
CONFIDENCE = "segmentation/confidence"
SEGMENTATION_LABELS = "segmentation/label_info"
OVERLAY = "debug/overlay"

# Reliable publishers meet reliable and best-effort subscribers alike.
_RESULTS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Camera:
    """A camera's subscription and its results' publishers, those that the model's task has.

    Args:
        node: what they are made on; the publishers publish only while it is active.
        topic: the image topic.
        prefix: what the results' topics start with, `~` or `~/<camera>`.
        model: says which results there are and what their classes are called.
    """

    def __init__(self, node: LifecycleNode, topic: str, prefix: str, model: OnnxModel) -> None:
        self.topic = topic
        self.health = Health()
        self._node = node
        self._model = model
        self._subscription: Any = None
        self._video = LiveVideo()
        self._publishers: dict[str, Any] = {}
        self._judged = model.card.input.intensity_range is not None
        if model.detects:
            self._advertise(Detection2DArray, DETECTIONS, prefix, _RESULTS)
            self._advertise(LabelInfo, DETECTION_LABELS, prefix, _LATCHED)
        if model.segments:
            self._advertise(Image, MASK, prefix, _RESULTS)
            self._advertise(Image, CONFIDENCE, prefix, _RESULTS)
            self._advertise(LabelInfo, SEGMENTATION_LABELS, prefix, _LATCHED)
        self._advertise(Image, OVERLAY, prefix, _RESULTS)

    def start(self, parameters: Parameters, receive: Callable[[Camera, Any], None]) -> None:
        """Announces the classes, then subscribes: `receive` gets every message. The node must be active."""
        self.health = Health()  # counts run from here, as the mailbox's do
        self._video = LiveVideo(parameters.max_pixels)
        self.announce(parameters)
        compressed = self.topic.endswith("/compressed")
        if parameters.image_type != "auto":
            compressed = parameters.image_type == "compressed"
        self._subscription = self._node.create_subscription(
            CompressedImage if compressed else Image,
            self.topic,
            lambda message: receive(self, message),
            QoSProfile(depth=parameters.queue_depth, reliability=ReliabilityPolicy[parameters.reliability.upper()]),
        )

    def opened(self, message: Any) -> list[Any]:
        """What is to be seen of a message; every packet of a video must come by, in its order."""
        return self._video.open(message)

    def few_levels(self, message: Any) -> str | None:
        """A sentence where the first 16-bit image that shows anything keeps few grey levels at full range.

        None for all others, and where the model's card has an intensity range. The image can be decoded.
        """
        if self._judged or isinstance(message, LivePicture):
            return None
        samples = sixteen_bit_samples(message)
        counts = SampleCounts()
        if samples is not None:
            counts.add(samples)
        found, said = counts.found_range(), counts.few_levels()
        self._judged = samples is None or found is not None
        if found is None or said is None:
            return None
        return (
            f"{self.topic} {said}, and the model knows no intensity range: import its dataset with "
            f"--intensity-range {found.low} {found.high}, or auto, train and export again."
        )

    def announce(self, parameters: Parameters) -> None:
        """Says what the class ids mean and from which score on boxes are published. The node must be active."""
        header = Header(stamp=self._node.get_clock().now().to_msg())
        card = self._model.card
        if self._model.detects:
            names = {kind.id: kind.name for kind in card.detection_classes}
            thresholds = score_thresholds(self._model, parameters)
            self._publish(DETECTION_LABELS, label_info_message(names, header, thresholds.values()))
        if self._model.segments:
            names = {kind.id: kind.name for kind in card.segmentation_classes}
            self._publish(SEGMENTATION_LABELS, label_info_message(names, header))

    def stop(self) -> None:
        """Ends the subscription."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def close(self) -> None:
        """Removes the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()

    def listened_to(self) -> frozenset[str]:
        """Which of the results for every image somebody listens to now."""
        results = self._publishers.keys() & {DETECTIONS, MASK, CONFIDENCE, OVERLAY}
        return frozenset(name for name in results if self._publishers[name].get_subscription_count() > 0)

    def publish(
        self,
        prediction: Prediction,
        image: NDArray[np.uint8],
        header: Header,
        wanted: frozenset[str],
        parameters: Parameters,
    ) -> None:
        """Publishes the wanted results under the source image's header. `image` is only for the overlay.

        Every message is made before the first one goes out, so that a frame is answered whole or not at all.
        """
        prediction = prediction.above(score_thresholds(self._model, parameters))
        messages: dict[str, Any] = {}
        if DETECTIONS in wanted:
            class_id = self._model.class_name if parameters.class_id_format == "name" else str
            messages[DETECTIONS] = detections_message(prediction, header, class_id)
        if MASK in wanted and prediction.mask is not None:
            messages[MASK] = image_message(prediction.mask, header)
        if CONFIDENCE in wanted and prediction.mask_confidence is not None:
            messages[CONFIDENCE] = image_message(prediction.mask_confidence, header)
        if OVERLAY in wanted:
            messages[OVERLAY] = image_message(draw_prediction(image, prediction, self._model.class_name), header)
        for name, message in messages.items():
            self._publish(name, message)

    def _advertise(self, message_type: type, name: str, prefix: str, qos: QoSProfile) -> None:
        self._publishers[name] = self._node.create_lifecycle_publisher(message_type, f"{prefix}/{name}", qos)

    def _publish(self, name: str, message: Any) -> None:
        self._publishers[name].publish(message)


def score_thresholds(model: OnnxModel, parameters: Parameters) -> dict[int, float]:
    """The least score each class is published with: the model card's, unless the parameter sets one for all."""
    if parameters.score_threshold != CARD_THRESHOLDS:
        return {kind.id: parameters.score_threshold for kind in model.card.detection_classes}
    return {kind.id: kind.score_threshold for kind in model.card.detection_classes}
