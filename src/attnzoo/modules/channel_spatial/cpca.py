"""CPCA, Channel Prior Convolutional Attention: a channel gate first, then strips of several lengths gate places."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import SQUARES, BottleneckMLP, precisely, wide
from attnzoo.modules.channel_spatial.msca import Strips
from attnzoo.registry import Paper, register


@register(
    "cpca",
    title="Channel Prior Convolutional Attention",
    contract="feature",
    paper=Paper(
        title="Channel prior convolutional attention for medical image segmentation",
        authors="Huang, Chen, Zou, Lu, Chen",
        venue="arXiv",
        year=2023,
        url="https://arxiv.org/abs/2306.05196",
    ),
    source="Cuthbert-Huang/CPCANet@550b49a",
    source_license="Apache-2.0",
    summary="Weighs the channels as cbam does, then multiplies every element by the output of depthwise strips of "
    "lengths 7, 11 and 21. One pointwise convolution serves at the entrance, for the gate and at the exit.",
    summary_zh="先像 cbam 那样给通道加权，再用长度为 7、11、21 的深度条状卷积的输出逐元素相乘。"
    "入口、门与出口共用同一个逐点卷积。",
    placement="Every encoder and decoder block of the two-dimensional CPCANet.",
    reported="No headline figure recorded here.",
    differences=(
        "That one pointwise convolution is used three times may be a slip of the authors' code, but their weights "
        "are trained with it.",
        "Each pooling has a sigmoid of its own and the two are added, so that a channel may be doubled; cbam adds "
        "before the sigmoid.",
        "The module has no shortcut of its own.",
    ),
    not_applicable=SQUARES,
)
class CPCA(nn.Module):
    """P(y P(strips(y))), y = gate(z) z, z = gelu(P(x)): P one pointwise convolution.

    Args:
        channels: C, the channels of the input.
        reduction: r; the channel gate's bottleneck is C // r wide.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: C^2 + 2 C C/r + 112 C + C/r parameters; linear in the map.
    Raises: AttnzooError for a bottleneck without channels, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        r"ca\.fc1": "channel_gate.mlp.fc1",
        r"ca\.fc2": "channel_gate.mlp.fc2",
        "conv": "project",
        "dconv5_5": "strips.local",
        **{f"dconv1_{k}": f"strips.pairs.{i}.0" for i, k in enumerate((7, 11, 21))},
        **{f"dconv{k}_1": f"strips.pairs.{i}.1" for i, k in enumerate((7, 11, 21))},
    }

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = checks.reduced("cpca", channels, reduction)
        self.channels = channels
        self.project = nn.Conv2d(channels, channels, 1)
        self.act = nn.GELU()
        self.channel_gate = ChannelPrior(channels, hidden)
        self.strips = Strips(channels, (7, 11, 21))

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("cpca", x, self.channels)
        y = self.channel_gate(self.act(self._project(x)))
        return precisely(self.project, wide(y) * self.gate(y)).to(x.dtype)

    def gate(self, y: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self._project(self.strips(y))

    def _project(self, x: Tensor) -> Tensor:
        """P as a function, as quantisers take a module that runs again for the same place."""
        return F.conv2d(x, self.project.weight, self.project.bias)


class ChannelPrior(nn.Module):
    """Scale channel c by the sum of two sigmoids, of one MLP on the mean and on the maximum. Keeps the shape."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.mlp = BottleneckMLP(channels, hidden, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        pooled = torch.stack([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))])  # (2, B, C)
        return self.mlp(pooled).sigmoid().sum(dim=0)[:, :, None, None]
