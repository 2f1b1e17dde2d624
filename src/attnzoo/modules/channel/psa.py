"""PSA, Pyramid Split Attention: four kernels make a quarter of the channels each, weighted against each other."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import BottleneckMLP, spatial_mean
from attnzoo.registry import Paper, register


@register(
    "psa",
    title="Pyramid Split Attention",
    contract="conv",
    plug_in=True,
    paper=Paper(
        title="EPSANet: An Efficient Pyramid Split Attention Block on Convolutional Neural Network",
        authors="Zhang, Zu, Lu, Zou, Meng",
        venue="ACCV",
        year=2022,
        url="https://arxiv.org/abs/2105.14447",
    ),
    source="murufeng/EPSANet@9955041",
    source_license="MIT",
    summary="Four grouped convolutions with growing kernels each make a quarter of the output; one shared SE "
    "scores the quarters and a softmax across them sets their weights. Not to be confused with polarized "
    "self-attention, which shares the abbreviation.",
    summary_zh="四个核逐渐增大的分组卷积各产生四分之一的输出通道；共享的 SE 为每一份打分，再经跨分支 softmax 得到权重。"
    "注意不要与缩写相同的极化自注意力（Polarized Self-Attention）混淆。",
    placement="In place of the 3x3 convolution of a ResNet bottleneck, with the block's stride.",
    reported="ImageNet top-1: EPSANet-50 small 77.49 (22.56M), large 78.64; EPSANet-101 small 78.43, large 79.38.",
    differences=(
        "The paper splits the input in four and concatenates in order; the authors' code, followed here, lets "
        "every branch read the whole input and puts the largest kernel first.",
        "A popular collection keeps its branches in plain lists, so that their weights are never registered, "
        "and overwrites its input.",
    ),
)
class PSA(nn.Module):
    """Concatenate w_i * conv_i(x), largest kernel first; w the softmax over the branches of their SE gates.

    Args:
        in_channels: channels of the input; every group count divides it.
        out_channels: channels of the output, in_channels by default: a multiple of 4, whose quarter every
            group count divides.
        kernel_sizes: the four odd kernels.
        groups: the group count of each branch.
        stride: of all branches.
        reduction: r; the scorer's bottleneck is out_channels // 4 // r wide.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)).
    Cost: per output place, sum over the branches of q in_channels k^2 / groups multiply-adds,
        q = out_channels // 4.
    Raises: AttnzooError for lists that are not of length 4, even kernels, group counts that do not divide,
        a scorer without channels, or an input that is not (B, in_channels, H, W).
    """

    reference_keys = {
        r"conv_1": "convs.0",
        r"conv_2": "convs.1",
        r"conv_3": "convs.2",
        r"conv_4": "convs.3",
        "se": "scorer",
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        kernel_sizes: Sequence[int] = (3, 5, 7, 9),
        groups: Sequence[int] = (1, 4, 8, 16),
        stride: int = 1,
        reduction: int = 16,
    ) -> None:
        super().__init__()
        out_channels = in_channels if out_channels is None else out_channels
        checks.positive("psa", in_channels=in_channels, out_channels=out_channels, stride=stride)
        checks.sequence("psa", length=4, kernel_sizes=kernel_sizes, groups=groups)
        checks.divisible("psa", "out_channels", out_channels, branches=4)
        quarter = out_channels // 4
        checks.odd("psa", **checks.items(kernel_sizes=kernel_sizes))
        checks.positive("psa", **checks.items(groups=groups))
        checks.divisible("psa", "in_channels", in_channels, **checks.items(groups=groups))
        checks.divisible("psa", "out_channels // 4", quarter, **checks.items(groups=groups))
        hidden = checks.reduced("psa", quarter, reduction)
        self.in_channels = in_channels
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, quarter, k, stride, k // 2, groups=g, bias=False)
            for k, g in zip(kernel_sizes, groups, strict=True)
        )
        self.scorer = BottleneckMLP(quarter, hidden, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("psa", x, self.in_channels)
        quarters = [conv(x) for conv in self.convs]
        weights = self.gate(*quarters)
        weighted = [f * w[:, :, None, None] for f, w in zip(quarters, weights.unbind(1), strict=True)]
        return torch.cat(weighted[::-1], dim=1)

    def gate(self, *quarters: Tensor) -> Tensor:
        """Four maps (B, q, H, W) -> their weights (B, 4, q), which sum to 1 over the branches."""
        means = torch.stack([spatial_mean(f) for f in quarters], dim=1)  # (B, 4, q)
        return self.scorer(means).sigmoid().softmax(dim=1).to(quarters[0].dtype)
