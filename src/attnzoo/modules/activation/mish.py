"""Mish: x times the hyperbolic tangent of its softplus."""

import torch.nn.functional as F

from attnzoo.blocks import Pointwise
from attnzoo.registry import Paper, register


@register(
    "mish",
    title="Mish",
    contract="activation",
    paper=Paper(
        title="Mish: A Self Regularized Non-Monotonic Activation Function",
        authors="Misra",
        venue="BMVC",
        year=2020,
        url="https://arxiv.org/abs/1908.08681",
    ),
    source="digantamisra98/Mish@ec1faeb",
    source_license="MIT",
    summary="A smooth curve close to swish: every number times the hyperbolic tangent of its softplus. Small negative "
    "numbers pass through weakened, large ones vanish.",
    summary_zh="与 swish 相近的平滑曲线：每个数乘以其 softplus 的双曲正切。较小的负数被削弱后通过，较大的负数则消失。",
    placement="In place of ReLU, as in the backbone of YOLOv4.",
    reported="No headline figure recorded here.",
    differences=(
        "A popular collection multiplies in place, which changes the caller's tensor.",
        "Hard Mish, 0.5 x clamp(x + 2, 0, 2), is another function.",
    ),
    not_applicable={"ddp": "no parameters, so nothing to synchronise"},
)
class Mish(Pointwise):
    """x tanh(log(1 + exp(x))).

    Args:
        inplace: write the result over the input.

    Shape: any -> the same.
    Cost: no parameters; keeps its input for the backward pass.
    Raises: AttnzooError for an input that is not floating-point.
    """

    called = "mish"
    function = staticmethod(F.mish)
