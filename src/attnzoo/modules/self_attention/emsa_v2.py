"""EMSA of ResTv2: keys and values on a reduced map, and the values brought back to full size beside the attention."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import (
    affinity,
    attend,
    merge_heads,
    precisely,
    split_heads,
    to_map,
    to_tokens,
    wide,
    without_autocast,
)
from attnzoo.registry import Paper, register


@register(
    "emsa_v2",
    title="Efficient Multi-head Self-Attention version 2 (ResTv2)",
    contract="feature",
    paper=Paper(
        title="ResT V2: Simpler, Faster and Stronger",
        authors="Zhang, Yang",
        venue="NeurIPS",
        year=2022,
        url="https://arxiv.org/abs/2204.07366",
    ),
    source="wofmanaf/ResT@b9245d3",
    source_license="Apache-2.0",
    summary="Attention whose keys and values come from a map shrunk by a strided depthwise convolution. In place of "
    "EMSA's mixing of heads, a copy of the values, brought back to full size by a pixel shuffle, is added.",
    summary_zh="键与值取自经步进深度卷积缩小的特征图。它不再像 EMSA 那样混合各头，而是加上经像素重排恢复到原尺寸的值。",
    placement="The attention of every ResTv2 block.",
    residual=True,
    reported="No headline figure recorded here.",
    differences=(
        "The authors' class takes tokens with H and W; ours takes the map.",
        "The values are brought back also where nothing was shrunk.",
    ),
)
class EMSAv2(nn.Module):
    """proj(softmax(q k^T / sqrt(C / h)) v + up_norm(shuffle(up(v)))).

    Args:
        channels: C, the channels of the input; num_heads divides them.
        num_heads: h.
        sr_ratio: s, by which the map of keys and values is shrunk; it divides H and W.

    Shape: (B, C, H, W) -> (B, C, H, W).
    Cost: 2 N C^2 + 2 M C^2 + 2 N M C multiply-adds and 9 N C of the copy, N = H W places and M = N / s^2; memory
        linear in N.
    Raises: AttnzooError for heads that do not divide the channels, or an input that is not (B, C, H, W) or whose
        sides sr_ratio does not divide.
    """

    reference_keys = {r"up\.0": "up"}

    def __init__(self, channels: int, num_heads: int = 8, sr_ratio: int = 1) -> None:
        super().__init__()
        checks.positive("emsa_v2", channels=channels, num_heads=num_heads, sr_ratio=sr_ratio)
        checks.divisible("emsa_v2", "channels", channels, num_heads=num_heads)
        self.channels = channels
        self.num_heads = num_heads
        self.sr_ratio = sr_ratio
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        self.sr: nn.Module = nn.Identity()
        self.sr_norm: nn.Module = nn.Identity()
        if sr_ratio > 1:
            self.sr = nn.Conv2d(channels, channels, sr_ratio + 1, sr_ratio, padding=sr_ratio // 2, groups=channels)
            self.sr_norm = nn.LayerNorm(channels, eps=1e-6)
        self.up = nn.Conv2d(channels, sr_ratio**2 * channels, 3, padding=1, groups=channels)
        self.shuffle = nn.PixelShuffle(sr_ratio)
        self.up_norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("emsa_v2", x, self.channels)
        checks.divisible("emsa_v2", "height", x.shape[2], sr_ratio=self.sr_ratio)
        checks.divisible("emsa_v2", "width", x.shape[3], sr_ratio=self.sr_ratio)
        with without_autocast(x):
            q, k, v = self._queries_keys_values(x)
            y = merge_heads(attend(q, k, v))
        values = to_map(merge_heads(v), x.shape[2] // self.sr_ratio, x.shape[3] // self.sr_ratio)
        copy = to_tokens(self.shuffle(self.up(values.to(x.dtype))))
        return to_map(self.proj((y + self.up_norm(copy)).to(x.dtype)), *x.shape[2:])

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the attention map (B, h, N, M)."""
        with without_autocast(x):
            q, k, _ = self._queries_keys_values(x)
            return affinity(q, k)

    def _queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        reduced = to_tokens(x)
        if self.sr_ratio > 1:
            reduced = precisely(self.sr_norm, to_tokens(precisely(self.sr, x)))
        k, v = wide(precisely(self.kv, reduced)).chunk(2, dim=2)
        q = wide(precisely(self.q, to_tokens(x)))
        return split_heads(q, self.num_heads), split_heads(k, self.num_heads), split_heads(v, self.num_heads)
