"""Several training processes that learn as one process would from their joined batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import torch
import torch.distributed as distributed
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from mayhem_ros.errors import MayhemError


class JoinedBatchStrategy(DDPStrategy):
    """Lightning's processes, devices and launchers, without torch's DistributedDataParallel.

    Its reducer waits for gradients that reach parameters by `backward`; those of the shared body are had task by task
    and never do. So every process starts from the first one's weights, and `average_gradients` is called after each
    backward pass.
    """

    def configure_ddp(self) -> None:
        """Every process gets the first one's weights."""
        assert isinstance(self.model, nn.Module)
        tensors = [tensor.detach() for tensor in (*self.model.parameters(), *self.model.buffers())]
        if tensors:
            distributed.barrier()
            for tensor in tensors:
                distributed.broadcast(tensor, 0)


def processes() -> int:
    """How many training processes there are."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Every parameter's `grad` becomes its mean over all processes; one that no process has stays None.

    What is the same in every process already, such as a balanced gradient, is left as it is by this.
    """
    if processes() == 1:
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    present = torch.tensor([parameter.grad is not None for parameter in trained]).to(trained[0])
    parts = [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in trained]
    flat = torch.cat([present, *parts])
    distributed.all_reduce(flat)
    flat /= processes()
    pieces = flat[len(trained) :].split([parameter.numel() for parameter in trained])
    for parameter, piece, share in zip(trained, pieces, flat[: len(trained)].tolist(), strict=True):
        if parameter.grad is not None:
            parameter.grad.copy_(piece.view(parameter.shape))
        elif share:
            parameter.grad = piece.view(parameter.shape).clone()


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set in any process; every process must ask."""
    return all_flags([flag], device)[0]


def all_flags(flags: Sequence[bool], device: torch.device) -> list[bool]:
    """Which of the flags are set in any process; every process must ask for as many."""
    if processes() == 1:
        return list(flags)
    joined = torch.tensor([int(flag) for flag in flags], device=device)
    distributed.all_reduce(joined, distributed.ReduceOp.MAX)
    return [bool(flag) for flag in joined.tolist()]


def is_first_process() -> bool:
    """Whether this process is the one that writes files and talks."""
    return rank_zero_only.rank == 0  # type: ignore[attr-defined]


def refuse_together(sentence: str) -> NoReturn:
    """Ends all processes for a reason that all of them know; the first one tells it.

    Raises:
        MayhemError: in the first process; SystemExit in the others.
    """
    if is_first_process():
        raise MayhemError(sentence)
    raise SystemExit(0)


def first_told(message: str | None) -> str | None:
    """The message of the first process that has one; every process must ask."""
    if processes() == 1:
        return message
    told: list[Any] = [None] * processes()
    distributed.all_gather_object(told, message)
    return next((text for text in told if text is not None), None)
