"""An index that people, programs or a disk changed is refused in one sentence that names what is wrong, and where."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle_codec

from mayhem_ros.errors import MayhemError
from mayhem_train.cli import main
from mayhem_train.datasets import run_lengths
from mayhem_train.datasets.index import BoxLabel, Category, DatasetIndex, LabelledImage, SurfaceLabel
from mayhem_train.datasets.run_lengths import first_damaged

HEIGHT, WIDTH = 48, 64


def encoded(mask: np.ndarray) -> dict[str, Any]:
    rle = rle_codec.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def noise(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width)) > 0.5


@pytest.fixture
def index() -> DatasetIndex:
    """Two images, of which each has a box (annotations 1 and 3) and a mask (2 and 4)."""
    categories = Category(1, "car", True), Category(2, "floor", False)
    images = tuple(
        LabelledImage(
            id=number,
            width=WIDTH,
            height=HEIGHT,
            recording="drive",
            topic="/camera",
            index=number + 6,
            log_time_ns=number,
            stamp_ns=number,
            split="train",
            boxes=(BoxLabel(1, (1.5, 2, 30, 40)),),
            surfaces=(SurfaceLabel(2, encoded(noise(number))),),
        )
        for number in (1, 2)
    )
    return DatasetIndex(categories, images)


def refusal(tmp_path: Path, content: Any) -> str:
    """What an index of this content is refused with, between the file's name and the remedy."""
    path = tmp_path / "index.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(MayhemError) as caught:
        DatasetIndex.load(path)
    head, remedy = f"{path} is no dataset index (", "): make one with `mayhem import-cvat`."
    sentence = str(caught.value)
    assert sentence.startswith(head)
    assert sentence.endswith(remedy)
    assert "\n" not in sentence
    return sentence[len(head) : -len(remedy)]


def test_an_index_comes_back_as_it_was_saved(tmp_path: Path, index: DatasetIndex) -> None:
    index.save(tmp_path / "index.json")
    assert DatasetIndex.load(tmp_path / "index.json") == index


@pytest.mark.parametrize("split", ["train", "val", "test", "unused"])
def test_the_splits_are_train_val_test_and_unused(tmp_path: Path, index: DatasetIndex, split: str) -> None:
    replace(index, images=tuple(replace(i, split=split) for i in index.images)).save(tmp_path / "index.json")
    assert len(DatasetIndex.load(tmp_path / "index.json").split(split).images) == 2


def change(part: str, place: int, field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(coco: dict[str, Any]) -> None:
        coco[part][place][field] = value

    return apply


NOT_ITS_PIXELS = "are damaged: they do not add up to its 3072 pixels"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (change("images", 1, "split", "Train"), "image drive-000008.png is in the split 'Train', not in train, val, "),
        (change("images", 1, "split", None), "image drive-000008.png is in the split None, not in train, val, test, "),
        (change("images", 1, "split", ["val"]), "image drive-000008.png is in the split ['val'], not in train, val, "),
        (change("images", 1, "index", -1), "its image 2 has the index -1, where frames count from 0"),
        (change("images", 1, "index", 1.5), "its image 2 has the index 1.5, where frames count from 0"),
        (change("images", 1, "index", True), "its image 2 has the index True, where frames count from 0"),
        (change("images", 1, "recording", "../x"), "its image 2 is of the recording '../x', which none can be"),
        (change("images", 1, "recording", 7), "its image 2 is of no recording and topic"),
        (change("images", 1, "topic", None), "its image 2 is of no recording and topic"),
        (change("images", 1, "width", 0), "image drive-000008.png has 0x48 pixels"),
        (change("images", 1, "height", "48"), "image drive-000008.png has 64x'48' pixels"),
        (change("images", 1, "width", 10**9), "image drive-000008.png has 1000000000x48 pixels, which no camera has"),
        (change("images", 1, "log_time_ns", None), "image drive-000008.png has a log time or a stamp that is no whole"),
        (change("images", 1, "stamp_ns", 0.5), "image drive-000008.png has a log time or a stamp that is no whole"),
        (change("images", 1, "id", 1), "two images share one id"),
        (change("categories", 1, "id", 1), "two categories share one id"),
        (change("categories", 0, "id", 0), "its category 0 called 'car' cannot be one"),
        (change("categories", 0, "name", None), "its category 1 called None cannot be one"),
        (change("annotations", 2, "category_id", 99), "annotation 3 is of the category 99, which it does not list"),
        (change("annotations", 3, "category_id", "2"), "annotation 4 is of the category '2', which it does not list"),
        (change("annotations", 2, "image_id", 5), "annotation 3 is of the image 5, which it does not list"),
        (
            change("annotations", 2, "bbox", [1, float("nan"), 2, 2]),
            "the box of annotation 3 of image drive-000008.png goes from (1, nan) to (3, nan)",
        ),
        (
            change("annotations", 2, "bbox", [1, 2, float("inf"), 2]),
            "the box of annotation 3 of image drive-000008.png goes from (1, 2) to (inf, 4)",
        ),
        (
            change("annotations", 2, "corners", [1, 2, float("nan"), 4]),
            "the box of annotation 3 of image drive-000008.png goes from (1, 2) to (nan, 4)",
        ),
        (
            change("annotations", 2, "bbox", [5, 2, -1, 2]),
            "the box of annotation 3 of image drive-000008.png goes from (5, 2) to (4, 4)",
        ),
        (change("annotations", 2, "bbox", [10**400, 2, 1, 2]), "int too large to convert to float"),
        (
            change("annotations", 3, "segmentation", {"size": [48, 64], "counts": "zzzz"}),
            f"the run lengths of the mask of annotation 4 of image drive-000008.png {NOT_ITS_PIXELS}",
        ),
        (
            change("annotations", 3, "segmentation", {"size": [48, 64], "counts": ""}),
            f"the run lengths of the mask of annotation 4 of image drive-000008.png {NOT_ITS_PIXELS}",
        ),
        (
            change("annotations", 3, "segmentation", {"size": [48, 64], "counts": "ñ"}),
            f"the run lengths of the mask of annotation 4 of image drive-000008.png {NOT_ITS_PIXELS}",
        ),
        (
            change("annotations", 3, "segmentation", {"size": [48, 65], "counts": "`o0"}),
            "the mask of annotation 4 of image drive-000008.png is not of its image's size",
        ),
        (
            change("annotations", 3, "segmentation", [[1, 2, 3, 4, 5, 6]]),
            "the segmentation of annotation 4 of image drive-000008.png is no compressed run-length mask",
        ),
        (lambda coco: coco.pop("annotations"), "'annotations' is missing"),
        (lambda coco: coco["annotations"][3].pop("segmentation"), "'segmentation' is missing"),
    ],
)
def test_what_cannot_be_is_named(
    tmp_path: Path, index: DatasetIndex, wrong: Callable[[dict[str, Any]], None], reason: str
) -> None:
    coco = index.to_coco()
    wrong(coco)
    assert refusal(tmp_path, coco).startswith(reason)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '"text"', "[" * 100_000, '{"categories": 1}'])
def test_what_is_no_index_at_all_is_refused(tmp_path: Path, content: str) -> None:
    assert refusal(tmp_path, content)


def test_an_index_that_may_not_be_read_asks_for_its_permissions(tmp_path: Path, index: DatasetIndex) -> None:
    path = tmp_path / "index.json"
    index.save(path)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # who may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(MayhemError, match=rf"{path} \(Permission denied\): check its permissions\.$"):
            DatasetIndex.load(path)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    "command",
    [
        ["describe"],
        ["export-labels", "--format", "coco", "--surfaces", "polygon", "--out", "out"],
        ["export-labels", "--format", "cvat", "--out", "out"],
    ],
)
def test_a_damaged_mask_ends_every_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    index: DatasetIndex,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    coco = index.to_coco()
    coco["annotations"][1]["segmentation"]["counts"] = "zzzz"
    (tmp_path / "index.json").write_text(json.dumps(coco))
    monkeypatch.chdir(tmp_path)
    assert main([command[0], "index.json", *command[1:]]) == 1
    assert f"the mask of annotation 2 of image drive-000007.png {NOT_ITS_PIXELS}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def runs(counts: str) -> list[int]:
    """COCO's compressed counts by the letter of its own C code, number by number."""
    found: list[int] = []
    at = 0
    while at < len(counts):
        value = bits = 0
        while True:
            code = ord(counts[at]) - 48
            at, value, bits = at + 1, value | (code & 31) << bits, bits + 5
            if not code & 32:
                break
        value -= (1 << bits) if code & 16 else 0
        found.append(value + (found[-2] if len(found) > 2 else 0))
    return found


def test_masks_of_every_kind_and_size_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = [np.zeros((5, 7)), np.ones((5, 7)), np.ones((1, 1)), np.eye(40), noise(0), noise(1, 480, 640)]
    masks += [np.ones((4000, 5000)), np.pad(np.ones((1, 1)), 1500), np.tile(noise(2), (10, 10))]
    rles = [(encoded(mask)["counts"], mask.size) for mask in masks]
    for (counts, size), mask in zip(rles, masks, strict=True):
        assert sum(runs(counts)) == size
        assert sum(runs(counts)[1::2]) == mask.sum()
    for batch in (1, 100, 2**18):
        monkeypatch.setattr(run_lengths, "_BATCH", batch)
        assert first_damaged(rles) is None
        for place in range(len(rles)):
            assert first_damaged([*rles[:place], (rles[place][0], rles[place][1] + 1), *rles[place + 1 :]]) == place
    assert first_damaged([]) is None


@given(st.lists(st.text(alphabet=[chr(code) for code in range(47, 113)], max_size=12), min_size=1, max_size=5))
@settings(max_examples=300, deadline=None)
def test_any_text_is_told_as_the_letter_of_cocos_code_has_it(texts: list[str]) -> None:
    def is_whole(counts: str, pixels: int) -> bool:
        codes = [ord(character) - 48 for character in counts]
        if not codes or min(codes) < 0 or max(codes) > 63 or codes[-1] & 32:
            return False
        found = runs(counts)
        return sum(found) == pixels and min(found) >= 0

    for text in texts:
        whole = is_whole(text, 35)
        assert (first_damaged([(text, 35)]) is None) == whole
    masks = [(text, 35) for text in texts]
    assert (first_damaged(masks) is None) == all(is_whole(*mask) for mask in masks)


@given(st.integers(0, 2**32), st.data())
@settings(max_examples=60, deadline=None)
def test_one_changed_character_is_found_wherever_the_runs_no_longer_fill_the_mask(
    seed: int, data: st.DataObject
) -> None:
    mask = noise(seed, 12, 9)
    counts = encoded(mask)["counts"]
    at = data.draw(st.integers(0, len(counts) - 1))
    other = data.draw(st.integers(48, 111).map(chr).filter(lambda character: character != counts[at]))
    changed = counts[:at] + other + counts[at + 1 :]
    whole = not (ord(changed[-1]) - 48) & 32 and sum(runs(changed)) == mask.size and min(runs(changed)) >= 0
    good = [(counts, mask.size)] * 3
    assert first_damaged([*good, (changed, mask.size), *good]) == (None if whole else 3)


@pytest.mark.parametrize("version", ["2", 2, "1.1", 10])
def test_an_index_of_a_later_version_is_refused_as_one(tmp_path: Path, index: DatasetIndex, version: object) -> None:
    coco = index.to_coco()
    coco["info"]["version"] = version
    coco["images"] = "laid out in a new way"
    path = tmp_path / "index.json"
    path.write_text(json.dumps(coco))
    with pytest.raises(MayhemError) as caught:
        DatasetIndex.load(path)
    assert str(caught.value) == (
        f"{path} is a dataset index of version {version!r}, where this Mayhem knows 1: update this one, or make the "
        "index again here."
    )


def test_an_index_without_a_version_and_other_programs_versions_are_none_of_ours(
    tmp_path: Path, index: DatasetIndex
) -> None:
    coco = index.to_coco()
    path = tmp_path / "index.json"
    for info in ({}, {"description": "Mayhem dataset index"}, {"description": "COCO 2017", "version": "2017.1"}):
        path.write_text(json.dumps(coco | {"info": info}))
        assert DatasetIndex.load(path) == index
    path.write_text(json.dumps({"info": {"version": "9"}, "images": [{}], "annotations": [], "categories": []}))
    with pytest.raises(MayhemError, match="is no dataset index"):
        DatasetIndex.load(path)


FLAT = (BoxLabel(1, (5, 6, 5, 9)), BoxLabel(1, (5, 6, 9, 6)), BoxLabel(1, (30.0, 6, 30.000001, 9)))


def test_boxes_without_area_are_left_out_and_counted_when_an_index_is_read_and_when_it_is_written(
    tmp_path: Path, index: DatasetIndex, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = index.images
    flat = replace(index, images=(first, replace(second, boxes=(*FLAT, *second.boxes))))
    path = tmp_path / "index.json"
    path.write_text(json.dumps(flat.to_coco()))
    said = f"Warning: {path}: 3 boxes without any area left out, first in drive-000008.png."
    assert DatasetIndex.load(path) == index
    assert capsys.readouterr().err.splitlines() == [said]
    flat.save(path, force=True)
    assert capsys.readouterr().err.splitlines() == [said]
    assert DatasetIndex.load(path) == index
    assert capsys.readouterr().err == ""


def test_a_thin_box_has_area_wherever_it_lies() -> None:
    assert not any(label.has_area for label in FLAT)
    assert BoxLabel(1, (0, 0, 0.01, 0.01)).has_area
    assert BoxLabel(1, (4000, 3000, 4000.01, 3000.01)).has_area


def test_a_recordings_name_is_one_name_however_it_is_spelt(tmp_path: Path, index: DatasetIndex) -> None:
    coco = index.to_coco()
    for image in coco["images"]:
        image["recording"] = "gru\u0308n"
    (tmp_path / "index.json").write_text(json.dumps(coco))
    assert {image.recording for image in DatasetIndex.load(tmp_path / "index.json").images} == {"gr\u00fcn"}
