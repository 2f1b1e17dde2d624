"""What every variant's network costs on the device at hand: all of them measured in the same way, in turns."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import nn

from attnzoo.lab.building import build, laid_out
from attnzoo.lab.cost import cost
from attnzoo.lab.measure import Latency, forward, training_step
from attnzoo.lab.study import Measured
from attnzoo.lab.trial import PLAIN, Trial, Variant

_TOGETHER: Final = 8  # networks that are measured in turns beside the plain one, and held in memory at once
_DTYPES: Final = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def dtype_of(precision: str) -> torch.dtype | None:
    """What autocast computes in at one of the precisions of `Run`; None where it is off."""
    return _DTYPES.get(precision)


def measure(
    variants: Sequence[Variant],
    shape: tuple[int, int, int],
    classes: int,
    device: torch.device,
    batch: int,
    precision: str = "32-true",
    channels_last: bool = False,
) -> dict[Variant, Measured]:
    """Cost and times of each variant's network, in the order given; ratios are to the plain one of its backbone.

    Plain networks that differ in nothing but what they start from are one, measured once.

    Args:
        variants: of any backbones.
        shape: (C, H, W) of an image.
        classes: K.
        device: where.
        batch: images in a training step.
        precision: as in `Run`.
        channels_last: as in `Recipe`.
    """
    networks = {variant: _network(variant) for variant in variants}
    found: dict[Variant, Measured] = {}
    for backbone in dict.fromkeys(variant.backbone for variant in variants):
        plain = Variant(backbone=backbone)
        others = [v for v in dict.fromkeys(networks.values()) if v.backbone == backbone and v != plain]
        for start in range(0, max(1, len(others)), _TOGETHER):
            group = [plain, *others[start : start + _TOGETHER]]
            models = {v: laid_out(build(Trial(v, 0), shape, classes), channels_last) for v in group}
            found = _measure(models, shape, classes, device, batch, dtype_of(precision)) | found
    return {variant: found[network] for variant, network in networks.items()}


def _network(variant: Variant) -> Variant:
    """The variant by which a network is measured: a start costs nothing but the factor alpha of what is inserted."""
    return replace(variant, start="scratch") if variant.module == PLAIN else variant


def _measure(
    models: dict[Variant, nn.Module],
    shape: tuple[int, int, int],
    classes: int,
    device: torch.device,
    batch: int,
    dtype: torch.dtype | None,
) -> dict[Variant, Measured]:
    costs = {variant: cost(model, shape) for variant, model in models.items()}
    named = {variant.slug(): model for variant, model in models.items()}
    rounds = 5 if device.type == "cpu" else 30
    one = forward(named, shape, device, dtype=dtype)
    many: dict[str, Latency] = forward(named, shape, device, batch=batch, rounds=rounds, dtype=dtype)
    step = training_step(named, shape, classes, device, batch=batch, rounds=rounds, dtype=dtype)
    return {
        variant: Measured(costs[variant], one[name], many[name], step[name])
        for variant, name in zip(models, named, strict=True)
    }
