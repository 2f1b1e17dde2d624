"""Generalised attention: a sum of up to four kinds of logits, each of which can be switched off."""

import math
from itertools import product

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import (
    Positions,
    affinity,
    attention,
    merge_heads,
    position_terms,
    precisely,
    resize,
    split_heads,
    to_map,
    to_tokens,
    wide,
    without_autocast,
)
from attnzoo.registry import Paper, register

TYPES = ["".join(bits) for bits in product("01", repeat=4) if "1" in bits]
HIDDEN = -1e20  # added to the logit of a key out of reach; finite, as it is multiplied by zeros


@register(
    "generalized_attention",
    title="Generalized attention (empirical attention)",
    contract="feature",
    paper=Paper(
        title="An Empirical Study of Spatial Attention Mechanisms in Deep Networks",
        authors="Zhu, Cheng, Zhang, Lin, Dai",
        venue="ICCV",
        year=2019,
        url="https://arxiv.org/abs/1904.05873",
    ),
    source="open-mmlab/mmcv@a8073c7",
    source_license="Apache-2.0",
    summary="Multi-head attention whose logits add up to four terms: query with key, query with relative position, the "
    "key alone and the relative position alone. Four bits say which of them take part.",
    summary_zh="多头注意力，其 logit 至多由四项相加：查询与键、查询与相对位置、仅键、仅相对位置。"
    "由四个比特决定哪些项参与。",
    placement="After the 3x3 convolution of ResNet bottlenecks in stages 3 to 5, with the types 1111 or 0010 (the "
    "latter beside deformable convolution).",
    reported="No headline figure recorded here.",
    differences=(
        "mmcv and mmdetection transpose the query in space where bit 2 is on and bit 4 off, which fails on maps that "
        "are not square and is wrong on others; here the formula holds.",
        "There spatial_range works with 256 or 512 channels only and stores a mask of all pairs; here it is a rule for "
        "any size, and that key of a checkpoint is left out.",
        "There the type 0010 with a spatial_range would take the window of the first place for all; here each has its "
        "own.",
    ),
)
class GeneralizedAttention(nn.Module):
    """gamma * proj(softmax((q + u) k^T + (q + w) p^T) v) + x, the q, u and w that the type names, without scale.

    p is the sum of two sinusoidal embeddings, of the offset in rows and in columns, each through a linear layer.

    Args:
        channels: C, the channels of the input.
        num_heads: h, each C // h wide.
        attention_type: four bits: q k, q p, u k, w p.
        position_embedding_dim: of both embeddings together, a multiple of 4; -1 takes C.
        position_magnitude: by which the offsets are multiplied.
        kv_stride, q_stride: keys and values, and queries, come from every such row and column.
        spatial_range: how far around its query a key may lie, in rows and in columns; -1 sets no limit.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 4 C^2 weights at most and those of the embeddings; N M C (2 + (H' + W') h / C) multiply-adds, N queries and
        M = H' W' keys, in memory linear in N.
    Raises: AttnzooError for more heads than channels, an unknown type, an embedding whose width is no multiple of 4,
        strides below 1, a range below -1, or an input that is not (B, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        num_heads: int = 9,
        attention_type: str = "1111",
        position_embedding_dim: int = -1,
        position_magnitude: float = 1,
        kv_stride: int = 2,
        q_stride: int = 1,
        spatial_range: int = -1,
    ) -> None:
        super().__init__()
        checks.positive("generalized_attention", channels=channels, kv_stride=kv_stride, q_stride=q_stride)
        checks.between("generalized_attention", 1, channels, num_heads=num_heads)
        checks.choice("generalized_attention", TYPES, attention_type=attention_type)
        checks.at_least("generalized_attention", -1, spatial_range=spatial_range)
        if position_embedding_dim == -1:
            position_embedding_dim = channels
        self.channels = channels
        self.num_heads = num_heads
        self.width = channels // num_heads
        self.terms = [bit == "1" for bit in attention_type]
        self.position_embedding_dim = position_embedding_dim
        self.position_magnitude = position_magnitude
        self.kv_stride = kv_stride
        self.q_stride = q_stride
        self.spatial_range = spatial_range
        self.same_for_all = attention_type == "0010" and spatial_range < 0
        inner = num_heads * self.width
        pairs, asks, keys, places = self.terms
        self.query_conv = nn.Conv2d(channels, inner, 1, bias=False) if pairs or asks else None
        self.key_conv = nn.Conv2d(channels, inner, 1, bias=False) if pairs or keys else None
        self.value_conv = nn.Conv2d(channels, inner, 1, bias=False)
        self.appr_geom_fc_x = self.appr_geom_fc_y = None
        if asks or places:
            checks.multiple("generalized_attention", 4, position_embedding_dim=position_embedding_dim)
            self.appr_geom_fc_x = nn.Linear(position_embedding_dim // 2, inner, bias=False)
            self.appr_geom_fc_y = nn.Linear(position_embedding_dim // 2, inner, bias=False)
        spread = (2 * self.width) ** -0.5
        self.appr_bias = nn.Parameter(torch.empty(inner).uniform_(-spread, spread)) if keys else None
        self.geom_bias = nn.Parameter(torch.empty(inner).uniform_(-spread, spread)) if places else None
        self.proj_conv = nn.Conv2d(inner, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.unused_in_reference = 12**2 * math.ceil(12 / kv_stride) ** 2 if spatial_range >= 0 else 0  # of that mask
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, a=1)

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Leave out the stored mask."""
        return {key: value for key, value in state.items() if key != "local_constraint_map"}

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("generalized_attention", x, self.channels)
        with without_autocast(x):
            q, k, v, positions = self._queries_keys_values(x)
            y = attention(q, k, v, scale=1.0, positions=positions)
        height, width = (1, 1) if self.same_for_all else x[:, :, :: self.q_stride, :: self.q_stride].shape[2:]
        y = self.proj_conv(to_map(merge_heads(y), height, width).to(x.dtype))
        if self.q_stride > 1 and not self.same_for_all:
            y = resize(y, *x.shape[2:])
        return torch.addcmul(x, self.gamma.to(x.dtype), y.to(x.dtype))

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the attention map (B, h, N, M); N is 1 where all queries share their weights."""
        with without_autocast(x):
            q, k, _, positions = self._queries_keys_values(x)
            return affinity(q, k, scale=1.0, positions=positions)

    def _queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Positions | None]:
        """Queries, keys, values, and what else the logits have."""
        at = x[:, :, :: self.q_stride, :: self.q_stride]
        of = x[:, :, :: self.kv_stride, :: self.kv_stride]
        (height, width), (rows, columns) = at.shape[2:], of.shape[2:]
        count = 1 if self.same_for_all else height * width
        pairs, asks, _, _ = self.terms
        v = self._heads(self.value_conv, of)
        k = v[..., :0] if self.key_conv is None else self._heads(self.key_conv, of)
        q = None if self.query_conv is None else self._heads(self.query_conv, at)
        content = _asking(q if pairs else None, self.appr_bias, v, count)
        if self.appr_geom_fc_x is not None and self.appr_geom_fc_y is not None:
            asking = _asking(q if asks else None, self.geom_bias, v, count)
            down = self._embedding(self.appr_geom_fc_y, height, rows, v)
            down, across = position_terms(asking, down, self._embedding(self.appr_geom_fc_x, width, columns, v))
        elif self.spatial_range >= 0:
            down, across = (v.new_zeros(*v.shape[:2], count, n) for n in (rows, columns))
        else:
            return content, k, v, None
        if self.spatial_range >= 0:
            down = down + self._out_of_reach(height, rows, v)[:, None].expand(-1, width, -1).flatten(0, 1)
            across = across + self._out_of_reach(width, columns, v).repeat(height, 1)
        return content, k, v, (down, across)

    def _heads(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        return split_heads(wide(to_tokens(precisely(conv, x))), self.num_heads)

    def _embedding(self, layer: nn.Linear, queries: int, keys: int, like: Tensor) -> Tensor:
        """What stands for the offset between any two rows, or columns, per head (h, queries, keys, d)."""
        i, j = self._places(queries, keys, like)
        offset = (i * self.q_stride - j * self.kv_stride).to(like.dtype) * self.position_magnitude
        m = torch.arange(layer.in_features // 2, device=like.device, dtype=like.dtype)
        angle = offset[..., None] * (m * (-2 * math.log(1000) / layer.in_features)).exp()
        embedded = precisely(layer, torch.cat([angle.sin(), angle.cos()], dim=2)) / math.sqrt(2)
        return embedded.to(like.dtype).unflatten(2, (self.num_heads, -1)).permute(2, 0, 1, 3)

    def _out_of_reach(self, queries: int, keys: int, like: Tensor) -> Tensor:
        """HIDDEN for every row, or column, of keys that a query does not see, else 0 (queries, keys)."""
        i, j = self._places(queries, keys, like)
        reach, stride = self.spatial_range, self.kv_stride
        seen = (j >= (i - reach).clamp(min=0) // stride) & (j <= (i + reach + 1) // stride)
        return torch.zeros_like(seen, dtype=like.dtype).masked_fill(~seen, HIDDEN)

    def _places(self, queries: int, keys: int, like: Tensor) -> tuple[Tensor, Tensor]:
        return torch.arange(queries, device=like.device)[:, None], torch.arange(keys, device=like.device)


def _asking(q: Tensor | None, bias: Tensor | None, v: Tensor, count: int) -> Tensor:
    """The queries (B, h, count, d) plus the bias of every head; without either, of width 0."""
    if bias is None:
        return v[..., :1, :0].expand(-1, -1, count, -1) if q is None else q
    same = bias.to(v.dtype).view(v.shape[1], 1, -1).expand(v.shape[0], -1, count, -1)
    return same if q is None else q + same
