"""RepVGG: a 3x3, a 1x1 and an identity branch in training, one 3x3 convolution for inference."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import Activation, fuse_conv_bn, identity_kernel, plain_conv, silence, widened
from attnzoo.modules.channel.se import SE
from attnzoo.modules.convolution.fused_conv_bn import FusedConvBN
from attnzoo.registry import Paper, register


@register(
    "rep_vgg",
    title="RepVGG block",
    contract="conv",
    paper=Paper(
        title="RepVGG: Making VGG-style ConvNets Great Again",
        authors="Ding, Zhang, Ma, Han, Ding, Sun",
        venue="CVPR",
        year=2021,
        url="https://arxiv.org/abs/2101.03697",
    ),
    source="DingXiaoH/RepVGG@eae7c52",
    source_license="MIT",
    summary="In training a 3x3 convolution, a 1x1 convolution and, where the shape stays, the input itself are each "
    "normalised and summed. As all three are linear, one 3x3 convolution replaces them exactly for inference.",
    summary_zh="训练时 3x3 卷积、1x1 卷积以及（形状不变时）输入自身各自归一化后相加。"
    "三路皆为线性，推理时可精确合并为一个 3x3 卷积。",
    placement="Every layer of RepVGG; in place of convolution, BatchNorm and ReLU.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors give dilation to the folded convolution only; here it holds for the 3x3 branch too, so that both "
        "forms agree.",
        "The authors' SE pools with a square window of the map's width, right for square maps only; here it takes "
        "the mean of any map.",
        "A popular collection has no stride in the training branches.",
        "Instead of the authors' deploy=True, `folded` gives a plain convolution, into which rbr_reparam weights fit.",
    ),
)
class RepVGG(nn.Module):
    """act(se(norm(conv3(x)) + norm(conv1(x)) + norm(x))), the last term only at stride 1 and equal channels.

    Args:
        in_channels, out_channels, stride, groups: as in nn.Conv2d.
        kernel_size: 3; the method knows no other.
        padding: dilation, which None stands for.
        dilation: of the 3x3 kernel.
        use_se: gate the sum by SE, of the reduction 16, before the activation.
        act_layer: makes the activation; None leaves it out.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)).
    Cost: 10 in_channels out_channels / groups weights and the norms; folded, 9 and a bias.
    Raises: AttnzooError for another kernel or padding, groups that do not divide, SE on fewer than 16 channels, or an
        input that is not (B, in_channels, H, W).
    """

    reference_keys = {
        r"rbr_dense\.conv": "branches.convs.0.conv",
        r"rbr_dense\.bn": "branches.convs.0.norm",
        r"rbr_1x1\.conv": "branches.point.conv",
        r"rbr_1x1\.bn": "branches.point.norm",
        "rbr_identity": "branches.skip",
        r"se\.down": "se.mlp.fc1",
        r"se\.up": "se.mlp.fc2",
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | None = None,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        use_se: bool = False,
        act_layer: Activation | None = nn.ReLU,
    ) -> None:
        super().__init__()
        checks.channel_groups("rep_vgg", in_channels, out_channels, groups)
        size = checks.square("rep_vgg", "kernel_size", kernel_size)
        checks.choice("rep_vgg", (3,), kernel_size=size)
        checks.pair("rep_vgg", "stride", stride)
        checks.centred("rep_vgg", size, padding, dilation)
        self.in_channels = in_channels
        self.branches = Branches(in_channels, out_channels, size, stride, dilation, groups)
        width = checks.reduced("rep_vgg", out_channels, 16, "channels of SE") if use_se else 0
        self.se = SE(out_channels, bias=True, hidden_channels=width) if use_se else nn.Identity()
        self.act = act_layer() if act_layer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("rep_vgg", x, self.in_channels)
        return self.act(self.se(self.branches(x)))

    def folded(self) -> nn.Module:
        """One convolution, and what follows the branches."""
        return followed(self.branches.folded(), self.se, self.act)

    def take_over(self, conv: nn.Conv2d) -> None:
        """Compute in eval mode what a convolution of the same form does, with its weights in the 3x3 branch."""
        checks.bare("rep_vgg", use_se=self.se, act_layer=self.act)
        self.branches.take_over(conv)


class Branches(nn.Module):
    """The sum of `count` k x k convolutions, a 1x1 where k is larger, and x where the shape stays, each normalised.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int | Sequence[int],
        dilation: int | Sequence[int],
        groups: int,
        count: int = 1,
    ) -> None:
        super().__init__()
        padding = checks.centred("Branches", kernel_size, None, dilation)
        self.convs: Any = nn.ModuleList(
            FusedConvBN(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=False)
            for _ in range(count)
        )
        self.point: FusedConvBN | None = None
        if kernel_size > 1:
            self.point = FusedConvBN(in_channels, out_channels, 1, stride, groups=groups, bias=False)
        stays = in_channels == out_channels and checks.pair("Branches", "stride", stride) == (1, 1)
        self.skip = nn.BatchNorm2d(in_channels) if stays else None

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = (branch for branch in (*self.convs, self.point) if branch is not None)
        y = first(x)
        for branch in rest:
            y = y + branch(x)
        if self.skip is None:
            return y
        apart = x.to(x.dtype)  # quantisers would fold the norm into the convolution before, though x is read above too
        return y + self.skip(apart)

    def folded(self) -> nn.Conv2d:
        """The one convolution that computes what the branches do in eval mode."""
        kernels, biases = zip(*(branch.fused() for branch in self.convs), strict=True)
        weight, bias = torch.stack(kernels).sum(dim=0), torch.stack(biases).sum(dim=0)
        size = weight.shape[2:]
        others = [] if self.point is None else [self.point.fused()]
        if self.skip is not None:
            others.append(fuse_conv_bn(identity_kernel(self.convs[0].conv.weight), None, self.skip))
        for kernel, shift in others:
            weight, bias = weight + widened(kernel, *size), bias + shift
        return plain_conv(weight, bias, like=self.convs[0].conv)

    def take_over(self, conv: nn.Conv2d) -> None:
        """Hand a convolution to the first branch, and let the others start at zero."""
        first, *rest = self.convs
        first.take_over(conv)
        norms = [branch.norm for branch in (*rest, self.point) if branch is not None]
        silence(*norms, *([] if self.skip is None else [self.skip]))


def followed(conv: nn.Module, *rest: nn.Module) -> nn.Module:
    """A convolution and copies of what follows it, without identities."""
    parts = [copy.deepcopy(part) for part in rest if not isinstance(part, nn.Identity)]
    return nn.Sequential(conv, *parts) if parts else conv
