"""A CVAT annotation file as an element tree and back: XML or CVAT's zip archive, of which nothing is trusted."""

from __future__ import annotations

import codecs
import zipfile
import zlib
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.annotations.other_formats import named_xml
from mayhem_train.datasets.quoting import quoted

_MEMBER = "annotations.xml"
_LARGEST_MEMBER = 2**30  # bytes; an archive of a few kilobytes may claim more than any memory holds


def read_document(path: Path) -> Element:
    """The root of a CVAT file, or of the one inside the archive that CVAT exports; nothing is unpacked to the disk.

    Raises:
        MayhemError: the file is missing, empty, truncated, too large, or not CVAT's XML of version 1.1.
    """
    try:
        with path.open("rb") as stream:
            is_archive = stream.read(2) == b"PK"
        content = _from_archive(path) if is_archive else path.read_bytes()
    except PermissionError as error:
        raise MayhemError(f"Cannot read {path} ({error.strerror}): check its permissions.") from error
    except OSError as error:
        raise MayhemError(f"Cannot read {path} ({error.strerror or error}): name a CVAT annotation file.") from error
    if not content:
        raise MayhemError(f"{path} is empty: export it from CVAT again.")
    if content.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"["):
        raise MayhemError(f"{path} is JSON: import COCO's with `mayhem import-coco`, or export CVAT's XML.")
    root = parse(content, str(path))
    other = named_xml(root.tag)
    if other is not None:
        raise MayhemError(f"{path} is XML but not CVAT's: it is {other}.")
    version = (root.findtext("version") or "1.1").strip()
    if root.tag != "annotations" or version != "1.1":
        raise MayhemError(
            f"{path} is XML but not CVAT's (root {quoted(root.tag)}, version {quoted(version)}): "
            'export it as "CVAT for images 1.1" or "CVAT for video 1.1".'
        )
    return root


def parse(content: bytes | str, place: str) -> Element:
    """The root of an XML document; document type declarations, so every entity, are refused.

    Raises:
        MayhemError: it is no XML; the sentence names `place`.
    """
    try:
        root: Element = fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise MayhemError(f"{place} declares a document type or entities, which CVAT never does: refused.") from error
    except (ParseError, ValueError, LookupError) as error:
        raise MayhemError(f"{place} is not XML or is cut short ({error}): export it from CVAT again.") from error
    return root


def as_text(element: Element, place: str) -> str:
    """The element as XML that `parse` reads back equal, with all its whitespace.

    Raises:
        MayhemError: it is nested too deeply; the sentence names `place`.
    """
    try:
        text = ElementTree.tostring(element, encoding="unicode", short_empty_elements=False)
    except RecursionError as error:
        raise MayhemError(f"{place} nests elements deeper than CVAT ever does: refused.") from error
    return text.replace("\r", "&#13;")  # a bare one would be read back as a line feed


def _from_archive(path: Path) -> bytes:
    """The annotations in a zip archive; beside them it may hold gigabytes of images, which are not touched."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.lower().endswith(".xml")]
            chosen = [member for member in members if member.filename == _MEMBER] or members
            if len(chosen) != 1:
                raise MayhemError(
                    f"{path} holds {len(chosen) or 'no'} XML files and no {_MEMBER}: unpack it and name the right file."
                )
            with archive.open(chosen[0]) as stream:
                content = stream.read(_LARGEST_MEMBER + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise MayhemError(f"{path} is a damaged zip archive ({error}): export it from CVAT again.") from error
    except (RuntimeError, NotImplementedError) as error:
        raise MayhemError(f"{path} cannot be unpacked ({error}): unpack it and name the {_MEMBER} in it.") from error
    if len(content) > _LARGEST_MEMBER:
        raise MayhemError(
            f"The annotations in {path} are larger than {_LARGEST_MEMBER // 2**20} MiB: unpack it and name the file."
        )
    return content
