"""Outputs appear whole or not at all, and never over something that exists unless asked.

What `force` replaces is of the kind that is written: plain text or a file that begins like the new one, and a folder
that lists itself what was written into it, and holds nothing else.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mayhem_ros.errors import MayhemError, UsageError

_HEAD = 4096  # bytes by which kinds of files are told apart
_TEXT = b"text"


def refuse_existing(path: Path, *, force: bool, begins: bytes = b"") -> None:
    """Raises UsageError when `path` exists (an empty folder does not count) and may not be replaced.

    Args:
        path: what is to be written.
        force: replace it where it is of the same kind.
        begins: the first bytes of the file to be written; without them `force` replaces any file and folder.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UsageError(f"{path} is neither a file nor a folder: choose another place.")
    if begins and path.is_dir():
        raise UsageError(f"{path} is a folder: name a file.")
    occupied = path.is_file() or path.is_symlink() or (path.is_dir() and any(path.iterdir()))
    if occupied and not force:
        raise UsageError(f"{path} exists already: choose another place or pass --force to replace it.")
    if begins and path.is_file():
        _refuse_other_kind(path, _head(path), begins)


def refuse_existing_folder(path: Path, *, of: str, force: bool) -> None:
    """Raises UsageError when `path` exists and is not a folder `of` the same, whole or in part, to be replaced."""
    refuse_existing(path, force=force)
    if path.is_file():
        raise UsageError(f"{path} is a file: name a folder.")
    if not path.is_dir() or not any(path.iterdir()):
        return
    written = _written_names(path, of)
    foreign = sorted(name for name in _names(path) if name not in written)
    if foreign:
        raise UsageError(
            f"{path} holds {foreign[0]}, which is nothing that --force may replace there: choose another place or "
            "move it away."
        )


def refuse_inputs_within(out: Path, inputs: Iterable[Path]) -> None:
    """Raises UsageError where replacing `out`, a file or a folder, would delete what is to be read."""
    for path in inputs:
        if path.resolve().is_relative_to(out.resolve()):
            raise UsageError(f"--out {out} holds {path}, which would be deleted: choose another place.")


def cannot_write(place: Path | str, error: OSError) -> MayhemError:
    """One sentence for what the system says when something is written there."""
    if isinstance(error, PermissionError):
        remedy = "check its permissions"
    elif isinstance(error, (NotADirectoryError, IsADirectoryError, FileExistsError)):
        remedy = "choose another place"
    else:
        remedy = "free the disk or choose another place"
    return MayhemError(f"Cannot write {place} ({error.strerror or error}): {remedy}.")


@contextmanager
def whole_file(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Gives a partial path beside `path`; renames it onto `path` when the block ends well, removes it otherwise.

    The partial file keeps the suffix of `path`, since many writers choose their format by it.

    Raises:
        UsageError: `path` exists and `force` is not set, or it is of another kind than what was written.
        MayhemError: it cannot be written.
    """
    refuse_existing(path, force=force)
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file.")
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        yield partial
        if path.is_file():
            _refuse_other_kind(path, _head(path), _head(partial))
        partial.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # of a partial file that could not even be begun
            partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, *, of: str = "", force: bool = False) -> Iterator[Path]:
    """Gives an empty partial folder beside `path`; renames it to `path` when the block ends well.

    Args:
        path: the folder.
        of: what is written, one word. The file `.mayhem-<of>` then lists the folder's files, and `force` replaces
            only what such a list names. Without it `force` replaces whatever is there.
        force: replace it.

    Raises:
        UsageError: `path` exists and may not be replaced.
        MayhemError: it cannot be written.
    """
    if of:
        refuse_existing_folder(path, of=of, force=force)
    else:
        refuse_existing(path, force=force)
    path = path.resolve()  # what a link leads to is replaced, and "." has a name and a place beside it
    partial = path.with_name(f".{path.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if of:
            _list_file(partial, of).write_text(json.dumps(sorted(_names(partial)), indent=0) + "\n")
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        partial.rename(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _refuse_other_kind(path: Path, old: bytes, new: bytes) -> None:
    """Raises UsageError unless a file at `path` with the one head may be replaced by one with the other."""
    # After a power cut files may hold nothing but zeros; a text may stand for what it was to become (Git LFS).
    if old.strip(b"\0") and _kind(old) not in (_TEXT, _kind(new)):
        raise UsageError(
            f"{path} is a file of another kind, which --force does not replace: choose another place or move it away."
        )


def _kind(head: bytes) -> bytes:
    """What files of one kind have in common: the first bracket of JSON and XML, the first byte of what is no text."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if b"\0" in head or any(byte < 9 for byte in head) or (head and not _is_utf8(head)):
        return head[:1]
    return text[:1] if text[:1] in (b"{", b"[", b"<") else _TEXT


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4 and len(head) == _HEAD  # cut off within a character
    return True


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_HEAD)
    except OSError as error:
        raise cannot_write(path, error) from error


def _names(folder: Path) -> Iterator[str]:
    """The files in a folder and below, relative to it; links count as files."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()


def _list_file(folder: Path, of: str) -> Path:
    return folder / f".mayhem-{of}"


def _written_names(folder: Path, of: str) -> frozenset[str]:
    """What the folder's list names, and the list itself; nothing where there is no list."""
    path = _list_file(folder, of)
    try:
        names = json.loads(path.read_text())
    except (OSError, ValueError):
        return frozenset()
    return frozenset([path.name, *map(str, names)]) if isinstance(names, list) else frozenset()
