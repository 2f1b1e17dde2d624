"""PSConv, poly-scale convolution: several dilations within one kernel, in turn along filters and channels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.registry import Paper, register


@register(
    "ps_conv",
    title="Poly-Scale Convolution (PSConv)",
    contract="conv",
    paper=Paper(
        title="PSConv: Squeezing Feature Pyramid into One Compact Poly-Scale Convolutional Layer",
        authors="Li, Yao, Chen",
        venue="ECCV",
        year=2020,
        url="https://arxiv.org/abs/2007.06191",
    ),
    source="d-li14/PSConv@9afde67",
    source_license="MIT",
    summary="Lets the dilation change from filter to filter and from channel to channel of one kernel, in turn. It is "
    "computed as the sum of a dense convolution with gaps and two grouped ones, dilated, which fill them.",
    summary_zh="在同一个卷积核内，让膨胀率沿滤波器与通道循环变化。实现为一个留有空缺的稠密卷积与两个填补空缺的膨胀分组卷积之和。",
    placement="The 3x3 convolutions of ResNet and ResNeXt bottlenecks, for classification, detection and segmentation.",
    reported="No headline figure recorded here.",
    differences=(
        "As in the authors' code, the gaps are zeros at the start that get no gradient; weights that are loaded there "
        "count.",
        "For groups other than parts, the authors' gaps overlap or are missing; here they are where they are meant. "
        "What given weights compute is the same.",
        "The authors' constructor needs a GPU, and its gaps are in no state; here they are computed when needed.",
    ),
    not_applicable={"gradcheck": "the method gives the weights in the gaps no gradient, though they would have one"},
    settled=("padding",),
)
class PSConv(nn.Module):
    """conv(x) + near(x) + far(x with its halves swapped), near and far in parts, dilated by d and 2 d.

    Args:
        in_channels, out_channels, stride, groups, bias: as in nn.Conv2d; the bias comes three times.
        kernel_size: 3; the branches differ in size for any other.
        padding: 1, of the dense convolution.
        dilation: d, of the convolutions in parts.
        parts: p, even; parts * groups divides the channels. 2 leave nothing to the dense convolution.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)).
    Cost: 9 in_channels out_channels / groups (1 + 2 / p) weights, 2 / p of them at zero, and the multiply-adds.
    Raises: AttnzooError for numbers below 1, another kernel or padding, odd parts, channels that parts * groups does
        not divide, or an input that is not (B, in_channels, H, W).
    """

    reference_keys = {"gwconv": "near", "gwconv_shift": "far"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 1,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = False,
        parts: int = 4,
    ) -> None:
        super().__init__()
        checks.positive("ps_conv", in_channels=in_channels, out_channels=out_channels, groups=groups)
        checks.choice("ps_conv", (3,), kernel_size=checks.square("ps_conv", "kernel_size", kernel_size))
        checks.centred("ps_conv", 3, padding, 1)
        checks.multiple("ps_conv", 2, parts=parts)
        checks.divisible("ps_conv", "in_channels", in_channels, **{"groups * parts": groups * parts})
        checks.divisible("ps_conv", "out_channels", out_channels, **{"groups * parts": groups * parts})
        rate = checks.square("ps_conv", "dilation", dilation)
        self.in_channels = in_channels
        self.parts = parts
        self.groups = groups
        self.stride = checks.pair("ps_conv", "stride", stride)
        shape = (in_channels, out_channels, 3, self.stride)
        self.near = nn.Conv2d(*shape, rate, rate, groups * parts, bias)
        self.far = nn.Conv2d(*shape, 2 * rate, 2 * rate, groups * parts, bias)
        self.conv = nn.Conv2d(*shape, 1, groups=groups, bias=bias)
        with torch.no_grad():
            self.conv.weight.masked_fill_(self.gaps(), 0)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("ps_conv", x, self.in_channels)
        swapped = x.unflatten(1, (self.groups, 2, -1)).flip(2).flatten(1, 3)
        weight = self.conv.weight
        kernel = torch.where(self.gaps(), weight.detach(), weight)
        y = F.conv2d(x, kernel, self.conv.bias, self.stride, 1, 1, self.groups)
        return y + self.near(x) + self.far(swapped)

    def gaps(self) -> Tensor:
        """Where the dense kernel leaves room for the others: (out_channels, in_channels / groups, 1, 1)."""
        filters, channels = self.conv.weight.shape[:2]
        rows, columns = (torch.arange(n, device=self.conv.weight.device) for n in (filters, channels))
        ours = rows[:, None] * self.groups * self.parts // filters % self.parts
        theirs = columns * self.parts // channels
        return ((ours - theirs) % (self.parts // 2) == 0)[..., None, None]

    def take_over(self, conv: nn.Conv2d) -> None:
        """Compute what a plain 3x3 convolution does.

        `near` has its weights of each part's own channels. Those that `far` stands for, at twice the reach, stay in the
        gaps, where nothing trains them, and `far` starts at zero.
        """
        checks.same_convolution("ps_conv", conv, self.conv)
        checks.takes_over("ps_conv", conv, self.near.dilation == (1, 1), "none; build it with dilation=1")
        fits = conv.bias is None or self.conv.bias is not None
        checks.takes_over("ps_conv", conv, fits, "one without bias, as it was built with bias=False itself")
        filters, channels = self.conv.weight.shape[:2]
        weight = conv.weight.detach().clone()
        parts = (self.groups, self.parts, filters // (self.groups * self.parts), self.parts, channels // self.parts)
        own = weight.view(*parts, 3, 3).diagonal(dim1=1, dim2=3)  # a view: the parts' own channels
        self.near.weight.data.copy_(own.movedim(-1, 1).flatten(0, 2))
        own.zero_()
        self.conv.weight.data.copy_(weight)
        nn.init.zeros_(self.far.weight)
        for branch in (self.near, self.far, self.conv):
            if branch.bias is not None:
                nn.init.zeros_(branch.bias)
        if self.conv.bias is not None and conv.bias is not None:
            self.conv.bias.data.copy_(conv.bias.detach())
