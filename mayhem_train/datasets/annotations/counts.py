"""What did not go into the index as the label files say it, counted by kind."""

from __future__ import annotations

from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class ImportCounts:
    """What did not go into the index as it was drawn.

    Attributes:
        unlabelled: images listed without shapes, left out.
        deleted: images that were deleted where they were labelled, left out.
        renamed: images found without what tools had added to their names.
        clipped: boxes cut at the image's border.
        outside: boxes of which nothing lies in the image.
        flat: boxes in the image without any area.
        repeated: boxes that an image has already, with the same class.
        invisible: surface classes of an image of which no pixel remains visible.
        degenerate: polygons, or parts of them, without any area.
        keypoints: sets of keypoints, which only their boxes were taken of.
        confidences: confidences that were taken off predictions.
        unsure: predictions of less confidence than was asked for, left out.
    """

    unlabelled: int = 0
    deleted: int = 0
    renamed: int = 0
    clipped: int = 0
    outside: int = 0
    flat: int = 0
    repeated: int = 0
    invisible: int = 0
    degenerate: int = 0
    keypoints: int = 0
    confidences: int = 0
    unsure: int = 0

    def __add__(self, other: ImportCounts) -> ImportCounts:
        return ImportCounts(*(own + more for own, more in zip(astuple(self), astuple(other), strict=True)))

    def sentences(self) -> list[str]:
        """One for each kind that there is."""
        kinds = (
            (self.renamed, "image", "images", "found without what a tool or an address added to the frame's name"),
            (self.unlabelled, "image", "images", "without shapes left out as unlabelled"),
            (self.deleted, "frame", "frames", "deleted in CVAT left out"),
            (self.clipped, "box", "boxes", "clipped at the image's border"),
            (self.outside, "box", "boxes", "outside the image dropped"),
            (self.flat, "box", "boxes", "without any area dropped"),
            (self.repeated, "box", "boxes", "dropped as a repeat of another of the same class and image"),
            (self.invisible, "surface", "surfaces", "without a visible pixel dropped"),
            (self.degenerate, "polygon or part of one", "polygons or parts of them", "without any area dropped"),
            (self.keypoints, "set of keypoints", "sets of keypoints", "left out beside the box"),
            (self.confidences, "confidence", "confidences", "left out beside the label"),
            (self.unsure, "label", "labels", "of less than --min-confidence left out"),
        )
        return [f"{count} {one if count == 1 else many} {what}" for count, one, many, what in kinds if count]
