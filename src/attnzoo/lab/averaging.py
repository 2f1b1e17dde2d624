"""An exponential average of a network's weights, slow to forget only towards the end of the training."""

import copy
from typing import Final

import torch
from torch import Tensor, nn

EVERY: Final = 5  # steps between two updates


class Average:
    """A copy of a model that follows its weights and statistics.

    Args:
        model: what to follow.
        remains: what remains of the average in one step at the end of the training.
    """

    def __init__(self, model: nn.Module, remains: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.remains = remains

    @torch.no_grad()
    def update(self, model: nn.Module, gone: float) -> None:
        """Move towards the model's weights; `gone` is the share of the training that is over.

        To be called every EVERY steps and after the last.
        """
        mine, theirs = list(_tensors(self.model)), list(_tensors(model))
        moving = [i for i, value in enumerate(mine) if value.is_floating_point()]
        share = 1 - self.remains**EVERY * gone**3
        torch._foreach_lerp_([mine[i] for i in moving], [theirs[i] for i in moving], share)
        for i in set(range(len(mine))) - set(moving):
            mine[i].copy_(theirs[i])


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
