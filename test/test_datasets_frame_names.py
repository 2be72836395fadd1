"""Labels find their frames by names that labelling tools, stores of files and file systems have changed."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from datasets_drives import box_element, image_element, write_cvat, write_drive

from mayhem_ros.errors import MayhemError
from mayhem_train.cli import main
from mayhem_train.datasets.annotations.frame_names import possible_frames, video_frame
from mayhem_train.datasets.annotations.recorded_frames import FoundFrame, RecordedFrames
from mayhem_train.datasets.dataset import FrameDataset
from mayhem_train.datasets.index import DatasetIndex
from mayhem_train.datasets.splits.split_file import read_split_file
from mayhem_train.datasets.splits.time_blocks import parse_block
from mayhem_train.recordings.frame import parse_frame_name

AS_IT_IS, RENAMED = FoundFrame("drive-1", 3, False), FoundFrame("drive-1", 3, True)


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> RecordedFrames:
    folder = tmp_path_factory.mktemp("recordings")
    for stem in ("drive-1", "night drive", "a_b", "a-b", "c0ffee00-yard"):
        write_drive(folder, stem, 5)
    return RecordedFrames(folder)


@pytest.mark.parametrize(
    "name",
    [
        "drive-1-000003.png",
        "drive-1-000003.JPG",
        "drive-1-000003.webp",
        "drive-1-000003",
        "train/images/drive-1-000003.png",
        "C:\\data\\drive-1-000003.png",
        "s3://bucket/train/drive-1-000003.png",
    ],
)
def test_folders_and_extensions_do_not_matter(frames: RecordedFrames, name: str) -> None:
    assert frames.find(name) == AS_IT_IS


@pytest.mark.parametrize(
    "name",
    [
        # Label Studio: the hash of an upload or a download, its local files, its links to a store (in base 64)
        "../../label-studio/data/media/upload/4/cb0618f6-drive-1-000003.png",
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301-drive-1-000003.png",
        "a1b2c3__drive-1-000003.png",
        "/data/local-files/?d=folder%2Fdrive-1-000003.png",
        "/tasks/1/resolve/?fileuri=czM6Ly9iL2RyaXZlLTEtMDAwMDAzLnBuZw==",
        # Roboflow
        "drive-1-000003_png.rf.0f8b2c6d1e.jpg",
        "drive-1-000003_jpg.rf.AbC-1_2",
        "cb0618f6-drive-1-000003_png.rf.0f8b2c6d1e.jpg",
        # stores of files
        "https://b.s3.amazonaws.com/x/drive-1-000003.png?X-Amz-Algorithm=AWS4&X-Amz-Credential=a%2Fb",
        "https://firebasestorage.googleapis.com/v0/b/x/o/f%2Fdrive-1-000003.png?alt=media",
        "dr%69ve-1-000003.png",
        # CVAT's numbers, copies, an extension behind another
        "drive-1-000003_1.png",
        "drive-1-000003 (1).png",
        "drive-1-000003 copy.png",
        "drive-1-000003.png.jpg",
    ],
)
def test_what_tools_and_stores_add_is_taken_off_and_told(frames: RecordedFrames, name: str) -> None:
    assert frames.find(name) == RENAMED


def test_letters_that_a_tool_replaced_count_where_it_renamed_anyway_and_one_recording_fits(
    frames: RecordedFrames,
) -> None:
    assert frames.find("night-drive-000003_png.rf.abc.jpg") == FoundFrame("night drive", 3, True)
    assert frames.find("a-b-000003_png.rf.abc.jpg") == FoundFrame("a-b", 3, True)
    assert frames.find("a.b-000003_png.rf.abc.jpg") == FoundFrame("a.b", 3, False)  # a_b or a-b: found to be missing
    assert frames.find("night_drive-000003.png") == FoundFrame("night_drive", 3, False)


def test_a_recording_that_is_there_outweighs_what_a_tool_may_have_added(frames: RecordedFrames) -> None:
    assert frames.find("c0ffee00-yard-000003.png") == FoundFrame("c0ffee00-yard", 3, False)


@pytest.mark.parametrize("name", ["20240131-drive-1-000003.png", "night-drive-1-000003.png", "x_drive-1-000003.png"])
def test_a_date_or_a_word_before_the_name_is_another_recording(frames: RecordedFrames, name: str) -> None:
    assert frames.find(name).recording == name.removesuffix("-000003.png")


def test_the_first_of_several_names_that_is_there_counts(frames: RecordedFrames) -> None:
    assert frames.find("photo.jpg", "drive-1-000003.png") == AS_IT_IS


@pytest.mark.parametrize("name", ["photo.png", "", "a/", "http://[x", "drive-1-3.png", ".x-000001.png"])
def test_what_is_no_frames_name_is_refused(frames: RecordedFrames, name: str) -> None:
    assert possible_frames(name) == []
    with pytest.raises(MayhemError, match="is not <recording>-<index>"):
        frames.find(name)


def test_frames_of_cvats_videos_ask_for_their_recording(tmp_path: Path, frames: RecordedFrames) -> None:
    assert [video_frame(name) for name in ("frame_000012", "x/frame_000012.PNG", "frame-000012.png")] == [12, 12, None]
    with pytest.raises(MayhemError, match="--video-recording STEM"):
        frames.find("frame_000012.PNG")
    assert RecordedFrames(tmp_path, video="drive-2").find("frame_000012.PNG") == FoundFrame("drive-2", 12, False)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("other", ["NFC", "NFD"])
def test_letters_of_one_or_of_two_parts_are_the_same_name(tmp_path: Path, form: str, other: str) -> None:
    on_disk, in_file = (unicodedata.normalize(how, "grün") for how in (form, other))  # type: ignore[arg-type]
    write_drive(tmp_path / "recordings", on_disk, 2)
    elements = [image_element(f"{in_file}-{i:06d}.png", box_element("car", 1, 2, 30, 40)) for i in (0, 1)]
    write_cvat(tmp_path / "a.xml", *elements)
    found = ["--recordings", str(tmp_path / "recordings"), "--out", str(tmp_path / "index.json")]
    assert main(["import-cvat", str(tmp_path / "a.xml"), *found, "--val", unicodedata.normalize("NFD", "grün")]) == 0
    index = DatasetIndex.load(tmp_path / "index.json")
    assert [(image.recording, image.split) for image in index.images] == [("gr\u00fcn", "val")] * 2
    assert FrameDataset(index, tmp_path / "recordings")[1].name == "gr\u00fcn-000001.png"
    assert parse_frame_name(f"{in_file}-000001.png") == ("gr\u00fcn", 1)


def test_split_files_and_blocks_name_recordings_in_either_spelling(tmp_path: Path) -> None:
    (tmp_path / "splits.yaml").write_text("val: [gru\u0308n]", encoding="utf-8")
    assert read_split_file(tmp_path / "splits.yaml").assign([("gr\u00fcn", 1)]) == {("gr\u00fcn", 1): "val"}
    assert parse_block("gru\u0308n:0:5").recording == "gr\u00fcn"
