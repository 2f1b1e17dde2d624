"""The attention of bottleneck transformers (BoTNet): all places to all, with relative logits in two dimensions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import (
    Positions,
    affinity,
    attention,
    by_offset,
    make_divisible,
    merge_heads,
    position_terms,
    precisely,
    split_heads,
    to_map,
    to_tokens,
    wide,
    without_autocast,
)
from attnzoo.registry import Paper, register


@register(
    "bottleneck_attention",
    title="Bottleneck attention (BoT MHSA)",
    contract="context",
    plug_in=True,
    paper=Paper(
        title="Bottleneck Transformers for Visual Recognition",
        authors="Srinivas, Lin, Parmar, Shlens, Abbeel, Vaswani",
        venue="CVPR",
        year=2021,
        url="https://arxiv.org/abs/2101.11605",
    ),
    source="huggingface/pytorch-image-models@aa4b585 (timm 1.0.31)",
    source_license="Apache-2.0",
    summary="Multi-head attention between all places, whose logits add what each query says to the row offset and to "
    "the column offset of the key. Three of them in the last stage make a ResNet a BoTNet.",
    summary_zh="所有位置之间的多头注意力，其 logit 另加查询对键的行偏移与列偏移的打分。"
    "在最后一个阶段换上三个，ResNet 就成为 BoTNet。",
    placement="In place of the three 3x3 convolutions of a ResNet's last stage, followed by BatchNorm and ReLU.",
    reported="No headline figure recorded here.",
    differences=(
        "The numbers come from timm; the authors' published snippet scales the queries first, and with them the "
        "position logits: that is scale_pos_embed=True.",
        "timm stores the maps of content and position logits; here a few rows at a time.",
    ),
    example={"size": (7, 8)},
    inputs=("B C 7 8",),
    not_applicable={"two-sizes": "the tables of offsets fix H and W"},
)
class BottleneckAttention(nn.Module):
    """softmax(s q k^T + q . height_rel[y' - y] + q . width_rel[x' - x]) v, s = 1/sqrt(d); no output projection.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the values, num_heads divides them; in_channels by default.
        stride: 1, or 2 to average the output over 2 x 2 places.
        num_heads: h.
        head_dim: d, width of queries and keys per head; None takes qk_ratio.
        qk_ratio: h d over out_channels, rounded to a multiple of 8 first, where head_dim is None.
        qkv_bias: whether queries, keys and values have a bias.
        scale_pos_embed: scale the position logits as well.
        size: (H, W) of the input, fixed.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H // stride, W // stride).
    Cost: in_channels (2 h d + out_channels) + 2 (H + W - 1) d weights; (H W)^2 (h (d + H + W) + out_channels)
        multiply-adds in memory linear in H W.
    Raises: AttnzooError for heads that do not divide out_channels, a stride other than 1 and 2, queries without
        channels, or an input that is not (B, in_channels, H, W).
    """

    reference_keys = {r"pos_embed\.height_rel": "height_rel", r"pos_embed\.width_rel": "width_rel"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        stride: int = 1,
        num_heads: int = 4,
        head_dim: int | None = None,
        qk_ratio: float = 1.0,
        qkv_bias: bool = False,
        scale_pos_embed: bool = False,
        *,
        size: Sequence[int],
    ) -> None:
        super().__init__()
        out_channels = in_channels if out_channels is None else out_channels
        checks.positive("bottleneck_attention", in_channels=in_channels)
        checks.choice("bottleneck_attention", (1, 2), stride=stride)
        head_dim = query_width("bottleneck_attention", out_channels, num_heads, head_dim, qk_ratio)
        height, width = checks.pair("bottleneck_attention", "size", size)
        self.in_channels = in_channels
        self.stride = stride
        self.num_heads = num_heads
        self.size = (height, width)
        self.scales = (head_dim**-0.5, head_dim**-0.5 if scale_pos_embed else 1.0)  # of content and position
        self.widths = (num_heads * head_dim, num_heads * head_dim, out_channels)
        self.qkv = nn.Conv2d(in_channels, sum(self.widths), 1, bias=qkv_bias)
        self.height_rel = nn.Parameter(torch.randn(2 * height - 1, head_dim) * head_dim**-0.5)
        self.width_rel = nn.Parameter(torch.randn(2 * width - 1, head_dim) * head_dim**-0.5)
        self.pool = nn.AvgPool2d(2, 2) if stride == 2 else nn.Identity()
        nn.init.trunc_normal_(self.qkv.weight, std=in_channels**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("bottleneck_attention", x, self.in_channels)
        checks.fixed_size("bottleneck_attention", x, size=self.size)
        checks.at_least_size("bottleneck_attention", x, self.stride)
        with without_autocast(x):
            q, k, v, positions = self._queries_keys_values(x)
            y = attention(q, k, v, scale=1.0, positions=positions)
        return self.pool(to_map(merge_heads(y), *x.shape[2:]).to(x.dtype))

    def attention(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> the attention map (B, h, H W, H W)."""
        with without_autocast(x):
            q, k, _, positions = self._queries_keys_values(x)
            return affinity(q, k, scale=1.0, positions=positions)

    def _queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Positions]:
        parts = wide(to_tokens(precisely(self.qkv, x))).split(self.widths, dim=2)
        q, k, v = (split_heads(part, self.num_heads) for part in parts)  # (B, h, N, d)
        content, position = self.scales
        rows, columns = by_offset(self.height_rel, self.size[0]), by_offset(self.width_rel, self.size[1])
        return q * content, k, v, position_terms(q * position, rows.to(q.dtype), columns.to(q.dtype))


def query_width(module: str, out_channels: int, num_heads: int, head_dim: int | None, qk_ratio: float) -> int:
    """The width of queries and keys per head, or an AttnzooError; head_dim None takes qk_ratio as timm does."""
    checks.positive(module, out_channels=out_channels, num_heads=num_heads)
    checks.divisible(module, "out_channels", out_channels, num_heads=num_heads)
    checks.above_zero(module, qk_ratio=qk_ratio)
    if head_dim is None:
        head_dim = make_divisible(out_channels * qk_ratio) // num_heads
    checks.positive(module, head_dim=head_dim)
    return head_dim
