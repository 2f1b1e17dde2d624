"""Position-sensitive axial attention (Axial-DeepLab): along one axis, with offsets for queries, keys and values."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import by_offset, laid_out_like, precisely, wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "axial",
    title="Axial attention with position-sensitive terms",
    contract="context",
    plug_in=True,
    paper=Paper(
        title="Axial-DeepLab: Stand-Alone Axial-Attention for Panoptic Segmentation",
        authors="Wang, Zhu, Green, Adam, Yuille, Chen",
        venue="ECCV",
        year=2020,
        url="https://arxiv.org/abs/2003.07853",
    ),
    source="csrhddlam/axial-deeplab@79088ed",
    source_license="Apache-2.0",
    summary="Every column, or every row, attends within itself, and queries, keys and values each have vectors of "
    "their own for every offset. Two of them in turn, along the height and the width, see the whole map.",
    summary_zh="每一列（或每一行）在自身内部做注意力，查询、键、值各有一套随偏移而变的向量。"
    "先沿高、再沿宽各做一次，便能看到整张图。",
    placement="In an axial block: 1x1 convolution, BatchNorm and ReLU, attention along the height, then along the "
    "width (which takes the stride), ReLU, 1x1 convolution, BatchNorm, residual.",
    reported="No headline figure recorded here.",
    differences=(
        "The reference attends along the whole axis; the local spans of the paper are not in it.",
        "Projections, logits and outputs each have a batch norm; in training that of the logits takes its statistics "
        "over all lines and all pairs of places of a line.",
        "A popular port under this name is plain attention along an axis, without any of these terms.",
    ),
    inert=("norm_logits.bias",),
    example={"size": 7},
    inputs=("B C 7 W",),
    settled=("size", "axis"),
)
class AxialAttention(nn.Module):
    """Sum over j of a_ij (v_j + r^v_{i-j}), a the softmax of q_i k_j + q_i r^q_{i-j} + k_j r^k_{j-i}, all normalised.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; twice num_heads divides them.
        num_heads: g.
        size: L, the length of the axis, fixed.
        stride: average the output over so many places each way.
        axis: 'height' for columns, 'width' for rows.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H // stride, W // stride), H or W being L.
    Cost: 2 in_channels out_channels + 2 (2 L - 1) out_channels / g weights; H W (2 in_channels + 3.5 L) out_channels
        multiply-adds, 3 g H W L logits.
    Raises: AttnzooError for heads that do not divide, an unknown axis, a single value per channel in training mode,
        or an input that is not (B, in_channels, H, W), of another length, or smaller than the stride.
    """

    reference_keys = {"qkv_transform": "qkv", "bn_qkv": "norm_qkv", "bn_similarity": "norm_logits", "bn_output": "norm"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_heads: int = 8,
        size: int = 56,
        stride: int = 1,
        axis: str = "height",
    ) -> None:
        super().__init__()
        checks.positive("axial", in_channels=in_channels, out_channels=out_channels, num_heads=num_heads)
        checks.positive("axial", size=size, stride=stride)
        checks.choice("axial", ("height", "width"), axis=axis)
        checks.divisible("axial", "in_channels", in_channels, num_heads=num_heads)
        checks.divisible("axial", "out_channels", out_channels, **{"2 * num_heads": 2 * num_heads})
        width = out_channels // num_heads
        self.in_channels = in_channels
        self.num_heads = num_heads
        self.size = size
        self.stride = stride
        self.columns = axis == "height"
        self.widths = (width // 2, width // 2, width)  # of queries, keys and values per head
        self.qkv = nn.Conv2d(in_channels, 2 * out_channels, 1, bias=False)
        self.norm_qkv = nn.BatchNorm2d(2 * out_channels)
        self.norm_logits = nn.BatchNorm2d(3 * num_heads)
        self.norm = nn.BatchNorm2d(2 * out_channels)
        self.relative = nn.Parameter(torch.randn(2 * width, 2 * size - 1) * width**-0.5)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        nn.init.normal_(self.qkv.weight, std=in_channels**-0.5)

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Leave out the stored index of offsets."""
        return {key: value for key, value in state.items() if key != "flatten_index"}

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("axial", x, self.in_channels)
        checks.axis_length("axial", x, 2 if self.columns else 3, size=self.size)
        checks.at_least_size("axial", x, self.stride)
        if self.training:
            checks.several_values("axial", x)
        with without_autocast(x):
            q, k, v = self._queries_keys_values(x)
            weights = self._weights(q, k)
            by_place = torch.einsum("blgij,jid->blgid", weights, self._offsets(v)[2])
            y = torch.stack([weights @ v, by_place], dim=5)  # (B, lines, g, L, d, 2)
            y = y.permute(0, 2, 4, 5, 3, 1) if self.columns else y.permute(0, 2, 4, 5, 1, 3)
            y = wide(precisely(self.norm, y.flatten(1, 3))).unflatten(1, (-1, 2)).sum(dim=2)
        return laid_out_like(self.pool(y.to(x.dtype)), x)

    def attention(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> the weights of the L places of each place's line (B, g, H W, L)."""
        with without_autocast(x):
            q, k, _ = self._queries_keys_values(x)
            weights = self._weights(q, k)
        weights = weights.permute(0, 2, 3, 1, 4) if self.columns else weights.transpose(1, 2)
        return weights.flatten(2, 3)

    def _queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of every line (B, lines, g, L, d)."""
        qkv = wide(precisely(self.norm_qkv, precisely(self.qkv, x))).unflatten(1, (self.num_heads, -1))
        lines = qkv.permute(0, 4, 1, 3, 2) if self.columns else qkv.permute(0, 3, 1, 4, 2)
        q, k, v = lines.split(self.widths, dim=4)
        return q, k, v

    def _weights(self, q: Tensor, k: Tensor) -> Tensor:
        """(B, lines, g, L, d) twice -> (B, lines, g, L, L)."""
        of_queries, of_keys, _ = self._offsets(q)
        terms = [
            q @ k.mT,
            torch.einsum("blgid,jid->blgij", q, of_queries),
            torch.einsum("blgjd,ijd->blgij", k, of_keys),
        ]
        logits = torch.stack(terms, dim=2).flatten(2, 3)  # (B, lines, 3 g, L, L)
        normalised = wide(precisely(self.norm_logits, logits.flatten(0, 1))).view_as(logits)
        return normalised.unflatten(2, (3, -1)).sum(dim=2).softmax(dim=4)

    def _offsets(self, like: Tensor) -> Sequence[Tensor]:
        """Vectors of the offset j - i at [i, j], for queries, keys and values (L, L, d)."""
        return by_offset(self.relative.mT.to(like.dtype), self.size).split(self.widths, dim=2)
