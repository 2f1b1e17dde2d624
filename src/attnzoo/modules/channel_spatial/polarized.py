"""Polarised self-attention: a channel gate from a learnt pooling of the places, a spatial one from all channels."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely, spatial_mean, without_autocast
from attnzoo.registry import Paper, register


@register(
    "polarized",
    title="Polarized Self-Attention",
    contract="feature",
    paper=Paper(
        title="Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
        authors="Liu, Liu, Fan, Huang",
        venue="arXiv",
        year=2021,
        url="https://arxiv.org/abs/2107.00782",
    ),
    source="DeLightCMU/PSA@20e307a",
    source_license="Apache-2.0",
    summary="One gate collapses the map by a softmax over the places and speaks for the channels, the other matches "
    "every place with the mean query and speaks for the places. They act side by side or one after the other.",
    summary_zh="通道门用对位置的 softmax 把整张图汇聚成向量，空间门则让每个位置与平均查询相匹配。"
    "两者可并联，也可先后串联。",
    placement="After the first 3x3 convolution of a residual block; in HRNet's basic blocks in the authors' code.",
    reported="HRNetV2-OCR on Cityscapes val: 86.95 mIoU (parallel), 86.72 (sequential); UDP-Pose HRNet-W48 256x192 on "
    "COCO: 78.9 AP (parallel).",
    differences=(
        "The paper puts the spatial gate's softmax on the mean query, and a LayerNorm into both forms; the authors' "
        "code takes it over the places, and has the LayerNorm in the sequential form only.",
        "The authors convolve the map before they pool it; where the two commute the pooled vector is convolved "
        "here, which gives the same numbers for less.",
        "A popular collection follows the paper, with biases in all convolutions.",
        "A popular explanation has a spatial gate without any softmax, and returns a name it never defines.",
        "On large maps the parallel spatial gate is almost constant, as its softmax runs over all places.",
    ),
)
class PolarizedAttention(nn.Module):
    """x (channel_gate(x) + spatial_gate(x)), or spatial_gate after channel_gate.

    Args:
        channels: C, the channels of the input, even; at least 8 in sequence.
        mode: 'parallel' or 'sequential'.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C^2 + C weights in parallel, 1.75 C^2 in sequence; 3 C H W multiply-adds in parallel, C^2 H W / 2
        more in sequence.
    Raises: AttnzooError for an odd number of channels or too few, an unknown mode, or an input that is not
        (B, C, H, W).
    """

    reference_keys = {
        "conv_q_right": "channel_gate.query",
        "conv_v_right": "channel_gate.value",
        "conv_up": "channel_gate.up",
        "conv_q_left": "spatial_gate.query",
        "conv_v_left": "spatial_gate.value",
    }

    def __init__(self, channels: int, mode: str = "parallel") -> None:
        super().__init__()
        checks.multiple("polarized", 2, channels=channels)
        checks.choice("polarized", ("parallel", "sequential"), mode=mode)
        self.channels = channels
        self.sequential = mode == "sequential"
        if self.sequential:
            checks.at_least("polarized", 8, channels=channels)
        self.channel_gate = ChannelGate(channels, self.sequential)
        self.spatial_gate = SpatialGate(channels, self.sequential)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("polarized", x, self.channels)
        if self.sequential:
            y = x * self.channel_gate.gate(x)
            return y * self.spatial_gate.gate(y)
        return x * (self.channel_gate.gate(x) + self.spatial_gate.gate(x))


class ChannelGate(nn.Module):
    """sigmoid(up(value(p))), p the places summed with the weights that `query` gives them."""

    def __init__(self, channels: int, sequential: bool) -> None:
        super().__init__()
        half = channels // 2
        self.query = nn.Conv2d(channels, 1, 1, bias=False)
        self.value = nn.Conv2d(channels, half, 1, bias=False)
        self.up: nn.Module = nn.Conv2d(half, channels, 1, bias=False)
        if sequential:
            width = half // 4
            self.up = nn.Sequential(
                nn.Conv2d(half, width, 1), nn.LayerNorm([width, 1, 1]), nn.ReLU(), nn.Conv2d(width, channels, 1)
            )

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        weights = precisely(self.query, x).flatten(2).softmax(dim=2)  # (B, 1, N)
        with without_autocast(x):
            pooled = x.to(weights.dtype).flatten(2) @ weights.transpose(1, 2)  # (B, C, 1)
            return self.up(self.value(pooled[..., None])).sigmoid().to(x.dtype)


class SpatialGate(nn.Module):
    """How well each place's value matches the mean query; a softmax over the places stands after the match in the
    parallel form, before it on the values in the sequential one.
    """

    def __init__(self, channels: int, sequential: bool) -> None:
        super().__init__()
        self.sequential = sequential
        self.query = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.value = nn.Conv2d(channels, channels // 2, 1, bias=False)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1, H, W)."""
        query = precisely(self.query, spatial_mean(x, keepdim=True)).flatten(2).transpose(1, 2)  # (B, 1, C / 2)
        with without_autocast(x):
            if self.sequential:
                values = self.value(x.to(query.dtype)).flatten(2).softmax(dim=2)  # (B, C / 2, N)
                match = query @ values
            else:
                direction = query @ self.value.weight.flatten(1)  # (B, 1, C): what the values would be matched with
                match = (direction @ x.to(query.dtype).flatten(2)).softmax(dim=2)
        return match.sigmoid().unflatten(2, x.shape[2:]).to(x.dtype)
