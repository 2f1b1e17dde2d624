"""The temperature of dynamic convolutions: high in the first epochs of a training, so that all their kernels learn."""

from collections.abc import Sequence
from typing import Final

from torch import nn

from attnzoo.lab.spelling import parse
from attnzoo.lab.trial import PLAIN, Variant
from attnzoo.surgery.temperature import TemperatureSchedule, annealed

SHARE: Final = 0.1  # of the epochs: ten of the hundred of ODConv's authors


class Cooling:
    """Lowers it from 30 to 1, as `attnzoo.TemperatureSchedule` does, over the first tenth of the epochs.

    A network without such modules is left alone, and so is one whose variant gives a temperature: that is held.

    Args:
        variant: what is trained.
        models: its network, and copies of it that follow.
        epochs: of the training.
    """

    def __init__(self, variant: Variant, models: Sequence[nn.Module], epochs: int) -> None:
        held = variant.module != PLAIN and "temperature" in parse(variant.module)[1]
        self.epochs, self.steps = epochs, max(1, round(SHARE * epochs))
        cooled = () if held else filter(annealed, models)
        self.schedules = [TemperatureSchedule(model, epochs=self.steps) for model in cooled]

    def begin(self, epoch: int) -> None:
        """Set the temperature of an epoch, from 1 on; the last has that of the trained network."""
        for schedule in self.schedules:
            schedule.load_state_dict({"epoch": epoch - 1 if epoch < self.epochs else self.steps})


def cooled(variant: Variant, model: nn.Module) -> nn.Module:
    """The model itself, its temperatures as they are after any training."""
    Cooling(variant, [model], epochs=1).begin(1)
    return model
