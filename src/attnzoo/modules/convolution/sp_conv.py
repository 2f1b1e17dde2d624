"""SPConv: some channels get a 3x3 convolution, the redundant rest a 1x1, and a softmax mixes the two."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely, spatial_mean
from attnzoo.registry import Paper, register


@register(
    "sp_conv",
    title="Split-based Convolution (SPConv)",
    contract="conv",
    paper=Paper(
        title="Split to Be Slim: An Overlooked Redundancy in Vanilla Convolution",
        authors="Zhang, Jiang, Lu, Han, Zeng, Gao, Men",
        venue="IJCAI",
        year=2020,
        url="https://arxiv.org/abs/2006.12085",
    ),
    source="qiulinzhang/SPConv.pytorch@78c734f",
    source_license="none found",
    summary="Gives a representative part of the channels a grouped 3x3 and a 1x1 convolution, and the redundant rest a "
    "cheap 1x1. Channel by channel, a softmax over the pooled results mixes the two.",
    summary_zh="把有代表性的那部分通道交给分组 3x3 与 1x1 卷积，其余冗余通道只用廉价的 1x1 卷积。"
    "再按两路池化结果的 softmax 逐通道混合。",
    placement="The 3x3 convolutions of ResNet or VGG.",
    reported="No headline figure recorded here.",
    differences=(
        "At stride 2 the authors' code fails for odd sizes, whose convolution and pooling differ; here they are "
        "refused by name.",
        "The 3x3 convolution always has two groups; the authors' argument groups is not used.",
        "An older copy in a collection fails in every call, and squeezes away a batch of one.",
    ),
    settled=("padding",),
)
class SPConv(nn.Module):
    """s_u u + s_v v, u = norm1(conv3(a) + conv1(a)), v = norm2(rest(b)), s the softmax of their means; a, b the parts.

    Args:
        in_channels, out_channels: as in nn.Conv2d; out_channels is even.
        kernel_size: 3; the method knows no other.
        stride: 1, or 2, with an average pooling before the 1x1 convolutions.
        padding: 1; the method knows no other.
        ratio: a is the first int(in_channels * ratio) channels, an even number; above 0, below 1.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride).
    Cost: out_channels (in_channels + 4.5 a + 5) weights, and about as many multiply-adds per place.
    Raises: AttnzooError for another kernel, padding or stride, odd parts or out_channels, a part without channels, an
        input that is not (B, in_channels, H, W) or whose size the stride does not divide, or a single value per channel
        in training mode.
    """

    reference_keys = {"gwc": "conv3", "pwc": "conv1", "conv1x1": "rest", "bn1": "norm1", "bn2": "norm2"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 1,
        ratio: float = 0.5,
    ) -> None:
        super().__init__()
        checks.positive("sp_conv", in_channels=in_channels, out_channels=out_channels)
        checks.choice("sp_conv", (3,), kernel_size=checks.square("sp_conv", "kernel_size", kernel_size))
        checks.centred("sp_conv", 3, padding, 1)
        step = checks.square("sp_conv", "stride", stride)
        checks.choice("sp_conv", (1, 2), stride=step)
        checks.probability("sp_conv", ratio=ratio)
        checks.multiple("sp_conv", 2, out_channels=out_channels)
        width = int(in_channels * ratio)
        checks.multiple("sp_conv", 2, **{f"int(in_channels * ratio={ratio})": width})
        self.in_channels = in_channels
        self.stride = step
        self.parts = (width, in_channels - width)
        self.conv3 = nn.Conv2d(width, out_channels, 3, step, padding=1, groups=2, bias=False)
        self.conv1 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.rest = nn.Conv2d(in_channels - width, out_channels, 1)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("sp_conv", x, self.in_channels)
        checks.divided("sp_conv", x, stride=self.stride)
        a, b = x.split(self.parts, dim=1)
        near = precisely(self.conv3, a)
        if self.stride > 1:
            a, b = F.avg_pool2d(a, self.stride), F.avg_pool2d(b, self.stride)
        if self.training:
            checks.several_values("sp_conv", a)
        u = precisely(self.norm1, near + precisely(self.conv1, a))
        v = precisely(self.norm2, precisely(self.rest, b))
        weights = self.gate(u, v)[..., None, None]
        return torch.addcmul(u * weights[:, 0], v, weights[:, 1]).to(x.dtype)

    def gate(self, u: Tensor, v: Tensor) -> Tensor:
        """(B, out_channels, H', W') twice -> their weights (B, 2, out_channels), which sum to 1."""
        return torch.stack([spatial_mean(u), spatial_mean(v)], dim=1).softmax(dim=1)
