"""Tables of any length as CSV or Parquet, a block of rows in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any] | list[str | None]
Block = Mapping[str, Column]


def write_table(path: Path, form: str, blocks: Iterable[Block]) -> int:
    """Writes blocks of equally named columns, at least one, and returns the number of rows.

    In a CSV file an empty field is a missing value (of text too), and numbers are written so that they read back
    exactly. NaN counts as missing, as do the masked values of a masked array.

    Raises:
        OSError: the file cannot be written.
    """
    import pyarrow as pa  # here, since what is finished already needs none of it
    from pyarrow import csv, parquet

    rows = 0
    writer: Any = None
    with path.open("wb") as stream:
        for block in blocks:
            table = pa.table({name: _array(column) for name, column in block.items()})
            if writer is None:
                make = csv.CSVWriter if form == "csv" else parquet.ParquetWriter
                writer = make(stream, table.schema)
            writer.write_table(table)
            rows += table.num_rows
        writer.close()
    return rows


def _array(column: Column) -> Any:
    import pyarrow as pa

    if isinstance(column, list):
        return pa.array(column, pa.string())
    mask = np.ma.getmaskarray(column)
    values = np.ma.getdata(column)
    if values.dtype.kind == "f":
        mask = mask | np.isnan(values)
    return pa.array(values, mask=mask)
