"""What the synthetic warehouse draws is exact, repeatable and worth learning."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mayhem_train.recordings.warehouse.camera import CameraPose, Intrinsics
from mayhem_train.recordings.warehouse.drive import RATE
from mayhem_train.recordings.warehouse.frames import draw_frame
from mayhem_train.recordings.warehouse.labels import ThingLabel, label_frame
from mayhem_train.recordings.warehouse.layout import THINGS, Warehouse, build_warehouse, frame_time
from mayhem_train.recordings.warehouse.mesh import Skin, block, merged
from mayhem_train.recordings.warehouse.paint import Texture
from mayhem_train.recordings.warehouse.renderer import FLOOR, render
from mayhem_train.recordings.warehouse.sensors import IMU_RATE, measure_depth, measure_motion

WIDTH, HEIGHT = 320, 240
FRAMES = 120


@pytest.fixture(scope="module")
def warehouse() -> Warehouse:
    return build_warehouse(7, 0, FRAMES)


def test_the_same_seed_draws_the_same_picture(warehouse: Warehouse) -> None:
    again = build_warehouse(7, 0, FRAMES)
    for index in (0, 57):
        first, second = (draw_frame(w, index, WIDTH, HEIGHT) for w in (warehouse, again))
        np.testing.assert_array_equal(first.picture, second.picture)
        np.testing.assert_array_equal(first.depth, second.depth)
        np.testing.assert_array_equal(first.instances, second.instances)


@pytest.mark.parametrize(("seed", "drive"), [(8, 0), (7, 1)])
def test_another_seed_or_drive_is_another_warehouse(warehouse: Warehouse, seed: int, drive: int) -> None:
    other = build_warehouse(seed, drive, FRAMES)
    first, second = (draw_frame(w, 10, WIDTH, HEIGHT) for w in (warehouse, other))
    assert np.mean(first.instances != second.instances) > 0.1
    assert other.drive.x[0] != warehouse.drive.x[0]


def test_labels_are_those_of_the_visible_pixels(warehouse: Warehouse) -> None:
    labelled = 0
    for index in range(0, FRAMES, 20):
        frame = draw_frame(warehouse, index, WIDTH, HEIGHT)
        np.testing.assert_array_equal(frame.labels.floor, frame.instances == 1)
        expected = []
        for instance, label in warehouse.things.items():
            rows, columns = np.nonzero(frame.instances == instance)
            if len(rows) < 60:
                continue
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            share = len(rows) / frame.silhouettes[instance]
            assert share <= 1
            long_enough = max(box[2] - box[0], box[3] - box[1]) >= 16
            if long_enough and (share >= 0.25 or len(rows) >= WIDTH * HEIGHT / 100):
                expected.append(ThingLabel(label, tuple(int(v) for v in box), share < 0.8))  # type: ignore[arg-type]
        assert frame.labels.things == tuple(expected)
        labelled += len(expected)
    assert labelled > 10


def test_what_a_person_would_not_mark_is_not_labelled() -> None:
    instances = np.full((100, 200), FLOOR, np.int32)
    instances[10:30, 10:20] = 3  # 200 pixels, wholly visible
    instances[10:17, 40:48] = 4  # 56 pixels: too few
    instances[40:55, 10:25] = 5  # 15 pixels a side: too small
    instances[40:60, 40:48] = 6  # 160 of 1000 pixels visible: hidden
    instances[40:80, 60:90] = 7  # 1200 of 6000 pixels visible, but much of the picture
    silhouettes = np.array([0, 0, 0, 200, 56, 225, 1000, 6000])
    things = {3: "box", 4: "box", 5: "agv", 6: "person", 7: "forklift"}
    labels = label_frame(instances, silhouettes, things)
    assert labels.things == (ThingLabel("box", (10, 10, 20, 30), False), ThingLabel("forklift", (60, 40, 90, 80), True))
    assert labels.floor.sum() == 200 * 100 - (200 + 56 + 225 + 160 + 1200)


def test_depth_of_the_floor_is_the_plane_s_to_the_millimetre(warehouse: Warehouse) -> None:
    frame = draw_frame(warehouse, 30, WIDTH, HEIGHT)
    camera, pose = warehouse.intrinsics(WIDTH, HEIGHT), warehouse.camera_at(frame_time(30))
    rows, columns = np.nonzero(frame.labels.floor)
    rays = np.stack(
        [(columns - camera.cx) / camera.focal, (rows - camera.cy) / camera.focal, np.ones(len(rows))], axis=1
    )
    expected = pose.eye[2] / -(rays @ pose.rotation)[:, 2]
    measured = measure_depth(frame.depth, None)[rows, columns]
    assert len(rows) > 0.15 * WIDTH * HEIGHT
    assert np.abs(measured - 1000 * expected).max() <= 0.5 + 1e-6


def test_a_noisy_depth_camera_errs_by_centimetres_and_has_holes(warehouse: Warehouse) -> None:
    depth = draw_frame(warehouse, 30, WIDTH, HEIGHT).depth
    noisy = measure_depth(depth, np.random.default_rng(0))
    valid = noisy > 0
    assert 0.5 < valid.mean() < 0.999
    assert noisy[valid].max() < 12_700
    near = valid & (depth < 4)
    assert 1 < np.std(noisy[near] - 1000 * depth[near]) < 20


def test_a_block_covers_the_pixels_it_projects_to_and_hides_what_is_behind(warehouse: Warehouse) -> None:
    camera = Intrinsics(width=201, height=101, focal=100.0, cx=100.0, cy=50.0)
    pose = CameraPose.looking(np.array([0.0, 0.0, 1.0]), yaw=0.0, pitch=0.0, roll=0.0)
    skin = Skin(Texture.PLAIN)
    near = block((1.0, 0.61, 0.61), skin, (2.5, 0.1, 0.695)).owned_by(3)  # its front face is 2 m away
    behind = block((1.0, 2.02, 0.81), skin, (4.5, 0.0, 0.595)).owned_by(4)  # 4 m away
    no_shadows = np.zeros((0, 6), np.float32)
    drawn = render(merged([near, behind]), warehouse.surroundings, no_shadows, camera, pose, 5)
    # left and right of the front face: 100 - 100 * (0.405, -0.205) / 2; top and bottom: 50 -+ 100 * 0.305 / 2
    expected = np.zeros((101, 201), bool)
    expected[35:66, 80:111] = True  # pixel centres from 34.75 to 65.25 and from 79.75 to 110.25
    np.testing.assert_array_equal(drawn.instances == 3, expected)
    np.testing.assert_allclose(drawn.depth[drawn.instances == 3], 2.0, rtol=1e-6)
    # the block behind: columns 100 -+ 25.25, rows 50 -+ 10.125
    whole = np.zeros((101, 201), bool)
    whole[40:61, 75:126] = True
    np.testing.assert_array_equal(drawn.instances == 4, whole & ~expected)
    assert drawn.silhouettes[4] == 51 * 21
    assert drawn.silhouettes[3] == 31 * 31


def test_the_gyroscope_integrates_to_the_way_driven(warehouse: Warehouse) -> None:
    samples = measure_motion(warehouse.drive, np.random.default_rng(1))
    yaw = warehouse.drive.yaw
    turned = np.cumsum(samples.angular_velocities[:, 2]) / IMU_RATE
    assert np.abs(yaw - yaw[0]).max() > 0.5
    np.testing.assert_allclose(turned, yaw[:: RATE // IMU_RATE] - yaw[0], atol=0.02)
    velocity = warehouse.drive.speed[0] + np.cumsum(samples.accelerations[:, 0]) / IMU_RATE
    np.testing.assert_allclose(velocity, warehouse.drive.speed[:: RATE // IMU_RATE], atol=0.1)
    assert samples.accelerations[:, 2].mean() == pytest.approx(9.80665, abs=0.01)


def test_the_agv_drives_into_nothing(warehouse: Warehouse) -> None:
    for tick in np.arange(0, warehouse.drive.duration, 0.5):
        here = np.array([warehouse.drive.value(v, tick) for v in (warehouse.drive.x, warehouse.drive.y)])
        for actor in warehouse.actors:
            assert np.hypot(*(np.array(actor.motion.at(tick)[:2]) - here)) > 0.8


def test_drives_are_worth_learning() -> None:
    """Every class is seen often and large enough, and there is floor in every picture."""
    for seed, drive in ((7, 0), (7, 1)):
        warehouse = build_warehouse(seed, drive, FRAMES)
        frames = [draw_frame(warehouse, index, 640, 480) for index in range(0, FRAMES, 8)]
        counts = Counter(thing.label for frame in frames for thing in frame.labels.things)
        means = {label: counts[label] / len(frames) for label in THINGS}
        floors = [frame.labels.floor.mean() for frame in frames]
        sides = [max(x2 - x1, y2 - y1) for f in frames for x1, y1, x2, y2 in (t.box for t in f.labels.things)]
        large = float(np.mean(np.array(sides) >= 24))
        print(f"{seed}/{drive}: {means} a frame, floor {min(floors):.2f} to {max(floors):.2f}, large {large:.2f}")
        assert all(mean >= 0.4 for mean in means.values()), means
        assert min(floors) > 0.05
        assert 0.2 < np.mean(floors) < 0.6
        assert large > 0.75
        assert 60 < np.mean([frame.picture.mean() for frame in frames]) < 190
        assert np.mean([frame.picture.std() for frame in frames]) > 25
