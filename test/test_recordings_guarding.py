"""No verb writes over a recording, into its folder, or over what was ingested, whatever --force says."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets_drives import box_element, image_element, write_cvat, write_drive
from ingest_messages import all_bytes
from robot_small_model import save_model

from mayhem_ros.errors import UsageError
from mayhem_train.cli import main
from mayhem_train.recordings.guarding import refuse_within_recordings


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rosbag2 folders (one below another folder), a bare file beside them, labels and an index of the first."""
    folder = tmp_path_factory.mktemp("dataset")
    write_drive(folder / "recordings", "drive", 2)
    write_drive(folder / "recordings" / "below", "other", 2)
    (storage,) = (folder / "recordings" / "drive").glob("*.db3")
    (folder / "recordings" / "bare.db3").write_bytes(storage.read_bytes())
    write_cvat(folder / "a.xml", image_element("drive-000000.png", box_element("person", 1, 2, 30, 40)))
    recordings = ["--recordings", str(folder / "recordings")]
    assert main(["import-cvat", str(folder / "a.xml"), *recordings, "--out", str(folder / "index.json")]) == 0
    arguments = ["--format", "coco", "--out", str(folder / "coco.json")]
    assert main(["export-labels", str(folder / "index.json"), *arguments]) == 0
    assert main(["ingest", str(folder / "recordings" / "drive"), "--out", str(folder / "extracted")]) == 0
    (folder / "yolo").mkdir()
    (folder / "yolo" / "drive-000000.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (folder / "names.txt").write_text("person\n")
    save_model(folder / "model.onnx")
    return folder


def command(verb: str, folder: Path, out: Path) -> list[str]:
    """The verb with `out` as one of its outputs."""
    recordings, index = ["--recordings", str(folder / "recordings")], str(folder / "index.json")
    model = ["--model", str(folder / "model.onnx"), "--every", "1"]
    named = [str(folder / "recordings" / name) for name in ("drive", "below/other", "bare.db3")]
    aside = str(folder / "aside")
    return {
        "import-cvat": ["import-cvat", str(folder / "a.xml"), *recordings, "--out", str(out)],
        "import-coco": ["import-coco", str(folder / "coco.json"), *recordings, "--out", str(out)],
        "import-yolo": [
            *("import-yolo", str(folder / "yolo"), "--names", str(folder / "names.txt")),
            *(*recordings, "--out", str(out)),
        ],
        "describe": ["describe", index, *recordings, "--out", str(out)],
        "prelabel": ["prelabel", *model, *recordings, "--out", str(out)],
        "prelabel images": ["prelabel", *model, *recordings, "--out", aside, "--images", str(out)],
        "prune": ["prune", *named, "--out", str(out)],
        "prune export": ["prune", *named, "--out", aside, "--export", str(out)],
        "ingest": ["ingest", *named, "--out", str(out)],
        "export-labels coco": ["export-labels", index, "--format", "coco", "--out", str(out)],
        "export-labels cvat": ["export-labels", index, "--format", "cvat", "--out", str(out)],
    }[verb]


WITH_RECORDINGS = (
    *("import-cvat", "import-coco", "import-yolo", "describe", "prelabel", "prelabel images"),
    *("prune", "prune export", "ingest"),
)


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("verb", WITH_RECORDINGS)
def test_nothing_is_written_into_any_recordings_folder(
    dataset: Path, capsys: pytest.CaptureFixture[str], verb: str, force: list[str]
) -> None:
    before = all_bytes(dataset)
    for recording in ("drive", "below/other"):
        for place in ("new", "new/er"):
            out = dataset / "recordings" / recording / place
            assert main([*command(verb, dataset, out), *force]) == 2
            error = capsys.readouterr().err
            assert f"is a part of the recording {dataset / 'recordings' / recording}: choose another place" in error
    assert all_bytes(dataset) == before


@pytest.mark.parametrize("verb", [verb for verb in WITH_RECORDINGS if verb != "ingest"])
def test_no_file_and_no_folder_of_a_recording_is_replaced(
    dataset: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    before = all_bytes(dataset)
    folder = dataset / "recordings"
    for name in ("drive", "below/other", "bare.db3"):
        assert main([*command(verb, dataset, folder / name), "--force"]) == 2
        error = capsys.readouterr().err
        taken_for_another_kind = (
            "a file in it, such as",
            "is a file: name a folder",
        )  # by prune, before it looks at more
        assert f"{folder / name} is the recording {folder / name} itself" in error or any(
            sentence in error for sentence in taken_for_another_kind
        )
    for name in ("drive.db3", "metadata.yaml"):
        assert main([*command(verb, dataset, folder / "drive" / name), "--force"]) == 2
        error = capsys.readouterr().err
        assert f"is a part of the recording {folder / 'drive'}" in error or "is a file: name a folder" in error
    assert all_bytes(dataset) == before


@pytest.mark.parametrize("verb", ["describe", "prelabel images", "export-labels cvat"])
def test_no_folder_of_recordings_of_labels_or_of_images_is_replaced(
    dataset: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    before = all_bytes(dataset)
    for folder in ("recordings/below", "yolo", "extracted/drive/colour", "extracted"):
        assert main([*command(verb, dataset, dataset / folder), "--force"]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert all_bytes(dataset) == before


@pytest.mark.parametrize("verb", ["import-cvat", "export-labels coco", "prelabel", "prune"])
def test_what_was_ingested_is_not_replaced(dataset: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    before = all_bytes(dataset)
    place = dataset / "extracted" / "drive"
    for out in (place / "ingest.json", place / "frames.csv", place / "colour" / "new.json"):
        assert main([*command(verb, dataset, out), "--force"]) == 2
        assert f"is a part of what was ingested into {place}: choose another place" in capsys.readouterr().err
    assert all_bytes(dataset) == before


@pytest.mark.parametrize("verb", ["import-cvat", "export-labels coco", "prelabel", "prune"])
def test_no_recording_of_others_is_replaced_by_a_file(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    out = tmp_path / "somebodys.db3"
    out.write_bytes((dataset / "recordings" / "bare.db3").read_bytes())
    before = all_bytes(tmp_path)
    assert main([*command(verb, dataset, out), "--force"]) == 2
    assert f"{out} is a file of another kind, which --force does not replace" in capsys.readouterr().err
    assert all_bytes(tmp_path) == before


@pytest.mark.parametrize("verb", [*WITH_RECORDINGS, "export-labels coco", "export-labels cvat"])
def test_an_empty_path_is_not_the_working_folder(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = command(verb, dataset, dataset / "out")
    for place in [number for number, argument in enumerate(arguments) if argument == str(dataset / "out")]:
        with pytest.raises(SystemExit) as caught:
            main([*arguments[:place], "", *arguments[place + 1 :]])
        assert caught.value.code == 2
        assert "the path is empty: name a file or folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_neither_a_way_into_a_recording_nor_out_of_it(dataset: Path, tmp_path: Path) -> None:
    recording = write_drive(tmp_path, "drive", 1)
    (tmp_path / "elsewhere.json").touch()
    (recording / "link.json").symlink_to(tmp_path / "elsewhere.json")
    (tmp_path / "in").symlink_to(recording)
    (tmp_path / "file.json").symlink_to(recording / "drive.db3")
    for out in (recording / "link.json", tmp_path / "in" / "new.json", tmp_path / "file.json"):
        for named in (recording, recording / "metadata.yaml", recording / "drive.db3", tmp_path / "in"):
            with pytest.raises(UsageError, match=r"is a part of the recording|itself"):
                refuse_within_recordings(out, [named])


def test_what_is_only_added_to_may_hold_recordings(tmp_path: Path) -> None:
    recording = write_drive(tmp_path, "drive", 1)
    refuse_within_recordings(tmp_path, [recording], "--export", replaced=False)
    refuse_within_recordings(tmp_path / "drive.json", [recording])
    with pytest.raises(UsageError, match=r"--out .* holds .*, which would be deleted"):
        refuse_within_recordings(tmp_path, [recording])


def test_beside_a_bare_file_there_is_room(tmp_path: Path) -> None:
    recording = write_drive(tmp_path, "drive", 1)
    (recording / "metadata.yaml").unlink()
    (recording / "drive.db3").rename(tmp_path / "bare.db3")
    refuse_within_recordings(tmp_path / "index.json", [tmp_path / "bare.db3"])
    with pytest.raises(UsageError, match="is a part of the recording"):
        refuse_within_recordings(tmp_path / "metadata.yaml", [tmp_path / "bare.db3"])
