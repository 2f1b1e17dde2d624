"""Labelled images for fair comparisons: loaded once, kept as bytes, in two fixed splits."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from attnzoo import checks
from attnzoo.errors import AttnzooError
from attnzoo.lab import parquet

_DIGITS_TEST: Final = 500


@dataclass(frozen=True)
class Split:
    """Images as uint8 (N, C, H, W) and their class numbers as int64 (N,)."""

    images: Tensor
    labels: Tensor

    def to(self, device: str | torch.device) -> "Split":
        """The same split on a device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Data:
    """A data set.

    Attributes:
        name: what tables call it; never a path.
        classes: K; labels run from 0 to K - 1.
        train, test: the two splits; their images share one size.
        mirror: whether an image mirrored left to right keeps its label.
    """

    name: str
    classes: int
    train: Split
    test: Split
    mirror: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def to(self, device: str | torch.device) -> "Data":
        """The same data on a device."""
        return Data(self.name, self.classes, self.train.to(device), self.test.to(device), self.mirror)

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any pixel, label or split."""
        digest = hashlib.sha256(repr(self.shape).encode())
        for split in (self.train, self.test):
            digest.update(split.images.cpu().contiguous().numpy().data)
            digest.update(split.labels.cpu().contiguous().numpy().data)
        return digest.hexdigest()[:16]


def load(spec: str, *, limit_train: int | None = None, limit_test: int | None = None) -> Data:
    """Load `digits`, or `parquet:DIR` in the hub's layout (see `attnzoo.lab.parquet`).

    `digits` are the 1,797 handwritten digits of scikit-learn: (1, 8, 8), their 17 grey levels spread over
    0 to 255, split by `train_test_split(test_size=500, stratify=labels, random_state=0)` into 1,297 and 500.
    Writers are not kept apart, so accuracies run higher than on unseen writers.

    Args:
        spec: which data.
        limit_train, limit_test: keep that many images of a split, the first of each class in turn;
            None keeps all.

    Raises:
        AttnzooError: an unknown spec, a limit below 1, or files that do not hold labelled images of one size.
    """
    for name, limit in (("limit_train", limit_train), ("limit_test", limit_test)):
        if limit is not None:
            checks.positive("data", **{name: limit})
    if spec == "digits":
        return _digits(limit_train, limit_test)
    kind, _, place = spec.partition(":")
    if kind == "parquet" and place:
        return _parquet(Path(place), limit_train, limit_test)
    raise AttnzooError(f"data: {spec!r} is unknown; use 'digits', or 'parquet:DIR' for a folder of Parquet files.")


def balanced(labels: Tensor, limit: int | None) -> Tensor:
    """The rows of the first image of every class, then of the second, up to `limit`; sorted, int64."""
    if limit is None or limit >= len(labels):
        return torch.arange(len(labels))
    by_class = labels.argsort(stable=True)
    counts = labels.bincount()
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(labels)  # how many images of its class come before an image
    rank[by_class] = torch.arange(len(labels)) - starts[labels[by_class]]
    return rank.argsort(stable=True)[:limit].sort().values


def _digits(limit_train: int | None, limit_test: int | None) -> Data:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    raw = load_digits()
    images = torch.from_numpy(raw.images).mul(255 / 16).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(raw.target).long()
    rows = train_test_split(range(len(labels)), test_size=_DIGITS_TEST, stratify=raw.target, random_state=0)
    train, test = (
        _limited(Split(images[part], labels[part]), limit)
        for part, limit in zip(rows, (limit_train, limit_test), strict=True)
    )
    return Data("digits", 10, train, test, mirror=False)


def _limited(split: Split, limit: int | None) -> Split:
    rows = balanced(split.labels, limit)
    return Split(split.images[rows], split.labels[rows])


def _parquet(folder: Path, limit_train: int | None, limit_test: int | None) -> Data:
    train_files, test_files = parquet.find(folder, ("train",)), parquet.find(folder, ("test", "validation"))
    train_labels, test_labels = parquet.labels(train_files), parquet.labels(test_files)
    highest, highest_test = int(train_labels.max()), int(test_labels.max())
    if highest >= len(train_labels):
        raise AttnzooError(
            f"{folder}: expected class numbers from 0 up without gaps, got {highest} among {len(train_labels)} "
            "training images; renumber the classes."
        )
    if highest_test > highest:
        raise AttnzooError(
            f"{folder}: the test labels reach {highest_test}, the training labels only {highest}; "
            "give both splits the same classes."
        )
    train_rows, test_rows = balanced(train_labels, limit_train), balanced(test_labels, limit_test)
    train = Split(parquet.images(train_files, train_rows), train_labels[train_rows])
    test = Split(parquet.images(test_files, test_rows), test_labels[test_rows])
    if train.images.shape[1:] != test.images.shape[1:]:
        sizes = " and ".join(f"{split.images.shape[3]} x {split.images.shape[2]}" for split in (train, test))
        raise AttnzooError(f"{folder}: train and test images differ in size ({sizes}); resize them to one size.")
    return Data(folder.resolve().name, highest + 1, train, test, mirror=True)
