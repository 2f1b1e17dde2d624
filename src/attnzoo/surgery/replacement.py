"""replace: a module of the registry where a plain convolution stood."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attnzoo import registry
from attnzoo.errors import AttnzooError
from attnzoo.modes import evaluating
from attnzoo.surgery.arguments import encoded
from attnzoo.surgery.history import REPLACE, remember
from attnzoo.surgery.matching import At, match
from attnzoo.surgery.plug import CHILD
from attnzoo.surgery.probe import deviation

SAME = 1e-4  # of the largest value: what rounding leaves of two ways to compute one convolution
_OWN = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")


@dataclass(frozen=True)
class Replaced:
    """One convolution that `replace` took out.

    Attributes:
        path: its name in the model.
        shape: of its weight, (out_channels, in_channels / groups, height, width).
        preserved: whether what stands there now computes what it did, in eval mode, to rounding.
        why: how far off that is, or why the new weights are fresh.
        parameters: before and after.
    """

    path: str
    shape: tuple[int, ...]
    preserved: bool
    why: str
    parameters: tuple[int, int]


@dataclass(frozen=True)
class Replacement:
    """What `replace` did: the module's name and the convolutions it stands for now. Print it for a table."""

    name: str
    sites: tuple[Replaced, ...]

    def __str__(self) -> str:
        width = max(len(site.path) for site in self.sites)
        kept = sum(site.preserved for site in self.sites)
        lines = [f"{self.name}: {len(self.sites)} convolutions replaced, {kept} of them preserved"]
        for site in self.sites:
            before, after = site.parameters
            state = "preserved" if site.preserved else "new"
            lines.append(
                f"  {site.path:<{width}}  {'x'.join(map(str, site.shape)):>15}  {before:>9,} -> {after:>9,}  "
                f"{state:<9}  {site.why}"
            )
        return "\n".join(lines)


def replace(model: nn.Module, name: str, which: At, preserve: bool = True, **arguments: Any) -> Replacement:
    """Put one module of the registry in place of every matching plain convolution, in place.

    Where the mathematics allows, the pretrained weights are taken over: the model's outputs, in eval mode, do not
    change at first, and everything stays trainable. Whether it does is measured for every convolution.

    Args:
        model: any module but a bare convolution.
        name: a module of the family 'convolution', or another of the contract 'conv'; see `card(name)`.
        which: the convolutions: a glob over dotted names ('layer4.*.conv2'; `*` stays within one part of the name,
            `**` crosses dots), a list of globs, or a predicate of name and submodule. What matches besides
            convolutions is left alone.
        preserve: take the weights over. False leaves the module as its authors initialise it, which is what training
            from scratch wants: weights that repeat random ones learn more slowly than fresh ones.
        **arguments: of the module; what the convolution settles (channels, kernel size, stride, ...) is filled in.

    Returns:
        A report; print it for a table.

    Raises:
        AttnzooError: the module is unknown or no convolution, nothing matches, or a match cannot be replaced: the
            module does not take its form, or something is attached to it. The model is then as it was.
    """
    if not convolves(name):
        able = ", ".join(filter(convolves, registry.names()))
        raise AttnzooError(f"replace: {name!r} does not stand in for a convolution; these do: {able}.")
    named = {path: module for path, module in model.named_modules() if path and CHILD not in path.split(".")}
    convs = {path: module for path, module in named.items() if type(module) is nn.Conv2d}
    if not convs:
        raise AttnzooError("replace: the model holds no plain nn.Conv2d.")
    chosen = {path: convs[path] for path in match(named, which, "which", list(convs)) if path in convs}
    if not chosen:
        raise AttnzooError(f"replace: which={which!r} matches no nn.Conv2d, only other submodules.")
    made = {path: _stand_in(name, path, conv, preserve, arguments) for path, conv in chosen.items()}
    for path, conv in chosen.items():
        for other, module in list(model.named_modules(remove_duplicate=False)):
            if module is conv:
                model.set_submodule(other, made[path][0])
    return Replacement(name, tuple(site for _, site in made.values()))


def convolves(name: str) -> bool:
    """Whether a module of the registry can stand where a convolution stood."""
    card = registry.card(name)
    return card.contract == "conv" or card.family == "convolution"


def _stand_in(
    name: str, path: str, conv: nn.Conv2d, preserve: bool, arguments: dict[str, Any]
) -> tuple[nn.Module, Replaced]:
    """The module that stands in for a convolution, and what is to be said of it."""
    if conv._forward_hooks or conv._forward_pre_hooks or hasattr(conv, "parametrizations"):
        raise AttnzooError(
            f"replace: {path} has hooks or parametrizations, which would be lost. Remove them first (a plug with "
            "attnzoo.remove), and put them back afterwards."
        )
    conv = _padded_by_numbers(conv)
    known = registry.signature(name).parameters
    own = {key: getattr(conv, key) for key in _OWN} | {"bias": conv.bias is not None, "channels": conv.in_channels}
    given = {**{key: value for key, value in own.items() if key in known}, **arguments}
    try:
        module = registry.create(name, **given)
        module.to(device=conv.weight.device, dtype=conv.weight.dtype)
        why = _take_over(module, name, conv) if preserve else "initialised afresh, as preserve=False asks"
        off = _difference(module, conv)
    except (AttnzooError, TypeError) as error:
        raise AttnzooError(f"replace: {path}, {conv}: {error}") from error
    preserved = not why and off <= SAME
    module.train(conv.training)
    remember(module, conv, REPLACE, name=name, arguments=encoded(given))
    counts = tuple(sum(p.numel() for p in one.parameters()) for one in (conv, module))
    said = why or f"largest difference {off:.0e}"
    return module, Replaced(path, tuple(conv.weight.shape), preserved, said, (counts[0], counts[1]))


def _padded_by_numbers(conv: nn.Conv2d) -> nn.Conv2d:
    """The same convolution, its padding 'same' or 'valid' in numbers where they say it."""
    if conv.padding == "valid":
        padding = (0, 0)
    elif conv.padding == "same" and all(
        d * (k - 1) % 2 == 0 for k, d in zip(conv.kernel_size, conv.dilation, strict=True)
    ):
        padding = tuple(d * (k - 1) // 2 for k, d in zip(conv.kernel_size, conv.dilation, strict=True))  # type: ignore[assignment]
    else:
        return conv
    twin = copy.copy(conv)  # shares the weights
    twin.padding = padding
    twin._reversed_padding_repeated_twice = [p for p in reversed(padding) for _ in range(2)]
    return twin


def _take_over(module: nn.Module, name: str, conv: nn.Conv2d) -> str:
    """Take the weights over; where that is not possible, why."""
    take_over = getattr(module, "take_over", None)
    if take_over is None:
        return f"no setting of {name} computes a plain convolution"
    try:
        take_over(conv)
    except AttnzooError as error:
        return str(error)
    return ""


def _difference(module: nn.Module, conv: nn.Conv2d) -> float:
    """How far the module is from the convolution in eval mode, of the largest value; AttnzooError for other shapes."""
    side = max(d * (k - 1) + 1 for k, d in zip(conv.kernel_size, conv.dilation, strict=True)) + 7
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, conv.in_channels, side, side, generator=generator).to(conv.weight)
    with torch.no_grad(), evaluating(module):
        wanted, found = conv(x), module(x)
    if not isinstance(found, Tensor) or found.shape != wanted.shape:
        gives = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise AttnzooError(f"gives {gives} where the convolution gives {tuple(wanted.shape)}.")
    return deviation(found, wanted)
