"""The perception node: a lifecycle that loads a model, and the thread that runs it on every camera's newest image."""

from __future__ import annotations

if __name__ == "__main__":  # what follows takes a second, in which a signal may come
    from mayhem_ros.ending import end_at_once

    end_at_once()

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidTopicNameException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from rclpy.validate_topic_name import validate_topic_name

from mayhem_ros.camera import CONFIDENCE, MASK, OVERLAY, Camera
from mayhem_ros.ending import ignore_signals, on_signals
from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.health import FrameTiming
from mayhem_ros.image_decoding import decode_with_flaws
from mayhem_ros.live_video import LivePicture
from mayhem_ros.mailbox import Mailbox
from mayhem_ros.onnx_model import OnnxModel
from mayhem_ros.parameters import Parameters, changes, declare_parameters, read_parameters, unknown_parameters
from mayhem_ros.prediction import Prediction
from mayhem_ros.throttle import Throttle

_ANSWER_TIME = (
    1.0  # seconds between the lifecycle's shutdown and the process's end: whoever asked for it gets the answer
)
_END_TIME = 3.0  # seconds that the end may take; `ros2 launch` loses patience after five


class PerceptionNode(LifecycleNode):
    """Images in, detections and masks out.

    Configuring loads the model and advertises the topics; activating subscribes and starts the working thread;
    deactivating and cleaning up undo the same. A model that cannot be used fails the configuring with one logged
    sentence and leaves the node unconfigured, to be tried again.

    Args:
        when_shut_down: called a second after the lifecycle's shutdown, which nothing comes after.
        options: those of `rclpy.node.Node`.

    Raises:
        UsageError: a parameter has the wrong type.
    """

    def __init__(self, when_shut_down: Callable[[], None] = lambda: None, **options: Any) -> None:
        # Before the base class, since a node half made (a parameter of the wrong type) is destroyed as well.
        self._settings = Parameters()
        self._model: OnnxModel | None = None
        self._cameras: list[Camera] = []
        self._mailbox: Mailbox[_Frame] | None = None
        self._worker: threading.Thread | None = None
        self._problem = "not configured"
        self._throttle = Throttle()
        self._when_shut_down = when_shut_down
        super().__init__("perception", **options)
        declare_parameters(self)
        if unknown := unknown_parameters(self):
            self.get_logger().warning(
                f"{', '.join(unknown)}: no parameters of this node; `ros2 param list` names its own."
            )
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 5)
        # Steady, so that diagnostics go on while simulated time stands still.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._publish_diagnostics, clock=self._steady)

    def start(self) -> bool:
        """Configures and activates without a lifecycle manager; False where the model or a parameter is no good."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model and advertises the topics; a user's mistake is logged and leaves the node unconfigured."""
        try:
            self._settings = read_parameters(self)
            prefixes = self._camera_prefixes(self._settings.image_topics)
            model = self._model = self._load_model(self._settings)
            self._cameras = [Camera(self, topic, prefix, model) for topic, prefix in prefixes.items()]
        except MayhemError as error:
            self._problem = str(error)
            self.get_logger().error(self._problem)
            self._release()
            return TransitionCallbackReturn.FAILURE
        except Exception:  # rclpy would drop it without a word
            return self._failed("configuring")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribes to the cameras and starts the working thread."""
        try:
            result = super().on_activate(state)
            capacity = 1 if self._settings.frame_policy == "newest" else None
            self._mailbox = Mailbox((camera.topic for camera in self._cameras), capacity)
            self._worker = threading.Thread(target=self._work, args=(self._mailbox,), name="perception", daemon=True)
            self._worker.start()
            for camera in self._cameras:
                camera.start(self._settings, self._receive)
        except Exception:  # rclpy would drop it without a word
            return self._failed("activating")
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends the subscriptions and the working thread; frames still waiting are dropped."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Removes the topics and the model."""
        self._problem = "not configured"
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Undoes whatever was done, from any state."""
        self._problem = "shut down"
        self._stop()
        self._release()
        self.create_timer(_ANSWER_TIME, self._when_shut_down, clock=self._steady)
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Undoes what a failed transition began, so that the node is unconfigured and may be tried again."""
        self._stop()
        self._release()
        return super().on_error(state)

    def destroy_node(self) -> None:
        """Stops the thread before what it works with goes away."""
        self._stop()
        self._release()
        super().destroy_node()

    def _failed(self, doing: str) -> TransitionCallbackReturn:
        """Logs the exception being handled; rclpy then calls `on_error`."""
        self._problem = f"{doing} failed; the log says why"
        self.get_logger().error(traceback.format_exc())
        return TransitionCallbackReturn.ERROR

    def _load_model(self, parameters: Parameters) -> OnnxModel:
        if not parameters.model_path:
            raise UsageError("The parameter model_path is empty: name an exported model file (.onnx).")
        model = OnnxModel(parameters.model_path, provider=parameters.provider, threads=parameters.threads)
        seconds = model.warm_up(batch=len(parameters.image_topics))
        self.get_logger().info(
            f"{model.path} ({model.card.origin.model}, {model.card.task}) runs on {model.provider}; "
            f"warming up took {seconds:.2f} s"
        )
        return model

    def _camera_prefixes(self, image_topics: Sequence[str]) -> dict[str, str]:
        """By resolved image topic, what its results' topics start with."""
        if "" in image_topics:
            raise UsageError(f"image_topics is {list(image_topics)}: leave the empty name out (a comma too many?).")
        topics = []
        for topic in image_topics:
            try:
                validate_topic_name(topic)
                topics.append(self.resolve_topic_name(topic))
            except (InvalidTopicNameException, RuntimeError) as error:  # the latter of a {word} that ROS does not know
                raise UsageError(
                    f"image_topics names {topic!r}, which is no topic: use letters, digits, _ and /."
                ) from error
        names = [topic.removesuffix("/compressed") for topic in topics]
        if not topics or len(set(names)) != len(names):
            raise UsageError(
                f"image_topics names {', '.join(topics) or 'nothing'} after remapping: "
                "name one topic or more, each camera once."
            )
        if len(topics) == 1:
            return {topics[0]: "~"}
        # `~` holds the node's namespace already; a topic elsewhere may be called like one within it.
        namespace = self.get_namespace().rstrip("/") + "/"
        within = [name.removeprefix(namespace).strip("/") for name in names]
        if len(set(within)) != len(within):
            within = [name.strip("/") for name in names]
        return {topic: f"~/{name}" for topic, name in zip(topics, within, strict=True)}

    def _stop(self) -> None:
        for camera in self._cameras:
            camera.stop()
        if self._mailbox is not None and self._worker is not None:
            self._mailbox.close()
            self._worker.join()
        self._mailbox = self._worker = None

    def _release(self) -> None:
        for camera in self._cameras:
            camera.close()
        self._cameras = []
        self._model = None

    def _receive(self, camera: Camera, message: Any) -> None:
        camera.health.received()
        if self._mailbox is not None:
            received = time.perf_counter()
            for opened in camera.opened(message):
                self._mailbox.put(camera.topic, _Frame(camera, opened, received))

    def _work(self, mailbox: Mailbox[_Frame]) -> None:
        """The working thread: cameras whose images have the same size share one pass of the model."""
        while frames := mailbox.take():
            batches: dict[tuple[int, ...], list[_Decoded]] = {}
            for frame in frames.values():
                decoded = self._decode(frame)
                if decoded is not None:
                    batches.setdefault(decoded.image.shape, []).append(decoded)
            for batch in batches.values():
                self._perceive(batch)

    def _decode(self, frame: _Frame) -> _Decoded | None:
        start = time.perf_counter()
        try:
            image = self._accepted(frame)
            if (few := frame.camera.few_levels(frame.message)) is not None:
                self.get_logger().warning(few)
        except Exception as error:  # whatever one frame does, the next one is to be seen
            self._fail(frame, error)
            return None
        return _Decoded(frame, image, time.perf_counter() - start)

    def _accepted(self, frame: _Frame) -> NDArray[np.uint8]:
        """The frame's image; what is wrong with it is counted, and said of the camera's first such frame."""
        assert self._model is not None
        shown = self._model.card.input.intensity_range
        if isinstance(frame.message, LivePicture):
            decoded = frame.message.decoded()
        else:
            decoded = decode_with_flaws(frame.message, shown, max_pixels=self._settings.max_pixels)
        if decoded.is_damaged and self._settings.damaged_images == "refuse":
            raise MayhemError(f"The image is damaged ({decoded.flaws[0]}), and damaged_images is refuse.")
        if decoded.flaws and frame.camera.health.flawed(decoded.flaws[0]) == 1:
            self.get_logger().warning(
                f"{frame.camera.topic}: an image is flawed, but was decoded ({decoded.flaws[0]}); "
                "the diagnostics count such images"
            )
        return decoded.pixels

    def _perceive(self, batch: list[_Decoded]) -> None:
        """One pass for the batch; what goes wrong with one of its frames is that frame's alone."""
        try:
            passed = self._pass(batch)
        except Exception as error:  # whatever one frame does, the next one is to be seen
            if len(batch) == 1:
                self._fail(batch[0].frame, error)
            else:  # one frame's content may have failed the others
                for decoded in batch:
                    self._perceive([decoded])
            return
        for decoded, wanted, prediction in zip(batch, passed.wanted, passed.predictions, strict=True):
            try:
                if isinstance(prediction, MayhemError):
                    raise prediction
                self._answer(decoded, wanted, prediction, passed.seconds)
            except Exception as error:  # whatever one frame does, the next one is to be seen
                self._fail(decoded.frame, error)

    def _pass(self, batch: list[_Decoded]) -> _Passed:
        assert self._model is not None
        wanted = [decoded.frame.camera.listened_to() for decoded in batch]
        images = batch[0].image[None] if len(batch) == 1 else np.stack([decoded.image for decoded in batch])
        start = time.perf_counter()
        predictions = self._model.predict_each(
            images,
            with_mask=any(names & {MASK, OVERLAY} for names in wanted),
            with_mask_confidence=any(CONFIDENCE in names for names in wanted),
        )
        return _Passed(wanted, predictions, time.perf_counter() - start)

    def _answer(self, decoded: _Decoded, wanted: frozenset[str], prediction: Prediction, model: float) -> None:
        """Publishes; from then on the frame is processed, and nothing here may fail."""
        frame, image, decode = decoded
        start = time.perf_counter()
        header = frame.message.header
        frame.camera.publish(prediction, image, header, wanted, self._settings)
        end = time.perf_counter()
        stamp = header.stamp.sec + header.stamp.nanosec * 1e-9
        age = self.get_clock().now().nanoseconds * 1e-9 - stamp if stamp > 0 else None
        timing = FrameTiming(decode, model, publish=end - start, total=end - frame.received, age=age)
        frame.camera.health.processed(timing)

    def _fail(self, frame: _Frame, error: Exception) -> None:
        ours = isinstance(error, MayhemError)
        reason = str(error) if ours else f"{type(error).__name__}: {error}"
        frame.camera.health.failed(reason)
        if not self._throttle.allows(frame.camera.topic, reason):
            return
        stamp = frame.message.header.stamp
        sentence = f"{frame.camera.topic}, frame {stamp.sec}.{stamp.nanosec:09d}: {reason}"
        if ours:
            self.get_logger().warning(sentence)
        else:
            self.get_logger().error("\n".join([sentence, *traceback.format_exception(error)]))

    def _on_set_parameters(self, changed: list[Parameter[Any]]) -> SetParametersResult:
        try:
            new = changes(changed, self._settings if self._model is not None else None)
        except UsageError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._settings = replace(self._settings, **new)
        if self._mailbox is not None and "score_threshold" in new:
            for camera in self._cameras:
                camera.announce(self._settings)
        return SetParametersResult(successful=True)

    def _publish_diagnostics(self) -> None:
        name = self.get_fully_qualified_name().strip("/")
        array = DiagnosticArray(status=[self._model_status(name)])
        array.header.stamp = self.get_clock().now().to_msg()
        if self._mailbox is not None:
            array.status += [
                camera.health.report(f"{name}: {camera.topic}", camera.topic, self._mailbox.overtaken(camera.topic))
                for camera in self._cameras
            ]
        self._diagnostics.publish(array)

    def _model_status(self, name: str) -> DiagnosticStatus:
        status = DiagnosticStatus(name=f"{name}: model", hardware_id=self._settings.model_path)
        if self._model is None:
            status.level, status.message = DiagnosticStatus.WARN, self._problem
        else:
            status.level, status.message = DiagnosticStatus.OK, "active" if self._worker is not None else "inactive"
            card = self._model.card
            values = {"provider": self._model.provider, "task": card.task, "model": card.origin.model}
            status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        return status


class _Frame(NamedTuple):
    """A message, where it came from and when its callback ran (`time.perf_counter`)."""

    camera: Camera
    message: Any
    received: float


class _Decoded(NamedTuple):
    """A frame, its image (uint8 [H, W, 3] RGB), and how many seconds decoding took."""

    frame: _Frame
    image: NDArray[np.uint8]
    decode: float


class _Passed(NamedTuple):
    """What a pass gave for each frame of its batch: the results wanted, the prediction; and its seconds."""

    wanted: list[frozenset[str]]
    predictions: list[Prediction | MayhemError]
    seconds: float


def main(arguments: list[str] | None = None) -> int:
    """Runs the node until SIGINT, SIGTERM or the lifecycle's shutdown.

    Signals are ignored once it has returned. Exit codes: 0 ended so, 1 `autostart` failed, 2 wrong arguments,
    3 anything unforeseen.
    """
    ended: SimpleQueue[None] = SimpleQueue()  # an Event locks itself up when a second signal interrupts the first
    on_signals(lambda: ended.put(None))
    try:
        return _run(arguments, ended)
    finally:
        ignore_signals()


def _run(arguments: list[str] | None, ended: SimpleQueue[None]) -> int:
    try:
        # rclpy's own handlers would take the context away under the working thread.
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        node = PerceptionNode(when_shut_down=lambda: ended.put(None))
    except Exception as error:  # rclpy's errors on arguments and parameters have no class of their own in common
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        print(f"perception_node cannot start: {reason}", file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def work() -> int:
        try:
            if node.get_parameter("autostart").value and not node.start():
                return 1
            executor.spin()
            return 0
        finally:
            ended.put(None)

    # The main thread only waits, because a signal reaches Python code at once only there.
    working = ThreadPoolExecutor(1, "executor").submit(work)
    ended.get()
    code = 0
    # A large model that is being loaded, or is at work on a frame, cannot be interrupted; and there is nothing to lose.
    patience = threading.Timer(_END_TIME, lambda: os._exit(code))
    patience.start()
    executor.shutdown()
    try:
        code = working.result()
    except Exception:  # no callback raises, so it is rclpy
        node.get_logger().fatal(traceback.format_exc())
        code = 3
    node.destroy_node()
    rclpy.try_shutdown()
    patience.cancel()
    return code


if __name__ == "__main__":
    raise SystemExit(main())
