"""CIFAR-10 and CIFAR-100 as their authors publish them: 50,000 and 10,000 images of 32 x 32.

The Python version is read only if every file has the checksum that torchvision lists, and without building any object
that a file names; the binary version is plain bytes. The classes of CIFAR-100 are its 100 fine ones.
"""

import os
import pickle
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from attnzoo.errors import AttnzooError
from attnzoo.lab.data.options import Options
from attnzoo.lab.data.reading import check_memory
from attnzoo.lab.data.sets import Data, Split

_PIXELS: Final = 3 * 32 * 32


@dataclass(frozen=True)
class Cifar:
    """One of the two sets and its files.

    Attributes:
        name: in `load`; in capitals, torchvision's class.
        classes: K.
        key: of the labels in the Python version.
        folder: the binary version's.
        train, test: the binary version's files.
        names: the binary version's file of class names.
        label_bytes: before each image of the binary version; the last is the class.
    """

    name: str
    classes: int
    key: bytes
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str
    label_bytes: int

    def fetch(self, options: Options) -> Data:
        """The set from the folder of downloads, where it is put first if it is missing.

        Raises:
            AttnzooError: it cannot be downloaded, or as `read`.
        """
        root = Path(os.path.expanduser(options.root or os.environ.get("ATTNZOO_DATA") or "~/.cache/attnzoo"))
        known = self._torchvision()
        place = root / known.base_folder
        if not os.path.isdir(place):
            _download(self.name, known, root)
        return self.read(place, options)

    def read(self, folder: Path, options: Options) -> Data:
        """The set from a folder with either version, or from the folder above it.

        Raises:
            AttnzooError: a file is missing, damaged or not the published one.
        """
        known = self._torchvision()
        check_memory(60_000, (32, 32, 3), options)
        for place in (folder, folder / known.base_folder, folder / self.folder):
            if os.path.isfile(place / known.meta["filename"]):
                return self._data(*self._python(place, known), options)
            if os.path.isfile(place / self.names):
                return self._data(*self._binary(place), options)
        raise AttnzooError(
            f"{folder}: expected the unpacked {self.name}, found neither {known.meta['filename']} nor {self.names}; "
            f"name the folder {known.base_folder} or {self.folder}."
        )

    def _data(self, train: Split, test: Split, names: Sequence[str], options: Options) -> Data:
        if len(names) != self.classes:
            raise AttnzooError(f"{self.name}: expected {self.classes} class names, got {len(names)}; unpack it anew.")
        train, test = train.limited(options.limit_train), test.limited(options.limit_test)
        return Data(self.name, self.classes, train, test, mirror=True, class_names=tuple(names))

    def _torchvision(self) -> Any:
        """Torchvision's class: it knows the address, the files and their checksums."""
        from torchvision import datasets

        return getattr(datasets, self.name.upper())

    def _python(self, folder: Path, known: Any) -> tuple[Split, Split, list[str]]:
        train, test = (
            [_unpickled(folder / name, checksum) for name, checksum in files]
            for files in (known.train_list, known.test_list)
        )
        meta = _unpickled(folder / known.meta["filename"], known.meta["md5"])
        names = [name.decode() for name in meta[known.meta["key"].encode()]]
        return self._joined(train), self._joined(test), names

    def _joined(self, batches: Sequence[Mapping[bytes, Any]]) -> Split:
        pixels = np.concatenate([batch[b"data"].pixels() for batch in batches])
        labels = [label for batch in batches for label in batch[self.key]]
        return Split(torch.from_numpy(pixels), torch.tensor(labels))

    def _binary(self, folder: Path) -> tuple[Split, Split, list[str]]:
        train, test = (
            Split(torch.cat([split.images for split in splits]), torch.cat([split.labels for split in splits]))
            for splits in ([self._records(folder / name) for name in files] for files in (self.train, self.test))
        )
        return train, test, _read(folder / self.names).decode("utf-8", "replace").split()

    def _records(self, file: Path) -> Split:
        content = np.frombuffer(_read(file), np.uint8)
        wide = self.label_bytes + _PIXELS
        if not len(content) or len(content) % wide:
            raise AttnzooError(
                f"{file}: expected images of {wide:,} bytes each, got {len(content):,} bytes; unpack the archive anew."
            )
        records = content.reshape(-1, wide)
        labels = torch.from_numpy(records[:, self.label_bytes - 1].astype(np.int64))
        if int(labels.max()) >= self.classes:
            raise AttnzooError(
                f"{file}: expected classes from 0 to {self.classes - 1}, got {int(labels.max())}; unpack it anew."
            )
        return Split(torch.from_numpy(records[:, self.label_bytes :].reshape(-1, 3, 32, 32).copy()), labels)


SETS: Final = {
    "cifar10": Cifar(
        name="cifar10",
        classes=10,
        key=b"labels",
        folder="cifar-10-batches-bin",
        train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        test=("test_batch.bin",),
        names="batches.meta.txt",
        label_bytes=1,
    ),
    "cifar100": Cifar(
        name="cifar100",
        classes=100,
        key=b"fine_labels",
        folder="cifar-100-binary",
        train=("train.bin",),
        test=("test.bin",),
        names="fine_label_names.txt",
        label_bytes=2,
    ),
}


def _download(name: str, known: Any, root: Path) -> None:
    """Put the unpacked archive into `root`, whole or not at all.

    Raises:
        AttnzooError: there is no network, no space, or the archive is not the published one.
    """
    from torchvision.datasets.utils import download_and_extract_archive

    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as draft:
            download_and_extract_archive(known.url, draft, filename=known.filename, md5=known.tgz_md5)
            if not os.path.isdir(root / known.base_folder):  # another process may have been faster
                os.replace(Path(draft) / known.base_folder, root / known.base_folder)
    except (OSError, RuntimeError) as error:
        raise AttnzooError(
            f"{name}: cannot be downloaded from {known.url} to {root} ({error}). Fetch and unpack that file elsewhere, "
            f"then give {name}:DIR with the folder {known.base_folder}."
        ) from error


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise AttnzooError(f"{file}: cannot be read ({error}); unpack the archive anew.") from error


def _unpickled(file: Path, checksum: str) -> dict[bytes, Any]:
    """What the published file holds; arrays as `_Array`."""
    from torchvision.datasets.utils import check_integrity

    if not check_integrity(str(file), checksum):
        raise AttnzooError(
            f"{file}: expected the published file (MD5 {checksum}), but it is missing or another; "
            "unpack the archive anew."
        )
    try:
        with file.open("rb") as stream:
            return _Inert(stream, encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise AttnzooError(f"{file}: expected the published file, but {error}; delete it.") from error


class _Array:
    """What a pickled array holds: its state, not yet an array."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.shape, self.content = state[1], state[4]

    def pixels(self) -> "np.ndarray[Any, np.dtype[np.uint8]]":
        return np.frombuffer(self.content, np.uint8).reshape(self.shape[0], 3, 32, 32)


class _Type:
    """Stands for the array's type, which is uint8."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class _Inert(pickle.Unpickler):
    """Builds numbers, bytes, lists, dictionaries and `_Array`; nothing that a file could name otherwise."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return lambda *_: _Array()
        if (module, name) == ("numpy", "ndarray"):
            return _Array
        if (module, name) == ("numpy", "dtype"):
            return _Type
        raise pickle.UnpicklingError(f"{module}.{name} is no part of the published files")
