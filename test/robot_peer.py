"""The other side of the node's topics, and the node as a process of its own."""

from __future__ import annotations

import itertools
import math
import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from numpy.typing import NDArray
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import Header

PATIENCE = 60.0
ASK_AGAIN = 10.0
ROOT = Path(__file__).resolve().parents[1]
RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
GOALS = {
    Transition.TRANSITION_CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_ACTIVATE: State.PRIMARY_STATE_ACTIVE,
    Transition.TRANSITION_DEACTIVATE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_CLEANUP: State.PRIMARY_STATE_UNCONFIGURED,
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: State.PRIMARY_STATE_FINALIZED,
}


class Peer:
    """The other side of the topics: publishes images, collects answers, drives the lifecycle."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = Node("tester", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._stamps = itertools.count(1)
        self._clients: dict[str, Client[Any, Any]] = {}

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def wait(self, condition: Callable[[], Any], what: str, process: subprocess.Popen[str] | None = None) -> Any:
        end = time.monotonic() + PATIENCE
        while not (value := condition()):
            assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
            assert process is None or process.poll() is None, f"the node ended before {what}"
            self.executor.spin_once(timeout_sec=0.02)
        return value

    def collect(self, message_type: type, topic: str, qos: QoSProfile = RELIABLE) -> list[Any]:
        messages: list[Any] = []
        self.node.create_subscription(message_type, topic, messages.append, qos)
        return messages

    def call(self, service_type: type, name: str, request: Any) -> tuple[Any, bool]:
        """The service's answer, and whether it had to be asked again.

        A service may answer before it has discovered who asked; then ROS drops the answer for good
        (https://github.com/ros2/rmw_fastrtps/issues/842), and only asking again brings one.
        """
        if name not in self._clients:
            self._clients[name] = self.node.create_client(service_type, name)
        client = self._clients[name]
        self.wait(client.service_is_ready, name)
        questions: list[Future[Any]] = []
        asked = -math.inf

        def answered() -> Future[Any] | None:
            nonlocal asked
            if time.monotonic() - asked > ASK_AGAIN:
                questions.append(client.call_async(request))
                asked = time.monotonic()
            return next((question for question in questions if question.done()), None)

        return self.wait(answered, f"an answer of {name}").result(), len(questions) > 1

    def change_state(self, transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        answer, asked_again = self.call(ChangeState, "/perception/change_state", request)
        # What the first question may have done, a second one is refused: then the state tells.
        return bool(answer.success) or (asked_again and self.state() == GOALS[transition])

    def state(self) -> int:
        return int(self.call(GetState, "/perception/get_state", GetState.Request())[0].current_state.id)

    def set_parameter(self, name: str, value: Any) -> Any:
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return self.call(SetParameters, "/perception/set_parameters", request)[0].results[0]

    def header(self) -> Header:
        """A header no other image has."""
        return Header(stamp=Time(sec=next(self._stamps), nanosec=123456789), frame_id="front_camera_optical")

    def until_answered(self, publisher: Any, image: Any, *answers: list[Any]) -> None:
        """Publishes `image` until every list got something, since discovery takes its time, then empties them."""

        def sent_and_answered() -> bool:
            publisher.publish(image)
            self.executor.spin_once(timeout_sec=0.1)
            return all(answers)

        self.wait(sent_and_answered, "the first answers")
        self.exchange(publisher, image, *answers)

    def exchange(self, publisher: Any, image: Any, *answers: list[Any]) -> list[Any]:
        """Publishes one image under a new header and returns the answers to it, one of each list."""
        image.header = self.header()
        publisher.publish(image)

        def all_answered() -> list[Any] | None:
            own = [[m for m in messages if m.header.stamp == image.header.stamp] for messages in answers]
            return [messages[0] for messages in own] if all(own) else None

        found: list[Any] = self.wait(all_answered, "the answers to an image")
        for messages in answers:
            messages.clear()
        return found


def start_node(*arguments: str, **parameters: Any) -> subprocess.Popen[str]:
    settings = [f"{name}:={value}" for name, value in parameters.items()]
    return subprocess.Popen(
        [sys.executable, "-m", "mayhem_ros.perception_node", "--ros-args", *arguments]
        + [word for setting in settings for word in ("-p", setting)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_script(script: str, **environment: str) -> subprocess.Popen[str]:
    """A Python process of its own in which `mayhem_ros` is this checkout's."""
    paths = [environment.pop("PYTHONPATH", ""), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env=os.environ | environment | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end_node(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> str:
    """Ends the node with a signal; it must end well. Returns what it printed."""
    process.send_signal(number)
    return ended(process)


def ended(process: subprocess.Popen[str]) -> str:
    """What a process printed that has to end by itself, and well."""
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert "Traceback" not in output
    return output


def picture(count: int, height: int = 15, width: int = 22) -> NDArray[np.uint8]:
    """An RGB image in which the small model sees `count` boxes."""
    image = np.random.default_rng(count).integers(0, 256, (height, width, 3), np.uint8)
    image[0, 0, 2] = count
    return image


def image_of(pixels: NDArray[np.uint8], encoding: str = "rgb8", padding: int = 0) -> Image:
    height, width = pixels.shape[:2]
    rows = np.concatenate(
        [pixels.reshape(height, -1), np.full((height, padding), 0xAB, np.uint8)], axis=1, dtype=np.uint8
    )
    data = array("B", rows.tobytes())
    return Image(height=height, width=width, encoding=encoding, step=rows.shape[1], data=data)


def statuses(messages: list[DiagnosticArray], name: str) -> list[DiagnosticStatus]:
    return [status for message in messages for status in message.status if status.name == f"perception: {name}"]


def count_of(status: DiagnosticStatus, key: str) -> int:
    return int({value.key: value.value for value in status.values}[key])
