"""`mayhem prune` keeps a frame exactly where scikit-image's score against the last kept one falls below the limit."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import cv2
import numpy as np
import pytest
from mcap.writer import Writer as McapWriter
from recordings_pruning_drives import (
    FRAMES,
    HEIGHT,
    PERIOD_NS,
    WIDTH,
    compressed,
    document,
    drive,
    picture,
    prune,
    raw,
    rows,
)
from recordings_writing import COLOUR, DEPTH, ROS2, START_NS, image, jpeg_bytes, write
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from skimage.metrics import normalized_root_mse, structural_similarity

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.frame import Frame
from mayhem_train.recordings.pruning.kept_frames import read_kept_frames
from mayhem_train.recordings.pruning.selection import PruneSettings, select_frames
from mayhem_train.recordings.recording import Recording

DATA = Path(os.environ.get("MAYHEM_DATA", Path(__file__).parents[2] / "shared" / "data"))
GARBAGE = b"\xff\xd8 this is no JPEG \xff\xd9"


def oracle(greys: list[np.ndarray], limit: float) -> list[tuple[float | None, int | None, bool]]:
    """(score, reference's index, kept) of each frame, by scikit-image."""
    decisions: list[tuple[float | None, int | None, bool]] = [(None, None, True)]
    reference = 0
    for index, grey in enumerate(greys[1:], 1):
        ssim = structural_similarity(greys[reference], grey, win_size=111)
        score = float(0.4 * ssim + 0.6 * (1 - normalized_root_mse(greys[reference], grey)))
        decisions.append((score, reference, score < limit))
        if score < limit:
            reference = index
    return decisions


def assert_as_the_oracle(found: list[dict[str, Any]], greys: list[np.ndarray], limit: float) -> None:
    expected = oracle(greys, limit)
    names = [row["name"] for row in found]
    assert [row["kept"] for row in found] == [kept for _, _, kept in expected]
    assert [row["reference"] for row in found] == [None if at is None else names[at] for _, at, _ in expected]
    assert [found[0]["score"], found[0]["reason"]] == [None, "first frame"]
    scores = [score for score, _, _ in expected[1:]]
    assert [row["score"] for row in found[1:]] == pytest.approx(scores, rel=0, abs=1e-9)


def opencv_grey(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))


def summary(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The printed row of the drive: frames, kept, their percentage, not comparable, not decodable, flawed."""
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("│ drive "))
    return [cell.strip() for cell in row.strip("│").split("│")]


@pytest.mark.parametrize("form", ["mcap", "db3", "bag"])
@pytest.mark.parametrize("limit", [0.5, 0.7, 0.95])
def test_every_decision_is_scikit_images(tmp_path: Path, form: str, limit: float) -> None:
    recording = drive(tmp_path, form=form)
    assert prune(recording, "--limit", limit, "--out", tmp_path / "kept.json") == 0
    found = rows(tmp_path / "kept.json")
    assert_as_the_oracle(found, [opencv_grey(picture(index)) for index in range(FRAMES)], limit)
    kept = [row["name"] for row in found if row["kept"]]
    assert 1 < len(kept) < FRAMES
    assert document(tmp_path / "kept.json")["kept"] == kept


def test_jpeg_frames_are_compared_as_they_are_decoded(tmp_path: Path) -> None:
    data = [jpeg_bytes(picture(index)[..., ::-1]) for index in range(20)]
    recording = write(tmp_path, "drive", "bag", [compressed(index, frame) for index, frame in enumerate(data)])
    assert prune(recording, "--out", tmp_path / "kept.json") == 0
    greys = [
        opencv_grey(cv2.cvtColor(cv2.imdecode(np.frombuffer(frame, np.uint8), 1), cv2.COLOR_BGR2RGB)) for frame in data
    ]
    assert_as_the_oracle(rows(tmp_path / "kept.json"), greys, 0.7)


@pytest.mark.parametrize(
    ("name", "frames"), [("camvid-0001TP", 62), ("camvid-0006R0.bag", 101), ("camvid-0016E5-val", 101)]
)
def test_every_decision_on_a_real_drive_is_scikit_images(tmp_path: Path, name: str, frames: int) -> None:
    path = DATA / "camvid" / name
    if not path.exists():
        pytest.skip(f"no real drives at {DATA}")
    assert prune(path, "--out", tmp_path / "kept.json") == 0
    found = rows(tmp_path / "kept.json")
    assert len(found) == frames
    with Recording(path) as recording:
        topic = recording.image_topic(None).name
        greys = [opencv_grey(recording.read_image(topic, index)) for index in range(frames)]
    assert_as_the_oracle(found, greys, 0.7)


def test_an_audit_row_says_everything_about_its_frame(tmp_path: Path) -> None:
    recording = drive(tmp_path)
    assert prune(recording, "--out", tmp_path / "kept.json") == 0
    time_ns = START_NS + 7 * PERIOD_NS
    row = rows(tmp_path / "kept.json")[7]
    assert row == {
        "name": "drive-000007.png",
        "recording": "drive",
        "topic": COLOUR,
        "index": 7,
        "log_time_ns": time_ns,
        "stamp_ns": time_ns - 5_000_000,
        "score": row["score"],
        "reference": row["reference"],
        "kept": row["kept"],
        "reason": None,
        "flaw": None,
    }


def test_the_file_says_what_it_was_made_with(tmp_path: Path) -> None:
    recording = drive(tmp_path)
    size = sum(path.stat().st_size for path in recording.glob("*.mcap"))
    out = tmp_path / "kept.json"
    assert prune(recording, "--out", out, "--limit", 0.6, "--every", 2, "--stop", 2.5, "--max-frames", 9) == 0
    content = document(out)
    del content["kept"], content["frames"]
    assert content == {
        "limit": 0.6,
        "every": 2,
        "start": 0.0,
        "stop": 2.5,
        "max_frames": 9,
        "intensity_range": None,
        "distro": None,
        "recordings": [
            {
                "recording": "drive",
                "topic": COLOUR,
                "frames": FRAMES,
                "size_bytes": size,
                "start_ns": START_NS,
                "end_ns": START_NS + (FRAMES - 1) * PERIOD_NS,
            }
        ],
    }


def test_the_same_command_gives_the_same_bytes(tmp_path: Path) -> None:
    recordings = [drive(tmp_path, "one"), drive(tmp_path, "two", "bag", 12)]
    for out in ("a.json", "b.json"):
        assert prune(*recordings, "--out", tmp_path / out) == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_the_kept_frames_read_back(tmp_path: Path) -> None:
    recordings = [drive(tmp_path, "one"), drive(tmp_path, "two", "bag", 12)]
    assert prune(*recordings, "--out", tmp_path / "kept.json") == 0
    expected = []
    for path in recordings:
        kept = {row["index"] for row in rows(tmp_path / "kept.json") if row["kept"] and row["recording"] == path.stem}
        with Recording(path) as recording:
            expected.extend(frame for frame in recording.frames(COLOUR) if frame.index in kept)
    assert read_kept_frames(tmp_path / "kept.json") == tuple(expected)


def test_people_may_shorten_the_list_of_kept_frames(tmp_path: Path) -> None:
    assert prune(drive(tmp_path), "--out", tmp_path / "kept.json") == 0
    content = document(tmp_path / "kept.json")
    content["kept"] = content["kept"][1:2]
    (tmp_path / "kept.json").write_text(json.dumps(content))
    assert [frame.name for frame in read_kept_frames(tmp_path / "kept.json")] == content["kept"]


def test_kept_frames_of_a_name_that_macos_spells_in_two_parts_read_back(tmp_path: Path) -> None:
    assert prune(drive(tmp_path, "gr\u00fcn"), "--out", tmp_path / "kept.json") == 0
    kept = read_kept_frames(tmp_path / "kept.json")
    assert {frame.recording for frame in kept} == {"gr\u00fcn"}
    text = (tmp_path / "kept.json").read_text()
    (tmp_path / "kept.json").write_text(text.replace("gr\\u00fcn", "gru\\u0308n"))
    assert text.count("gr\\u00fcn") > 2
    assert read_kept_frames(tmp_path / "kept.json") == kept


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content: content.pop("kept"), "has no lists 'kept' and 'frames'"),
        (
            lambda content: content["kept"].append("drive-999999.png"),
            "keeps 'drive-999999.png', of which it has no row",
        ),
        (lambda content: content["kept"].append(["drive-000000.png"]), "of which it has no row"),
        (lambda content: content["kept"].append("drive-000000.png"), "keeps a frame twice"),
        (lambda content: content["frames"].append(content["frames"][0]), "has two rows of 'drive-000000.png'"),
        (lambda content: content["frames"][0].pop("topic"), "'topic' of a row is missing"),
        (lambda content: content["frames"][0].update(index=True), "'index' of a row is True"),
        (lambda content: content["frames"][0].update(index=3), "'drive-000000.png' is not frame 3 of 'drive'"),
        (lambda content: content["frames"][0].update(name="../up-000000.png"), "'../up-000000.png' is not"),
        (lambda content: content["frames"].append("row"), "a row is not an object"),
        (lambda content: content["frames"][0].update(flaw=7), "'flaw' of a row is 7"),
    ],
)
def test_a_damaged_list_of_kept_frames_is_refused(tmp_path: Path, change: Any, sentence: str) -> None:
    assert prune(drive(tmp_path, frames=3), "--out", tmp_path / "kept.json") == 0
    content = document(tmp_path / "kept.json")
    change(content)
    (tmp_path / "kept.json").write_text(json.dumps(content))
    with pytest.raises(MayhemError) as caught:
        read_kept_frames(tmp_path / "kept.json")
    assert sentence in str(caught.value)
    assert str(tmp_path / "kept.json") in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"), [(None, "Cannot read"), ("{", "is no JSON"), ("[]", "no JSON object")]
)
def test_what_is_no_list_of_kept_frames_is_refused(tmp_path: Path, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "kept.json").write_text(content)
    with pytest.raises(MayhemError, match=sentence):
        read_kept_frames(tmp_path / "kept.json")


def looked_at(tmp_path: Path, *options: object) -> list[int]:
    assert prune(drive(tmp_path), "--out", tmp_path / "kept.json", *options) == 0
    return [row["index"] for row in rows(tmp_path / "kept.json")]


def test_every_nth_frame_is_looked_at(tmp_path: Path) -> None:
    assert looked_at(tmp_path, "--every", 7) == [0, 7, 14, 21, 28]
    found = rows(tmp_path / "kept.json")
    pictures = [opencv_grey(picture(row["index"])) for row in found]
    assert_as_the_oracle(found, pictures, 0.7)


def test_the_start_is_included_and_the_stop_is_not(tmp_path: Path) -> None:
    assert looked_at(tmp_path, "--start", 0.5, "--stop", 0.9) == [5, 6, 7, 8]


def test_a_stop_after_the_end_is_the_end(tmp_path: Path) -> None:
    assert looked_at(tmp_path, "--start", 2.75, "--stop", 1e300) == [28, 29]


def test_a_time_window_begins_with_its_first_frame_whatever_every(tmp_path: Path) -> None:
    assert looked_at(tmp_path, "--start", 0.45, "--every", 10) == [5, 15, 25]
    assert rows(tmp_path / "kept.json")[0]["kept"]


def test_seconds_count_from_the_first_message_of_any_topic(tmp_path: Path) -> None:
    early = image(DEPTH, START_NS - 3 * PERIOD_NS, START_NS, np.zeros((4, 4), np.uint16), "16UC1")
    recording = write(tmp_path, "drive", "mcap", [early, *(raw(index, picture(index)) for index in range(5))])
    assert prune(recording, "--out", tmp_path / "kept.json", "--start", 0.5) == 0
    assert [row["index"] for row in rows(tmp_path / "kept.json")] == [2, 3, 4]


def test_each_recording_is_left_after_the_maximum_of_kept_frames(tmp_path: Path) -> None:
    recordings = [drive(tmp_path, "one"), drive(tmp_path, "two")]
    assert prune(*recordings, "--out", tmp_path / "all.json") == 0
    assert prune(*recordings, "--out", tmp_path / "few.json", "--max-frames", 3) == 0
    for stem in ("one", "two"):
        unlimited = [row for row in rows(tmp_path / "all.json") if row["recording"] == stem]
        third = [row["index"] for row in unlimited if row["kept"]][2]
        assert [row for row in rows(tmp_path / "few.json") if row["recording"] == stem] == unlimited[: third + 1]


def test_the_topic_is_chosen_where_there_are_several_cameras(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = [
        raw(index, picture(index + shift), topic) for index in range(4) for shift, topic in ((0, "/l"), (9, "/r"))
    ]
    recording = write(tmp_path, "drive", "mcap", messages)
    assert prune(recording, "--out", tmp_path / "kept.json") == 2
    assert "has several cameras: choose a topic" in capsys.readouterr().err
    assert prune(recording, "--out", tmp_path / "kept.json", "--topic", "/r") == 0
    assert {row["topic"] for row in rows(tmp_path / "kept.json")} == {"/r"}


def test_a_recording_without_definitions_is_read_by_those_of_the_distribution(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prune(drive(tmp_path), "--out", tmp_path / "kept.json", "--distro", "nonesuch") == 2
    assert "nonesuch" in capsys.readouterr().err
    assert prune(tmp_path / "drive", "--out", tmp_path / "kept.json", "--distro", "humble") == 0
    assert document(tmp_path / "kept.json")["distro"] == "humble"


def test_a_frame_that_cannot_be_decoded_is_left_out_and_never_a_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = [jpeg_bytes(picture(index)) for index in range(12)]
    data = [GARBAGE, *whole[:5], whole[5][:-500], *whole[5:]]
    recording = write(tmp_path, "drive", "mcap", [compressed(index, frame) for index, frame in enumerate(data)])
    assert prune(recording, "--out", tmp_path / "kept.json") == 0
    found = rows(tmp_path / "kept.json")
    broken = [row for row in found if row["index"] in (0, 6)]
    assert [(row["score"], row["reference"], row["kept"]) for row in broken] == [(None, None, False)] * 2
    assert broken[0]["reason"].startswith(
        "cannot be decoded: The compressed image of 21 bytes (format 'jpeg') is damaged"
    )
    assert broken[1]["reason"].endswith("is cut off: its end is missing.")
    assert broken[1]["stamp_ns"] == START_NS + 6 * PERIOD_NS
    greys = [opencv_grey(cv2.imdecode(np.frombuffer(frame, np.uint8), 1)[..., ::-1].copy()) for frame in whole]
    assert_as_the_oracle([row for row in found if row not in broken], greys, 0.7)
    assert summary(capsys) == ["drive", "14", str(sum(row["kept"] for row in found)), ANY, "0", "2", "0"]


def test_a_damaged_chunk_costs_its_own_frames_only(tmp_path: Path) -> None:
    recording = drive(tmp_path, form="bag-bz2")
    content = bytearray(recording.read_bytes())
    middle = content.index(b"BZh", len(content) // 2)
    content[middle + 100 : middle + 200] = bytes(100)
    recording.write_bytes(content)
    assert prune(recording, "--out", tmp_path / "kept.json") == 0
    found = rows(tmp_path / "kept.json")
    assert len(found) == FRAMES
    broken = [row for row in found if (row["reason"] or "").startswith("cannot be decoded: ")]
    assert 0 < len(broken) < 8
    assert {(row["kept"], row["stamp_ns"]) for row in broken} == {(False, None)}
    whole = [row for row in found if row not in broken]
    assert_as_the_oracle(whole, [opencv_grey(picture(row["index"])) for row in whole], 0.7)


def test_a_recording_that_goes_away_is_no_recording_of_damaged_frames(tmp_path: Path) -> None:
    path = drive(tmp_path, form="bag")
    with Recording(path) as recording:
        recording.close()
        path.rename(tmp_path / "elsewhere")
        with pytest.raises(MayhemError, match=r"Cannot open .*drive\.bag"):
            next(select_frames(recording, COLOUR, PruneSettings()))


def test_a_frame_of_another_size_is_kept_and_the_new_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = [(116, 150)] * 2 + [(120, 150)] * 2 + [(116, 150)]
    recording = write(tmp_path, "drive", "mcap", [raw(i, picture(0, *size)) for i, size in enumerate(sizes)])
    assert prune(recording, "--out", tmp_path / "kept.json") == 0
    found = [(row["score"], row["reference"], row["kept"], row["reason"]) for row in rows(tmp_path / "kept.json")]
    assert found == [
        (None, None, True, "first frame"),
        (1.0, "drive-000000.png", False, None),
        (None, "drive-000000.png", True, "150x120, its reference 150x116"),
        (1.0, "drive-000002.png", False, None),
        (None, "drive-000002.png", True, "150x116, its reference 150x120"),
    ]
    assert summary(capsys) == ["drive", "5", "3", "60.0", "2", "0", "0"]


def test_frames_smaller_than_the_window_are_all_kept(tmp_path: Path) -> None:
    recording = write(tmp_path, "drive", "mcap", [raw(index, picture(0, 110, 200)) for index in range(3)])
    assert prune(recording, "--out", tmp_path / "kept.json") == 0
    found = [(row["score"], row["reference"], row["kept"], row["reason"]) for row in rows(tmp_path / "kept.json")]
    reason = "200x110, smaller than the window of 111 pixels"
    assert found == [
        (None, None, True, "first frame"),
        (None, "drive-000000.png", True, reason),
        (None, "drive-000001.png", True, reason),
    ]


def test_after_a_black_frame_another_black_one_goes_and_any_other_is_kept(tmp_path: Path) -> None:
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pictures = [black, black, picture(0), black]
    recording = write(tmp_path, "drive", "mcap", [raw(index, pixels) for index, pixels in enumerate(pictures)])
    assert prune(recording, "--out", tmp_path / "kept.json") == 0
    found = [(row["reference"], row["kept"], row["reason"]) for row in rows(tmp_path / "kept.json")]
    assert found == [
        (None, True, "first frame"),
        ("drive-000000.png", False, None),
        ("drive-000000.png", True, "its reference is black"),
        ("drive-000002.png", True, None),
    ]
    assert [row["score"] for row in rows(tmp_path / "kept.json")][:3] == [None, 1.0, None]


def test_a_limit_of_one_drops_exact_copies_only(tmp_path: Path) -> None:
    pictures = [picture(0), picture(0), picture(1)]
    recording = write(tmp_path, "drive", "mcap", [raw(index, pixels) for index, pixels in enumerate(pictures)])
    assert prune(recording, "--out", tmp_path / "kept.json", "--limit", 1) == 0
    assert [row["kept"] for row in rows(tmp_path / "kept.json")] == [True, False, True]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--limit", "70"), "The limit 70.0 is not between 0 and 1"),
        (("--limit", "nan"), "The limit nan is not between 0 and 1"),
        (("--every", "0"), "Every 0 frames"),
        (("--start", "-1"), "The start -1.0"),
        (("--start", "nan"), "The start nan"),
        (("--start", "5", "--stop", "5"), "The stop 5.0 is not a number of seconds after the start 5.0"),
        (("--stop", "inf"), "The stop inf"),
        (("--max-frames", "0"), "At most 0 frames"),
        (("--workers", "0"), "--workers 0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], found: str
) -> None:
    assert prune(tmp_path / "drive.mcap", "--out", tmp_path / "kept.json", *options) == 2
    assert found in capsys.readouterr().err


def refused(capsys: pytest.CaptureFixture[str], exit_code: int, *arguments: object) -> str:
    """The one sentence that a command ends with."""
    capsys.readouterr()
    assert prune(*arguments) == exit_code
    error = capsys.readouterr().err
    assert error.startswith("mayhem prune: ")
    assert error.count("\n") == 1
    return error


def test_two_recordings_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = drive(tmp_path / "a", form="bag", frames=2), drive(tmp_path / "b", frames=2)
    error = refused(capsys, 2, one, two, "--out", tmp_path / "kept.json")
    assert f"{one} and {two} are both called 'drive'" in error
    assert not (tmp_path / "kept.json").exists()


def test_a_recording_that_is_named_again_is_pruned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = drive(tmp_path, frames=4)
    monkeypatch.chdir(tmp_path)
    again = [recording, "drive", tmp_path / "drive" / ".." / "drive", recording / "metadata.yaml"]
    assert prune(*again, "--out", tmp_path / "kept.json") == 0
    assert [row["index"] for row in rows(tmp_path / "kept.json")] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", [".hidden", "back\\slash", "long" * 60, os.fsdecode(b"bad\xff")])
def test_a_recording_that_frames_cannot_be_named_after_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (recording := tmp_path / f"{name}.mcap").write_bytes(b"no matter what")
    error = refused(capsys, 2, drive(tmp_path, frames=2), recording, "--out", tmp_path / "kept.json")
    assert "cannot be named after it" in error
    assert not (tmp_path / "kept.json").exists()


def test_an_absent_topic_is_refused_before_anything_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, other = drive(tmp_path, "whole"), write(tmp_path, "other", "mcap", [raw(0, picture(0), "/other")])
    assert "has no topic /nonesuch" in refused(
        capsys, 2, whole, "--topic", "/nonesuch", "--out", tmp_path / "kept.json"
    )
    assert f"{other} has no topic {COLOUR}" in refused(
        capsys, 2, whole, other, "--topic", COLOUR, "--out", tmp_path / "kept.json"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "whole"]


def test_a_recording_without_images_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    depth = image(DEPTH, START_NS, START_NS, np.zeros((120, 120), np.uint16), "16UC1")
    recording = write(tmp_path, "drive", "mcap", [depth], [(COLOUR, "sensor_msgs/msg/Image")])
    assert "has no image on" in refused(capsys, 1, recording, "--topic", COLOUR, "--out", tmp_path / "kept.json")
    error = refused(capsys, 1, recording, "--topic", DEPTH, "--out", tmp_path / "kept.json")
    assert f"None of 1 images on {DEPTH} of {recording} can be used" in error
    assert "which is depth, not colour" in error
    assert [path.name for path in tmp_path.iterdir()] == ["drive"]


def test_a_time_window_without_images_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, 1, drive(tmp_path), "--start", 60, "--out", tmp_path / "kept.json")
    assert "it lasts 2.900 s" in error
    assert not (tmp_path / "kept.json").exists()


def test_an_unreadable_recording_is_named_and_the_others_are_pruned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.mcap").write_bytes(b"no recording")
    whole, out = drive(tmp_path), tmp_path / "kept.json"
    for _ in range(2):  # the second time kept.json is there already, and the other still unreadable
        assert f"{tmp_path / 'broken.mcap'} is no recording" in refused(
            capsys, 1, tmp_path / "broken.mcap", whole, "--out", out
        )
        assert len(rows(out)) == FRAMES
    assert prune(whole, "--out", tmp_path / "alone.json") == 0
    assert (tmp_path / "alone.json").read_bytes() == out.read_bytes()


def test_a_recording_without_a_decodable_frame_is_named_and_the_others_are_pruned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = write(tmp_path, "broken", "mcap", [compressed(index, GARBAGE) for index in range(3)])
    whole = write(tmp_path, "whole", "mcap", [compressed(0, jpeg_bytes(picture(0)))])
    for _ in range(2):
        error = refused(capsys, 1, broken, whole, "--out", tmp_path / "kept.json")
        assert f"None of 3 images on /camera/compressed of {broken} can be used, the first cannot be decoded" in error
        assert document(tmp_path / "kept.json")["kept"] == ["whole-000000.png"]


def test_nothing_is_read_by_what_would_be_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = drive(tmp_path, form="bag", frames=2)
    before = recording.read_bytes()
    assert f"is the recording {recording} itself" in refused(capsys, 2, recording, "--out", recording, "--force")
    assert recording.read_bytes() == before


@pytest.mark.parametrize(
    ("named", "refused_names"),
    [
        ("", ["drive_0.db3", "drive_1.db3", "metadata.yaml", "kept.json"]),
        ("metadata.yaml", ["drive_0.db3", "drive_1.db3", "metadata.yaml", "kept.json"]),
        ("drive_0.db3", ["drive_0.db3", "drive_1.db3", "metadata.yaml", "kept.json"]),
    ],
)
def test_no_file_of_a_recording_is_ever_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], named: str, refused_names: list[str]
) -> None:
    """A recording of two files, named by its folder, its metadata, or one of them; --out may be another way there."""
    recording, other = drive(tmp_path, form="db3", frames=2), drive(tmp_path, "drive_1", "db3", frames=2)
    (recording / "drive.db3").rename(recording / "drive_0.db3")
    (other / "drive_1.db3").rename(recording / "drive_1.db3")
    metadata = (recording / "metadata.yaml").read_text()
    (recording / "metadata.yaml").write_text(metadata.replace("- drive.db3", "- drive_0.db3\n  - drive_1.db3", 1))
    (tmp_path / "link").symlink_to(recording)
    before = {path.name: path.read_bytes() for path in recording.iterdir()}
    for name in refused_names:
        for out in (recording / name, tmp_path / "link" / name):
            error = refused(capsys, 2, recording / named, "--out", out, "--force")
            assert f"--out {out} is" in error
            assert f"the recording {recording / named}" in error
    assert {path.name: path.read_bytes() for path in recording.iterdir()} == before


def strayed(folder: Path) -> Path:
    """Seven messages on one topic: images, but the third is a text, and the fifth is cut off within its header."""
    path = folder / "drive.mcap"
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start(profile="ros2", library="test")
        channels = {}
        for kind in ("sensor_msgs/msg/Image", "std_msgs/msg/String"):
            definition = ROS2.generate_msgdef(kind, ros_version=2)[0].encode()
            schema = writer.register_schema(kind, "ros2msg", definition)
            channels[kind] = writer.register_channel(COLOUR, "cdr", schema)
        text = bytes(ROS2.serialize_cdr(ROS2.types["std_msgs/msg/String"](data="hello"), "std_msgs/msg/String"))
        for index in range(7):
            message = raw(index, picture(10 * index))
            kind, data = (message.type, message.cdr[: 9 if index == 4 else None])
            if index == 2:
                kind, data = "std_msgs/msg/String", text
            writer.add_message(channels[kind], message.log_time_ns, data, message.log_time_ns)
        writer.finish()
    return path


def test_among_images_a_message_of_another_type_costs_only_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording, out = strayed(tmp_path), tmp_path / "kept.json"
    assert prune(recording, "--out", out, "--limit", 1, "--export", tmp_path / "images") == 0
    stamps = [START_NS + index * PERIOD_NS - 5_000_000 for index in range(7)]
    stamps[2] = stamps[4] = None  # type: ignore[call-overload]
    assert [row["stamp_ns"] for row in rows(out)] == stamps
    assert [row["kept"] for row in rows(out)] == [True, True, False, True, False, True, True]
    assert "is no sensor_msgs/Image" in rows(out)[2]["reason"]
    assert [frame.stamp_ns for frame in read_kept_frames(out)] == [stamps[index] for index in (0, 1, 3, 5, 6)]
    assert len(list((tmp_path / "images").iterdir())) == 5
    assert summary(capsys) == ["drive", "7", "5", "71.4", "0", "2", "0"]


def test_frames_without_a_header_are_kept_without_a_stamp_and_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A camera's driver of its own making: an Image whose definition lacks the header."""
    path = tmp_path / "drive.mcap"
    definition = ROS2.generate_msgdef("sensor_msgs/msg/Image", ros_version=2)[0].partition("\n=")[0]
    lines = [line for line in definition.splitlines() if "Header" not in line]
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start(profile="ros2", library="test")
        schema = writer.register_schema("sensor_msgs/msg/Image", "ros2msg", "\n".join(lines).encode())
        channel = writer.register_channel(COLOUR, "cdr", schema)
        types = get_typestore(Stores.EMPTY)
        types.register(get_types_from_msg("\n".join(lines), "sensor_msgs/msg/Image"))
        for index in range(3):
            pixels = picture(10 * index)
            fields = {"height": HEIGHT, "width": WIDTH, "encoding": "rgb8", "is_bigendian": 0, "step": 3 * WIDTH}
            message = types.types["sensor_msgs/msg/Image"](**fields, data=pixels.reshape(-1))
            data = bytes(types.serialize_cdr(message, "sensor_msgs/msg/Image"))
            writer.add_message(channel, START_NS + index, data, START_NS + index)
        writer.finish()
    out, images = tmp_path / "kept.json", tmp_path / "images"
    assert prune(path, "--out", out, "--limit", 1, "--export", images) == 0
    assert "3 kept frames have no stamp that can be read: stamp_ns of them is null" in capsys.readouterr().out
    assert read_kept_frames(out) == tuple(Frame("drive", COLOUR, k, START_NS + k, None) for k in range(3))
    assert sorted(file.name for file in images.iterdir()) == [f"drive-{k:06d}.png" for k in range(3)]
    assert prune(path, "--out", out, "--limit", 1, "--export", images) == 0
    assert "wrote 0 images" in capsys.readouterr().out


def flipped(index: int) -> bytes:
    """A JPEG file with flipped bytes in its scan, of which libjpeg complains, but gives a picture."""
    data = bytearray(jpeg_bytes(picture(index, 240, 320)))
    for at in range(len(data) // 2, len(data) // 2 + 100):
        data[at] ^= 0x55
    return bytes(data)


@pytest.mark.parametrize("workers", [1, 2])
def test_flawed_jpegs_are_counted_and_named(tmp_path: Path, capfd: pytest.CaptureFixture[str], workers: int) -> None:
    files = [flipped(k) if k % 2 else jpeg_bytes(picture(k, 240, 320)) for k in range(10)]
    recordings = [write(tmp_path, name, "mcap", [compressed(k, f) for k, f in enumerate(files)]) for name in "ab"]
    out, images = tmp_path / "kept.json", tmp_path / "images"
    for _ in range(2):  # the second time it is all there
        assert prune(*recordings, "--out", out, "--export", images, "--workers", workers) == 0
        output = capfd.readouterr()
        assert output.err == ""
        for name in "ab":
            named = ", ".join(f"{name}-{k:06d}.png (Corrupt JPEG data: " for k in (1, 3, 5))
            said = re.sub(r"(Corrupt JPEG data: )[^)]*\)", r"\1", output.out)
            assert f"5 images are flawed, but were decoded: {named} and 2 more" in said
    assert [row["index"] for row in rows(out) if row["flaw"]] == [1, 3, 5, 7, 9] * 2
    assert {row["reason"] for row in rows(out)} == {None, "first frame"}


def test_a_folder_is_no_output_and_a_file_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = drive(tmp_path, frames=2)
    assert "is a folder: name a file in it" in refused(capsys, 2, recording, "--out", tmp_path)
    (tmp_path / "file").touch()
    assert "is a file: name a folder" in refused(
        capsys, 2, recording, "--out", tmp_path / "kept.json", "--export", tmp_path / "file"
    )


def test_a_device_is_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = drive(tmp_path, frames=2)
    for force in ([], ["--force"]):
        error = refused(capsys, 2, recording, "--out", "/dev/null", *force)
        assert "/dev/null is neither a file nor a folder: choose another place." in error


def test_several_workers_give_the_same_bytes(tmp_path: Path) -> None:
    recordings = [drive(tmp_path, f"drive-{number}", frames=8 + number) for number in range(3)]
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        assert prune(*recordings, "--out", folder / "kept.json", "--export", folder / "i", "--workers", workers) == 0
    one, two = ({path.name: path.read_bytes() for path in sorted((tmp_path / n).rglob("*.*"))} for n in "12")
    assert len(one) > 4
    assert one == two


def test_prune_starts_without_torch_and_scikit_image(tmp_path: Path) -> None:
    recording = drive(tmp_path, frames=3)
    code = (
        "import sys; from mayhem_train.cli import main; assert main(sys.argv[1:]) == 0;"
        "print({'torch', 'lightning', 'skimage', 'ray', 'matplotlib'} & set(sys.modules), 'numba' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "prune", str(recording), "--out", str(tmp_path / "kept.json")]
    assert subprocess.check_output(command, text=True).splitlines()[-1] == "set() True"
    assert subprocess.check_output(command, text=True).splitlines()[-1] == "set() False"  # there is nothing to compare


def test_a_frame_found_again_is_the_one_that_was_kept(tmp_path: Path) -> None:
    assert prune(drive(tmp_path), "--out", tmp_path / "kept.json") == 0
    frame = read_kept_frames(tmp_path / "kept.json")[-1]
    assert isinstance(frame, Frame)
    with Recording(tmp_path / frame.recording) as recording:
        assert recording.frame(frame.topic, frame.index) == frame
        assert np.array_equal(recording.read_image(frame.topic, frame.index), picture(frame.index))
