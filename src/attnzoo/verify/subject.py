"""The module under test: how to build it and feed it."""

import inspect
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor, nn

from attnzoo import examples, registry

_SIZE: Final = (7, 9)


class Subject:
    """One module of the registry, in the size that the checks use.

    Attributes:
        name: of the module.
        card: its card.
        size: height and width of its maps, unless a check wants others.
        tokens: it takes (B, N, C), or vectors (B, C): the channels come last.
        fixed_size: one instance takes maps of one size only, by the method.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.card = registry.card(name)
        self.size = examples.fitting(name, _SIZE)
        self.tokens = len(examples.input_shapes(name)[0]) < 3
        self.fixed_size = "two-sizes" in self.card.not_applicable

    def build(self, size: tuple[int, int] | None = None) -> nn.Module:
        """A fresh instance in eval mode, every parameter and statistic drawn anew, always the same.

        No gate or scale that starts at zero hides what stands behind it.
        """
        torch.manual_seed(0)
        return randomise(self.bare(size)).eval()

    def bare(self, size: tuple[int, int] | None = None) -> nn.Module:
        """A fresh instance as its constructor leaves it."""
        return registry.create(self.name, **examples.arguments(self.name, size=size or self.size))

    def inputs(self, batch: int = 2, size: tuple[int, int] | None = None) -> tuple[Tensor, ...]:
        """Arguments of forward, always the same for the same sizes."""
        torch.manual_seed(1)
        return examples.inputs(self.name, batch, size=size or self.size)

    @cached_property
    def program(self) -> torch.export.ExportedProgram:
        """The module exported with dynamic batch, height and width; traced once for several checks."""
        return torch.export.export(self.build(), self.inputs(3), dynamic_shapes=self.dynamic_shapes(3), strict=False)

    def dynamic_shapes(self, batch: int) -> tuple[Any, ...]:
        """Which dimensions of the inputs are free: those that change with the batch and, unless fixed, the size.

        One entry per argument of forward, so that those of a `*maps` are nested.
        """
        other = self.size if self.fixed_size else (self.size[0] + 4, self.size[1] + 4)
        pairs = zip(self.inputs(batch), self.inputs(batch + 1, other), strict=True)
        free = tuple(
            {i: torch.export.Dim.DYNAMIC for i, (n, m) in enumerate(zip(a.shape, b.shape, strict=True)) if n != m}
            for a, b in pairs
        )
        arguments = inspect.signature(self.bare().forward).parameters.values()
        return (free,) if any(one.kind is one.VAR_POSITIONAL for one in arguments) else free


def randomise(module: nn.Module) -> nn.Module:
    """Draw every parameter around its start and every statistic of a normalisation, in place.

    Constants, such as scales at 1 and gates at 0, move by 0.1; weights by half of their own spread.
    """
    with torch.no_grad():
        for parameter in module.parameters():
            spread = parameter.std().item() if parameter.numel() > 1 else 0.0
            parameter.add_(torch.randn_like(parameter) * (spread / 2 or 0.1))
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return module


def of_numbers(change: Callable[[Tensor], Tensor], inputs: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """The inputs, changed where they hold numbers; indices stay."""
    return tuple(change(x) if x.is_floating_point() else x for x in inputs)


def outputs_of(result: Any) -> list[Tensor]:
    """All tensors that a forward gave, in order."""
    if isinstance(result, Tensor):
        return [result]
    return [tensor for part in result for tensor in outputs_of(part)]


def error(ours: Any, wanted: Any) -> float:
    """The largest deviation, relative to the largest wanted value of its tensor."""
    pairs = zip(outputs_of(ours), outputs_of(wanted), strict=True)
    return max(_relative(a.detach().double(), b.detach().double()) for a, b in pairs)


def finite(result: Any) -> bool:
    """Whether every number is."""
    return all(bool(tensor.isfinite().all()) for tensor in outputs_of(result))


def backward(result: Any) -> None:
    """Send fixed random gradients back through every output that wants one."""
    torch.manual_seed(2)
    wanting = [tensor for tensor in outputs_of(result) if tensor.requires_grad]
    torch.autograd.backward(wanting, [torch.randn_like(tensor) for tensor in wanting])


def _relative(ours: Tensor, wanted: Tensor) -> float:
    if ours.shape != wanted.shape:
        return float("inf")
    if not wanted.numel():
        return 0.0
    worst = ((ours - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12)).item()
    return worst if worst == worst else float("inf")
