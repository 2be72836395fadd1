"""Compiled functions also work in a package whose user can store nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mayhem_train.recordings import rvl

DECODE = """
import importlib.util, struct, sys
spec = importlib.util.spec_from_file_location("copy", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
# One zero, then two differences: zigzag code 10 stands for 5, 3 for -2.
code = struct.pack("<III", 3, 1, 0x12A13000)
print(module.decode_rvl(code).tolist())
"""


def test_rvl_is_decoded_where_compiled_code_has_no_place_at_all(tmp_path: Path) -> None:
    copy = tmp_path / "rvl.py"
    copy.write_bytes(Path(rvl.__file__).read_bytes())
    (tmp_path / "__pycache__").touch()  # a file where the folder would be, for root can write everywhere
    below_a_file = str(tmp_path / "__pycache__" / "below")
    environment = {**os.environ, "HOME": below_a_file, "XDG_CACHE_HOME": below_a_file}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-c", DECODE, str(copy)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[[0, 5, 3]]\n", "")
