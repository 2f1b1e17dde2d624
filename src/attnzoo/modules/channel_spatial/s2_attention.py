"""S2 attention: three copies of the features, two of them shifted in space, mixed channel by channel."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import BottleneckMLP, precisely, wide
from attnzoo.registry import Paper, register


@register(
    "s2_attention",
    title="S2 attention (spatial shift with split attention)",
    contract="feature",
    paper=Paper(
        title="S2-MLPv2: Improved Spatial-Shift MLP Architecture for Vision",
        authors="Yu, Li, Cai, Sun, Li",
        venue="arXiv",
        year=2021,
        url="https://arxiv.org/abs/2108.01072",
    ),
    source="xmu-xiaoma666/External-Attention-pytorch@d75848e, its overlapping shifts made clean",
    source_license="MIT",
    summary="Moves quarters of the channels one place up, down, left or right, in two orders, so that pointwise layers "
    "see their neighbours. A softmax over the two shifted copies and a plain one mixes them per channel.",
    summary_zh="以两种次序把四组通道分别向上、下、左、右移动一格，使逐点层也能看到邻域。"
    "再对两份移位副本与一份原样副本做逐通道 softmax 混合。",
    placement="The token mixing of an MLP block, behind a LayerNorm and within a residual.",
    residual=True,
    reported="No headline figure recorded here.",
    differences=(
        "The collection that the numbers come from shifts in place within overlapping slices, which torch leaves "
        "undefined; the paper means a clean shift, and the numbers were made with one.",
        "That collection writes 512 channels into the split attention; here it follows channels.",
    ),
)
class S2Attention(nn.Module):
    """project(sum_p a_p part_p): parts of W x shifted in either order or not, a the softmax over the three.

    Args:
        channels: C, the channels of the input, at least 4.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 8 C^2 + 4 C parameters; 4 C^2 (H W + 1) multiply-adds.
    Raises: AttnzooError for fewer than 4 channels, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        "mlp1": "expand",
        "mlp2": "project",
        r"split_attention\.mlp1": "mix.mlp.fc1",
        r"split_attention\.mlp2": "mix.mlp.fc2",
    }

    def __init__(self, channels: int) -> None:
        super().__init__()
        checks.at_least("s2_attention", 4, channels=channels)
        self.channels = channels
        self.expand = nn.Conv2d(channels, 3 * channels, 1)
        self.mix = SplitMix(channels)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("s2_attention", x, self.channels)
        first, second, third = precisely(self.expand, x).chunk(3, dim=1)
        mixed = self.mix(_shift(first, (2, 3)), _shift(second, (3, 2)), third)
        return self.project(mixed).to(x.dtype)


class SplitMix(nn.Module):
    """Sum three maps (B, C, H, W) with weights per channel, which an MLP reads from the sum of all their places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = BottleneckMLP(channels, channels, bias=False, act_layer=nn.GELU, out_channels=3 * channels)

    def forward(self, *parts: Tensor) -> Tensor:
        first, second, third = self.gate(*parts).to(parts[0].dtype)[..., None, None].unbind(1)
        return torch.addcmul(torch.addcmul(parts[0] * first, parts[1], second), parts[2], third)

    def gate(self, *parts: Tensor) -> Tensor:
        """Three maps (B, C, H, W) -> their weights (B, 3, C), which sum to 1 over the maps."""
        height, width = parts[0].shape[2:]
        means = torch.stack([wide(part.mean(dim=(2, 3))) for part in parts]).sum(dim=0)  # (B, C)
        logits = precisely(self.mlp, means * (height * width))
        return logits.unflatten(1, (3, -1)).softmax(dim=1)


def _shift(x: Tensor, dims: tuple[int, int]) -> Tensor:
    """Move the quarters of the channels by one along dims: on, back, then on and back along the other one.

    The row or column that nothing moves into keeps its values. The last quarter takes the channels left over.
    """
    quarter = x.shape[1] // 4
    one, two, three, four = x.split([quarter, quarter, quarter, x.shape[1] - 3 * quarter], dim=1)
    moved = [_onward(one, dims[0]), _back(two, dims[0]), _onward(three, dims[1]), _back(four, dims[1])]
    return torch.cat(moved, dim=1)


def _onward(x: Tensor, dim: int) -> Tensor:
    size = x.shape[dim]
    return torch.cat([x.narrow(dim, 0, 1), x.narrow(dim, 0, size - 1)], dim=dim)


def _back(x: Tensor, dim: int) -> Tensor:
    size = x.shape[dim]
    return torch.cat([x.narrow(dim, 1, size - 1), x.narrow(dim, size - 1, 1)], dim=dim)
