"""Image folders: `train/CLASS/*` and `test/CLASS/*` (or `val`, `validation`), the classes sorted by name.

Every file below a class folder must be an image, folders within it and links included; hidden ones (`.name`) are passed
over. The test split may lack classes, not add any. Images are decoded to RGB and are taken to keep their class when
mirrored left to right.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from attnzoo.errors import AttnzooError
from attnzoo.lab.data.options import Options
from attnzoo.lab.data.reading import Reader, Source
from attnzoo.lab.data.sets import Data, balanced

_TEST: Final = ("test", "val", "validation")


def read(folder: Path, options: Options) -> Data:
    """The data set of a folder, called as the folder is.

    Raises:
        AttnzooError: the folders are not as described above, or the images are refused by `Reader`.
    """
    train_folder, test_folder = _split_folder(folder, ("train",)), _split_folder(folder, _TEST)
    names = _classes(train_folder)
    if extra := sorted(set(_classes(test_folder)) - set(names)):
        raise AttnzooError(
            f"{test_folder}: expected the classes of {train_folder.name}, got also {_some(extra)}; "
            "add training images of them, or remove them."
        )
    train_files, train_labels = _files(train_folder, names)
    test_files, test_labels = _files(test_folder, names)
    train_rows, test_rows = balanced(train_labels, options.limit_train), balanced(test_labels, options.limit_test)
    reader = Reader(options, len(train_rows) + len(test_rows))
    train = reader.split(_sources(train_files, train_rows), train_labels[train_rows])
    test = reader.split(_sources(test_files, test_rows), test_labels[test_rows])
    reader.check()
    return Data(folder.resolve().name, len(names), train, test, True, tuple(names), tuple(reader.broken))


def _split_folder(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        if os.path.isdir(folder / name):
            return folder / name
    wanted = " or ".join(f"{name}/" for name in names)
    raise AttnzooError(f"{folder}: expected a folder {wanted} with a folder for each class, found none; make it.")


def _classes(folder: Path) -> list[str]:
    """The names of a split's class folders, sorted."""
    found = _listed(folder)
    if loose := sorted(path.name for path in found if not os.path.isdir(path)):
        raise AttnzooError(f"{folder}: expected a folder for each class, got also {_some(loose)}; move or remove them.")
    if not found:
        raise AttnzooError(f"{folder}: expected a folder for each class, found none; add them.")
    return sorted(path.name for path in found)


def _files(folder: Path, names: Sequence[str]) -> tuple[list[Path], Tensor]:
    """All files below the class folders and their class numbers, int64 (N,)."""
    files: list[Path] = []
    labels: list[int] = []
    for number, name in enumerate(names):
        if os.path.isdir(folder / name):
            own = sorted(_below(folder / name, ()))
            if not own:
                raise AttnzooError(f"{folder / name}: expected images, found none; add some or remove the folder.")
            files += own
            labels += [number] * len(own)
    return files, torch.tensor(labels)


def _below(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    """The files in a folder and the folders in it; `above` are those it was reached through."""
    here = os.path.realpath(folder)
    if here in above:
        raise AttnzooError(f"{folder}: this link leads back to a folder above it; remove the link.")
    for path in _listed(folder):
        if os.path.isdir(path):
            yield from _below(path, (*above, here))
        else:
            yield path


def _listed(folder: Path) -> list[Path]:
    """What a folder holds, without hidden names."""
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise AttnzooError(f"{folder}: expected a folder, but it cannot be listed ({error}).") from error


def _sources(files: Sequence[Path], rows: Tensor) -> Iterator[Source]:
    return (Source(str(files[row]), files[row]) for row in rows.tolist())


def _some(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
