"""Files that stand beside the packages: in the checkout, or where an installation put them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mayhem_ros.errors import MayhemError

_CHECKOUT = Path(__file__).parents[1]


def shipped_file(name: str) -> Path:
    """The file of this name, such as "config/train/lraspp-mtl.yaml".

    Raises:
        MayhemError: it is in none of the places.
    """
    prefixes = [Path(sys.prefix), *(Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p)]
    roots = [_CHECKOUT, *(prefix / "share" / "mayhem_ros" for prefix in prefixes)]
    for root in roots:
        if (root / name).is_file():
            return root / name
    raise MayhemError(f"{name} is in none of {', '.join(map(str, roots))}: install Mayhem whole.")
