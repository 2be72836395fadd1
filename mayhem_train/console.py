"""What a person sees in the terminal: one console and one style of progress bar for every command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar("Item")

console = Console()
error_console = Console(stderr=True)

_said: set[str] = set()


def warn(*sentences: str) -> None:
    """Says warnings on stderr, the same one once a command. Worker processes hand theirs to the main process."""
    for sentence in sentences:
        if sentence not in _said:
            _said.add(sentence)
            error_console.print(f"Warning: {sentence}", markup=False, highlight=False, soft_wrap=True)


def forget_warnings() -> None:
    """A new command begins."""
    _said.clear()


def progress_bar() -> Progress:
    """A progress display on stderr that vanishes when done, so that stdout holds results only."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=error_console,
        transient=True,
        disable=not error_console.is_terminal,
    )


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Iterates over `items` behind a progress bar."""
    with progress_bar() as progress:
        yield from progress.track(items, total=total, description=description)
