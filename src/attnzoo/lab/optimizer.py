"""The optimizer of a recipe, and its learning rate at every step."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD

from attnzoo.lab.recipe import Recipe


class DecoupledSGD(SGD):
    """SGD whose groups also shrink by learning rate times `shrink` each step, beside the momentum."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        for group in self.param_groups:
            if group["shrink"]:
                torch._foreach_mul_(group["params"], 1 - group["lr"] * group["shrink"])
        return super().step(closure)


def optimizer_of(recipe: Recipe, model: nn.Module) -> SGD:
    """SGD over the parameters that the model trains, with decay where the recipe wants it."""
    trained = [p for p in model.parameters() if p.requires_grad]
    decaying = [p for p in trained if recipe.decay == "all" or p.dim() >= 2]
    others = [p for p in trained if recipe.decay != "all" and p.dim() < 2]
    given: dict[str, Any] = {"lr": recipe.learning_rate, "momentum": recipe.momentum, "nesterov": recipe.nesterov}
    groups = [(decaying, recipe.weight_decay), (others, 0.0)]
    if recipe.decoupled:
        return DecoupledSGD([{"params": part, "shrink": decay} for part, decay in groups if part], **given)
    return SGD([{"params": part, "weight_decay": decay} for part, decay in groups if part], **given)


def rate(recipe: Recipe, step: int, steps: int) -> float:
    """The share of the peak learning rate in step `step` of `steps`, counted from 0.

    A recipe that is stepped once an epoch counts its epochs here.
    """
    rising = max(1, round(recipe.warmup * steps))
    if step < rising:
        return (step + 1) / rising
    gone = (step + 1 - rising) / (steps + 1 - rising)
    return 1 - gone if recipe.schedule == "triangle" else 0.5 * (1 + math.cos(math.pi * gone))
