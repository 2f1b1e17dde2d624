"""LSKA, Large Separable Kernel Attention: LKA with every kernel split into a row and a column."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import SQUARES, depthwise
from attnzoo.modules.channel_spatial.lka import LargeKernel
from attnzoo.registry import Paper, register

_STEPS = {7: (3, 3, 2), 11: (3, 5, 2), 23: (5, 7, 3), 35: (5, 11, 3), 41: (5, 13, 3), 53: (5, 17, 3)}  # k: near, far, d


@register(
    "lska",
    title="Large Separable Kernel Attention",
    contract="feature",
    paper=Paper(
        title="Large Separable Kernel Attention: Rethinking the Large Kernel Attention Design in CNN",
        authors="Lau, Po, Rehman",
        venue="ESWA",
        year=2024,
        url="https://arxiv.org/abs/2309.01439",
    ),
    source="StevenLauHKHK/Large-Separable-Kernel-Attention@bb2a8d2",
    source_license="Apache-2.0",
    summary="Does what lka does with a horizontal and a vertical strip in place of each two-dimensional kernel. The "
    "cost then grows with the length of the kernel, not with its area.",
    summary_zh="与 lka 相同，但每个二维卷积核都换成一横一竖两条。代价随核的边长而非面积增长。",
    placement="In place of lka in the blocks of VAN.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors' class has no default kernel size, and for one outside its table builds no layers and says "
        "nothing; here that is an error.",
    ),
    not_applicable=SQUARES,
)
class LSKA(LargeKernel):
    """Scale x by mix(spread(local(x))); local and spread are a row and a column each, spread with dilation.

    Args:
        channels: C, the channels of the input.
        kernel_size: the reach of all steps together: 7, 11, 23, 35, 41 or 53.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: C (2 k + 2 m + C + 5) parameters, k and m the lengths of the strips; linear in the map.
    Raises: AttnzooError for another kernel_size, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        "conv0h": "local.0",
        "conv0v": "local.1",
        "conv_spatial_h": "spread.0",
        "conv_spatial_v": "spread.1",
        "conv1": "mix",
    }

    def __init__(self, channels: int, kernel_size: int = 23) -> None:
        checks.positive("lska", channels=channels)
        checks.choice("lska", _STEPS, kernel_size=kernel_size)
        near, far, dilation = _STEPS[kernel_size]
        local = nn.Sequential(depthwise(channels, (1, near)), depthwise(channels, (near, 1)))
        spread = nn.Sequential(depthwise(channels, (1, far), dilation), depthwise(channels, (far, 1), dilation))
        super().__init__(channels, local, spread)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("lska", x, self.channels)
        return x * self.gate(x)
