"""What cannot be in label files, gathered so that one reading names all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.outputs import whole_file

_NAMED = 10
_HEAD = "Faults in labels"


class LabelError(MayhemError):
    """Something in a label file that cannot be; `kind` says what it is of all its like, for counting."""

    def __init__(self, sentence: str, kind: str) -> None:
        super().__init__(sentence)
        self.kind = kind


class NothingLabelledError(MayhemError):
    """No label is there to import, maybe since all of them are faulty."""


@dataclass(frozen=True)
class Fault:
    """One thing that cannot be: the sentence that names it with its place, and what it is of all its like."""

    sentence: str
    kind: str


@contextmanager
def in_file(place: Path | str, remedy: str = "") -> Iterator[None]:
    """Begins the sentence of a fault in the block with the place it is at, and ends it with one more remedy."""
    try:
        yield
    except LabelError as fault:
        sentence = f"{str(fault).removesuffix('.')}, or {remedy}." if remedy else str(fault)
        raise LabelError(f"{place}: {sentence}", fault.kind) from fault


class Faults:
    """The faults of one import.

    Args:
        gather: what is faulty is noted and passed over; otherwise the first fault is raised.

    Attributes:
        found: what was noted, in the order of the files.
    """

    def __init__(self, *, gather: bool = False) -> None:
        self.found: list[Fault] = []
        self._gather = gather

    @contextmanager
    def noting(self, kind: str = "file or recording that cannot be read") -> Iterator[None]:
        """Notes what cannot be in the block, which ends there; wrong usage is no fault of a file.

        `kind` is what it is where the error does not say that.
        """
        try:
            yield
        except UsageError:
            raise
        except MayhemError as error:
            if not self._gather:
                raise
            self.add(error, kind)

    def add(self, error: MayhemError, kind: str = "file or recording that cannot be read") -> None:
        """Notes an error as one fault more; `kind` is what it is where the error does not say that."""
        self.found.append(Fault(str(error), error.kind if isinstance(error, LabelError) else kind))

    def by_kind(self) -> list[str]:
        """How many there are of each kind, in the order in which they were found."""
        return [f"{count} x {kind}" for kind, count in Counter(fault.kind for fault in self.found).items()]

    def refusal(self, listed_in: Path, *, without: bool = False) -> MayhemError:
        """The error that names the first of them and where all are listed; `without` them nothing was left."""
        count = len(self.found)
        first = [f"  {fault.sentence}" for fault in self.found[:_NAMED]]
        more = [f"  … and {count - _NAMED} more"] if count > _NAMED else []
        what = "1 fault" if count == 1 else f"{count} faults"
        remedy = "nothing is left without them" if without else "or pass --skip-faulty to import the rest"
        last = f"Correct what is wrong (all of it is listed in {listed_in}), {remedy}."
        return MayhemError("\n".join([f"{what} in the labels:", *first, *more, last]))

    def write(self, path: Path) -> None:
        """Writes all of them, or takes the list of an earlier import away where there is none.

        Raises:
            MayhemError: it cannot be written.
            UsageError: what is there is no such list.
        """
        earlier = path.is_file() and path.read_bytes().startswith(_HEAD.encode())
        if self.found:
            lines = [f"{_HEAD}: {len(self.found)}", *self.by_kind(), "", *(fault.sentence for fault in self.found)]
            with whole_file(path, force=earlier) as partial:
                partial.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="backslashreplace")
        elif earlier:
            path.unlink()
