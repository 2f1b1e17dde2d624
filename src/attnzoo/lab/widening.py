"""Widening: the same network with more channels, layer by layer."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from attnzoo.errors import AttnzooError
from attnzoo.surgery.probe import attempt

_WEIGHTED: Final = (_ConvNd, nn.Linear)
_COUNTS: Final = (
    *("channels", "in_channels", "out_channels", "in_features", "out_features", "num_features", "num_channels"),
    *("num_parameters", "dim", "embed_dim", "attn_dim"),
)  # names under which modules remember channels
Shape = tuple[int, ...]
Wide = Callable[[int], int]


@dataclass(frozen=True)
class Ends:
    """Where a network meets the world, and so keeps its channels.

    Attributes:
        first: the layers that read the image.
        last: the layer that gives the logits.
        output: the shape of what the network gives.
    """

    first: frozenset[nn.Module]
    last: nn.Module
    output: Shape


def widen(model: nn.Module, widths: Mapping[int, int], example_input: Tensor | None = None) -> nn.Module:
    """A copy of a network in which every layer of c channels has widths[c]; the network itself is left as it was.

    Convolutions (depthwise ones stay so, others keep their groups), linear layers and norms are made again, and what
    other modules hold grows in the dimensions of such a size. The channels of the image and the logits stay.

    Parameters that grow start in the network's own manner: their values are drawn from the initial values of the same
    parameter, those of matrices and filters times the square root of old over new fan-in. So gains and zeros stay what
    they were, and outputs keep their variance. What is not trained repeats. Widen before training, and seed torch for
    the same weights.

    Args:
        model: a network that is not trained yet.
        widths: for a number of channels, the new one; others stay.
        example_input: a batch of images that the network takes; None guesses as `attnzoo.insert` does.

    Raises:
        AttnzooError: the network does not run at these widths, or not to the same shape.
    """
    ends = find_ends(model, example_input)
    wider = copy.deepcopy(model)
    given = f"{type(model).__name__}: cannot be widened by {dict(widths)}"
    try:
        for old, new in zip(model.modules(), wider.modules(), strict=True):
            _grow(old, new, *_sides(old, ends, widths))
        output = _shape(attempt(wider, example_input))
    except (AttnzooError, ValueError) as error:
        raise AttnzooError(f"{given}: {error}") from error
    if output != ends.output:
        raise AttnzooError(f"{given}: it would give {output}, not {ends.output}.")
    return wider


def find_ends(model: nn.Module, example_input: Tensor | None = None) -> Ends:
    """What reads the image and what gives the logits, seen in one pass.

    Raises:
        AttnzooError: the network does not run on that input, or has neither convolutions nor linear layers.
    """
    image: list[Shape] = []
    ran: list[tuple[nn.Module, Shape]] = []
    handles = [model.register_forward_pre_hook(lambda _, given: image.append(_shape(given[0])))]
    handles += [
        module.register_forward_pre_hook(lambda layer, given: ran.append((layer, _shape(given[0]))))
        for module in model.modules()
        if isinstance(module, _WEIGHTED)
    ]
    try:
        output = attempt(model, example_input)
    finally:
        for handle in handles:
            handle.remove()
    if not ran:
        raise AttnzooError(f"{type(model).__name__}: runs no convolution and no linear layer; nothing can be widened.")
    return Ends(frozenset(layer for layer, shape in ran if shape == image[0]), ran[-1][0], _shape(output))


def channels(model: nn.Module, ends: Ends) -> list[int]:
    """All numbers of channels between image and logits, ascending."""
    found: set[int] = set()
    for module in model.modules():
        if isinstance(module, _WEIGHTED):
            read, made = _read_and_made(module)
            found |= (set() if module in ends.first else {read}) | (set() if module is ends.last else {made})
    return sorted(found - {1})


def count_parameters(model: nn.Module, widths: Mapping[int, int], ends: Ends) -> int:
    """How many parameters the widened network has.

    Raises:
        ValueError: the groups of a convolution do not divide its new channels.
    """
    return sum(
        math.prod(_grown(module, name, tensor, *_sides(module, ends, widths)))
        for module in model.modules()
        for name, tensor in module.named_parameters(recurse=False)
    )


def _sides(module: nn.Module, ends: Ends, widths: Mapping[int, int]) -> tuple[Wide, Wide]:
    """How the channels change that a module reads, and those that it makes."""

    def wide(count: int) -> int:
        return widths.get(count, count)

    def same(count: int) -> int:
        return count

    return same if module in ends.first else wide, same if module is ends.last else wide


def _grow(old: nn.Module, new: nn.Module, read: Wide, made: Wide) -> None:
    """Turn `new`, a copy of `old`, into its wider form."""
    if isinstance(old, _ConvNd) and isinstance(new, _ConvNd):
        new.groups = _groups(old, read, made)
    for name in _COUNTS:
        count = old.__dict__.get(name)
        if type(count) is int:
            setattr(new, name, read(count) if name.startswith("in_") else made(count))
    if isinstance(old, nn.LayerNorm | nn.RMSNorm) and isinstance(new, nn.LayerNorm | nn.RMSNorm):
        new.normalized_shape = tuple(made(size) for size in old.normalized_shape)
    if isinstance(old, nn.GroupNorm) and made(old.num_channels) % old.num_groups:
        raise ValueError(f"{old.num_groups} groups of a norm do not divide {made(old.num_channels)} channels")
    _set_heads(old, new, made)
    for name, parameter in old.named_parameters(recurse=False):
        shape = _grown(old, name, parameter, read, made)
        if shape != parameter.shape:
            data = _drawn(parameter.data, shape) if parameter.requires_grad else _repeated(parameter.data, shape)
            setattr(new, name, nn.Parameter(data, parameter.requires_grad))
    for name, buffer in old.named_buffers(recurse=False):
        setattr(new, name, _repeated(buffer, _grown(old, name, buffer, read, made)))


def _set_heads(old: nn.Module, new: Any, made: Wide) -> None:
    """Give the heads of an attention their share of the new channels, and the scale that goes with it."""
    known = old.__dict__
    heads, size = known.get("num_heads"), known.get("head_dim")
    if not isinstance(heads, int) or not isinstance(size, int):
        return
    wide = made(heads * size)
    if wide % heads:
        raise ValueError(f"{heads} heads of an attention do not divide {wide} channels")
    new.head_dim = wide // heads
    if isinstance(known.get("scale"), float):
        new.scale = known["scale"] * math.sqrt(size / new.head_dim)


def _grown(module: nn.Module, name: str, tensor: Tensor, read: Wide, made: Wide) -> Shape:
    """The shape of one of a module's own tensors in its wider form."""
    if name == "weight" and isinstance(module, nn.Linear):
        return made(module.out_features), read(module.in_features)
    if name == "weight" and isinstance(module, _ConvNd):
        groups, wide_in, wide_out = _groups(module, read, made), read(module.in_channels), made(module.out_channels)
        sides = (wide_in, wide_out // groups) if module.transposed else (wide_out, wide_in // groups)
        return (*sides, *module.kernel_size)
    return tuple(made(size) for size in tensor.shape)


def _groups(conv: _ConvNd, read: Wide, made: Wide) -> int:
    """The groups of the wider convolution: one a channel where it was so."""
    wide_in, wide_out = read(conv.in_channels), made(conv.out_channels)
    groups = wide_in if conv.groups == conv.in_channels else conv.groups
    if wide_in % groups or wide_out % groups:
        raise ValueError(f"{groups} groups of a convolution do not divide {wide_in} and {wide_out} channels")
    return groups


def _read_and_made(layer: Any) -> tuple[int, int]:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return layer.in_channels, layer.out_channels


def _drawn(values: Tensor, shape: Shape) -> Tensor:
    """Draws from the values, with the variance that the fan-in of the new shape asks for."""
    drawn = values.flatten()[torch.randint(values.numel(), shape, device=values.device)]
    return drawn * math.sqrt(math.prod(values.shape[1:]) / math.prod(shape[1:])) if len(shape) > 1 else drawn


def _repeated(values: Tensor, shape: Shape) -> Tensor:
    """The values, again from the first where a dimension is longer."""
    for dim, size in enumerate(shape):
        values = values.index_select(dim, torch.arange(size, device=values.device) % values.shape[dim])
    return values


def _shape(value: Any) -> Shape:
    return tuple(value.shape) if isinstance(value, Tensor) else ()
