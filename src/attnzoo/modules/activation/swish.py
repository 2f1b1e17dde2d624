"""Swish, also SiLU: x times its own sigmoid."""

import torch.nn.functional as F

from attnzoo.blocks import Pointwise
from attnzoo.registry import Paper, register


@register(
    "swish",
    title="Swish (SiLU)",
    contract="activation",
    paper=Paper(
        title="Searching for Activation Functions",
        authors="Ramachandran, Zoph, Le",
        venue="arXiv",
        year=2017,
        url="https://arxiv.org/abs/1710.05941",
    ),
    source="paper",
    source_license="not applicable",
    summary="Multiplies every number by its own sigmoid, which gives a smooth curve that dips below zero. It is "
    "torch's own SiLU.",
    summary_zh="把每个数乘以它自身的 sigmoid，得到一条略微低于零的平滑曲线。即 torch 自带的 SiLU。",
    placement="In place of ReLU.",
    reported="No headline figure recorded here.",
    differences=(
        "The paper also has a trainable factor beta inside the sigmoid; here it is 1.",
        "Popular collections multiply in place, which changes the caller's tensor, or write the gradient by hand, "
        "which neither scripts nor exports.",
    ),
    not_applicable={"ddp": "no parameters, so nothing to synchronise"},
)
class Swish(Pointwise):
    """x sigmoid(x).

    Args:
        inplace: write the result over the input.

    Shape: any -> the same.
    Cost: no parameters; keeps its input for the backward pass.
    Raises: AttnzooError for an input that is not floating-point.
    """

    called = "swish"
    function = staticmethod(F.silu)
