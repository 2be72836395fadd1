"""Checkpoints on the disk: whole or as they were before."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from mayhem_train.outputs import whole_file


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it.

    Lightning writes into the system's folder for temporary files. Where that is another disk, a full one or a power cut
    leaves half a file in the place of the last good checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Replaces what is at `path`.

        Raises:
            MayhemError: it cannot be written; what was there stays.
        """
        content = io.BytesIO()  # torch tells a full disk as an error of its own
        torch.save(checkpoint, content)
        with whole_file(Path(path), force=True) as partial:
            partial.write_bytes(content.getbuffer())
