"""Outputs appear whole or not at all, and never over something that exists unless asked."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mayhem_ros.errors import MayhemError, UsageError


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raises UsageError when `path` exists (an empty folder does not count) and `force` is not set."""
    occupied = path.is_file() or path.is_symlink() or (path.is_dir() and any(path.iterdir()))
    if occupied and not force:
        raise UsageError(f"{path} exists already: choose another place or pass --force to replace it.")


def refuse_inputs_within(out: Path, inputs: Iterable[Path]) -> None:
    """Raises UsageError where replacing `out`, a file or a folder, would delete what is to be read."""
    for path in inputs:
        if path.resolve().is_relative_to(out.resolve()):
            raise UsageError(f"--out {out} holds {path}, which would be deleted: choose another place.")


@contextmanager
def whole_file(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Gives a partial path beside `path`; renames it onto `path` when the block ends well, removes it otherwise.

    The partial file keeps the suffix of `path`, since many writers choose their format by it.
    """
    refuse_existing(path, force=force)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise MayhemError(
            f"Cannot write {path} ({error.strerror or error}): free the disk or choose another place."
        ) from error
    finally:
        with suppress(OSError):  # of a partial file that could not even be begun
            partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Gives an empty partial folder beside `path`; renames it to `path` when the block ends well."""
    refuse_existing(path, force=force)
    path = path.resolve()  # what a link leads to is replaced, and "." has a name and a place beside it
    partial = path.with_name(f".{path.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        partial.rename(path)
    except OSError as error:
        raise MayhemError(
            f"Cannot write {path} ({error.strerror or error}): free the disk or choose another place."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
