"""16-bit cameras in recordings: the range that is given, found or missing, and the pictures that verbs make by it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from recordings_pruning_drives import document, drive, picture, prune, raw
from recordings_writing import COLOUR, DEPTH, write

from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.cli import main
from mayhem_train.recordings.ingest.places import MANIFEST
from mayhem_train.recordings.pruning.kept_frames import read_kept_frames
from mayhem_train.recordings.recording import Recording
from mayhem_train.recordings.sixteen_bits import found_range

CASE = Path(__file__).parents[2] / "shared" / "cases" / "recordings" / "thermal-14bit"
FRAMES, LOW, HIGH = 6, 7000, 9000
THERMAL = "/thermal/image_raw"
WARNING = (
    f"Warning: {THERMAL} of {{}} uses only 9 of 256 grey levels (16-bit samples from 7000 to 9000 of 65535): "
    "pass --intensity-range 7000 9000, or auto, to prune, ingest and the imports.\n"
)


def samples(index: int) -> np.ndarray:
    """uint16 [H, W]: unlike the other frames, and 1 % of it at either end of the range."""
    scene = np.random.default_rng(index).integers(LOW, HIGH + 1, (116, 150), np.uint16)
    scene = cv2.GaussianBlur(scene, (0, 0), 4).astype(float)
    scene = (scene - scene.min()) * (HIGH - LOW) / (scene.max() - scene.min()) + LOW
    scene[:, :2], scene[:, -2:] = LOW, HIGH
    return np.rint(scene).astype(np.uint16)


def levels(index: int) -> np.ndarray:
    """What a frame shows of the range."""
    return np.rint((samples(index) - float(LOW)) * 255 / (HIGH - LOW)).astype(np.uint8)


@pytest.fixture
def thermal(tmp_path: Path) -> Path:
    return write(tmp_path, "thermal", "mcap", [raw(n, samples(n), THERMAL, "mono16") for n in range(FRAMES)])


@pytest.mark.parametrize("asked", [[LOW, HIGH], ["auto"]])
def test_prune_keeps_unlike_frames_of_a_thermal_camera(
    thermal: Path, tmp_path: Path, asked: list[object], capfd: pytest.CaptureFixture[str]
) -> None:
    out, images = tmp_path / "kept.json", tmp_path / "images"
    assert prune(thermal, "--out", out, "--export", images, "--intensity-range", *asked) == 0
    assert [frame.index for frame in read_kept_frames(out)] == list(range(FRAMES))
    assert document(out)["intensity_range"] == [LOW, HIGH]
    shown = cv2.imread(str(images / "thermal-000002.png"))
    np.testing.assert_array_equal(shown, np.dstack([levels(2)] * 3))
    found = "16-bit images are scaled by the range 7000 to 9000, which --intensity-range auto found.\n"
    assert capfd.readouterr().err == (found if asked == ["auto"] else "")


def test_without_a_range_few_frames_are_kept_and_a_warning_says_why(
    thermal: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert prune(thermal, "--out", tmp_path / "kept.json") == 0
    assert len(read_kept_frames(tmp_path / "kept.json")) == 1
    assert document(tmp_path / "kept.json")["intensity_range"] is None
    assert capfd.readouterr().err == WARNING.format(thermal)


def test_the_warning_comes_once_a_topic(thermal: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = write(tmp_path, "other", "mcap", [raw(n, samples(n), THERMAL, "mono16") for n in range(2)])
    assert prune(thermal, other, "--out", tmp_path / "kept.json") == 0
    assert capfd.readouterr().err == WARNING.format(thermal)
    assert main(["ingest", str(thermal), str(other), "--out", str(tmp_path / "ingested"), "--workers", "1"]) == 0
    assert capfd.readouterr().err == WARNING.format(thermal)


def test_inspect_says_it_too(thermal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(thermal), "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["problems"] == [WARNING.format(thermal).removeprefix("Warning: ").rstrip()]


def test_a_finished_prune_of_another_range_is_not_taken_for_this_one(
    thermal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "kept.json"
    assert prune(thermal, "--out", out, "--intensity-range", LOW, HIGH) == 0
    assert prune(thermal, "--out", out, "--intensity-range", LOW, HIGH) == 0
    assert prune(thermal, "--out", out, "--intensity-range", "auto") == 0
    assert prune(thermal, "--out", out, "--intensity-range", LOW, HIGH + 1) == 2
    assert prune(thermal, "--out", out) == 2
    assert "was not made from these recordings as they are now with these settings" in capsys.readouterr().err


def test_an_exported_image_of_another_range_is_not_taken_for_this_one(
    thermal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prune(thermal, "--out", tmp_path / "full.json", "--export", tmp_path / "images") == 0
    assert (
        prune(thermal, "--out", tmp_path / "own.json", "--export", tmp_path / "images", "--intensity-range", 1, 2) == 2
    )
    assert "exists already and was not exported as that frame" in capsys.readouterr().err


def test_a_kept_json_from_before_there_were_ranges_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording, out = drive(tmp_path, frames=4), tmp_path / "kept.json"
    assert prune(recording, "--out", out) == 0
    older = document(out)
    del older["intensity_range"]
    out.write_text(json.dumps(older))
    assert prune(recording, "--out", out) == 0
    assert "is already there" in capsys.readouterr().out
    assert prune(recording, "--out", tmp_path / "other.json", "--intensity-range", out) == 1
    assert f"{out} has no intensity range: name LOW HIGH, or auto, in its place." in capsys.readouterr().err


def test_the_range_of_a_kept_json_is_taken(thermal: Path, tmp_path: Path) -> None:
    assert prune(thermal, "--out", tmp_path / "kept.json", "--intensity-range", LOW, 8000) == 0
    assert prune(thermal, "--out", tmp_path / "again.json", "--intensity-range", tmp_path / "kept.json") == 0
    assert document(tmp_path / "again.json")["intensity_range"] == [LOW, 8000]


@pytest.mark.parametrize("form", ["png", "jpg"])
def test_ingest_writes_what_the_range_shows(thermal: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "ingested"
    assert main(["ingest", str(thermal), "--out", str(out), "--colour", form, "--intensity-range", "auto"]) == 0
    shown = cv2.imread(str(out / "thermal" / "colour" / "thermal-image_raw" / f"thermal-000003.{form}"))
    np.testing.assert_allclose(shown, np.dstack([levels(3)] * 3), atol=0 if form == "png" else 12)
    manifest = json.loads((out / "thermal" / MANIFEST).read_text())
    assert manifest["parameters"]["intensity_range"] == [LOW, HIGH]


def test_processes_of_an_ingest_are_told_the_range(thermal: Path, tmp_path: Path) -> None:
    other = write(tmp_path, "other", "mcap", [raw(0, samples(3), THERMAL, "mono16")])
    given = ["--out", str(tmp_path / "out"), "--workers", "2", "--intensity-range", str(LOW), str(HIGH)]
    assert main(["ingest", str(thermal), str(other), *given]) == 0
    shown = cv2.imread(str(tmp_path / "out" / "other" / "colour" / "thermal-image_raw" / "other-000000.png"))
    np.testing.assert_array_equal(shown, np.dstack([levels(3)] * 3))


def test_a_finished_ingest_from_before_there_were_ranges_is_finished(
    thermal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest = ["ingest", str(thermal), "--out", str(tmp_path / "out")]
    assert main(ingest) == 0
    path = tmp_path / "out" / "thermal" / MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["parameters"]["intensity_range"]
    path.write_text(json.dumps(manifest))
    assert main(ingest) == 0
    assert "finished before" in capsys.readouterr().out
    assert main([*ingest, "--intensity-range", "auto"]) == 2
    assert "with other options (intensity_range None, now 7000 9000)" in capsys.readouterr().err


def test_colour_beside_a_thermal_camera_is_as_it_was(tmp_path: Path) -> None:
    recording = drive(tmp_path, frames=2)
    thermal = write(tmp_path, "thermal", "mcap", [raw(n, samples(n), COLOUR, "mono16") for n in range(2)])
    out, images = tmp_path / "kept.json", tmp_path / "images"
    assert prune(recording, thermal, "--out", out, "--limit", 1, "--export", images, "--intensity-range", "auto") == 0
    np.testing.assert_array_equal(cv2.imread(str(images / "drive-000001.png"))[..., ::-1], picture(1))
    np.testing.assert_array_equal(cv2.imread(str(images / "thermal-000001.png"))[..., 0], levels(1))


def test_a_range_is_found_over_all_recordings_and_topics(tmp_path: Path) -> None:
    spans = {"cold": (100, 300), "warm": (3000, 4000)}
    paths = [
        write(tmp_path, name, "mcap", [raw(n, np.linspace(*span, 4000).reshape(40, 100).astype(np.uint16), THERMAL,
                                           "mono16") for n in range(3)])
        for name, span in spans.items()
    ]  # fmt: skip
    black = write(tmp_path, "black", "mcap", [raw(0, np.zeros((40, 100), np.uint16), THERMAL, "mono16")])
    found = found_range([(Recording(path), THERMAL) for path in (*paths, black)])
    assert found == IntensityRange(100, 3997)


def test_auto_without_a_sixteen_bit_camera_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = drive(tmp_path, frames=2)
    said = f"--intensity-range auto found no 16-bit image that shows anything on {COLOUR} of {recording}: leave it out"
    assert prune(recording, "--out", tmp_path / "kept.json", "--intensity-range", "auto") == 2
    assert said in capsys.readouterr().err
    assert main(["ingest", str(recording), "--out", str(tmp_path / "out"), "--intensity-range", "auto"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["9000", "7000"], "--intensity-range: the intensity range 9000 to 7000 is none"),
        (["0", "70000"], "both from 0 to 65535"),
        (["-1", "7"], "the intensity range -1 to 7 is none"),
        (["7000"], "takes LOW HIGH, auto or the name of a kept.json, not '7000'"),
        (["1.5", "7"], "not '1.5 7'"),
        (["auto", "drive.mcap"], "not 'auto drive.mcap': name recordings and other files before it."),
        (["no.json"], "Cannot read no.json"),
    ],
)
def test_what_is_no_range_is_refused(
    thermal: Path, tmp_path: Path, asked: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prune(thermal, "--out", tmp_path / "kept.json", "--intensity-range", *asked) == (
        1 if "no" in asked[0] else 2
    )
    assert said in capsys.readouterr().err


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A thermal camera that calls its samples 16UC1, as depth does, beside depth and colour."""
    messages = [raw(n, samples(n), topic, "16UC1") for n in range(FRAMES) for topic in (THERMAL, DEPTH)]
    return write(tmp_path, "mixed", "mcap", [*messages, *(raw(n, picture(n), COLOUR, "rgb8") for n in range(FRAMES))])


@pytest.mark.parametrize("asked", [[LOW, HIGH], ["auto"]])
def test_16uc1_that_is_named_and_has_a_range_is_grey(mixed: Path, tmp_path: Path, asked: list[object]) -> None:
    out, images = tmp_path / "kept.json", tmp_path / "images"
    given = ["--intensity-range", *asked]
    assert prune(mixed, "--topic", THERMAL, "--out", out, "--export", images, *given) == 0
    np.testing.assert_array_equal(cv2.imread(str(images / "mixed-000002.png"))[..., 0], levels(2))
    out = tmp_path / "ingested"
    named = ["--topics", THERMAL, DEPTH]
    assert main(["ingest", str(mixed), "--out", str(out), *map(str, [*named, *given])]) == 0
    shown = cv2.imread(str(out / "mixed" / "colour" / "thermal-image_raw" / "mixed-000002.png"))
    np.testing.assert_array_equal(shown[..., 0], levels(2))
    (depth,) = (out / "mixed" / "depth").iterdir()
    np.testing.assert_array_equal(cv2.imread(str(depth / "mixed-000002.png"), cv2.IMREAD_UNCHANGED), samples(2))


def test_16uc1_is_depth_without_a_range_or_a_name(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prune(mixed, "--topic", THERMAL, "--out", tmp_path / "kept.json") == 1
    assert "or give an intensity range if a thermal camera sent it" in capsys.readouterr().err
    assert main(["ingest", str(mixed), "--out", str(tmp_path / "out"), "--intensity-range", "7000", "9000"]) == 0
    assert "6 colour, 12 depth" in capsys.readouterr().out
    assert prune(mixed, "--topic", DEPTH, "--out", tmp_path / "kept.json", "--intensity-range", "auto") == 2
    assert "16UC1 is depth, unless its topic is named" in capsys.readouterr().err


def test_the_only_camera_is_no_colour_camera_where_its_name_says_depth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "drive", "mcap", [raw(0, samples(0), DEPTH, "16UC1")])
    assert prune(path, "--out", tmp_path / "kept.json", "--intensity-range", LOW, HIGH) == 1
    assert f"{path} has no colour images: it has {DEPTH}" in capsys.readouterr().err


@pytest.mark.skipif(not CASE.exists(), reason="the cases are not here")
@pytest.mark.parametrize("asked", [[7000, 9000], ["auto"]])
def test_all_scenes_of_the_thermal_case_are_kept(tmp_path: Path, asked: list[object]) -> None:
    assert prune(CASE, "--out", tmp_path / "kept.json", "--intensity-range", *asked) == 0
    assert len(read_kept_frames(tmp_path / "kept.json")) == 20
