"""PyConv: convolutions of growing kernel and growing number of groups, side by side."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.registry import Paper, register


@register(
    "py_conv",
    title="Pyramidal Convolution (PyConv)",
    contract="conv",
    paper=Paper(
        title="Pyramidal Convolution: Rethinking Convolutional Neural Networks for Visual Recognition",
        authors="Duta, Liu, Zhu, Shao",
        venue="arXiv",
        year=2020,
        url="https://arxiv.org/abs/2006.11538",
    ),
    source="iduta/pyconv@d8b39cf",
    source_license="MIT",
    summary="Several convolutions read the whole input side by side, the larger their kernel the more grouped, and "
    "their outputs are concatenated. Large kernels so cost no more than the small ones.",
    summary_zh="多个卷积并行读取全部输入，核越大分组越多，输出沿通道拼接。因此大卷积核的代价并不高于小卷积核。",
    placement="In place of the 3x3 convolution of a bottleneck: kernels 3, 5, 7, 9 with groups 1, 4, 8, 16 in the "
    "first stage, one level less in every further one.",
    reported="ImageNet top-1 of the release: ResNet-50 76.12 to 77.88, ResNet-101 78.00 to 79.01.",
    differences=(
        "The authors pad by k // 2 whatever the dilation, so that dilated levels do not fit each other; here the "
        "padding grows with it.",
        "The authors' out_channels is a list; here a number is also taken, and shared out as their networks do.",
    ),
    example={"kernel_size": (3, 5), "groups": (1, 4)},
)
class PyConv(nn.Module):
    """[conv_1(x), conv_2(x), ...], level i with kernel_size[i] and groups[i].

    Args:
        in_channels: channels of the input, a multiple of every item of groups.
        out_channels: channels of every level; a number is shared out equally, but among three levels as a quarter, a
            quarter and a half.
        kernel_size: of every level, odd.
        stride, dilation, bias: of all levels, as in nn.Conv2d.
        groups: of every level.

    Shape: (B, in_channels, H, W) -> (B, sum of out_channels, ceil(H / stride), ceil(W / stride)).
    Cost: sum of out_i in_channels k_i^2 / groups_i weights, and as many multiply-adds per place.
    Raises: AttnzooError for lists of different lengths, even kernels, groups that do not divide, or an input that is
        not (B, in_channels, H, W).
    """

    reference_keys = {"pyconv_levels": "levels"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int | Sequence[int],
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        dilation: int | Sequence[int] = 1,
        groups: int | Sequence[int] = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        checks.positive("py_conv", in_channels=in_channels)
        kernels = (kernel_size,) if isinstance(kernel_size, int) else kernel_size
        checks.sequence("py_conv", kernel_size=kernels)
        checks.odd("py_conv", **checks.items(kernel_size=kernels))
        levels = len(kernels)
        widths = _shares(out_channels, levels) if isinstance(out_channels, int) else out_channels
        splits = (groups,) * levels if isinstance(groups, int) else groups
        checks.sequence("py_conv", levels, out_channels=widths, groups=splits)
        steps, rates = checks.pair("py_conv", "stride", stride), checks.pair("py_conv", "dilation", dilation)
        for out, split in zip(widths, splits, strict=True):
            checks.channel_groups("py_conv", in_channels, out, split)
        self.in_channels = in_channels
        self.levels = nn.ModuleList(
            nn.Conv2d(in_channels, out, k, steps, checks.centred("py_conv", k, None, rates), rates, split, bias)
            for out, k, split in zip(widths, kernels, splits, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("py_conv", x, self.in_channels)
        return torch.cat([level(x) for level in self.levels], dim=1)


def _shares(out_channels: int, levels: int) -> list[int]:
    """The channels of every level of the authors' networks."""
    checks.positive("py_conv", out_channels=out_channels)
    parts = [1, 1, 2] if levels == 3 else [1] * levels
    checks.divisible("py_conv", "out_channels", out_channels, **{"the parts of kernel_size": sum(parts)})
    return [out_channels // sum(parts) * part for part in parts]
