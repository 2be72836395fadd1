"""The perception node: a lifecycle that loads a model, and the thread that runs it on every camera's newest image."""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
from rclpy.time import Time
from rclpy.validate_topic_name import validate_topic_name

from mayhem_ros.camera import CONFIDENCE, MASK, OVERLAY, Camera
from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.health import FrameTiming
from mayhem_ros.image_decoding import decode_image
from mayhem_ros.mailbox import Mailbox
from mayhem_ros.onnx_model import OnnxModel
from mayhem_ros.parameters import Parameters, check_change, declare_parameters, read_parameters


class PerceptionNode(LifecycleNode):
    """Images in, detections and masks out.

    Configuring loads the model and advertises the topics; activating subscribes and starts the working thread;
    deactivating and cleaning up undo the same. A model that cannot be used fails the configuring with one logged
    sentence and leaves the node unconfigured, to be tried again.
    """

    def __init__(self, **options: Any) -> None:
        # Before the base class, since a node half made (a parameter of the wrong type) is destroyed as well.
        self._settings = Parameters()
        self._model: OnnxModel | None = None
        self._cameras: list[Camera] = []
        self._mailbox: Mailbox[_Frame] | None = None
        self._worker: threading.Thread | None = None
        self._problem = "not configured"
        super().__init__("perception", **options)
        declare_parameters(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 5)
        # By a steady clock, so that diagnostics go on while simulated time stands still.
        self.create_timer(1.0, self._publish_diagnostics, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def start(self) -> bool:
        """Configures and activates without a lifecycle manager; False where the model or a parameter is no good."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model and advertises the topics; a user's mistake is logged and leaves the node unconfigured."""
        try:
            self._settings = read_parameters(self)
            self._model = self._load_model(self._settings)
            self._cameras = self._make_cameras(self._model, self._settings.image_topics)
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

    def _make_cameras(self, model: OnnxModel, image_topics: Sequence[str]) -> list[Camera]:
        for topic in image_topics:
            try:
                validate_topic_name(topic)
            except InvalidTopicNameException as error:
                raise UsageError(
                    f"image_topics names {topic!r}, which is no topic: use letters, digits, _ and /."
                ) from error
        topics = [self.resolve_topic_name(topic) for topic in image_topics]
        names = [topic.strip("/").removesuffix("/compressed") for topic in topics]
        if not topics or len(set(names)) != len(names):
            raise UsageError(f"image_topics is {list(image_topics)}: name one topic or more, each camera once.")
        prefixes = ["~"] if len(topics) == 1 else [f"~/{name}" for name in names]
        return [Camera(self, topic, prefix, model) for topic, prefix in zip(topics, prefixes, strict=True)]

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
            self._mailbox.put(camera.topic, _Frame(camera, message, time.perf_counter()))

    def _work(self, mailbox: Mailbox[_Frame]) -> None:
        """The working thread: cameras whose images have the same size share one pass of the model."""
        while frames := mailbox.take():
            batches: dict[tuple[int, ...], list[_Decoded]] = {}
            for frame in frames.values():
                decoded = self._decode(frame)
                if decoded is not None:
                    batches.setdefault(decoded.image.shape, []).append(decoded)
            for batch in batches.values():
                try:
                    self._perceive(batch)
                except MayhemError as error:
                    self._fail(batch, str(error))
                except Exception as error:  # whatever one frame does, the next one is to be seen
                    self._fail(batch, f"{type(error).__name__}: {error}")
                    self.get_logger().error(traceback.format_exc(), throttle_duration_sec=5.0)

    def _decode(self, frame: _Frame) -> _Decoded | None:
        start = time.perf_counter()
        try:
            image = decode_image(frame.message)
        except MayhemError as error:
            frame.camera.health.failed(str(error))
            self.get_logger().warning(f"{frame.camera.topic}: {error}", throttle_duration_sec=5.0)
            return None
        except Exception as error:  # whatever one frame does, the next one is to be seen
            frame.camera.health.failed(f"{type(error).__name__}: {error}")
            self.get_logger().error(traceback.format_exc(), throttle_duration_sec=5.0)
            return None
        return _Decoded(frame, image, time.perf_counter() - start)

    def _perceive(self, batch: list[_Decoded]) -> None:
        assert self._model is not None
        wanted = [decoded.frame.camera.listened_to() for decoded in batch]
        images = batch[0].image[None] if len(batch) == 1 else np.stack([decoded.image for decoded in batch])
        start = time.perf_counter()
        predictions = self._model.predict(
            images,
            with_mask=any(names & {MASK, OVERLAY} for names in wanted),
            with_mask_confidence=any(CONFIDENCE in names for names in wanted),
        )
        model = time.perf_counter() - start
        for (frame, image, decode), names, prediction in zip(batch, wanted, predictions, strict=True):
            start = time.perf_counter()
            header = frame.message.header
            frame.camera.publish(prediction, image, header, names, self._settings)
            end = time.perf_counter()
            age = (self.get_clock().now().nanoseconds - Time.from_msg(header.stamp).nanoseconds) * 1e-9
            timing = FrameTiming(decode, model, publish=end - start, total=end - frame.received, age=age)
            frame.camera.health.processed(timing)

    def _fail(self, batch: list[_Decoded], reason: str) -> None:
        for decoded in batch:
            decoded.frame.camera.health.failed(reason)
        self.get_logger().warning(reason, throttle_duration_sec=5.0)

    def _on_set_parameters(self, changed: list[Parameter[Any]]) -> SetParametersResult:
        configured = self._model is not None
        try:
            check_change(changed, configured=configured)
        except UsageError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if configured:
            ours = {parameter.name: parameter.value for parameter in changed if hasattr(self._settings, parameter.name)}
            before, self._settings = self._settings, replace(self._settings, **ours)
            if self._mailbox is not None and self._settings.score_threshold != before.score_threshold:
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


def main(arguments: list[str] | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM. Exit codes: 0 ended so, 1 `autostart` failed, 2 wrong arguments."""
    stop = threading.Event()
    # rclpy's own handlers would take the context away under the working thread.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        node = PerceptionNode()
    except Exception as error:  # rclpy's errors on arguments and parameters have no class of their own in common
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        print(f"perception_node cannot start: {reason}", file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if node.get_parameter("autostart").value and not node.start():
            return 1
        # The main thread only waits, because a signal reaches Python code at once only there.
        with ThreadPoolExecutor(1, "executor") as pool:
            spinning = pool.submit(executor.spin)
            spinning.add_done_callback(lambda _: stop.set())
            stop.wait()
            executor.shutdown()
            spinning.result()
        return 0
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    raise SystemExit(main())
