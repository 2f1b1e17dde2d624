"""The ParNet block: a 3x3, a 1x1 and a gated skip branch, summed before one activation."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import Activation, ConvNormAct
from attnzoo.registry import Paper, register


@register(
    "parnet_attention",
    title="ParNet block (RepVGG block with skip squeeze-excitation)",
    contract="feature",
    paper=Paper(
        title="Non-deep Networks",
        authors="Goyal, Bochkovskiy, Deng, Koltun",
        venue="NeurIPS",
        year=2022,
        url="https://arxiv.org/abs/2110.07641",
    ),
    source="imankgoyal/NonDeepNetworks@777b286",
    source_license="BSD-3-Clause",
    summary="Sums a 3x3 convolution, a 1x1 convolution and the normalised input, whose channels a one-layer gate "
    "weighs by their means. It lets a network of few layers see far without growing deep.",
    summary_zh="将 3x3 卷积、1x1 卷积与归一化后的输入三路相加，其中输入一路由单层门按通道均值加权。"
    "它让层数很少的网络也能获得足够的感受野。",
    placement="Every block of ParNet's parallel streams.",
    reported="No headline figure recorded here.",
    differences=(
        "The module that collections call ParNetAttention has biases in its convolutions, no BatchNorm on the skip, "
        "and gates the raw input; the authors gate the normalised one.",
        "The authors' class also changes stride and width (without a skip, its gate doubled) and merges the two "
        "convolutions for inference; here the shape is kept and both stay apart.",
    ),
)
class ParNetAttention(nn.Module):
    """act(norm(conv3(x)) + norm(conv1(x)) + n sigmoid(W mean(n))), n = norm(x).

    Args:
        channels: C, the channels of the input.
        act_layer: makes the activation.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 11 C^2 + 6 C parameters; 10 C^2 H W multiply-adds.
    Raises: AttnzooError for an input that is not (B, C, H, W).
    """

    reference_keys = {
        r"rbr_dense\.conv": "dense.conv",
        r"rbr_dense\.bn": "dense.norm",
        r"rbr_1x1\.conv": "point.conv",
        r"rbr_1x1\.bn": "point.norm",
        "rbr_identity": "skip.norm",
        r"se\.cvsig\.conv": "skip.fc",
    }

    def __init__(self, channels: int, act_layer: Activation = nn.SiLU) -> None:
        super().__init__()
        checks.positive("parnet_attention", channels=channels)
        self.channels = channels
        self.dense = ConvNormAct(channels, channels, 3, act_layer=None)
        self.point = ConvNormAct(channels, channels, act_layer=None)
        self.skip = GatedSkip(channels)
        self.act = act_layer()

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("parnet_attention", x, self.channels)
        if self.training:
            checks.several_values("parnet_attention", x)
        return self.act(self.skip(x, self.dense(x) + self.point(x)))


class GatedSkip(nn.Module):
    """Adds the normalised input, each channel scaled by a gate on its mean, to `branches`. Keeps the shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor, branches: Tensor) -> Tensor:
        n = self.norm(x)
        return torch.addcmul(branches, n, self.gate(n))

    def gate(self, n: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        return self.fc(n.mean(dim=(2, 3))).sigmoid()[:, :, None, None]
