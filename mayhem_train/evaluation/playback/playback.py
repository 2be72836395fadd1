"""The ROS side of a replay: recorded messages go out over DDS, and what the perception node publishes comes back."""

from __future__ import annotations

import queue
import re
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_ros.model_card import ModelCard
from mayhem_ros.prediction import Prediction
from mayhem_train.evaluation.playback.dds_settings import with_image_settings
from mayhem_train.evaluation.playback.matching import Answered, Matcher
from mayhem_train.evaluation.playback.node_process import NODE_NAME, NodeProcess
from mayhem_train.evaluation.playback.private_domain import environment_variables, private_environment
from mayhem_train.evaluation.playback.settings import LOCK_STEP, PlaybackSettings
from mayhem_train.evaluation.playback.stage_times import StageTimes
from mayhem_train.recordings.recording import COMPRESSED_IMAGE, RecordedMessage, Topic

try:
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.context import Context
    from rclpy.exceptions import InvalidTopicNameException
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from rclpy.serialization import deserialize_message
    from rclpy.signals import SignalHandlerOptions
    from rclpy.validate_full_topic_name import validate_full_topic_name
    from sensor_msgs.msg import CompressedImage, Image
    from vision_msgs.msg import Detection2DArray
except ImportError as error:
    raise MayhemError(
        f"Replaying needs ROS 2 in Python ({error}): source /opt/ros/<distribution>/setup.bash "
        "and install its vision_msgs package, or use the environment that `make` sets up."
    ) from error

DETECTIONS = "detections"
MASK = "segmentation/mask"
CONFIDENCE = "segmentation/confidence"

_SILENT_FRAMES = 3
_LOOK_ROUND = 1.0  # seconds; DDS finds whoever is on this machine in a third of that
_FALLBACK_TOPIC = "/image"
_STAMP = {0: struct.Struct(">iI"), 1: struct.Struct("<iI")}  # by the byte that tells CDR's endianness
_STAGE = re.compile(r"^(?P<stage>.+) ms \((?P<statistic>median|most)\)$")
_STAGES_LEFT_OUT = ("age",)  # the stamps are those of the recording, so the age says when it was made


@dataclass(frozen=True)
class PlayedFrame:
    """One frame that was sent: its prediction, or None where nothing came back.

    Attributes:
        index: the message's place on its topic in the recording.
        stamp_ns: its header's stamp, None where the message is too short to have one.
        latency_ms: from handing it to DDS to its last result; None too until the first answer has come,
            since that would be the time DDS took to find its partners.
    """

    index: int
    stamp_ns: int | None
    prediction: Prediction | None
    latency_ms: float | None


class Playback:
    """One recording's camera played to one perception node; made by `playback`.

    Attributes:
        topic: where the frames go out.
    """

    def __init__(
        self, node_process: NodeProcess, link: _Link, card: ModelCard, settings: PlaybackSettings, stages: StageTimes
    ) -> None:
        self.topic = link.topic
        self._process = node_process
        self._link = link
        self._settings = settings
        self._detection_ids = {c.name: c.id for c in card.detection_classes}
        self._matcher: Matcher[bytes] = Matcher(link.kinds)
        self._sent = 0
        self._silent = 0
        self._refused = 0  # by the node's own count
        self._refusal = ""
        self._accounted = 0  # as many of them at most are frames that were given up
        self._stages = stages

    def play(self, messages: Iterable[RecordedMessage], is_damaged: Callable[[int], bool]) -> Iterator[PlayedFrame]:
        """Plays the messages and yields every one of them, answered or not; in real time not always in order.

        Until the first answer a frame is sent again and again, at growing distances: DDS finds its partners one by
        one, and what is said before they all have met is lost. The recorded pace counts from then on.

        Args:
            messages: image messages in the order of time.
            is_damaged: whether the frame of an index cannot be decoded, so that no answer will come; asked of frames
                that are slow to be answered.

        Raises:
            MayhemError: the node ends, or is not ready in time, or there is another on the domain.
        """
        self._wait_for_node()
        waiting = iter(messages)
        for message in waiting:
            played = self._exchange(message, is_damaged, repeat=True)
            yield played
            if played.prediction is not None:
                break
        if self._settings.mode == LOCK_STEP:
            for message in waiting:
                yield self._exchange(message, is_damaged, repeat=False)
        else:
            yield from self._keep_pace(waiting)
        self._wait_for_diagnostics()
        self._link.refuse_results_of(publishers=2)

    def _wait_for_node(self) -> None:
        deadline = time.monotonic() + self._settings.start_timeout
        while not self._link.is_complete():
            self._process.refuse_death("before it was ready")
            self._link.refuse_results_of(publishers=2)
            if time.monotonic() > deadline:
                raise MayhemError(
                    f"The perception node was not ready within {self._settings.start_timeout:g} s: "
                    "see whether the machine is overloaded, or give it more time."
                )
            time.sleep(0.02)
        self._link.refuse_results_of(publishers=2)

    def _exchange(self, message: RecordedMessage, is_damaged: Callable[[int], bool], *, repeat: bool) -> PlayedFrame:
        """Sends one frame and waits for its answer; `repeat` sends it again while none comes."""
        stamp = header_stamp_ns(message.cdr)
        if stamp is None:
            self._sent += 1
            return PlayedFrame(message.index, None, None, None)
        self._send(message, stamp)
        deadline = time.monotonic() + self._settings.frame_timeout
        patience = 1.0
        doubt_at = time.monotonic() + patience
        sendings = 1
        damaged = False
        answer = None
        while answer is None and not damaged and not self._is_refused() and time.monotonic() < deadline:
            answer = self._next_answer(time.monotonic() + 0.25)
            if answer is not None:
                continue
            self._process.refuse_death(f"after {self._sent} frames")
            if time.monotonic() < doubt_at:
                continue
            damaged = is_damaged(message.index)
            patience *= 2
            doubt_at += patience
            if repeat and not damaged:
                self._send(message, stamp)
                sendings += 1
        self._sent += 1
        if answer is None:
            self._matcher.give_up(message.index, stamp)
            if self._is_refused():
                damaged = damaged or is_damaged(message.index)
                if sendings > 1:  # some of the copies may have met nobody
                    self._wait_for_diagnostics()
                    self._wait_for_diagnostics()
                self._accounted = self._refused
            else:
                self._accounted += sendings
            self._note_silence(damaged)
            return PlayedFrame(message.index, stamp, None, None)
        self._silent, self._refusal = 0, ""
        if sendings > 1:
            self._let_copies_pass()
        played = self._played(answer, stamp)
        return replace(played, latency_ms=None) if repeat else played

    def _is_refused(self) -> bool:
        """Whether the node says that it refused a frame, and it can be none of those before."""
        return self._refused > self._accounted

    def _note_silence(self, damaged: bool) -> None:
        """Raises MayhemError when frame after frame stays unanswered: waiting for all of them would take hours."""
        self._silent += not damaged
        if self._silent == _SILENT_FRAMES and self._refusal:
            raise MayhemError(f"The perception node refused frame after frame: {self._refusal}")
        if self._silent == _SILENT_FRAMES:
            raise MayhemError(
                f"The perception node did not answer {_SILENT_FRAMES} frames in a row within "
                f"{self._settings.frame_timeout:g} s each" + self._process.reason()
            )

    def _let_copies_pass(self) -> None:
        """Takes the answers to a frame's other sendings, lest they be taken for a later frame's of the same stamp."""
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            self._next_answer(until)

    def _keep_pace(self, messages: Iterator[RecordedMessage]) -> Iterator[PlayedFrame]:
        """Sends frames at their time and hands on what comes back meanwhile."""
        stamps: dict[int, int] = {}  # of the frames not answered yet, by index
        clock: tuple[float, int] | None = None
        last: int | None = None
        for message in messages:
            if clock is None:
                clock = (time.monotonic(), message.log_time_ns)
            due = clock[0] + (message.log_time_ns - clock[1]) * 1e-9 / self._settings.rate
            while time.monotonic() < due:
                answer = self._next_answer(due)
                if answer is not None:
                    yield self._played(answer, stamps.pop(answer.number))
            self._process.refuse_death(f"after {self._sent} frames")
            stamp = header_stamp_ns(message.cdr)
            if stamp is None:
                self._sent += 1
                yield PlayedFrame(message.index, None, None, None)
                continue
            last = message.index
            stamps[message.index] = stamp
            self._send(message, stamp)
            self._sent += 1
        # Nothing can overtake the last frame: once it is answered, all that will come has come.
        deadline = time.monotonic() + min(self._settings.frame_timeout, 10.0)
        while last in stamps and time.monotonic() < deadline:
            answer = self._next_answer(min(deadline, time.monotonic() + 0.5))
            if answer is not None:
                yield self._played(answer, stamps.pop(answer.number))
            self._process.refuse_death(f"after {self._sent} frames")
        for index, stamp in stamps.items():
            yield PlayedFrame(index, stamp, None, None)

    def _send(self, message: RecordedMessage, stamp: int) -> None:
        self._matcher.sent(message.index, stamp, time.perf_counter())
        self._link.publish(message.cdr)

    def _next_answer(self, until: float) -> Answered[bytes] | None:
        """Takes one message that came back; the frame it completes, if it does, or None. Waits `until` at most."""
        try:
            arrival = self._link.arrivals.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return None
        if arrival.kind is None:
            self._note_diagnostics(arrival.data)
            return None
        stamp = header_stamp_ns(arrival.data)
        return None if stamp is None else self._matcher.received(arrival.kind, stamp, arrival.at, arrival.data)

    def _played(self, answer: Answered[bytes], stamp: int) -> PlayedFrame:
        latency = None if answer.latency is None else answer.latency * 1e3
        return PlayedFrame(answer.number, stamp, prediction_from(answer.payloads, self._detection_ids), latency)

    def _wait_for_diagnostics(self) -> None:
        """The last frames' times are in the node's next report, which is a second away at most."""
        deadline = time.monotonic() + 3.0
        reports = self._link.reports
        while self._link.reports == reports and time.monotonic() < deadline:
            self._next_answer(min(deadline, time.monotonic() + 0.1))
        while not self._link.arrivals.empty():
            self._next_answer(time.monotonic())

    def _note_diagnostics(self, data: bytes) -> None:
        for status in deserialize_message(data, DiagnosticArray).status:
            for item in status.values:
                match = _STAGE.match(item.key)
                if match is None or item.value == "n/a" or match["stage"] in _STAGES_LEFT_OUT:
                    continue
                self._stages.note(match["stage"], match["statistic"], float(item.value))
            refused = sum(int(item.value) for item in status.values if item.key == "failed")
            if refused > self._refused:
                self._refused, self._refusal = refused, status.message


@contextmanager
def playback(
    model: Path,
    card: ModelCard,
    topic: Topic,
    domain: int,
    folder: Path,
    settings: PlaybackSettings,
    stages: StageTimes,
) -> Iterator[Playback]:
    """Starts a perception node for one camera and links up with it; the block's end stops it.

    Args:
        model: the ONNX file.
        card: its card.
        topic: the recorded topic; the frames go out as `/image` where ROS 2 does not allow its name.
        domain: the ROS domain id to speak on.
        folder: an existing folder for the node's log and parameters.
        settings: how to play.
        stages: gathers the node's own times.
    """
    name = ros2_topic(topic.name)
    lock_step = settings.mode == LOCK_STEP
    parameters: dict[str, object] = {
        "model_path": str(model.resolve()),
        "provider": settings.provider,
        "threads": settings.threads,
        "image_topics": [name],
        "image_type": "compressed" if topic.type == COMPRESSED_IMAGE else "raw",
        "score_threshold": -1.0 if settings.threshold is None else settings.threshold,
        "class_id_format": "name",
        "autostart": True,
    }
    if lock_step:  # nothing may get lost; in real time the node is as it is on the robot
        parameters |= {"reliability": "reliable", "frame_policy": "every"}
    environment = private_environment(domain, folder)
    if not lock_step:  # reliable topics need no such settings, and small machines may lack the shared memory
        environment = with_image_settings(environment)
    with (
        environment_variables(environment),
        _Link.open(name, topic.type, _expected_kinds(card), domain) as link,
    ):
        link.refuse_present_nodes()
        with NodeProcess(parameters, environment, folder) as node_process:
            yield Playback(node_process, link, card, settings, stages)


def header_stamp_ns(cdr: bytes) -> int | None:
    """The stamp of a serialised message that begins with a std_msgs/Header; None when it is too short for one."""
    if len(cdr) < 12 or cdr[1] not in _STAMP:
        return None
    seconds, nanoseconds = _STAMP[cdr[1]].unpack_from(cdr, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def ros2_topic(topic: str) -> str:
    """The recorded name, absolute, or `/image` where ROS 2 refuses it (ROS 1 allows names like /camera/1/image)."""
    absolute = topic if topic.startswith("/") else f"/{topic}"
    try:
        validate_full_topic_name(absolute)
    except InvalidTopicNameException:
        return _FALLBACK_TOPIC
    return absolute


def prediction_from(payloads: dict[str, bytes], detection_ids: dict[str, int]) -> Prediction:
    """The node's messages of one frame as a prediction, class names turned back into the card's ids.

    Raises:
        MayhemError: a detection's class is none of the model card's.
    """
    boxes = scores = labels = None
    if DETECTIONS in payloads:
        detections = deserialize_message(payloads[DETECTIONS], Detection2DArray).detections
        boxes = np.zeros((len(detections), 4), np.float32)
        scores = np.zeros(len(detections), np.float32)
        labels = np.zeros(len(detections), np.int64)
        for row, detection in enumerate(detections):
            centre, hypothesis = detection.bbox.center.position, detection.results[0].hypothesis
            half = (detection.bbox.size_x / 2, detection.bbox.size_y / 2)
            boxes[row] = (centre.x - half[0], centre.y - half[1], centre.x + half[0], centre.y + half[1])
            scores[row] = hypothesis.score
            if hypothesis.class_id not in detection_ids:
                known = ", ".join(detection_ids)
                raise MayhemError(
                    f"The node published the class {hypothesis.class_id!r}, but the model card has {known}."
                )
            labels[row] = detection_ids[hypothesis.class_id]
    return Prediction(
        boxes=boxes,
        scores=scores,
        labels=labels,
        mask=_pixels(payloads[MASK]) if MASK in payloads else None,
        mask_confidence=_pixels(payloads[CONFIDENCE]) if CONFIDENCE in payloads else None,
    )


class _Arrival(NamedTuple):
    """A serialised message; `kind` is None for diagnostics, `at` counts as `time.perf_counter`."""

    kind: str | None
    at: float
    data: bytes


class _Link:
    """Our end of the topics: one publisher, and a thread that notes when each result arrives."""

    def __init__(self, topic: str, message_type: str, kinds: frozenset[str], context: Context) -> None:
        self.topic = topic
        self.kinds = kinds
        self.arrivals: queue.SimpleQueue[_Arrival] = queue.SimpleQueue()
        self.reports = 0
        self.node = rclpy.create_node(
            "mayhem_replay",
            context=context,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
        )
        reliable = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE)
        kind_of_message = CompressedImage if message_type == COMPRESSED_IMAGE else Image
        self._publisher = self.node.create_publisher(kind_of_message, topic, reliable)
        types = {DETECTIONS: Detection2DArray, MASK: Image, CONFIDENCE: Image}
        # Raw: the time of arrival must not hold the time it takes Python to unpack a mask.
        for kind in sorted(kinds):
            self.node.create_subscription(types[kind], f"/{NODE_NAME}/{kind}", self._receiver(kind), reliable, raw=True)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._receive_diagnostics, reliable, raw=True)

    @classmethod
    @contextmanager
    def open(cls, topic: str, message_type: str, kinds: frozenset[str], domain: int) -> Iterator[_Link]:
        """A link with its receiving thread, both gone when the block ends."""
        context = Context()
        rclpy.init(context=context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
        try:
            link = cls(topic, message_type, kinds, context)
            executor = SingleThreadedExecutor(context=context)
            executor.add_node(link.node)
            thread = threading.Thread(target=executor.spin, name="replay", daemon=True)
            thread.start()
            try:
                yield link
            finally:
                executor.shutdown()
                thread.join()
                link.node.destroy_node()
        finally:
            context.try_shutdown()

    def is_complete(self) -> bool:
        """Whether the node listens to us and everything we expect has a publisher."""
        return self._publisher.get_subscription_count() > 0 and all(
            self.node.count_publishers(f"/{NODE_NAME}/{kind}") > 0 for kind in self.kinds
        )

    def refuse_results_of(self, *, publishers: int) -> None:
        """Raises MayhemError when a result has so many publishers: another's would be taken for those of our node."""
        for topic in (f"/{NODE_NAME}/{kind}" for kind in sorted(self.kinds)):
            if self.node.count_publishers(topic) >= publishers:
                raise MayhemError(
                    f"Another perception node publishes {topic} on this ROS domain: stop it, or choose another domain "
                    "with --domain-id."
                )

    def refuse_present_nodes(self) -> None:
        """Looks round before our node is started: one already there would be taken for it."""
        until = time.monotonic() + _LOOK_ROUND
        while time.monotonic() < until:
            self.refuse_results_of(publishers=1)
            time.sleep(0.02)

    def publish(self, cdr: bytes) -> None:
        """Sends a message as it was serialised when it was recorded."""
        self._publisher.publish(cdr)

    def _receiver(self, kind: str) -> Callable[[Any], None]:
        return lambda data: self.arrivals.put(_Arrival(kind, time.perf_counter(), data))

    def _receive_diagnostics(self, data: Any) -> None:
        self.arrivals.put(_Arrival(None, time.perf_counter(), data))
        self.reports += 1


def _expected_kinds(card: ModelCard) -> frozenset[str]:
    detection = {DETECTIONS} if card.task != "segmentation" else set()
    segmentation = {MASK, CONFIDENCE} if card.task != "detection" else set()
    return frozenset(detection | segmentation)


def _pixels(data: bytes) -> NDArray[np.uint8]:
    """A mono8 message's pixels, uint8 [H, W]."""
    message = deserialize_message(data, Image)
    if message.encoding != "mono8" or message.step != message.width:
        raise MayhemError(
            f"The node published a mask as {message.encoding} with rows of {message.step} bytes for {message.width} "
            "pixels, not one byte a pixel: use the perception node of this release."
        )
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)
