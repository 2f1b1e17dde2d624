"""Image-classification Parquet files in the hub's layout.

A folder holds `train-*.parquet` and `test-*.parquet` (or `validation-*.parquet`). A row has `label` or `fine_label`,
the class number, and `img` or `image`, a struct whose `bytes` are an encoded image. Images are decoded to RGB. Class
names are those that the hub's metadata holds.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from attnzoo.errors import AttnzooError
from attnzoo.lab.data.options import Options
from attnzoo.lab.data.reading import Reader, Source
from attnzoo.lab.data.sets import Data, balanced

_IMAGES: Final = ("img", "image")
_LABELS: Final = ("label", "fine_label")


def read(folder: Path, options: Options) -> Data:
    """The data set of a folder, called as the folder is.

    Raises:
        AttnzooError: files, columns or rows are not as described above, the labels leave gaps or the splits differ in
            classes, or the images are refused by `Reader`.
    """
    train_files, test_files = find(folder, ("train",)), find(folder, ("test", "validation"))
    train_labels, test_labels = labels(train_files), labels(test_files)
    names = class_names(train_files[0])
    classes = _classes(folder, train_labels, test_labels, names)
    train_rows, test_rows = balanced(train_labels, options.limit_train), balanced(test_labels, options.limit_test)
    reader = Reader(options, len(train_rows) + len(test_rows))
    train = reader.split(_sources(train_files, train_rows), train_labels[train_rows])
    test = reader.split(_sources(test_files, test_rows), test_labels[test_rows])
    reader.check()
    return Data(folder.resolve().name, classes, train, test, True, names, tuple(reader.broken))


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
        AttnzooError: a file has no rows or no column of labels, or a label is no whole number from 0 up.
    """
    import pyarrow as pa

    parts = []
    for file in files:
        with _opened(file) as table:
            name = _column(table, file, _LABELS)
            column = table.read(columns=[name]).column(name)
        if not pa.types.is_integer(column.type):
            raise AttnzooError(f"{file}: expected whole numbers in {name!r}, got {column.type}; number the classes.")
        values = column.to_pylist()
        for row, value in enumerate(values):
            if value is None or not 0 <= value < 2**31:
                raise AttnzooError(
                    f"{file}, row {row}: expected a label of 0 or more, got {value}; use a labelled split."
                )
        parts.append(torch.tensor(values, dtype=torch.int64))
    joined = torch.cat(parts)
    if not len(joined):
        raise AttnzooError(f"{files[0]}: expected labelled images, got no rows.")
    return joined


def class_names(file: Path) -> tuple[str, ...] | None:
    """The names of the classes in the hub's metadata; None where there are none."""
    with _opened(file) as table:
        name = _column(table, file, _LABELS)
        raw = (table.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    try:
        names = json.loads(raw)["info"]["features"][name]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _classes(folder: Path, train: Tensor, test: Tensor, names: tuple[str, ...] | None) -> int:
    """The number of classes, where labels and names agree on it."""
    highest, highest_test = int(train.max()), int(test.max())
    if highest >= len(train):
        raise AttnzooError(
            f"{folder}: expected class numbers from 0 up without gaps, got {highest} among {len(train)} "
            "training images; renumber the classes."
        )
    if highest_test > highest:
        raise AttnzooError(
            f"{folder}: the test labels reach {highest_test}, the training labels only {highest}; "
            "give both splits the same classes."
        )
    if names is not None and len(names) != highest + 1:
        raise AttnzooError(
            f"{folder}: the files name {len(names)} classes, but the training labels run from 0 to {highest}; "
            "write the files anew with matching names."
        )
    return highest + 1


def _sources(files: Sequence[Path], rows: Tensor) -> Iterator[Source]:
    """The images of the sorted `rows`, counted over all files, reading a file in small batches."""
    start = 0  # the number of rows before this batch
    for file in files:
        first = start
        with _opened(file) as table:
            name = _column(table, file, _IMAGES)
            if not _has_bytes(table.schema_arrow.field(name).type):
                raise AttnzooError(
                    f"{file}: expected a struct with the image file's 'bytes' in {name!r}, got "
                    f"{table.schema_arrow.field(name).type}; embed the images."
                )
            for batch in table.iter_batches(batch_size=512, columns=[f"{name}.bytes"]):
                wanted = rows[(rows >= start) & (rows < start + len(batch))]
                cells = batch.column(0).take((wanted - start).numpy()).to_pylist()
                for row, cell in zip(wanted.tolist(), cells, strict=True):
                    yield Source(f"{file}, row {row - first}", cell and cell["bytes"])
                start += len(batch)


def _has_bytes(kind: Any) -> bool:
    import pyarrow as pa

    binary = (pa.types.is_binary, pa.types.is_large_binary)
    return pa.types.is_struct(kind) and any(f.name == "bytes" and any(is_(f.type) for is_ in binary) for f in kind)


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
