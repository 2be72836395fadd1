"""What libjpeg complains of while an image is decoded; OpenCV passes over it and gives a picture all the same."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def jpeg_flaws(found: list[str]) -> Iterator[None]:
    """Appends to `found` what libjpeg writes to standard error within the block; all else that is written passes.

    For the main thread of a command: meanwhile the process's standard error is another file.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as stream:
        stderr = os.dup(2)
        os.dup2(stream.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            stream.seek(0)
            for line in stream.read().splitlines(keepends=True):
                if b"JPEG" in line:
                    found.append(line.decode(errors="replace").strip())
                else:  # a progress bar's, which another thread draws
                    os.write(stderr, line)
            os.close(stderr)
