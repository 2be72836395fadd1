"""`mayhem prune --export` writes every kept frame once, in its colours, and over nothing that is not its own."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from recordings_pruning_drives import document, drive, picture, prune, raw
from recordings_writing import COLOUR, write

from mayhem_train.recordings.frame import parse_frame_name


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return drive(tmp_path)


def export(recording: Path, *options: object) -> int:
    folder = recording.parent
    return prune(recording, "--out", folder / "kept.json", "--export", folder / "images", *options)


def images(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "images").iterdir())}


def inodes(folder: Path) -> dict[str, int]:
    """A file that was written again, whole, is another file."""
    return {path.name: path.stat().st_ino for path in sorted((folder / "images").iterdir())}


def test_every_kept_frame_becomes_an_image_in_its_colours(tmp_path: Path, recording: Path) -> None:
    assert export(recording) == 0
    assert list(images(tmp_path)) == document(tmp_path / "kept.json")["kept"]
    for path in (tmp_path / "images").iterdir():
        bgr = cv2.imread(str(path))
        assert bgr is not None
        assert np.array_equal(bgr[..., ::-1], picture(parse_frame_name(path.name)[1]))


def test_images_may_be_jpegs(tmp_path: Path, recording: Path) -> None:
    assert export(recording, "--image-format", "jpg") == 0
    kept = document(tmp_path / "kept.json")["kept"]
    assert list(images(tmp_path)) == [name.replace(".png", ".jpg") for name in kept]
    for path in (tmp_path / "images").iterdir():
        original = picture(parse_frame_name(path.name)[1])
        decoded = cv2.imdecode(cv2.imencode(".jpg", original[..., ::-1])[1], cv2.IMREAD_COLOR)
        assert np.array_equal(cv2.imread(str(path)), decoded)


@pytest.mark.parametrize("form", ["png", "jpg"])
def test_images_that_are_there_are_not_written_again(
    tmp_path: Path, recording: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(recording, "--image-format", form) == 0
    before, first = inodes(tmp_path), next((tmp_path / "images").iterdir())
    first.unlink()
    capsys.readouterr()
    assert export(recording, "--image-format", form) == 0
    output = capsys.readouterr().out
    assert "kept.json is already there" in output
    assert f"wrote 1 images to {tmp_path / 'images'}, {len(before) - 1} were already there" in output
    after = inodes(tmp_path)
    assert {name for name in before if after[name] == before[name]} >= set(before) - {first.name}
    assert set(after) == set(before)


def test_a_finished_file_is_exported_later(tmp_path: Path, recording: Path) -> None:
    assert prune(recording, "--out", tmp_path / "kept.json") == 0
    before = (tmp_path / "kept.json").stat().st_ino
    assert export(recording) == 0
    assert (tmp_path / "kept.json").stat().st_ino == before
    assert list(images(tmp_path)) == document(tmp_path / "kept.json")["kept"]


def test_a_list_that_people_shortened_is_what_is_exported(
    tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prune(recording, "--out", tmp_path / "kept.json") == 0
    content = document(tmp_path / "kept.json")
    content["kept"] = content["kept"][2:5]
    (tmp_path / "kept.json").write_text(json.dumps(content))
    capsys.readouterr()
    assert export(recording) == 0
    assert f"wrote 3 images to {tmp_path / 'images'}, 0 were already there" in capsys.readouterr().out
    assert list(images(tmp_path)) == content["kept"]


@pytest.mark.parametrize("form", ["png", "jpg"])
def test_images_that_are_no_longer_kept_are_told_of_and_removed_when_forced(
    tmp_path: Path, recording: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = drive(tmp_path, "other")
    assert prune(other, "--out", tmp_path / "other.json", "--export", tmp_path / "images") == 0
    others = images(tmp_path)
    assert export(recording, "--limit", 1) == 0
    exported = images(tmp_path).keys() - others.keys()
    assert len(exported) == len(document(tmp_path / "kept.json")["kept"])
    own = {"notes.txt": b"1", "drive-000099.png": b"no image", "mine.png": images(tmp_path)["drive-000001.png"]}
    for name, content in own.items():
        (tmp_path / "images" / name).write_bytes(content)
    before = images(tmp_path)
    capsys.readouterr()
    again = [recording, "--limit", 0.5, "--export", tmp_path / "images", "--image-format", form]
    assert prune(*again, "--out", tmp_path / "fewer.json") == 0
    kept = {Path(name).with_suffix(f".{form}").name for name in document(tmp_path / "fewer.json")["kept"]}
    assert 0 < len(kept) < len(exported)
    stale = len(exported - kept)
    said = f"Warning: {stale} images of an earlier export in {tmp_path / 'images'} would not be written now"
    assert capsys.readouterr().err == f"{said}: pass --force to remove them.\n"
    assert before.items() <= images(tmp_path).items()
    assert prune(*again, "--out", tmp_path / "fewer.json", "--force") == 0
    assert capsys.readouterr().err == ""
    assert set(images(tmp_path)) == {*others, *own, *kept}
    assert {**others, **own}.items() <= images(tmp_path).items()


@pytest.mark.parametrize("form", ["png", "jpg"])
@pytest.mark.parametrize("damage", ["cut off", "empty", "of another program", "of another topic"])
def test_an_image_that_is_not_this_frames_is_not_touched_without_force(
    tmp_path: Path, recording: Path, form: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(recording, "--image-format", form) == 0
    whole, second = images(tmp_path), sorted((tmp_path / "images").iterdir())[1]
    if damage == "of another topic":
        (tmp_path / "other").mkdir()
        other = write(tmp_path / "other", "drive", "mcap", [raw(i, picture(i), "/other") for i in range(30)])
        assert prune(other, "--out", tmp_path / "o.json", "--export", tmp_path / "o", "--image-format", form) == 0
        content = (tmp_path / "o" / second.name).read_bytes()
        assert cv2.imdecode(np.frombuffer(content, np.uint8), 1) is not None
    else:
        encoded = cv2.imencode(f".{form}", picture(0))[1].tobytes()
        content = {"cut off": whole[second.name][:-1], "empty": b"", "of another program": encoded}[damage]
    second.write_bytes(content)
    capsys.readouterr()
    assert export(recording, "--image-format", form) == 2
    assert f"{second} exists already and was not exported as that frame" in capsys.readouterr().err
    assert second.read_bytes() == content
    assert export(recording, "--image-format", form, "--force") == 0
    assert images(tmp_path) == whole


def test_a_name_taken_by_a_folder_is_refused(
    tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images" / "drive-000000.png").mkdir(parents=True)
    assert export(recording) == 1
    assert "drive-000000.png (Is a directory)" in capsys.readouterr().err


def test_an_image_says_which_frame_it_shows(tmp_path: Path, recording: Path) -> None:
    assert export(recording) == 0
    row = document(tmp_path / "kept.json")["frames"][0]
    comment = (
        f'tEXtComment\0mayhem frame {{"recording": "drive", "topic": "{COLOUR}", "index": 0, '
        f'"log_time_ns": {row["log_time_ns"]}, "stamp_ns": {row["stamp_ns"]}}}'
    )
    assert comment.encode() in images(tmp_path)["drive-000000.png"][:300]
