"""Halo attention: blocks of queries that attend to their own block and a rim around it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import (
    Positions,
    affinity,
    attention,
    by_offset,
    position_terms,
    precisely,
    wide,
    without_autocast,
)
from attnzoo.modules.self_attention.bottleneck_attention import query_width
from attnzoo.registry import Paper, register


@register(
    "halo",
    title="Halo attention",
    contract="context",
    plug_in=True,
    paper=Paper(
        title="Scaling Local Self-Attention for Parameter Efficient Visual Backbones",
        authors="Vaswani, Ramachandran, Srinivas, Parmar, Hechtman, Shlens",
        venue="CVPR",
        year=2021,
        url="https://arxiv.org/abs/2103.12731",
    ),
    source="huggingface/pytorch-image-models@aa4b585 (timm 1.0.31)",
    source_license="Apache-2.0",
    summary="Cuts the map into blocks, and lets the queries of a block attend to that block and a rim around it, with "
    "relative logits. All blocks run at once, at a cost that grows linearly with the map.",
    summary_zh="把特征图切成小块，块内的查询关注本块及其周围一圈位置，并带有相对位置 logit。"
    "所有小块同时计算，代价随特征图线性增长。",
    placement="In place of the 3x3 convolutions of a ResNet.",
    reported="HaloNet H7: 84.9% ImageNet top-1.",
    differences=(
        "The numbers come from timm, whose rim beyond the border is zeros that do take part in the softmax.",
        "With stride 2 the queries of a block are counted after the stride, so that their offsets are not in input "
        "pixels: as in timm, whose author marks it as unsure.",
    ),
    example={"block_size": 2, "halo_size": 1},
    inputs=("B C 2*H 2*W",),
)
class HaloAttention(nn.Module):
    """softmax(s q k^T + q . height_rel[y' - y] + q . width_rel[x' - x]) v in every block, s = 1/sqrt(d).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the values, num_heads divides them; in_channels by default.
        stride: 1, or 2 to take every other query.
        num_heads: h.
        head_dim: d, width of queries and keys per head; None takes qk_ratio.
        block_size: b; it divides H and W.
        halo_size: how far the keys of a block reach beyond it.
        qk_ratio: h d over out_channels, rounded to a multiple of 8 first, where head_dim is None.
        qkv_bias: whether queries, keys and values have a bias.
        avg_down: with stride 2, average the output over 2 x 2 places instead, as an odd block_size always does.
        scale_pos_embed: scale the position logits as well.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H // stride, W // stride).
    Cost: in_channels (2 h d + out_channels) + 2 (2 w - 1) d weights, w = b + 2 halo_size; H W w^2 (h (d + 2 w) +
        out_channels) multiply-adds at stride 1.
    Raises: AttnzooError for heads that do not divide out_channels, a stride other than 1 and 2, queries without
        channels, or an input that is not (B, in_channels, H, W) with whole blocks.
    """

    reference_keys = {r"pos_embed\.height_rel": "height_rel", r"pos_embed\.width_rel": "width_rel"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        stride: int = 1,
        num_heads: int = 8,
        head_dim: int | None = None,
        block_size: int = 8,
        halo_size: int = 3,
        qk_ratio: float = 1.0,
        qkv_bias: bool = False,
        avg_down: bool = False,
        scale_pos_embed: bool = False,
    ) -> None:
        super().__init__()
        out_channels = in_channels if out_channels is None else out_channels
        checks.positive("halo", in_channels=in_channels, block_size=block_size)
        checks.at_least("halo", 0, halo_size=halo_size)
        checks.choice("halo", (1, 2), stride=stride)
        head_dim = query_width("halo", out_channels, num_heads, head_dim, qk_ratio)
        averages = stride == 2 and (avg_down or block_size % 2 == 1)
        skips = 1 if averages else stride
        self.in_channels = in_channels
        self.stride = stride
        self.num_heads = num_heads
        self.block_size = block_size
        self.halo_size = halo_size
        self.queries = block_size // skips  # along one side of a block
        self.scales = (head_dim**-0.5, head_dim**-0.5 if scale_pos_embed else 1.0)  # of content and position
        self.widths = (head_dim, out_channels // num_heads)
        self.q = nn.Conv2d(in_channels, num_heads * head_dim, 1, skips, bias=qkv_bias)
        self.kv = nn.Conv2d(in_channels, num_heads * head_dim + out_channels, 1, bias=qkv_bias)
        rows = 2 * (block_size + 2 * halo_size) - 1
        self.height_rel, self.width_rel = (nn.Parameter(torch.randn(rows, head_dim) * head_dim**-0.5) for _ in range(2))
        self.pool = nn.AvgPool2d(2, 2) if averages else nn.Identity()
        for conv in (self.q, self.kv):
            nn.init.trunc_normal_(conv.weight, std=in_channels**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("halo", x, self.in_channels)
        checks.at_least_size("halo", x, self.stride)
        checks.divisible("halo", "height", x.shape[2], block_size=self.block_size)
        checks.divisible("halo", "width", x.shape[3], block_size=self.block_size)
        with without_autocast(x):
            q, k, v, positions = self._queries_keys_values(x)
            y = attention(q, k, v, scale=1.0, positions=positions)
        y = self._blocks_side_by_side(y, x).permute(0, 2, 4, 3, 5, 1, 6)  # (B, H / b, b, W / b, b, h, dv)
        return self.pool(y.flatten(5).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2).to(x.dtype))

    def attention(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> the attention map (B, h, queries, w^2), each on the window of its block."""
        with without_autocast(x):
            q, k, _, positions = self._queries_keys_values(x)
            maps = affinity(q, k, scale=1.0, positions=positions)
        maps = self._blocks_side_by_side(maps, x)  # (B, h, H / b, W / b, b, b, w^2)
        return maps.transpose(3, 4).flatten(2, 5)

    def _blocks_side_by_side(self, y: Tensor, x: Tensor) -> Tensor:
        """(blocks, h, b^2, n) -> (B, h, H / b, W / b, b, b, n)."""
        height, width = x.shape[2] // self.block_size, x.shape[3] // self.block_size
        return y.unflatten(2, (self.queries, -1)).unflatten(0, (-1, height, width)).movedim(3, 1)

    def _queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Positions]:
        """Of every block (B H W / b^2, h, places, d)."""
        q = self._windows(wide(precisely(self.q, x)), self.queries, self.queries)
        around = F.pad(wide(precisely(self.kv, x)), [self.halo_size] * 4)
        windows = self._windows(around, self.block_size + 2 * self.halo_size, self.block_size)
        k, v = windows.split(self.widths, dim=3)
        content, position = self.scales
        rows, columns = (by_offset(t.to(q.dtype), self.queries) for t in (self.height_rel, self.width_rel))
        return q * content, k, v, position_terms(q * position, rows, columns)

    def _windows(self, x: Tensor, size: int, step: int) -> Tensor:
        """(B, h d, H, W) -> (windows, h, size^2, d)."""
        windows = x.unflatten(1, (self.num_heads, -1)).unfold(3, size, step).unfold(4, size, step)
        return windows.permute(0, 3, 4, 1, 5, 6, 2).flatten(4, 5).flatten(0, 2)
