"""Whatever ends a training early, told in one sentence that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.console import error_console
from mayhem_train.training.joined_batch import is_first_process, processes

TERMINATED = 128 + 15
"""The exit code of what SIGTERM ended, by the shells' convention."""

_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "cannot allocate memory")
_WORKER = "DataLoader worker"
_LOST = ("connection closed", "connection reset", "connection refused", "broken pipe", "timed out", "nccl")


@contextmanager
def told_in_one_sentence(folder: Path, last: Path, batch_size: int, accumulated: int = 1) -> Iterator[None]:
    """Around the training.

    Args:
        folder: the run's.
        last: the checkpoint that the next start goes on from.
        batch_size: images a batch.
        accumulated: batches a step.

    Raises:
        MayhemError: for what a person can mend; KeyboardInterrupt after Ctrl-C; SystemExit with TERMINATED after
            SIGTERM. Everything else is raised as it is.
    """
    try:
        yield
    except MayhemError as error:
        if isinstance(error, UsageError) and not is_first_process():  # every process finds the same and one tells it
            raise SystemExit(0) from error
        kind = type(error)  # a DataLoader's worker puts its traceback before the sentence
        sentence = str(error).rstrip().rsplit("\n", 1)[-1]
        raise kind(sentence.removeprefix(f"{kind.__module__}.{kind.__qualname__}: ")) from error
    except MemoryError as error:
        raise _out_of_memory(batch_size, accumulated) from error
    except OSError as error:
        raise MayhemError(_of_the_system(error, folder)) from error
    except ValueError as error:
        if "val_check_interval" not in str(error):
            raise
        sentence = " ".join(str(error).split(". ")[0].split())
        raise UsageError(f"{sentence}: set a smaller --trainer.val_check_interval.") from error
    except RuntimeError as error:
        raise _explained(error, batch_size, accumulated) from error
    except SIGTERMException as stopped:
        _tell(f"Stopped by SIGTERM: the same command goes on from {last}.")
        raise SystemExit(TERMINATED if is_first_process() else 0) from stopped
    except SystemExit as stopped:  # what Lightning makes of Ctrl-C
        if not is_first_process():
            raise
        hint = "the same command goes on from the last epoch" if last.is_file() else "no epoch was complete"
        _tell(f"Stopped: {hint}.")
        raise KeyboardInterrupt from stopped


def _of_the_system(error: OSError, folder: Path) -> str:
    reason = error.strerror or error
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{reason}: raise `ulimit -n` or lower --data.workers."
    if error.filename is not None and not Path(error.filename).absolute().is_relative_to(folder.absolute()):
        return f"{error.filename} ended the training ({reason}): mend it; the same command goes on."
    return f"Cannot write {folder} ({reason}): free the disk or choose another --out."


def _explained(error: RuntimeError, batch_size: int, accumulated: int) -> Exception:
    """A sentence for what torch and its libraries report as a RuntimeError; the error itself for anything else."""
    reason = str(error).lower()
    if isinstance(error, torch.OutOfMemoryError) or any(sign in reason for sign in _MEMORY):
        return _out_of_memory(batch_size, accumulated)
    if str(error).startswith(_WORKER):
        return MayhemError(
            "A process that reads the data was killed, mostly for want of memory: lower --data.workers or "
            "--data.batch_size, or give the container more shared memory (docker's --shm-size)."
        )
    if processes() > 1 and any(sign in reason for sign in _LOST):
        return MayhemError("Another of the training processes has ended: its own message says why.")
    return error


def _out_of_memory(batch_size: int, accumulated: int) -> MayhemError:
    if batch_size == 1:
        return MayhemError("Out of memory at one image a batch: set a smaller --data.size or choose a smaller network.")
    half = batch_size // 2
    as_many = -(-batch_size * accumulated // half)
    return MayhemError(
        f"Out of memory at {batch_size} images a batch: set --data.batch_size {half} (with "
        f"--trainer.accumulate_grad_batches {as_many} for as many images a step), or a smaller --data.size."
    )


def _tell(sentence: str) -> None:
    if is_first_process():
        error_console.print(sentence, highlight=False, soft_wrap=True)
