"""One trial: one variant of a backbone, one seed, trained from scratch and tested after every epoch."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo.errors import AttnzooError
from attnzoo.lab import augment, backbones
from attnzoo.lab.data import Data, Split
from attnzoo.lab.recipe import Recipe
from attnzoo.surgery import insert

PLAIN: Final = "plain"
_TEST_BATCH: Final = 500


@dataclass(frozen=True)
class Trial:
    """What is trained: `variant` is a module's name, inserted after the submodules `at`, or PLAIN."""

    variant: str
    seed: int
    backbone: str
    at: str

    def __str__(self) -> str:
        return f"{self.variant}, seed {self.seed}"


@dataclass(frozen=True)
class Epoch:
    """Mean training loss, top-1 on the test split in percent, and seconds of training (testing excluded)."""

    train_loss: float
    top1: float
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """A finished trial. The last epoch counts, not the best."""

    variant: str
    seed: int
    epochs: tuple[Epoch, ...]

    @property
    def top1(self) -> float:
        """Top-1 after the last epoch, in percent."""
        return self.epochs[-1].top1

    @property
    def seconds(self) -> float:
        """Seconds of training, testing excluded."""
        return sum(epoch.seconds for epoch in self.epochs)


def build(trial: Trial, data: Data) -> nn.Module:
    """The trial's network on the CPU. All variants of one seed start from the same backbone weights.

    Raises:
        AttnzooError: the backbone or module is unknown, they do not fit, or they do not take such images.
    """
    example = torch.zeros(2, *data.shape)
    with _seeded(trial.seed, "cpu"):
        model = backbones.build(trial.backbone, data.classes, data.shape[0])
        if trial.variant == PLAIN:
            _check_logits(model, trial.backbone, example, data.classes)
        else:
            insert(model, trial.variant, at=trial.at, identity=False, example_input=example)
    return model


def train(
    trial: Trial,
    data: Data,
    recipe: Recipe,
    device: str | torch.device = "cpu",
    on_epoch: Callable[[int, Epoch], None] | None = None,
) -> Outcome:
    """Train and test one trial; on a CPU the same trial gives the same numbers, bit for bit.

    Backbone weights, batch order and augmentation depend on the seed alone, so that variants of one seed
    are compared in pairs.

    Args:
        trial: what to train.
        data: the images; kept on the device as uint8.
        recipe: how to train.
        device: where.
        on_epoch: called after each epoch with its number, from 1, and its figures.

    Raises:
        AttnzooError: as `build`, or the loss is no longer a finite number.
    """
    data = data.to(device)
    draws = torch.Generator().manual_seed(trial.seed)
    mean, std = _statistics(data.train.images)
    model = build(trial, data).to(device)
    optimizer = recipe.optimizer(model)
    steps = max(1, len(data.train.labels) // recipe.batch_size)
    schedule = recipe.schedule(optimizer, steps * recipe.epochs)
    epochs = []
    with _seeded(trial.seed, device):
        for number in range(1, recipe.epochs + 1):
            start = time.perf_counter()
            model.train()
            losses = []
            for images, labels in _batches(data, recipe, draws):
                logits = model((images - mean) / std)
                loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                losses.append(loss.detach())
            train_loss = torch.stack(losses).mean().item()
            seconds = time.perf_counter() - start
            if not math.isfinite(train_loss):
                raise AttnzooError(
                    f"trial {trial}: the training loss became {train_loss} in epoch {number}; "
                    f"use a learning rate below {recipe.learning_rate}."
                )
            epochs.append(Epoch(train_loss, _top1(model, data.test, mean, std), seconds))
            if on_epoch is not None:
                on_epoch(number, epochs[-1])
    return Outcome(trial.variant, trial.seed, tuple(epochs))


@contextmanager
def _seeded(seed: int, device: str | torch.device) -> Iterator[None]:
    """Torch's own generators seeded within, as they were after."""
    with torch.random.fork_rng(devices=[device] if torch.device(device).type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _batches(data: Data, recipe: Recipe, draws: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of augmented float images and labels, in whole batches unless there is less than one."""
    images, labels = data.train.images, data.train.labels
    padding = round(recipe.crop * min(data.shape[1:]))
    order = torch.randperm(len(labels), generator=draws).to(labels.device)
    size = min(recipe.batch_size, len(labels))
    for start in range(0, len(labels) - size + 1, size):
        rows = order[start : start + size]
        batch = images[rows]
        if padding:
            batch = augment.shift(batch, padding, draws)
        if recipe.flip and data.mirror:
            batch = augment.mirror(batch, draws)
        yield batch.float(), labels[rows]


def _statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, as (C, 1, 1); the latter at least 1 of 255 levels."""
    levels = torch.arange(256, dtype=torch.float64)
    counts = torch.stack([channel.flatten().bincount(minlength=256) for channel in images.unbind(1)])
    share = counts.double().cpu() / images[:, 0].numel()  # (C, 256)
    mean = share @ levels
    std = (share @ levels.square() - mean.square()).clamp(min=1).sqrt()
    mean, std = (value.float().to(images.device)[:, None, None] for value in (mean, std))
    return mean, std


@torch.no_grad()
def _top1(model: nn.Module, split: Split, mean: Tensor, std: Tensor) -> float:
    """Share of the images whose largest logit is their label, in percent."""
    model.eval()
    right = 0
    for images, labels in zip(split.images.split(_TEST_BATCH), split.labels.split(_TEST_BATCH), strict=True):
        logits = model((images.float() - mean) / std)
        right += int((logits.argmax(dim=1) == labels).sum())
    return 100 * right / len(split.labels)


def _check_logits(model: nn.Module, name: str, example: Tensor, classes: int) -> None:
    """Raise AttnzooError unless the network, a copy of it in training mode, takes the example and gives its logits."""
    size = "x".join(map(str, example.shape[1:]))
    try:
        with torch.no_grad():
            logits = copy.deepcopy(model).train()(example)
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        raise AttnzooError(f"{name}: cannot take images of {size} ({error}); use another backbone.") from error
    if not isinstance(logits, Tensor) or logits.shape != (len(example), classes):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise AttnzooError(f"{name}: expected logits ({len(example)}, {classes}), got {got}; use a classifier.")
