"""The focal block of CFNet in the form of ConvNeXt: a second, dilated convolution sees far."""

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNeXtBlock, depthwise
from attnzoo.registry import Paper, register

CFNET = Paper(
    title="CFNet: Cascade Fusion Network for Dense Prediction (later: CEDNet, A Cascade Encoder-Decoder Network)",
    authors="Zhang, Li, Tang, Li, Hu",
    venue="arXiv; Pattern Recognition",
    year=2023,
    url="https://arxiv.org/abs/2302.06052",
)


@register(
    "cfnet_focal_next",
    title="CFNet focal block (ConvNeXt form)",
    contract="feature",
    paper=CFNET,
    source="zhanggang001/CEDNet@305d637",
    source_license="MIT",
    summary="A ConvNeXt block with a second 7x7 depthwise convolution, dilated, and a skip around each of the two. It "
    "sees far at little cost, which the coarsest maps of a cascade need.",
    summary_zh="在 ConvNeXt 模块中加入第二个带空洞的 7x7 深度卷积，并为两个卷积各加一条跳连。"
    "以很小的代价看得更远，适合级联中最粗的特征图。",
    placement="In the last group of every CFNet stage, at stride 32.",
    reported="Part of CFNet; no headline figure recorded here.",
    differences=(
        "The authors' code bears the name CEDNet, of the paper's later version.",
        "A third-party port of CFNet has a dense first convolution, 1x1 convolutions behind both, and normalises over "
        "channels and places together.",
    ),
)
class CFNetFocalNeXt(ConvNeXtBlock):
    """x + gamma * W2 gelu(W1 b), b = a + gelu(norm(far(a))), a = x + gelu(norm(conv(x))).

    Args:
        channels: C, the channels of the input.
        dilation: of the far convolution.
        drop_path: with what probability a sample's branch is left out in training.
        layer_scale_init_value: where gamma, a scale per channel, starts; None or 0 leaves it out.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 8 C^2 + 110 C parameters.
    Raises: AttnzooError for numbers below 1, a drop_path that is no probability, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        r"dwconv1\.0": "conv",
        r"dwconv1\.1": "norm",
        r"dwconv2\.0": "far",
        r"dwconv2\.1": "far_norm",
        "pwconv1": "fc1",
        "pwconv2": "fc2",
    }

    def __init__(
        self,
        channels: int,
        dilation: int = 3,
        drop_path: float = 0.0,
        layer_scale_init_value: float | None = 1e-6,
    ) -> None:
        checks.positive("cfnet_focal_next", channels=channels, dilation=dilation)
        checks.probability("cfnet_focal_next", drop_path=drop_path)
        super().__init__(channels, drop_path, layer_scale_init_value)
        self.far = depthwise(channels, 7, dilation)
        self.far_norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("cfnet_focal_next", x, self.channels)
        return super().forward(x)

    def look(self, x: Tensor) -> Tensor:
        a = focus(x, self.conv, self.norm)
        return focus(a, self.far, self.far_norm).permute(0, 2, 3, 1)


def focus(x: Tensor, conv: nn.Conv2d, norm: nn.LayerNorm) -> Tensor:
    """The sum x + gelu(norm(conv(x))), normalised over the channels: (B, C, H, W) -> the same."""
    return F.gelu(norm(conv(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2) + x
