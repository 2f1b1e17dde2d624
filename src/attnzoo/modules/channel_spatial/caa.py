"""CAA, Context Anchor Attention: an average over the neighbourhood, drawn out by two strips, makes a gate."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, depthwise
from attnzoo.registry import Paper, register


@register(
    "caa",
    title="Context Anchor Attention",
    contract="feature",
    paper=Paper(
        title="Poly Kernel Inception Network for Remote Sensing Detection",
        authors="Cai, Lai, Wang, Wang, Sun, Yao",
        venue="CVPR",
        year=2024,
        url="https://arxiv.org/abs/2403.06258",
    ),
    source="NUST-Machine-Intelligence-Laboratory/PKINet@c1e72da",
    source_license="Apache-2.0",
    summary="Averages every 7x7 neighbourhood and passes it through a depthwise row and column between two pointwise "
    "convolutions; a sigmoid makes the gate. Its field of view is long and thin.",
    summary_zh="对每个 7x7 邻域取平均，经两个逐点卷积之间的一横一竖深度卷积，再由 sigmoid 得到门。其感受野又长又细。",
    placement="Every block of PKINet, with kernels that grow with the depth of the block.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors' class returns the gate alone, which PKINet multiplies with the features of another branch; "
        "here it multiplies its own input, and the method gate gives it alone.",
        "A SiLU stands before the sigmoid, so that no gate falls below 0.43.",
    ),
)
class CAA(nn.Module):
    """Scale x by sigmoid(act(norm(W2 column(row(act(norm(W1 mean7(x)))))))).

    Args:
        channels: C, the channels of the input.
        h_kernel_size: the length of the row, odd.
        v_kernel_size: the length of the column, odd.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C^2 + C (h_kernel_size + v_kernel_size + 6) parameters; linear in the map.
    Raises: AttnzooError for even kernels, a training batch of a single pixel, or an input that is not
        (B, C, H, W).
    """

    reference_keys = {
        r"conv1\.bn": "conv1.norm",
        r"h_conv\.conv": "row",
        r"v_conv\.conv": "column",
        r"conv2\.bn": "conv2.norm",
    }

    def __init__(self, channels: int, h_kernel_size: int = 11, v_kernel_size: int = 11) -> None:
        super().__init__()
        checks.positive("caa", channels=channels)
        checks.odd("caa", h_kernel_size=h_kernel_size, v_kernel_size=v_kernel_size)
        self.channels = channels
        norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.03)
        self.conv1 = ConvNormAct(channels, channels, norm_layer=norm, act_layer=nn.SiLU)
        self.row = depthwise(channels, (1, h_kernel_size))
        self.column = depthwise(channels, (v_kernel_size, 1))
        self.conv2 = ConvNormAct(channels, channels, norm_layer=norm, act_layer=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("caa", x, self.channels)
        if self.training:
            checks.several_values("caa", x)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        anchors = F.avg_pool2d(x, 7, stride=1, padding=3)  # the zeros outside count
        return self.conv2(self.column(self.row(self.conv1(anchors)))).sigmoid()
