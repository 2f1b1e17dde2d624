"""Annealing the temperature of dynamic convolutions."""

from torch import nn

from attnzoo import checks, registry
from attnzoo.errors import AttnzooError


class TemperatureSchedule:
    """Lowers the temperature of every dynamic convolution of a model linearly from `start` to `end`, then holds it.

    A high temperature keeps all kernels learning in the first epochs. Call `step()` after each epoch, as with torch's
    schedulers; the temperature is `start` from construction on.

    Args:
        model: holds modules with a temperature, such as odconv or dynamic_conv, also in place of its convolutions.
        start: the temperature of the first epoch; the authors of ODConv use 30.
        end: the temperature after `epochs` steps.
        epochs: how many steps it takes from start to end.

    Raises:
        AttnzooError: the model has no such module, or a number is out of range.
    """

    def __init__(self, model: nn.Module, start: float = 30.0, end: float = 1.0, epochs: int = 10) -> None:
        checks.positive("TemperatureSchedule", epochs=epochs)
        self.modules = annealed(model)
        if not self.modules:
            raise AttnzooError(
                "TemperatureSchedule: the model holds no module with a temperature, such as odconv or dynamic_conv; "
                "see attnzoo.replace."
            )
        checks.no_less("TemperatureSchedule", 1, start=start, end=end)
        self.start, self.end, self.epochs = start, end, epochs
        self.epoch = 0
        self._set()

    @property
    def temperature(self) -> float:
        """The present one."""
        done = min(self.epoch / self.epochs, 1.0)
        return self.start + done * (self.end - self.start)

    def step(self) -> None:
        """Go on to the next epoch."""
        self.epoch += 1
        self._set()

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint needs."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where a checkpoint stopped."""
        self.epoch = state["epoch"]
        self._set()

    def _set(self) -> None:
        for module in self.modules:
            module.temperature = self.temperature  # type: ignore[assignment]


def annealed(model: nn.Module) -> list[nn.Module]:
    """The registry's convolutions with a temperature."""
    classes = registry.classes("conv")
    return [module for module in model.modules() if type(module) in classes and hasattr(module, "temperature")]
