"""What a data set is: two fixed splits of labelled images, kept as bytes."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Images as uint8 (N, C, H, W) and their class numbers as int64 (N,)."""

    images: Tensor
    labels: Tensor

    def to(self, device: str | torch.device) -> "Split":
        """The same split on a device."""
        return Split(self.images.to(device), self.labels.to(device))

    def limited(self, limit: int | None) -> "Split":
        """The first image of every class, then the second, up to `limit`; None keeps all."""
        rows = balanced(self.labels, limit)
        return Split(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class Data:
    """A data set.

    Attributes:
        name: what tables call it; never a path.
        classes: K; labels run from 0 to K - 1.
        train, test: the two splits; their images share one size.
        mirror: whether an image mirrored left to right keeps its label.
        class_names: K names; None where the files hold none.
        skipped: which broken images were left out on request, and why, a sentence each.
    """

    name: str
    classes: int
    train: Split
    test: Split
    mirror: bool
    class_names: tuple[str, ...] | None = None
    skipped: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def to(self, device: str | torch.device) -> "Data":
        """The same data on a device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any pixel, label or split."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(repr(self.shape).encode())
        for split in (self.train, self.test):
            digest.update(split.images.cpu().contiguous().numpy().data)
            digest.update(split.labels.cpu().contiguous().numpy().data)
        return digest.hexdigest()[:16]


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
