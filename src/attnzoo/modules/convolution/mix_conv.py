"""MixConv: groups of channels, each under a depthwise kernel of another size."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import widened
from attnzoo.registry import Paper, register


@register(
    "mix_conv",
    title="Mixed depthwise convolution (MixConv)",
    contract="conv",
    paper=Paper(
        title="MixConv: Mixed Depthwise Convolutional Kernels",
        authors="Tan, Le",
        venue="BMVC",
        year=2019,
        url="https://arxiv.org/abs/1907.09595",
    ),
    source="huggingface/pytorch-image-models@aa4b585",
    source_license="Apache-2.0",
    summary="Splits the channels and gives every part a depthwise convolution of another kernel size. One layer so "
    "sees fine and coarse patterns at once.",
    summary_zh="把通道分成若干份，每份使用不同核大小的深度卷积。同一层因此能同时看到细小与粗大的模式。",
    placement="The depthwise stage of MobileNet-like blocks; MixNet uses kernels from 3 to 11, more of them in late "
    "stages.",
    reported="ImageNet top-1 of the paper: MixNet-S 75.8, 256M FLOPs.",
    differences=(
        "The authors' TensorFlow layer pads by 'same', at stride 2 less on the top and left; the PyTorch ports, and so "
        "this, pad evenly.",
        "timm's default is depthwise=False, dense convolutions of the parts; MixNet takes depthwise ones.",
        "A collection's MixConv is another module: every branch is dense and reads all channels.",
    ),
    example={"kernel_size": (3, 5, 7)},
)
class MixConv(nn.Module):
    """Part i of the channels under a convolution of kernel_size[i]; the first part takes what is left over.

    Args:
        in_channels, out_channels, stride, dilation, bias: as in nn.Conv2d.
        kernel_size: odd, one for every part.
        depthwise: the parts' convolutions are depthwise; False makes them dense.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)), for strides 1 and 2.
    Cost: sum of out_i k_i^2 weights (out_i in_i k_i^2 where dense), and as many multiply-adds per place.
    Raises: AttnzooError for no or even kernels, fewer channels than kernels, parts whose outputs are no multiple of
        their depthwise inputs, or an input that is not (B, in_channels, H, W) or smaller than a kernel.
    """

    reference_keys = {r"mixed_depthwise_conv\.(\d+)": r"convs.\1", r"(\d+)": r"convs.\1"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        dilation: int | Sequence[int] = 1,
        depthwise: bool = True,
        bias: bool = False,
    ) -> None:
        super().__init__()
        kernels = (kernel_size,) if isinstance(kernel_size, int) else tuple(kernel_size)
        checks.sequence("mix_conv", kernel_size=kernels)
        checks.odd("mix_conv", **checks.items(kernel_size=kernels))
        checks.at_least("mix_conv", len(kernels), in_channels=in_channels, out_channels=out_channels)
        steps, rates = checks.pair("mix_conv", "stride", stride), checks.pair("mix_conv", "dilation", dilation)
        self.in_channels = in_channels
        self.depthwise = depthwise
        self.parts = _shares(in_channels, len(kernels))
        self.convs: Any = nn.ModuleList()
        for k, part, out in zip(kernels, self.parts, _shares(out_channels, len(kernels)), strict=True):
            if depthwise:
                checks.divisible("mix_conv", "the outputs of a part", out, **{"its inputs": part})
            padding = ((steps[0] - 1 + rates[0] * (k - 1)) // 2, (steps[1] - 1 + rates[1] * (k - 1)) // 2)
            self.convs.append(
                nn.Conv2d(part, out, k, steps, padding, rates, groups=part if depthwise else 1, bias=bias)
            )

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("mix_conv", x, self.in_channels)
        parts = x.split(self.parts, dim=1)
        return torch.cat([conv(part) for conv, part in zip(self.convs, parts, strict=True)], dim=1)

    def take_over(self, conv: nn.Conv2d) -> None:
        """Compute what a depthwise convolution of no larger kernel does, with its weights amid those of the parts."""
        wanted = "a depthwise convolution of its own channels, stride, dilation and bias, of no larger kernel"
        checks.takes_over("mix_conv", conv, all(self._holds(conv, own) for own in self.convs), wanted)
        widths = [own.out_channels for own in self.convs]
        weights = conv.weight.detach().split(widths)
        for own, weight in zip(self.convs, weights, strict=True):
            own.weight.data.copy_(widened(weight, *own.kernel_size))
        if conv.bias is not None:
            for own, bias in zip(self.convs, conv.bias.detach().split(widths), strict=True):
                own.bias.data.copy_(bias)

    def _holds(self, conv: nn.Conv2d, own: nn.Conv2d) -> bool:
        """Whether a part, with zeros around it, has room for its channels of the convolution."""
        alike = (conv.stride, conv.dilation, conv.padding_mode) == (own.stride, own.dilation, own.padding_mode)
        depthwise = self.depthwise and conv.groups == conv.in_channels == self.in_channels
        spread = conv.out_channels * own.in_channels == own.out_channels * conv.in_channels
        if not (alike and depthwise and spread) or isinstance(conv.padding, str):
            return False
        for i, dilation in enumerate(own.dilation):
            room = own.kernel_size[i] - conv.kernel_size[i]
            if room < 0 or 2 * (int(own.padding[i]) - int(conv.padding[i])) != dilation * room:
                return False
        return (conv.bias is None) == (own.bias is None)


def _shares(channels: int, parts: int) -> list[int]:
    """Equal shares, the first with the remainder."""
    share = channels // parts
    return [channels - share * (parts - 1)] + [share] * (parts - 1)
