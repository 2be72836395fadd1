"""How a benchmark hands over its figures: a line of JSON on the terminal, and a file that also names the machine."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from mayhem_train.evaluation.provenance import software_versions, this_machine


def report(figures: Any, out: Path | None) -> None:
    """Prints the figures; writes them to `out` with the machine, its load over the last minutes and the date."""
    print(json.dumps(figures))
    if out is not None:
        origin = {
            "machine": asdict(this_machine()),
            "software": software_versions(),
            "load_average": [round(load, 2) for load in os.getloadavg()],
            "date": date.today().isoformat(),
        }
        out.write_text(json.dumps({**origin, "figures": figures}, indent=2) + "\n")
