"""Types written as ROS 1 spells them are the ROS 2 types in a db3 too, with its definitions and without."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from recordings_writing import COLOUR, START_NS, colour_pixels, image, write

from mayhem_train.recordings.recording import Recording, Topic


@pytest.mark.parametrize("has_definitions", [False, True])
def test_a_db3_with_types_in_ros_1_spelling_is_read(tmp_path: Path, has_definitions: bool) -> None:
    messages = [image(COLOUR, START_NS + k, START_NS + k, colour_pixels(k), "rgb8") for k in range(3)]
    path = write(tmp_path, "drive", "db3", messages) / "drive.db3"
    with sqlite3.connect(path) as database:
        database.execute("UPDATE topics SET type = 'sensor_msgs/Image'")
        if has_definitions:
            database.execute("UPDATE message_definitions SET topic_type = 'sensor_msgs/Image'")
        else:
            database.execute("DROP TABLE message_definitions")
    database.close()
    with Recording(path) as recording:
        assert recording.image_topic(None) == Topic(COLOUR, "sensor_msgs/msg/Image", 3)
        assert np.array_equal(recording.read_image(COLOUR, 2), colour_pixels(2))
