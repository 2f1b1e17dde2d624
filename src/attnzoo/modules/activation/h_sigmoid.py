"""Hard sigmoid (MobileNetV3): a ramp from 0 to 1 between -3 and 3."""

import torch.nn.functional as F

from attnzoo.blocks import Pointwise
from attnzoo.registry import Paper, register

MOBILENET_V3 = Paper(
    title="Searching for MobileNetV3",
    authors="Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam",
    venue="ICCV",
    year=2019,
    url="https://arxiv.org/abs/1905.02244",
)


@register(
    "h_sigmoid",
    title="Hard sigmoid (MobileNetV3)",
    contract="activation",
    paper=MOBILENET_V3,
    source="d-li14/mobilenetv3.pytorch@3e6938c",
    source_license="MIT",
    summary="Replaces the sigmoid by a straight ramp from 0 at -3 to 1 at 3. It needs no exponential and loses "
    "nothing in low precision.",
    summary_zh="用一段直线斜坡代替 sigmoid，在 -3 处为 0，在 3 处为 1。它不需要指数运算，低精度下也无损失。",
    placement="The gate of SE in MobileNetV3 and GhostNet, and of coordinate attention.",
    reported="No headline figure recorded here.",
    differences=(
        "At exactly -3 and 3 the gradient is 0 in torch and 1/6 in timm's memory-saving form.",
        "Torch's own function holds 1/6 in float32, so that in float64 its gradient is 2e-8 off.",
        "The hard sigmoid of Keras was for years clamp(0.2 x + 0.5), another function.",
        "The authors work in place by default, on a temporary tensor, which is harmless.",
    ),
    not_applicable={"ddp": "no parameters, so nothing to synchronise"},
)
class HSigmoid(Pointwise):
    """min(max(x + 3, 0), 6) / 6.

    Args:
        inplace: write the result over the input.

    Shape: any -> the same.
    Cost: no parameters; keeps its input for the backward pass.
    Raises: AttnzooError for an input that is not floating-point.
    """

    called = "h_sigmoid"
    function = staticmethod(F.hardsigmoid)
