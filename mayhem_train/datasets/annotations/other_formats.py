"""Formats that people take for one that can be imported, known by what they hold, and what to export instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_EXPORT = "export the labels as COCO, YOLO or CVAT XML instead"

_OF_OBJECTS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"shapes", "imagePath"}), "labelme's JSON, a file an image: convert them with labelme's labelme2coco"),
    (frozenset({"_via_img_metadata"}), "a project of the VGG Image Annotator: export its annotations as COCO there"),
    (frozenset({"project", "config", "file", "metadata"}), "a project of VIA 3: export its annotations as COCO there"),
    (frozenset({"dm_format_version"}), f"Datumaro's: {_EXPORT}"),
    (frozenset({"items", "categories"}), f"Datumaro's: {_EXPORT}"),
    (frozenset({"objects", "size"}), f"Supervisely's: {_EXPORT}"),
    (frozenset({"classes", "tags"}), f"the meta.json of a Supervisely project, which holds no labels: {_EXPORT}"),
    (frozenset({"imgHeight", "imgWidth", "objects"}), f"Cityscapes': {_EXPORT}"),
    (frozenset({"item", "annotations"}), f"V7 Darwin's: {_EXPORT}"),
    (frozenset({"frames", "groups"}), f"Scalabel's: {_EXPORT}"),
    (frozenset({"samples"}), f"FiftyOne's: {_EXPORT}"),
    (frozenset({"type", "features"}), f"GeoJSON: {_EXPORT}"),
    (frozenset({"bboxes", "labels"}), f"none of COCO's: {_EXPORT}"),
    (frozenset({"data_row"}), f"Labelbox's: {_EXPORT}"),
)
_OF_LISTS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"data"}), "Label Studio's own JSON: export the project as COCO or YOLO there"),
    (frozenset({"annotator", "id"}), "Label Studio's JSON-MIN: export the project as COCO or YOLO there"),
    (frozenset({"image_id", "bbox"}), "a list of COCO's detection results: name a file of annotations"),
    (frozenset({"image_id", "segmentation"}), "a list of COCO's detection results: name a file of annotations"),
    (frozenset({"image_id", "keypoints"}), "a list of COCO's detection results: name a file of annotations"),
    (frozenset({"image", "annotations"}), f"CreateML's: {_EXPORT}"),
    (frozenset({"data_row"}), f"Labelbox's: {_EXPORT}"),
    (frozenset({"Labeled Data"}), f"Labelbox's: {_EXPORT}"),
    (frozenset({"name", "labels"}), f"Scalabel's (BDD100K): {_EXPORT}"),
    (frozenset({"filename", "regions"}), "VIA's: export the annotations as COCO there"),
    (frozenset({"shapes", "imagePath"}), "labelme's: convert it with labelme's labelme2coco"),
)
_OF_ROOTS = {
    "annotation": f"Pascal VOC's or LabelMe's XML, a file an image: {_EXPORT}",
    "dataset": f"dlib's XML: {_EXPORT}",
    "opencv_storage": f"OpenCV's XML: {_EXPORT}",
    "svg": f"a drawing: {_EXPORT}",
}


def named_json(content: object) -> str | None:
    """What parsed JSON is, in words that end with what to do; None where it may be COCO's annotations or is unknown."""
    if isinstance(content, list):
        fields = _fields(content[0]) if content else set()
        return next((what for keys, what in _OF_LISTS if keys <= fields), None)
    if not isinstance(content, dict):
        return None
    if {"images", "annotations"} <= set(content):
        return _kind_of_coco(content["annotations"])
    if {"images", "categories"} <= set(content):
        return "COCO's list of images without annotations: name the file that holds these"
    found = next((what for keys, what in _OF_OBJECTS if keys <= set(content)), None)
    if found is None and content and all({"filename", "regions"} <= _fields(entry) for entry in content.values()):
        return "the VGG Image Annotator's JSON: export the annotations as COCO there"
    return found


def named_xml(root: str) -> str | None:
    """What an XML document of this root is, in words that end with what to do; None for unknown ones."""
    return _OF_ROOTS.get(root)


def named_folder(folder: Path) -> str:
    """What lies in a folder instead of text files, to be put into a sentence; empty where it is nothing known."""
    for suffix, usual in ((".xml", "as Pascal VOC's or CVAT's are"), (".json", "as COCO's or labelme's are")):
        count = sum(path.suffix.lower() == suffix for path in folder.rglob("*"))
        if count:
            return f", but {count} of {suffix}, {usual}"
    return ""


def _kind_of_coco(annotations: Any) -> str | None:
    first = _fields(annotations[0]) if isinstance(annotations, list) and annotations else set()
    if "segments_info" in first:
        return (
            "COCO's panoptic format, whose masks lie in PNG files: export instances with boxes and polygons instead "
            '("COCO 1.0" in CVAT)'
        )
    if "caption" in first and "category_id" not in first:
        return "COCO's captions, which say no boxes: name the file of instances"
    return None


def _fields(entry: object) -> set[str]:
    return set(entry) if isinstance(entry, dict) else set()
