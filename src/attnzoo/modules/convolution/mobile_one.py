"""MobileOne: several equal branches, a 1x1 and a skip in training, one convolution for inference."""

from collections.abc import Sequence

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import Activation
from attnzoo.modules.channel.se import SE
from attnzoo.modules.convolution.rep_vgg import Branches, followed
from attnzoo.registry import Paper, register


@register(
    "mobile_one",
    title="MobileOne block",
    contract="conv",
    paper=Paper(
        title="MobileOne: An Improved One millisecond Mobile Backbone",
        authors="Vasu, Gabriel, Zhu, Tuzel, Ranjan",
        venue="CVPR",
        year=2023,
        url="https://arxiv.org/abs/2206.04040",
    ),
    source="apple/ml-mobileone@b7f4e6d",
    source_license="other: Copyright (C) 2022 Apple Inc. All Rights Reserved.",
    summary="RepVGG's block with several k x k branches of the same form, each with its BatchNorm, beside the 1x1 "
    "branch and the skip. All fold into one convolution for inference.",
    summary_zh="在 RepVGG 模块的 1x1 分支与跳连之外，并列若干个结构相同、各带 BatchNorm 的 k x k 分支。"
    "推理时全部合并为一个卷积。",
    placement="A depthwise 3x3 block and then a 1x1 block, in place of a separable convolution.",
    reported="ImageNet top-1 of the paper: MobileOne-S1 75.9 with 4.8M parameters, folded.",
    differences=(
        "The authors take a dilation and ignore it in training; here it holds for the k x k branches.",
        "A collection has a version of its own, with the depthwise and the pointwise part in one class.",
        "Instead of the authors' inference_mode=True, `folded` gives a plain convolution, into which reparam_conv "
        "weights fit.",
    ),
    example={"kernel_size": 3, "padding": 1},
)
class MobileOne(nn.Module):
    """act(se(sum norm(conv_i(x)) + norm(conv1(x)) + norm(x))), the last term only at stride 1 and equal channels.

    Args:
        in_channels, out_channels, stride, groups: as in nn.Conv2d.
        kernel_size: k of the branches, odd; at 1 the 1x1 branch falls away.
        padding: dilation (k // 2), which None stands for.
        dilation: of the k x k branches.
        use_se: gate the sum by SE, of the reduction 16, before the activation.
        num_branches: how many k x k branches.
        act_layer: makes the activation; None leaves it out.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)).
    Cost: (num_branches k^2 + 1) in_channels out_channels / groups weights and the norms; folded, k^2 and a bias.
    Raises: AttnzooError for an even kernel, another padding, groups that do not divide, SE on fewer than 16 channels,
        or an input that is not (B, in_channels, H, W).
    """

    reference_keys = {
        r"rbr_conv\.(\d+)\.conv": r"branches.convs.\1.conv",
        r"rbr_conv\.(\d+)\.bn": r"branches.convs.\1.norm",
        r"rbr_scale\.conv": "branches.point.conv",
        r"rbr_scale\.bn": "branches.point.norm",
        "rbr_skip": "branches.skip",
        r"se\.reduce": "se.mlp.fc1",
        r"se\.expand": "se.mlp.fc2",
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | None = None,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        use_se: bool = False,
        num_branches: int = 1,
        act_layer: Activation | None = nn.ReLU,
    ) -> None:
        super().__init__()
        checks.channel_groups("mobile_one", in_channels, out_channels, groups)
        checks.positive("mobile_one", num_branches=num_branches)
        size = checks.square("mobile_one", "kernel_size", kernel_size)
        checks.pair("mobile_one", "stride", stride)
        checks.centred("mobile_one", size, padding, dilation)
        self.in_channels = in_channels
        self.branches = Branches(in_channels, out_channels, size, stride, dilation, groups, num_branches)
        width = checks.reduced("mobile_one", out_channels, 16, "channels of SE") if use_se else 0
        self.se = SE(out_channels, bias=True, hidden_channels=width) if use_se else nn.Identity()
        self.act = act_layer() if act_layer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("mobile_one", x, self.in_channels)
        return self.act(self.se(self.branches(x)))

    def folded(self) -> nn.Module:
        """One convolution, and what follows the branches."""
        return followed(self.branches.folded(), self.se, self.act)

    def take_over(self, conv: nn.Conv2d) -> None:
        """Compute in eval mode what a convolution of the same form does, with its weights in the first branch."""
        checks.bare("mobile_one", use_se=self.se, act_layer=self.act)
        self.branches.take_over(conv)
