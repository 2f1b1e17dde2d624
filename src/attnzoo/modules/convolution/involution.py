"""Involution: every place makes a kernel of its own, which many channels share."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import SQUARES, ConvNormAct, laid_out_like, neighbour_sum, without_autocast
from attnzoo.registry import Paper, register


@register(
    "involution",
    title="Involution",
    contract="feature",
    plug_in=False,
    paper=Paper(
        title="Involution: Inverting the Inherence of Convolution for Visual Recognition",
        authors="Li, Hu, Wang, Li, She, Zhu, Zhang, Chen",
        venue="CVPR",
        year=2021,
        url="https://arxiv.org/abs/2103.06255",
    ),
    source="d-li14/involution@21c3158",
    source_license="MIT",
    summary="Makes a kernel for every place from the features of that very place, and shares it between 16 channels at "
    "a time. Specific in space and shared over channels, it turns a convolution inside out.",
    summary_zh="由每个位置自身的特征生成该位置的卷积核，并让每 16 个通道共用。"
    "空间上各不相同、通道间共享，正好与卷积相反。",
    placement="The 3x3 convolutions of ResNet bottlenecks, with kernels of 7 (RedNet).",
    reported="ImageNet top-1: RedNet-50 78.35, 15.5M parameters, 2.7 GFLOPs (ResNet-50 in that setting: 76.8).",
    differences=(
        "The authors' plain code stores k^2 copies of the map; here the places of the kernel are summed one by one.",
        "Where the stride does not divide the map, the authors' code fails in a reshape; here it is refused by name.",
        "reduction and group_channels are fixed in the authors' code, to 4 and 16.",
        "A collection's port gives the first layer a bias, and takes the number of groups instead.",
    ),
    not_applicable=SQUARES,
)
class Involution(nn.Module):
    """y[p] = sum over the window of kernel[p] * x, kernel = span(relu(norm(reduce(x)))), pooled first for a stride.

    Args:
        channels: C, the channels of input and output.
        kernel_size: k, odd.
        stride: 1 keeps the map's size; it divides H and W.
        reduction: the bottleneck has C // reduction channels.
        group_channels: how many channels share a kernel.

    Shape: (B, C, H, W) -> (B, C, H / stride, W / stride).
    Cost: C (C + k^2 C / group_channels) / reduction weights; as many multiply-adds per place of the output, and C k^2.
    Raises: AttnzooError for an even kernel, a reduction or group_channels that does not divide channels, or an input
        that is not (B, C, H, W) or whose size the stride does not divide.
    """

    reference_keys = {r"conv1\.conv": "reduce.conv", r"conv1\.bn": "reduce.norm", r"conv2\.conv": "span"}

    def __init__(
        self,
        channels: int,
        kernel_size: int | Sequence[int] = 7,
        stride: int | Sequence[int] = 1,
        reduction: int = 4,
        group_channels: int = 16,
    ) -> None:
        super().__init__()
        checks.positive("involution", channels=channels, reduction=reduction, group_channels=group_channels)
        checks.divisible("involution", "channels", channels, reduction=reduction, group_channels=group_channels)
        self.channels = channels
        self.kernel_size = checks.square("involution", "kernel_size", kernel_size)
        self.stride = checks.square("involution", "stride", stride)
        checks.odd("involution", kernel_size=self.kernel_size)
        self.groups = channels // group_channels
        self.reduce = ConvNormAct(channels, channels // reduction)
        self.span = nn.Conv2d(channels // reduction, self.kernel_size**2 * self.groups, 1)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("involution", x, self.channels)
        checks.divided("involution", x, stride=self.stride)
        kernels = self.gate(x).unflatten(1, (self.groups, 1, -1))
        padded = F.pad(x, (self.kernel_size // 2,) * 4).unflatten(1, (self.groups, -1))
        with without_autocast(x):
            y = neighbour_sum(kernels, padded, self.kernel_size, self.stride)
        return laid_out_like(y.flatten(1, 2), x).to(x.dtype)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the kernels (B, groups k^2, H / stride, W / stride)."""
        pooled = F.avg_pool2d(x, self.stride) if self.stride > 1 else x
        if self.training:
            checks.several_values("involution", pooled)
        return self.span(self.reduce(pooled))
