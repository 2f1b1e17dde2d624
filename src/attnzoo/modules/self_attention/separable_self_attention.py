"""Separable self-attention of MobileViTv2: one latent query pools a context, which scales all values."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import SQUARES, precisely, wide
from attnzoo.registry import Paper, register


@register(
    "separable_self_attention",
    title="Separable self-attention (MobileViTv2)",
    contract="feature",
    paper=Paper(
        title="Separable Self-attention for Mobile Vision Transformers",
        authors="Mehta, Rastegari",
        venue="TMLR",
        year=2023,
        url="https://arxiv.org/abs/2206.02680",
    ),
    source="apple/ml-cvnets@7771756",
    source_license="other: Copyright (C) 2023 Apple Inc. All Rights Reserved.",
    summary="Scores the patches with one latent query, pools their keys by these scores into a context vector, and "
    "multiplies the rectified values by it. Rows of the map, the pixels of a patch, do this apart from each other.",
    summary_zh="用一个潜在查询为各图块打分，按得分把键汇聚成上下文向量，再与经 ReLU 的值相乘。"
    "特征图的各行（图块内的像素）各自独立地进行。",
    placement="MobileViTv2 blocks: unfold to 2x2 patches, GroupNorm, this, residual, an MLP of 1x1 convolutions.",
    residual=True,
    reported="MobileViTv2: 75.6 ImageNet top-1 with about 3M parameters.",
    differences=(
        "The input is (B, C, P, N), P the pixels of a patch and N the patches; for a plain map take P = 1, N = H W.",
        "A popular collection has the token form without the ReLU on the values, which is not the paper's.",
        "The keys are pooled before their projection, the same by linearity.",
        "The authors' cross form needs bias=True; ours runs without too.",
    ),
    inert=("query.bias",),
    not_applicable=SQUARES,
)
class SeparableSelfAttention(nn.Module):
    """proj(relu(value(x)) context), context = sum_n softmax(query(x))_n key(x)_n, for each pixel of a patch.

    Args:
        channels: C, the channels of the input.
        attn_dropout: dropout of the scores.
        bias: whether all projections have a bias.

    Shape: (B, C, P, N), and optionally x_prev (B, C, P, M) -> (B, C, P, N).
    Cost: 3 C^2 + 4 C + 1 parameters; P N (2 C^2 + 2 C) multiply-adds.
    Raises: AttnzooError for an input that is not (B, C, P, N), or an x_prev that differs in more than N.
    """

    reference_keys = {r"out_proj\.block\.conv": "proj"}

    def __init__(self, channels: int, attn_dropout: float = 0.0, bias: bool = True) -> None:
        super().__init__()
        checks.positive("separable_self_attention", channels=channels)
        checks.probability("separable_self_attention", attn_dropout=attn_dropout)
        self.channels = channels
        self.query = nn.Conv2d(channels, 1, 1, bias=bias)
        self.key = nn.Conv2d(channels, channels, 1, bias=bias)
        self.value = nn.Conv2d(channels, channels, 1, bias=bias)
        self.attn_dropout = nn.Dropout(attn_dropout)
        self.proj = nn.Conv2d(channels, channels, 1, bias=bias)

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Split the one layer of queries, keys and values."""
        apart = dict(state)
        for part in ("weight", "bias"):
            joined = apart.pop(f"qkv_proj.block.conv.{part}", None)
            if joined is not None:
                values = self.channels + 1  # where they begin
                apart[f"query.{part}"] = joined[:1]
                apart[f"key.{part}"] = joined[1:values]
                apart[f"value.{part}"] = joined[values:]
        return apart

    def forward(self, x: Tensor, x_prev: Tensor | None = None) -> Tensor:
        """Attend within x, or from x to x_prev: scores and keys are then those of x_prev."""
        checks.nchw("separable_self_attention", x, self.channels)
        if x_prev is not None:
            checks.shaped("separable_self_attention", "x_prev", x_prev, (*x.shape[:3], None))
        seen = x if x_prev is None else x_prev
        scores = self.attn_dropout(self.attention(x, x_prev).to(x.dtype))  # (B, 1, P, M)
        context = self._context(seen, scores)
        return precisely(self.proj, wide(self.value(x).relu()) * context).to(x.dtype)

    def attention(self, x: Tensor, x_prev: Tensor | None = None) -> Tensor:
        """The arguments of `forward` -> the scores (B, 1, P, M): one query for each pixel of a patch."""
        return precisely(self.query, x if x_prev is None else x_prev).softmax(dim=3)

    def _context(self, x: Tensor, scores: Tensor) -> Tensor:
        """The keys summed with the scores: (B, C, P, M), (B, 1, P, M) -> (B, C, P, 1)."""
        pooled = torch.einsum("bcpm,bpm->bcp", x, scores[:, 0])[..., None]
        context = F.conv2d(pooled, self.key.weight)
        if self.key.bias is None:
            return context
        return context + self.key.bias[:, None, None] * scores.sum(dim=3, keepdim=True)  # 1 but for dropout
