"""Where the ready training configurations are: in the checkout, or where an installation put them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mayhem_ros.errors import MayhemError

_CHECKOUT = Path(__file__).parents[2]


def ready_configuration(name: str) -> Path:
    """The file of a ready configuration, such as "lraspp-mtl".

    Raises:
        MayhemError: it is in none of the places.
    """
    prefixes = [Path(sys.prefix), *(Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p)]
    roots = [_CHECKOUT, *(prefix / "share" / "mayhem_ros" for prefix in prefixes)]
    for root in roots:
        path = root / "config" / "train" / f"{name}.yaml"
        if path.is_file():
            return path
    raise MayhemError(
        f"The configuration {name}.yaml is in none of {', '.join(str(root) for root in roots)}: install Mayhem whole."
    )
