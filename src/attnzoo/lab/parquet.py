"""Image-classification Parquet files in the hub's layout.

A folder holds `train-*.parquet` and `test-*.parquet` (or `validation-*.parquet`). A row has `label`, the class
number, and `img` or `image`, a struct whose `bytes` are an encoded image. Images are decoded to RGB.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from attnzoo.errors import AttnzooError
from attnzoo.lab.images import decode

_IMAGE_COLUMNS: Final = ("img", "image")


def find(folder: Path, prefixes: Sequence[str]) -> list[Path]:
    """The files of one split, sorted: those of the first prefix that has any.

    Raises:
        AttnzooError: no prefix has a file.
    """
    for prefix in prefixes:
        if files := sorted(folder.glob(f"{prefix}-*.parquet")):
            return files
    wanted = " or ".join(f"{prefix}-*.parquet" for prefix in prefixes)
    raise AttnzooError(f"data: expected {wanted} in {folder}, found none; name the folder that holds the files.")


def labels(files: Sequence[Path]) -> Tensor:
    """The class numbers of all rows, int64 (N,).

    Raises:
        AttnzooError: a file has no rows or no column `label`, or a label is no whole number from 0 up.
    """
    import pyarrow as pa

    parts = []
    for file in files:
        with _opened(file) as table:
            _column(table, file, ("label",))
            column = table.read(columns=["label"]).column("label")
        if not pa.types.is_integer(column.type):
            raise AttnzooError(f"{file}: expected whole numbers in 'label', got {column.type}; number the classes.")
        values = column.to_pylist()
        for row, value in enumerate(values):
            if value is None or value < 0:
                raise AttnzooError(
                    f"{file}, row {row}: expected a label of 0 or more, got {value}; use a labelled split."
                )
        parts.append(torch.tensor(values, dtype=torch.int64))
    joined = torch.cat(parts)
    if not len(joined):
        raise AttnzooError(f"{files[0]}: expected labelled images, got no rows.")
    return joined


def images(files: Sequence[Path], rows: Tensor) -> Tensor:
    """The images of the sorted `rows`, counted over all files, as uint8 (N, 3, H, W).

    Raises:
        AttnzooError: an image cannot be read, is refused by `decode`, or differs in size from the first.
    """
    result: Tensor | None = None
    for index, (where, cell) in enumerate(_cells(files, rows)):
        image = torch.from_numpy(_decode(cell, where)).permute(2, 0, 1)
        if result is None:
            result = torch.empty(len(rows), *image.shape, dtype=torch.uint8)
        if image.shape != result.shape[1:]:
            wanted, got = (f"{shape[2]} x {shape[1]}" for shape in (result.shape[1:], image.shape))
            raise AttnzooError(f"{where}: expected {wanted} pixels like the first image, got {got}; resize them.")
        result[index] = image
    if result is None:
        raise AttnzooError("data: expected at least one row to read, got none.")
    return result


def _cells(files: Sequence[Path], rows: Tensor) -> Iterator[tuple[str, Any]]:
    """Each wanted row's place in words and its image cell, reading a file in small batches."""
    start = 0  # the number of rows before this batch
    for file in files:
        first = start
        with _opened(file) as table:
            name = _column(table, file, _IMAGE_COLUMNS)
            for batch in table.iter_batches(batch_size=512, columns=[name]):
                wanted = rows[(rows >= start) & (rows < start + len(batch))]
                for row, cell in zip(wanted.tolist(), batch.column(0).take((wanted - start).numpy()), strict=True):
                    yield f"{file}, row {row - first}", cell.as_py()
                start += len(batch)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """The Parquet file; failing to open or to read it is an AttnzooError."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(file) as table:
            yield table
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise AttnzooError(f"{file}: expected a Parquet file, but it cannot be read ({error}).") from error


def _column(table: Any, file: Path, names: Sequence[str]) -> str:
    present = table.schema_arrow.names
    for name in names:
        if name in present:
            return name
    wanted = " or ".join(repr(name) for name in names)
    raise AttnzooError(f"{file}: expected a column {wanted}, found {', '.join(present)}; rename the column.")


def _decode(cell: Any, where: str) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """The image of one cell as (H, W, 3)."""
    content = cell.get("bytes") if isinstance(cell, dict) else None
    if not isinstance(content, bytes):
        raise AttnzooError(f"{where}: expected a struct with the image file's 'bytes', got none; embed the images.")
    return decode(content, where)
