"""A dataset index as CVAT's own files: what came from CVAT as it was drawn there, all else generated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from pycocotools import mask as rle_codec

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.annotations.contours import mask_shape
from mayhem_train.datasets.annotations.cvat.documents import as_text, parse
from mayhem_train.datasets.annotations.cvat.tracks import remove_frames, track_frames
from mayhem_train.datasets.annotations.cvat.writing import DECLARATION, write_cvat
from mayhem_train.datasets.annotations.shapes import AnnotatedImage, BoxShape, Shape
from mayhem_train.datasets.index import DatasetIndex, LabelledImage, SourceDocument
from mayhem_train.datasets.quoting import quoted
from mayhem_train.outputs import whole_folder

GENERATED = "labels.xml"
LABELS = "labels"
"""What the folder says it is of (see `whole_folder`)."""

_SUFFIX = re.compile(r"\.(?:xml|zip)$", re.IGNORECASE)


def export_cvat(index: DatasetIndex, out: Path, *, force: bool = False) -> tuple[Path, ...]:
    """Writes the folder `out`, whole or not at all.

    - For each CVAT file that images of the index came from, one of its name ("CVAT for images 1.1" or "for video 1.1"),
      equal to it element by element. An image that is no longer in the index is not in it either; tracks show nothing
      on the frames that are gone. Images that were left out as unlabelled are there again.
    - For all other images one "CVAT for images 1.1", `labels.xml`: boxes, and a `<mask>` for each surface.

    A name that is taken gets a number (annotations-2.xml). A file of which no image is left is not written.

    Returns:
        The files written, in the order of the index's documents, generated labels last.

    Raises:
        UsageError: `out` exists and `force` is not set, or it holds what no such export wrote.
        MayhemError: it cannot be written, there is nothing to write, or what the index keeps of a document is damaged.
    """
    images_of: dict[int, dict[int, LabelledImage]] = {}
    for image in index.images:
        if image.origin is not None:
            images_of.setdefault(image.origin.document, {})[image.origin.place] = image
    generated = [image for image in index.images if image.origin is None]
    names: list[str] = []
    with whole_folder(out, of=LABELS, force=force) as partial:
        for number, document in enumerate(index.documents):
            root = _document(document, images_of.get(number, {}))
            if root is not None:
                names.append(_free_name(document.name, names))
                text = f"{DECLARATION}{as_text(root, document.name)}\n"
                (partial / names[-1]).write_text(text, encoding="utf-8", newline="\n")
        if generated:
            names.append(_free_name(GENERATED, names))
            labels = [category.name for category in index.categories]
            write_cvat(partial / names[-1], labels, _annotated(index, generated))
        if not names:
            raise MayhemError(f"Nothing to write to {out}: the dataset index has no images.")
    return tuple(out / name for name in names)


def _document(document: SourceDocument, images: Mapping[int, LabelledImage]) -> Element | None:
    """The document with these of its images, by place; None where it had others but none is left."""
    place = f"What the dataset index keeps of {document.name}"
    root = parse(document.xml, place)
    if root.find("track") is not None:
        frames = track_frames(root, Path(document.name))
        gone = [frame for number, frame in enumerate(frames) if frame.shapes and number not in images]
        if gone and not images:
            return None
        if gone:
            remove_frames(root, gone, Path(document.name))
        return root
    count = len(root.findall("image"))
    elements = dict(document.left_out)
    if not images and len(elements) < count:
        return None
    elements |= {number: image.origin.xml for number, image in images.items() if image.origin is not None}
    if not set(elements) <= set(range(count)):
        raise MayhemError(f"{place} has no place for some of its images: import the annotations again.")
    root[:] = list(_filled(root, elements, place))
    return root


def _filled(root: Element, elements: Mapping[int, str], place: str) -> Iterator[Element]:
    """The children of `root` with images in place of the empty ones, without those that are not there."""
    number = 0
    for child in root:
        if child.tag != "image":
            yield child
            continue
        if number in elements:
            image = parse(elements[number], f"{place}, image {number},")
            image.tail = child.tail
            yield image
        number += 1


def _annotated(index: DatasetIndex, images: Sequence[LabelledImage]) -> list[AnnotatedImage]:
    names = {category.id: category.name for category in index.categories}
    annotated = []
    for image in images:
        shapes: list[Shape] = [
            mask_shape(rle_codec.decode(surface.rle).astype(bool), names[surface.category_id])
            for surface in image.surfaces
            if rle_codec.area(surface.rle)
        ]
        for label in image.boxes:
            shapes.append(BoxShape(names[label.category_id], label.box, is_crowd=label.is_crowd))
        annotated.append(AnnotatedImage(image.name, image.width, image.height, tuple(shapes)))
    return annotated


def _free_name(name: str, taken: Sequence[str]) -> str:
    """The document's name (out of a file, so it is checked) as an XML file's, with a number where it is taken."""
    stem = _SUFFIX.sub("", name)
    if not stem or stem.startswith(".") or any(character in stem for character in "/\\\0"):
        raise MayhemError(
            f"The dataset index has a document called {quoted(name)}, which is no file name: correct it there."
        )
    folded = {other.casefold() for other in taken}
    numbered = [f"{stem}.xml", *(f"{stem}-{number}.xml" for number in range(2, len(taken) + 2))]
    return next(candidate for candidate in numbered if candidate.casefold() not in folded)
