"""What every variant's network costs on the device at hand: all of them measured in the same way, in turns."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, cast

import torch
from torch import nn

from attnzoo.lab.cost import cost
from attnzoo.lab.measure import Latency, forward, training_step
from attnzoo.lab.measure.peak import peak
from attnzoo.lab.measure.site import Site
from attnzoo.lab.study import Measured
from attnzoo.lab.trial import PLAIN, Variant

_TOGETHER: Final = 8  # networks that are measured in turns beside the plain one, and held in memory at once
_DTYPES: Final = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def dtype_of(precision: str) -> torch.dtype | None:
    """What autocast computes in at one of the precisions of `Run`; None where it is off."""
    return _DTYPES.get(precision)


def measure(variants: Sequence[Variant], site: Site, batch: int, compiled: bool = False) -> dict[Variant, Measured]:
    """Cost and times of each variant's network, in the order given; ratios are to the plain one of its backbone.

    Plain networks that differ in nothing but what they start from are one, measured once.

    Args:
        variants: of any backbones.
        site: where; its own batch does not count.
        batch: images in a training step.
        compiled: time the networks through `torch.compile`, as they were trained.
    """
    networks = {variant: _network(variant) for variant in variants}
    found: dict[Variant, Measured] = {}
    for backbone in dict.fromkeys(variant.backbone for variant in variants):
        plain = Variant(backbone=backbone)
        others = [v for v in dict.fromkeys(networks.values()) if v.backbone == backbone and v != plain]
        for start in range(0, max(1, len(others)), _TOGETHER):
            group = [plain, *others[start : start + _TOGETHER]]
            found = _measure({v: site.build(v) for v in group}, site, batch, compiled) | found
    return {variant: found[network] for variant, network in networks.items()}


def _network(variant: Variant) -> Variant:
    """The variant by which a network is measured: a start costs nothing but the factor alpha of what is inserted."""
    return replace(variant, start="scratch") if variant.module == PLAIN else variant


def _measure(models: Mapping[Variant, nn.Module], site: Site, batch: int, compiled: bool) -> dict[Variant, Measured]:
    costs = {variant: cost(model, site.shape) for variant, model in models.items()}
    shape, device, dtype = site.shape, site.device, site.dtype
    named = {variant.slug(): model for variant, model in models.items()}
    if compiled:
        named = {name: cast(nn.Module, torch.compile(model, dynamic=False)) for name, model in named.items()}
    rounds = 5 if device.type == "cpu" else 30
    one = forward(named, shape, device, dtype=dtype)
    many: dict[str, Latency] = forward(named, shape, device, batch=batch, rounds=rounds, dtype=dtype)
    step = training_step(named, shape, site.classes, device, batch=batch, rounds=rounds, dtype=dtype)
    most = peak(torch.cuda.get_device_name(device), dtype) if device.type == "cuda" else None
    return {
        variant: Measured(costs[variant], one[name], many[name], step[name], most)
        for variant, name in zip(models, named, strict=True)
    }
