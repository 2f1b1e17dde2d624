"""The temperature of dynamic convolutions: high in the first epochs of a training, so that all their kernels learn."""

from collections.abc import Sequence
from typing import Final

from torch import nn

from attnzoo.lab.spelling import parse
from attnzoo.lab.trial import PLAIN, Variant
from attnzoo.surgery.temperature import annealed

START: Final = 30.0
SHARE: Final = 0.1  # of the steps: ten of the hundred epochs of ODConv's authors


class Cooling:
    """Lowers it step by step from 30 to 1 over the first tenth of the training, as ODConv's authors do.

    Networks without such modules are left alone. At 1 from the start, a deep network of odconv is chaotic: the gates'
    BatchNorm enlarges small differences between images, layer after layer, and gradients are hundreds of times those
    of the plain network.

    Args:
        models: the network, and copies of it that follow.
        steps: of the training.
    """

    def __init__(self, models: Sequence[nn.Module], steps: int) -> None:
        self.modules = [module for model in models for module in annealed(model)]
        self.steps = steps

    def begin(self, step: int) -> None:
        """Set the temperature of a step, counted from 0; the last has that of the trained network."""
        fallen = (START - 1) * step / (SHARE * self.steps)
        for module in self.modules:
            module.temperature = 1.0 if step + 1 == self.steps else max(1.0, START - fallen)  # type: ignore[assignment]


def cools(variant: Variant) -> bool:
    """Whether a variant's temperatures fall while it is trained: one that was given as an argument is held."""
    return variant.module != PLAIN and "temperature" not in parse(variant.module)[1]


def cooled(variant: Variant, model: nn.Module) -> nn.Module:
    """The model itself, its temperatures as they are after any training."""
    if cools(variant):
        Cooling([model], steps=1).begin(0)
    return model
