"""Which widths a network can have, and which come nearest to a number of parameters."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from attnzoo.errors import AttnzooError
from attnzoo.lab.widening import Ends, channels, count_parameters, find_ends, widen


@dataclass(frozen=True)
class Part:
    """Numbers of channels that grow together.

    Attributes:
        channels: the numbers.
        base: their greatest common divisor.
        step: by how much it grows at once.
    """

    channels: tuple[int, ...]
    base: int
    step: int

    def steps(self, factor: float) -> float:
        """How many steps make it `factor` times as wide."""
        return (factor - 1) * self.base / self.step

    def widths(self, steps: int) -> dict[int, int]:
        """The new numbers after so many steps; empty after none."""
        return {c: c + c * steps * self.step // self.base for c in self.channels} if steps else {}


class Widener:
    """How a network can be widened, found by trying: what can grow alone does, the rest grows in one proportion.

    Args:
        model: the network; it is left as it was.
        example: a batch of images that it takes.

    Raises:
        AttnzooError: nothing in it can be widened, or it does not run on the images.
    """

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        self.model, example = _without_data(model, example)
        self.ends: Ends = find_ends(self.model, example)
        self.parameters = count_parameters(self.model, {}, self.ends)
        self.parts: tuple[Part, ...] = tuple(_parts(self.model, self.ends, example))
        if not self.parts:
            raise AttnzooError(f"{type(model).__name__}: cannot be widened, no number of its channels can grow.")

    def widths(self, factor: float) -> dict[int, int]:
        """The widths nearest to `factor` times the network's own."""
        return self._joined([round(part.steps(factor)) for part in self.parts])

    def count(self, widths: dict[int, int]) -> int:
        """How many parameters the network has at these widths."""
        return count_parameters(self.model, widths, self.ends)

    def nearest(self, parameters: int) -> dict[int, int]:
        """The widths whose network has about so many parameters, in ratios as equal as whole channels allow.

        All widths grow by one factor, rounded up; then as many as can be are rounded down, the most costly first,
        while at least the wanted number remains. Empty, for the network as it is, where that comes nearer.
        """
        few, many = 1.0, 2.0
        while self.count(self._joined(self._above(many))) < parameters:
            few, many = many, 2 * many
        for _ in range(30):
            middle = (few + many) / 2
            enough = self.count(self._joined(self._above(middle))) >= parameters
            few, many = (few, middle) if enough else (middle, many)
        steps = self._above(many)
        while lower := [one for one in self._lowered(steps, many) if self.count(self._joined(one)) >= parameters]:
            steps = min(lower, key=lambda one: self.count(self._joined(one)))
        found = self._joined(steps)
        return found if self.count(found) - parameters < parameters - self.parameters else {}

    def _above(self, factor: float) -> list[int]:
        return [math.ceil(part.steps(factor)) for part in self.parts]

    def _lowered(self, steps: Sequence[int], factor: float) -> list[list[int]]:
        """The same with one part rounded down that is not yet."""
        return [
            [*steps[:i], steps[i] - 1, *steps[i + 1 :]]
            for i, part in enumerate(self.parts)
            if steps[i] > math.floor(part.steps(factor))
        ]

    def _joined(self, steps: Sequence[int]) -> dict[int, int]:
        joined: dict[int, int] = {}
        for part, count in zip(self.parts, steps, strict=True):
            joined |= part.widths(count)
        return dict(sorted(joined.items()))


def _without_data(model: nn.Module, example: Tensor) -> tuple[nn.Module, Tensor]:
    """The model and the example as shapes only where the model runs so, and else as they are."""
    bare, shapes = copy.deepcopy(model).to("meta"), example.to("meta")
    try:
        find_ends(bare, shapes)
    except AttnzooError:
        return model, example
    return bare, shapes


def _parts(model: nn.Module, ends: Ends, example: Tensor) -> list[Part]:
    """What can grow alone, in its finest step; then what can only grow together."""
    parts, bound = [], []
    for count in channels(model, ends):
        alone = _finest(model, (count,), example)
        if alone is None:
            bound.append(count)
        else:
            parts.append(alone)
    together = _finest(model, tuple(bound), example) if bound else None
    return parts if together is None else [*parts, together]


def _finest(model: nn.Module, numbers: tuple[int, ...], example: Tensor) -> Part | None:
    """The numbers with the finest step by which the network can grow in them; None where not even twice is possible."""
    base = math.gcd(*numbers)
    if not _runs(model, Part(numbers, base, base), example):
        return None
    finer = sorted({step for e in range(base.bit_length()) for step in (2**e, 3 * 2**e) if step < base})
    parts = (Part(numbers, base, step) for step in finer)
    return next((part for part in parts if _runs(model, part, example)), Part(numbers, base, base))


def _runs(model: nn.Module, part: Part, example: Tensor) -> bool:
    try:
        widen(model, part.widths(1), example)
    except AttnzooError:
        return False
    return True
