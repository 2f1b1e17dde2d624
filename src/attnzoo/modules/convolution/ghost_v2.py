"""GhostNetV2's module: a Ghost module, gated by long rows and columns of a smaller map."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import Activation, precisely, wide
from attnzoo.modules.convolution.fused_conv_bn import FusedConvBN
from attnzoo.modules.convolution.ghost import Ghost
from attnzoo.registry import Paper, register


@register(
    "ghost_v2",
    title="GhostNetV2 module (Ghost module with DFC attention)",
    contract="conv",
    paper=Paper(
        title="GhostNetV2: Enhance Cheap Operation with Long-Range Attention",
        authors="Tang, Han, Guo, Xu, Xu, Wang",
        venue="NeurIPS",
        year=2022,
        url="https://arxiv.org/abs/2211.12905",
    ),
    source="huawei-noah/Efficient-AI-Backbones@f90e129",
    source_license="none found",
    summary="Multiplies a Ghost module's output by a gate that looks far along rows and columns. The gate is made on a "
    "map of half the size, by a projection and two depthwise strips, and resized.",
    summary_zh="将 Ghost 模块的输出乘以一个沿行与列远距离聚合的门。"
    "该门在半尺寸特征图上由一次投影和两个条形深度卷积得到，再放大回原尺寸。",
    placement="First Ghost module of every bottleneck, from the third block on.",
    reported="ImageNet top-1 of the paper: GhostNetV2 1.0x 75.3, 167M FLOPs.",
    differences=(
        "The paper speaks of fully connected layers along rows and columns; the authors' code, and so this, has "
        "convolutions of 1x5 and 5x1.",
        "The sigmoid comes before the gate is resized.",
    ),
    min_size=2,
)
class GhostV2(nn.Module):
    """ghost(x) * resized(sigmoid(down(across(project(pool(x)))))), `pool` the mean of 2 x 2, `resized` the nearest.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups: as in ghost; `project` has the same
            kernel, and a padding that keeps it on its place.
        ratio, dw_kernel_size, act_layer: as in ghost.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H', W') as of ghost, for any H and W from 2 up.
    Cost: that of ghost, and out_channels (in_channels k^2 / groups + 10) weights, used at a quarter of the places.
    Raises: AttnzooError for even kernels, a ratio below 2, groups that do not divide, or an input that is not
        (B, in_channels, H, W) or has a side of 1.
    """

    reference_keys = {
        "(primary_conv|cheap_operation)": r"ghost.\1",
        r"short_conv\.0": "project.conv",
        r"short_conv\.1": "project.norm",
        r"short_conv\.2": "across.conv",
        r"short_conv\.3": "across.norm",
        r"short_conv\.4": "down.conv",
        r"short_conv\.5": "down.norm",
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 1,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | None = None,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        ratio: int = 2,
        dw_kernel_size: int = 3,
        act_layer: Activation | None = nn.ReLU,
    ) -> None:
        super().__init__()
        checks.channel_groups("ghost_v2", in_channels, out_channels, groups)
        checks.at_least("ghost_v2", 2, ratio=ratio)
        size = checks.square("ghost_v2", "kernel_size", kernel_size)
        centred = checks.centred("ghost_v2", size, None, dilation)
        self.in_channels = in_channels
        self.ghost = Ghost(
            in_channels, out_channels, size, stride, padding, dilation, groups, ratio, dw_kernel_size, act_layer
        )
        self.project = FusedConvBN(in_channels, out_channels, size, stride, centred, dilation, groups, bias=False)
        self.across = FusedConvBN(out_channels, out_channels, (1, 5), 1, (0, 2), groups=out_channels, bias=False)
        self.down = FusedConvBN(out_channels, out_channels, (5, 1), 1, (2, 0), groups=out_channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("ghost_v2", x, self.in_channels)
        checks.at_least_size("ghost_v2", x, 2)
        y = self.ghost(x)
        return y * F.interpolate(self.gate(x).to(y.dtype), size=y.shape[2:], mode="nearest")

    def gate(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H' / 2, W' / 2)."""
        z = F.avg_pool2d(wide(x), 2)
        for layer in (self.project, self.across, self.down):
            z = precisely(layer, z)
        return z.sigmoid()
