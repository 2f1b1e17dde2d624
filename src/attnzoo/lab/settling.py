"""Running statistics of BatchNorms, measured again when a training is over."""

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

BATCHES: Final = 32  # at most, and no more than an epoch has


@torch.no_grad()
def settle(model: nn.Module, images: Iterable[Tensor]) -> None:
    """Replace the running statistics of every BatchNorm by their mean over some batches; all else is in eval mode.

    A running average forgets (1 - momentum) a step: modules whose authors chose a momentum of 0.01 or less would be
    tested, after a short training, with statistics that still hold much of their first values.
    """
    norms = [part for part in model.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.training = True  # not train(), which would reach what is plugged in behind it
    if norms:
        for batch in images:
            model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.training = False
