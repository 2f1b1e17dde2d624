"""Hard swish (MobileNetV3): x times its hard sigmoid."""

import torch.nn.functional as F

from attnzoo.blocks import Pointwise
from attnzoo.modules.activation.h_sigmoid import MOBILENET_V3
from attnzoo.registry import register


@register(
    "h_swish",
    title="Hard swish (MobileNetV3)",
    contract="activation",
    paper=MOBILENET_V3,
    source="d-li14/mobilenetv3.pytorch@3e6938c",
    source_license="MIT",
    summary="Replaces swish by a curve of three pieces: zero, a parabola between -3 and 3, and the identity. It "
    "needs no exponential.",
    summary_zh="用三段曲线代替 swish：左侧为零，-3 到 3 之间为抛物线，右侧为恒等。它不需要指数运算。",
    placement="The deeper half of MobileNetV3; inside coordinate attention.",
    reported="No headline figure recorded here.",
    differences=("The gradient at exactly -3 and 3 differs between implementations; here it is torch's own.",),
    not_applicable={"ddp": "no parameters, so nothing to synchronise"},
)
class HSwish(Pointwise):
    """x min(max(x + 3, 0), 6) / 6.

    Args:
        inplace: write the result over the input.

    Shape: any -> the same.
    Cost: no parameters; keeps its input for the backward pass.
    Raises: AttnzooError for an input that is not floating-point.
    """

    called = "h_swish"
    function = staticmethod(F.hardswish)
