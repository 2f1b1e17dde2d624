"""EMSA, the attention of ResT: keys and values on a reduced map, heads mixed with each other."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from attnzoo import checks
from attnzoo.blocks import attend, merge_heads, split_heads, to_map, to_tokens, wide
from attnzoo.registry import Paper, register

ENTRIES = 2**24  # of the mixed heads' maps at a time, 64 MiB in float32: below it, computing them again only costs
EPS = 1e-5  # of the instance norm


@register(
    "emsa",
    title="Efficient Multi-head Self-Attention (ResT)",
    contract="feature",
    paper=Paper(
        title="ResT: An Efficient Transformer for Visual Recognition",
        authors="Zhang, Yang",
        venue="NeurIPS",
        year=2021,
        url="https://arxiv.org/abs/2105.13677",
    ),
    source="wofmanaf/ResT@b9245d3; xmu-xiaoma666/External-Attention-pytorch@d75848e (free key and value widths)",
    source_license="Apache-2.0; MIT",
    summary="Multi-head attention whose keys and values come from a map shrunk by a strided depthwise convolution. "
    "Optionally a 1x1 convolution mixes the heads' maps, and an instance norm restores their variety.",
    summary_zh="键与值取自经步进深度卷积缩小的特征图的多头注意力。"
    "可选用 1x1 卷积混合各头的注意力图，并以实例归一化恢复其多样性。",
    placement="The attention of every ResT block: heads 1, 2, 4, 8 and sr_ratio 8, 4, 2, 1 in the four stages, "
    "qkv_bias and apply_transform on.",
    residual=True,
    reported="ImageNet top-1: ResT-Small 79.6, ResT-Base 81.6, ResT-Large 83.6.",
    differences=(
        "The authors' class takes tokens with H and W; ours takes the map.",
        "A popular collection has separate projections with free key and value widths: key_dim, value_dim.",
        "After the instance norm the rows of the map sum to 0, so that a constant in the values has no effect.",
    ),
    inert=("mix.bias",),
    not_applicable={"large-close-bfloat16": "the rounding of logits of 1e6 decides the softmax"},
)
class EMSA(nn.Module):
    """proj(A v): A = softmax(q k^T / sqrt(dk)), or the instance norm of the softmax of its mixed heads.

    Args:
        channels: C, the channels of the input.
        num_heads: h.
        key_dim: dk, width of queries and keys per head; C // h by default.
        value_dim: dv, width of values per head; C // h by default.
        qkv_bias: whether queries, keys and values have a bias.
        sr_ratio: s, by which the map of keys and values is shrunk.
        apply_transform: mix the heads' maps and normalise them; with one head it has no effect.
        attn_drop, proj_drop: dropout of the map and of the output.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up, from 2 where sr_ratio is odd and above 1.
    Cost: 2 N C^2 + 2 M C^2 + 2 N M C multiply-adds, N = H W places and M about N / s^2. No map is stored, but by
        compiled programs with apply_transform.
    Raises: AttnzooError for heads that do not divide the channels, a map too small to
        reduce, or an input that is not (B, C, H, W).
    """

    reference_keys = {
        "transform_conv": "mix",
        r"transform\.conv": "mix",
        "sr_conv": "sr",
        "sr_ln": "sr_norm",
        "fc_q": "q",
        "fc_o": "proj",
    }

    def __init__(
        self,
        channels: int,
        num_heads: int = 8,
        key_dim: int | None = None,
        value_dim: int | None = None,
        qkv_bias: bool = False,
        sr_ratio: int = 1,
        apply_transform: bool = False,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        checks.positive("emsa", sr_ratio=sr_ratio)
        checks.probability("emsa", attn_drop=attn_drop, proj_drop=proj_drop)
        key_dim, value_dim = checks.head_widths("emsa", channels, num_heads, key_dim, value_dim)
        self.channels = channels
        self.num_heads = num_heads
        self.attn_drop = attn_drop
        self.widths = (num_heads * key_dim, num_heads * value_dim)
        self.q = nn.Linear(channels, self.widths[0], bias=qkv_bias)
        self.kv = nn.Linear(channels, sum(self.widths), bias=qkv_bias)
        self.proj = nn.Linear(self.widths[1], channels)
        self.proj_drop = nn.Dropout(proj_drop)
        self.least = sr_ratio + 1 - 2 * (sr_ratio // 2) if sr_ratio > 1 else 1  # what its padded kernel covers
        self.sr: nn.Module = nn.Identity()
        self.sr_norm: nn.Module = nn.Identity()
        if sr_ratio > 1:
            self.sr = nn.Conv2d(channels, channels, sr_ratio + 1, sr_ratio, padding=sr_ratio // 2, groups=channels)
            self.sr_norm = nn.LayerNorm(channels)
        self.mix = nn.Conv2d(num_heads, num_heads, 1) if apply_transform and num_heads > 1 else None

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Join the separate key and value projections that one of the sources has."""
        joined = dict(state)
        for part in ("weight", "bias"):
            if f"fc_k.{part}" in joined and f"fc_v.{part}" in joined:
                joined[f"kv.{part}"] = torch.cat([joined.pop(f"fc_k.{part}"), joined.pop(f"fc_v.{part}")])
        return joined

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("emsa", x, self.channels)
        checks.at_least_size("emsa", x, self.least)
        q, k, v = self._queries_keys_values(x)
        dropout = self.attn_drop if self.training else 0.0
        y = attend(q, k, v, dropout=dropout) if self.mix is None else self._mixed(q, k, v, dropout)
        return to_map(self.proj_drop(self.proj(merge_heads(y))), *x.shape[2:])

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the attention map (B, h, N, M)."""
        q, k, _ = self._queries_keys_values(x)
        return self._affinity(q, k)

    def _queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        k, v = self.kv(self.sr_norm(to_tokens(self.sr(x)))).split(self.widths, dim=2)
        q = self.q(to_tokens(x))
        return split_heads(q, self.num_heads), split_heads(k, self.num_heads), split_heads(v, self.num_heads)

    def _mixed(self, q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
        """The instance norm of the softmax of the mixed heads, times v: (B, h, N, dk) -> (B, h, N, dv).

        Of large maps some queries at a time, computed again in the backward pass: the rows of a softmax have the mean
        1/M, so that only the variance is left to be gathered. A compiled program takes all at once.
        """
        (batch, heads, places, _), keys = q.shape, k.shape[2]
        some = max(ENTRIES // (batch * heads * keys), 1)
        if torch.compiler.is_compiling() or places <= some:
            return F.dropout(self._affinity(q, k), dropout) @ v
        parts = [checkpoint(self._centred, part, k, v, dropout, use_reentrant=False) for part in q.split(some, dim=2)]
        y, squares = torch.cat([y for y, _ in parts], dim=2), torch.stack([s for _, s in parts]).sum(dim=0)
        variance = squares / (places * keys)
        return y * (variance + EPS * keys**2).rsqrt()[..., None, None].to(y.dtype)

    def _centred(self, q: Tensor, k: Tensor, v: Tensor, dropout: float) -> tuple[Tensor, Tensor]:
        """M p - 1, p the softmax of the mixed heads: its product with v, and the sum of its squares (B, h)."""
        centred = self._softmax(q, k) * k.shape[2] - 1
        return F.dropout(centred, dropout) @ v, wide(centred).square().sum(dim=(2, 3))

    def _softmax(self, q: Tensor, k: Tensor) -> Tensor:
        logits = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
        return (logits if self.mix is None else self.mix(logits)).softmax(dim=-1)

    def _affinity(self, q: Tensor, k: Tensor) -> Tensor:
        weights = self._softmax(q, k)
        if self.mix is None:
            return weights
        return F.layer_norm(weights, weights.shape[-2:], eps=EPS)  # as an instance norm, which refuses a single pixel
