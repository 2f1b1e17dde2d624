"""From bytes on the device to what a network is given: drawn, augmented and normalised, a batch at a time."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, cast

import torch
from torch import Tensor

from attnzoo.lab import augment
from attnzoo.lab.data import Data, Split
from attnzoo.lab.recipe import Recipe

_TEST_BATCH: Final = 500


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of each channel over all training pixels, as (C, 1, 1), on the scale of bytes."""

    mean: Tensor
    std: Tensor

    def to(self, device: torch.device) -> "Scale":
        """The same on a device."""
        return Scale(self.mean.to(device), self.std.to(device))

    def __call__(self, images: Tensor) -> Tensor:
        """The images as float32, normalised."""
        return images.float().sub_(self.mean).div_(self.std)


def scale_of(images: Tensor) -> Scale:
    """Statistics of uint8 images (N, C, H, W), exact; a deviation is at least 1 of 255 levels."""
    levels = torch.arange(256, dtype=torch.float64)
    counts = torch.stack([channel.flatten().bincount(minlength=256) for channel in images.unbind(1)])
    share = counts.double().cpu() / images[:, 0].numel()  # (C, 256)
    mean = share @ levels
    std = (share @ levels.square() - mean.square()).clamp(min=1).sqrt()
    mean, std = (value.float().to(images.device)[:, None, None] for value in (mean, std))
    return Scale(mean, std)


def seed_of(*parts: int | str) -> int:
    """A seed for generators that no other parts have."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


class Batches:
    """The training images of one rank, batch by batch. Every epoch draws anew, from the seed and its number alone.

    Args:
        data: on the device.
        recipe: batch size and augmentation.
        scale: the normalisation.
        seed: the trial's.
        rank, ranks: this device among all; each batch is dealt out among them.
    """

    def __init__(self, data: Data, recipe: Recipe, scale: Scale, seed: int, rank: int = 0, ranks: int = 1) -> None:
        self.split, self.recipe, self.scale, self.seed = data.train, recipe, scale, seed
        self.rank, self.ranks = rank, ranks
        images, side = len(data.train.labels), min(data.shape[1:])
        self.size = min(recipe.batch_size, images) // ranks * ranks
        self.steps = images // self.size
        self.padding, self.hole = round(recipe.crop * side), round(recipe.cutout * side)
        self.flip = recipe.flip if data.mirror else "none"
        self.fill = scale.mean.flatten().round()
        halves = torch.Generator().manual_seed(seed_of(seed, "flip"))
        self.first = (torch.rand(images, generator=halves) < 0.5).to(data.train.labels.device)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Augmented float images and labels of one epoch, counted from 1, in whole batches."""
        order = torch.randperm(
            len(self.split.labels), generator=torch.Generator().manual_seed(seed_of(self.seed, number))
        ).to(self.split.labels.device)
        draws = torch.Generator().manual_seed(seed_of(self.seed, number, self.rank))
        for start in range(0, self.steps * self.size, self.size):
            rows = order[start + self.rank : start + self.size : self.ranks]
            images = self._augmented(self.split.images[rows], rows, number, draws)
            if self.recipe.channels_last:
                images = images.contiguous(memory_format=torch.channels_last)
            yield self.scale(images), self.split.labels[rows]

    def _augmented(self, images: Tensor, rows: Tensor, number: int, draws: torch.Generator) -> Tensor:
        margin = cast(Literal["zeros", "reflect"], self.recipe.margin)
        images = augment.translate(images, self.padding, draws, margin)
        if self.flip == "random":
            images = augment.mirror(images, draws)
        elif self.flip == "alternate":
            images = augment.alternate(images, rows, self.first, number - 1)
        return augment.cutout(images, self.hole, draws, self.fill)


def for_test(split: Split, scale: Scale, channels_last: bool, rank: int, ranks: int) -> Iterator[tuple[Tensor, Tensor]]:
    """A rank's share of the test images, normalised, and their labels."""
    images, labels = split.images[rank::ranks], split.labels[rank::ranks]
    for part, known in zip(images.split(_TEST_BATCH), labels.split(_TEST_BATCH), strict=True):
        batch = part.contiguous(memory_format=torch.channels_last) if channels_last else part
        yield scale(batch), known
