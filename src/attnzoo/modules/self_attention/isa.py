"""ISA, Interlaced Sparse Self-Attention: first among places far apart, then within blocks."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, Layer, affinity, attend
from attnzoo.registry import Paper, register

_ACROSS, _WITHIN = (0, 3, 5, 2, 4, 1), (0, 2, 4, 3, 5, 1)


@register(
    "isa",
    title="Interlaced Sparse Self-Attention",
    contract="context",
    paper=Paper(
        title="Interlaced Sparse Self-Attention for Semantic Segmentation",
        authors="Huang, Yuan, Guo, Zhang, Chen, Wang",
        venue="arXiv",
        year=2019,
        url="https://arxiv.org/abs/1907.12273",
    ),
    source="openseg-group/openseg.pytorch@aefc755",
    source_license="MIT",
    summary="Splits dense attention into two sparse ones: the places that stand at the same spot of every block attend "
    "to each other, and then the places of a block do. Together they connect every place with every other.",
    summary_zh="把稠密注意力拆成两次稀疏注意力：先在各块中同一位置的点之间进行，再在同一块内部进行。"
    "两步合起来，任意两个位置都相互连通。",
    placement="After a 3x3 convolution from 2048 to 512 channels on stride-8 features.",
    reported="No headline figure recorded here.",
    differences=(
        "The reference cuts the maps before it convolves them; ours convolves first, which gives the same.",
        "The zeros that fill up the last blocks take part in attention and statistics, as in the reference.",
        "The reference can use InPlaceABN; here it is norm_layer and ReLU.",
    ),
    plug_in=True,
    inert=("stages.1.near.key.1.norm.bias",),  # its channels are all on or all off in the vector: a shift of all keys
    not_applicable={"large-close": "the rounding of logits of 1e6 decides the softmax"},
    example={"down_factors": [[2, 3]]},
)
class ISA(nn.Module):
    """drop(act(norm(conv([x, near(far(x))])))): far attends across the blocks, near within each.

    Either attention is act(norm(conv(softmax(q k^T / sqrt(K)) v))), queries and keys of two layers each. With
    several sizes of blocks, all their contexts are joined, and x first passes through a layer.

    Args:
        in_channels: Cin, of the input.
        out_channels: Cout; in_channels by default.
        key_channels: K; half of in_channels by default.
        value_channels: V; in_channels by default.
        down_factors: the sizes (height, width) of the blocks.
        dropout: probability with which a channel of the output is dropped.
        norm_layer: makes the normalisations.

    Shape: (B, Cin, H, W) -> (B, Cout, H, W), for any H and W from 1 up.
    Cost: N (P + N / P) (K + V) multiply-adds of the attentions, for N places and blocks of P; the convolutions are
        1x1.
    Raises: AttnzooError for empty down_factors, numbers below 1, a single value per channel in training mode, or an
        input that is not (B, Cin, H, W).
    """

    reference_keys = {
        **{
            rf"stages\.(\d+)\.{theirs}_range_sa\.f_{part}\.{2 * i + j}{tail}": rf"stages.\1.{ours}.{part}.{i}.{layer}"
            for theirs, ours in (("long", "far"), ("short", "near"))
            for part in ("key", "query")
            for i in range(2)
            for j, tail, layer in ((0, "", "conv"), (1, r"\.0", "norm"))
        },
        **{
            rf"stages\.(\d+)\.{theirs}_range_sa\.{part}": rf"stages.\1.{ours}.{name}"
            for theirs, ours in (("long", "far"), ("short", "near"))
            for part, name in (("f_value", "value"), (r"W\.0", "proj.conv"), (r"W\.1\.0", "proj.norm"))
        },
        r"up_conv\.0": "widen.conv",
        r"up_conv\.1\.0": "widen.norm",
        r"conv_bn\.0": "fuse.conv",
        r"conv_bn\.1\.0": "fuse.norm",
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        key_channels: int | None = None,
        value_channels: int | None = None,
        down_factors: Sequence[Sequence[int]] = ((8, 8),),
        dropout: float = 0.0,
        norm_layer: Layer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        checks.positive("isa", in_channels=in_channels)
        out_channels = in_channels if out_channels is None else out_channels
        key_channels = max(in_channels // 2, 1) if key_channels is None else key_channels
        value_channels = in_channels if value_channels is None else value_channels
        checks.positive("isa", out_channels=out_channels, key_channels=key_channels, value_channels=value_channels)
        checks.sequence("isa", down_factors=down_factors)
        checks.probability("isa", dropout=dropout)
        factors = [checks.pair("isa", name, pair) for name, pair in checks.items(down_factors=down_factors).items()]
        self.in_channels = in_channels
        widths = (key_channels, value_channels, out_channels)
        self.stages = nn.ModuleList(_Interlaced(in_channels, *widths, pair, norm_layer) for pair in factors)
        joined, several = len(factors) * out_channels, len(factors) > 1
        self.widen = ConvNormAct(in_channels, joined, norm_layer=norm_layer) if several else nn.Identity()
        fused = joined + (joined if several else in_channels)
        self.fuse = ConvNormAct(fused, out_channels, norm_layer=norm_layer)
        self.drop = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("isa", x, self.in_channels)
        if self.training:
            checks.several_values("isa", x)
        contexts = [stage(x) for stage in self.stages]
        return self.drop(self.fuse(torch.cat([self.widen(x), *contexts], dim=1)))


class _Interlaced(nn.Module):
    """Attention across the blocks of one size, then within them; zeros on all sides complete the outer blocks."""

    def __init__(
        self, channels: int, keys: int, values: int, out_channels: int, block: tuple[int, int], norm_layer: Layer
    ) -> None:
        super().__init__()
        self.block = block
        self.far = _Attention(channels, keys, values, out_channels, norm_layer)
        self.near = _Attention(out_channels, keys, values, out_channels, norm_layer)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = ((size + step - 1) // step * step for size, step in zip(x.shape[2:], self.block, strict=True))
        top, left = (rows - x.shape[2]) // 2, (columns - x.shape[3]) // 2
        height, width = self.block
        padded = F.pad(x, (width, width, height, height))  # constant, and so the same graph for all sizes
        padded = padded[:, :, height - top : height - top + rows, width - left : width - left + columns]
        y = self.near(self.far(padded, self.block, across=True), self.block, across=False)
        return _window(y, top, left, x.shape[2], x.shape[3])


class _Attention(nn.Module):
    """Self-attention within the groups of a map: the places of a block, or those at the same spot of every block."""

    def __init__(self, channels: int, keys: int, values: int, out_channels: int, norm_layer: Layer) -> None:
        super().__init__()
        self.query, self.key = (
            nn.Sequential(
                ConvNormAct(channels, keys, norm_layer=norm_layer), ConvNormAct(keys, keys, norm_layer=norm_layer)
            )
            for _ in range(2)
        )
        self.value = nn.Conv2d(channels, values, 1, bias=False)
        self.proj = ConvNormAct(values, out_channels, norm_layer=norm_layer)

    def forward(self, x: Tensor, block: tuple[int, int], across: bool) -> Tensor:
        order = _ACROSS if across else _WITHIN
        q, k, v = (_grouped(layer(x), block, order) for layer in (self.query, self.key, self.value))
        queries, keys, values = (part.flatten(3, 4).flatten(1, 2) for part in (q, k, v))
        y = attend(queries, keys, values)  # (B, groups, places, V)
        y = y.view(v.shape).permute([order.index(i) for i in range(6)])
        return self.proj(y.flatten(4, 5).flatten(2, 3))

    def attention(self, x: Tensor, block: tuple[int, int], across: bool) -> Tensor:
        """(B, C, H, W) -> the maps (B, groups, places, places), the groups where others have heads."""
        order = _ACROSS if across else _WITHIN
        q, k = (_grouped(layer(x), block, order).flatten(3, 4).flatten(1, 2) for layer in (self.query, self.key))
        return affinity(q, k)


def _window(x: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """A part of the map, by index: of a slice, torch.export would ask whether it is contiguous."""
    rows, columns = (torch.arange(first, first + n, device=x.device) for first, n in ((top, height), (left, width)))
    return x.index_select(2, rows).index_select(3, columns)


def _grouped(x: Tensor, block: tuple[int, int], order: tuple[int, ...]) -> Tensor:
    """(B, C, H, W) -> (B, C, H / h, h, W / w, w), its dimensions in that order: two of groups, two of places, C."""
    return x.unflatten(3, (-1, block[1])).unflatten(2, (-1, block[0])).permute(order)
