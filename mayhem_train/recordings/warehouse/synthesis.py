"""Synthetic drives from nothing but a seed: recordings and their exact labels."""

from __future__ import annotations

import heapq
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress, TaskID

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.console import progress_bar
from mayhem_train.outputs import refuse_existing, whole_file
from mayhem_train.recordings.frame import frame_name
from mayhem_train.recordings.warehouse.cvat import CvatDocument
from mayhem_train.recordings.warehouse.frames import DrawnFrame, draw_frame
from mayhem_train.recordings.warehouse.layout import SURFACES, THINGS, Warehouse, build_warehouse, frame_time
from mayhem_train.recordings.warehouse.recorder import (
    STORAGES,
    MessageFactory,
    TimedMessage,
    recording_path,
    write_recording,
)
from mayhem_train.recordings.warehouse.sensors import measure_depth, measure_motion, measure_points

COLOUR_TOPIC = "/camera/color/image_raw"
COMPRESSED_TOPIC = "/camera/color/image_raw/compressed"
INFO_TOPIC = "/camera/color/camera_info"
DEPTH_TOPIC = "/camera/depth/image_raw"
POINTS_TOPIC = "/points"
IMU_TOPIC = "/imu"
ODOMETRY_TOPIC = "/odom"

_EPOCH_NS = 1_760_000_000_000_000_000  # every first drive starts then, each further one an hour later
_HOUR_NS = 3_600_000_000_000
_LEAST_SIDE, _GREATEST_SIDE = 64, 4096  # pixels
_ODOMETRY_EVERY = 5  # IMU samples
_POINT_COLUMNS = 80  # points across a cloud


@dataclass(frozen=True)
class SynthesisedDrive:
    """One drive written: its name, its recording, its CVAT file and the number of its pictures."""

    name: str
    recording: Path
    annotations: Path
    frames: int


@dataclass(frozen=True)
class _Shot:
    """What one moment adds to the recording: the drawn frame and what the depth camera makes of it."""

    frame: DrawnFrame
    depth: NDArray[np.uint16]
    points: NDArray[np.float32]


def synthesise(
    out: Path,
    *,
    frames: int,
    seed: int,
    drives: int = 2,
    size: tuple[int, int] = (640, 480),
    storage: str = "mcap",
    compressed: bool = False,
    exact_depth: bool = False,
    force: bool = False,
    workers: int | None = None,
) -> tuple[SynthesisedDrive, ...]:
    """Draws drives through random warehouses and writes them to `out`, labels to `out`/annotations.

    The same seed, sizes and counts give the same recordings, message by message, however many workers there are.

    Args:
        out: a folder; made if need be.
        frames: pictures a drive.
        seed: what everything is drawn from, 0 or greater.
        drives: how many, each through another warehouse; they are called warehouse-s<seed>-<number>.
        size: width and height of the pictures, pixels.
        storage: "mcap", "db3" (both rosbag2 folders) or "bag" (a ROS 1 file).
        compressed: JPEG pictures instead of raw ones.
        exact_depth: a depth camera without noise, holes and limited range.
        force: replace what exists.
        workers: threads that draw; as many as there are cores if None.

    Raises:
        UsageError: an argument makes no sense, or an output exists and `force` is not set.
        MayhemError: something cannot be written.
    """
    _check(frames, seed, drives, size, storage)
    names = [f"warehouse-s{seed}-{number}" for number in range(drives)]
    planned = [
        SynthesisedDrive(name, recording_path(out, name, storage), out / "annotations" / f"{name}.xml", frames)
        for name in names
    ]
    for drive in planned:
        for path in (
            recording_path(out, drive.name, "bag"),
            recording_path(out, drive.name, "mcap"),
            drive.annotations,
        ):
            refuse_existing(path, force=force)
    try:
        (out / "annotations").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise MayhemError(f"Cannot write {out} ({reason}): free the disk or choose another place.") from error
    threads = workers or os.cpu_count() or 1
    pool = ThreadPoolExecutor(threads)
    try:
        warehouses = [pool.submit(build_warehouse, seed, number, frames) for number in range(drives)]
        with progress_bar() as progress:
            task = progress.add_task("Drawing", total=drives * frames)
            for number, drive in enumerate(planned):
                warehouse = warehouses[number].result()
                shots = _in_order(pool, partial(_shoot, warehouse, size, exact_depth), frames, ahead=2 * threads)
                script = _Script(MessageFactory(storage), warehouse, _EPOCH_NS + number * _HOUR_NS, compressed)
                document = CvatDocument(drive.name, frames, (*SURFACES, *THINGS))
                labelled = _labelled(shots, document, drive.name, progress, task)
                with whole_file(drive.annotations, force=force) as annotations:
                    write_recording(drive.recording, storage, script.factory, script.messages(labelled), force=force)
                    document.write(annotations)
                _remove_other_form(out, drive.name, storage)
    finally:
        pool.shutdown(cancel_futures=True)
    return tuple(planned)


def _check(frames: int, seed: int, drives: int, size: tuple[int, int], storage: str) -> None:
    if frames < 1:
        raise UsageError(f"A drive of {frames} frames cannot be drawn: ask for at least 1.")
    if drives < 1:
        raise UsageError(f"{drives} drives cannot be drawn: ask for at least 1.")
    if seed < 0:
        raise UsageError(f"The seed {seed} is negative: choose 0 or a greater number.")
    if min(size) < _LEAST_SIDE or max(size) > _GREATEST_SIDE:
        raise UsageError(
            f"Pictures of {size[0]}x{size[1]} pixels cannot be drawn: "
            f"choose sides from {_LEAST_SIDE} to {_GREATEST_SIDE}."
        )
    if storage not in STORAGES:
        raise UsageError(f"The format {storage!r} is unknown: choose one of {', '.join(STORAGES)}.")


def _in_order(pool: ThreadPoolExecutor, shoot: Callable[[int], _Shot], frames: int, *, ahead: int) -> Iterator[_Shot]:
    """Shots in order, drawn by the pool only a little ahead of the writer, so that memory stays flat."""
    waiting: deque[Future[_Shot]] = deque()
    for index in range(frames):
        waiting.append(pool.submit(shoot, index))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _labelled(
    shots: Iterable[_Shot], document: CvatDocument, name: str, progress: Progress, task: TaskID
) -> Iterator[_Shot]:
    """The same shots; each one's labels are noted and the progress bar moves as it passes."""
    for index, shot in enumerate(shots):
        document.add(frame_name(name, index), shot.frame.labels, SURFACES[0])
        yield shot
        progress.advance(task)


def _shoot(warehouse: Warehouse, size: tuple[int, int], exact_depth: bool, index: int) -> _Shot:
    frame = draw_frame(warehouse, index, *size)
    rng = None if exact_depth else np.random.default_rng([*warehouse.seed, index, 1])
    depth = measure_depth(frame.depth, rng)
    stride = max(1, size[0] // _POINT_COLUMNS)
    return _Shot(frame, depth, measure_points(depth, frame.picture, warehouse.intrinsics(*size), stride))


@dataclass(frozen=True)
class _Script:
    """Turns a drive's shots into the messages of its recording; `start` is the drive's first moment, ns."""

    factory: MessageFactory
    warehouse: Warehouse
    start: int
    compressed: bool

    def messages(self, shots: Iterable[_Shot]) -> Iterator[TimedMessage]:
        """Everything in the order of its log time."""
        return heapq.merge(self._pictures(shots), self._motion(), key=lambda timed: timed.log_time)

    def _pictures(self, shots: Iterable[_Shot]) -> Iterator[TimedMessage]:
        """Four messages a shot: depth is stamped a little later than colour, and all are logged later still."""
        factory = self.factory
        for index, shot in enumerate(shots):
            rng = np.random.default_rng([*self.warehouse.seed, index, 2])
            stamp = self.start + round(frame_time(index) * 1e9) + int(rng.normal(0, 3e5))
            depth_stamp = stamp + int(rng.uniform(2e6, 7e6))
            arrival = stamp + int(rng.uniform(9e6, 16e6))
            depth_arrival = depth_stamp + int(rng.uniform(16e6, 24e6))
            picture = shot.frame.picture
            height, width = picture.shape[:2]
            if self.compressed:
                yield TimedMessage(arrival, COMPRESSED_TOPIC, factory.compressed_image(picture, stamp))
            else:
                yield TimedMessage(arrival, COLOUR_TOPIC, factory.image(picture, "rgb8", stamp))
            info = factory.camera_info(self.warehouse.intrinsics(width, height), stamp)
            yield TimedMessage(arrival + int(rng.uniform(1e5, 8e5)), INFO_TOPIC, info)
            yield TimedMessage(depth_arrival, DEPTH_TOPIC, factory.image(shot.depth, "16UC1", depth_stamp))
            points = factory.point_cloud(shot.points, depth_stamp)
            yield TimedMessage(depth_arrival + int(rng.uniform(2e6, 5e6)), POINTS_TOPIC, points)

    def _motion(self) -> Iterator[TimedMessage]:
        """Inertial measurements, and with every few of them odometry."""
        factory, drive = self.factory, self.warehouse.drive
        rng = np.random.default_rng([*self.warehouse.seed, 3])
        samples = measure_motion(drive, rng)
        for k, time in enumerate(samples.times.tolist()):
            stamp = self.start + round(time * 1e9)
            arrival = stamp + int(rng.uniform(3e5, 9e5))
            imu = factory.imu(float(samples.yaws[k]), samples.angular_velocities[k], samples.accelerations[k], stamp)
            yield TimedMessage(arrival, IMU_TOPIC, imu)
            if k % _ODOMETRY_EVERY == 0:
                x, y, yaw = (drive.value(values, time) for values in (drive.x, drive.y, drive.yaw))
                speed, yaw_rate = drive.value(drive.speed, time), drive.value(drive.yaw_rate, time)
                odometry = factory.odometry(x, y, yaw, speed, yaw_rate, stamp)
                yield TimedMessage(arrival + 200_000, ODOMETRY_TOPIC, odometry)


def _remove_other_form(out: Path, name: str, storage: str) -> None:
    """A replaced recording may have had the other form: two of the same name would make its frames ambiguous."""
    if storage == "bag":
        shutil.rmtree(recording_path(out, name, "mcap"), ignore_errors=True)
    else:
        recording_path(out, name, "bag").unlink(missing_ok=True)
