"""The Ghost module: some channels by an ordinary convolution, the others cheaply from those."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import Activation
from attnzoo.modules.convolution.fused_conv_bn import FusedConvBN
from attnzoo.registry import Paper, register

GHOSTNET = Paper(
    title="GhostNet: More Features from Cheap Operations",
    authors="Han, Wang, Tian, Guo, Xu, Xu",
    venue="CVPR",
    year=2020,
    url="https://arxiv.org/abs/1911.11907",
)


@register(
    "ghost",
    title="Ghost module",
    contract="conv",
    paper=GHOSTNET,
    source="huawei-noah/Efficient-AI-Backbones@f90e129",
    source_license="none found",
    summary="Makes only a part of the output channels by an ordinary convolution, and derives the others from them by "
    "small depthwise filters. Both parts together stand for the full convolution at about 1/ratio of its cost.",
    summary_zh="只用普通卷积产生一部分输出通道，其余通道由它们经小的深度卷积廉价导出。"
    "两部分拼接起来代替完整卷积，代价约为其 1/ratio。",
    placement="Every 1x1 convolution of the Ghost bottleneck; in Ghost-ResNet any convolution.",
    reported="ImageNet top-1 of the paper: GhostNet 1.0x 73.9, 141M FLOPs.",
    differences=(
        "The channels beyond out_channels, where ratio does not divide it, are computed and dropped as in the authors' "
        "code, so that the weights fit.",
        "The authors have no dilation and no groups, and pad by kernel_size // 2: the defaults here.",
        "timm has the same module under other argument names.",
    ),
)
class Ghost(nn.Module):
    """[p, q]: p = act(norm(primary(x))) and q = act(norm(cheap(p))), the first out_channels of them.

    Args:
        in_channels, out_channels, stride, groups: as in nn.Conv2d; groups divides in_channels and the channels of p.
        kernel_size, padding, dilation: of the primary convolution; a padding of None keeps the size of the map.
        ratio: the primary convolution makes ceil(out_channels / ratio) channels, at least 2.
        dw_kernel_size: of the cheap depthwise filters, odd.
        act_layer: makes the activation; None leaves it out.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H', W'), H' and W' as of the primary convolution.
    Cost: init (in_channels k^2 / groups + (ratio - 1) d^2) weights, init = ceil(out_channels / ratio), and the norms.
    Raises: AttnzooError for even kernels, a ratio below 2, groups that do not divide, or an input that is not
        (B, in_channels, H, W).
    """

    reference_keys = {
        r"primary_conv\.0": "primary.conv",
        r"primary_conv\.1": "primary.norm",
        r"cheap_operation\.0": "cheap.conv",
        r"cheap_operation\.1": "cheap.norm",
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
        checks.positive("ghost", in_channels=in_channels, out_channels=out_channels)
        checks.at_least("ghost", 2, ratio=ratio)
        checks.odd("ghost", dw_kernel_size=dw_kernel_size)
        size = checks.square("ghost", "kernel_size", kernel_size)
        centred = checks.centred("ghost", size, None, dilation)
        window = checks.window("ghost", size, stride, centred if padding is None else padding, dilation)
        init = -(-out_channels // ratio)
        checks.channel_groups("ghost", in_channels, init, groups)
        self.in_channels = in_channels
        self.derived = out_channels - init
        self.primary = FusedConvBN(in_channels, init, *window, groups=groups, bias=False)
        self.cheap = FusedConvBN(
            init, init * (ratio - 1), dw_kernel_size, padding=dw_kernel_size // 2, groups=init, bias=False
        )
        self.act = act_layer() if act_layer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("ghost", x, self.in_channels)
        p = self.act(self.primary(x))
        q = self.act(self.cheap(p))
        return torch.cat([p, q[:, : self.derived]], dim=1)
