"""UFO attention: keys and values first, and norms in place of the softmax."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import merge_heads, split_heads, wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "ufo",
    title="UFO attention (softmax-free, XNorm)",
    contract="tokens",
    paper=Paper(
        title="UFO-ViT: High Performance Linear Vision Transformer without Softmax",
        authors="Song",
        venue="arXiv",
        year=2021,
        url="https://arxiv.org/abs/2109.14382",
    ),
    source="xmu-xiaoma666/External-Attention-pytorch@d75848e",
    source_license="MIT",
    summary="Multiplies keys with values before the queries come in, and scales the queries and that product to a "
    "learnt length instead of taking a softmax. Time and memory grow linearly with the tokens.",
    summary_zh="先让键与值相乘，查询随后才参与，并把查询与该乘积归一化到可学习的长度以取代 softmax。"
    "时间与内存随 token 数线性增长。",
    placement="In place of self-attention.",
    reported="No headline figure recorded here.",
    differences=(
        "No code by the author was found; as in the collection that the numbers come from, each factor is normalised "
        "over its own last axis, with one learnt scale per head for both.",
        "That collection divides by the norm as it is, NaN for a row of zeros; here the norm is kept above zero.",
        "Its dropout argument is never used and left out here.",
    ),
)
class UFO(nn.Module):
    """fc_o(concat over heads of XNorm(q) XNorm(k^T v)), XNorm(t) = gamma t / |t| over the last axis.

    Args:
        channels: C, the width of the tokens.
        key_dim: dk, width of queries and keys per head; C // num_heads by default.
        value_dim: dv, width of values per head; C // num_heads by default.
        num_heads: h.

    Shape: query (B, N, C), key and value (B, M, C) -> (B, N, C); key defaults to query, value to key.
    Cost: C h (2 dk + dv) + h dv C + h weights; h dk dv (N + M) multiply-adds besides the projections.
    Raises: AttnzooError for wrong widths, tokens that are not (B, N, C), or shapes that do not go together.
    """

    def __init__(
        self,
        channels: int,
        key_dim: int | None = None,
        value_dim: int | None = None,
        num_heads: int = 8,
    ) -> None:
        super().__init__()
        key_dim, value_dim = checks.head_widths("ufo", channels, num_heads, key_dim, value_dim)
        self.channels = channels
        self.num_heads = num_heads
        self.fc_q = nn.Linear(channels, num_heads * key_dim)
        self.fc_k = nn.Linear(channels, num_heads * key_dim)
        self.fc_v = nn.Linear(channels, num_heads * value_dim)
        self.fc_o = nn.Linear(num_heads * value_dim, channels)
        self.gamma = nn.Parameter(torch.randn(1, num_heads, 1, 1))

    def forward(self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None) -> Tensor:
        """Attend from the query's tokens to the key's."""
        key = query if key is None else key
        value = key if value is None else value
        checks.attention_inputs("ufo", self.channels, query, key, value)
        with without_autocast(query):
            q, _, context, length = self._factors(query, key, value)
            y = q @ (context * (self.gamma / length))
        return self.fc_o(merge_heads(y).to(query.dtype)).to(query.dtype)

    def attention(self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None) -> Tensor:
        """The map (B, h, N, M) that multiplies the values for the arguments of `forward`; rows sum to anything."""
        key = query if key is None else key
        value = key if value is None else value
        with without_autocast(query):
            q, k, _, length = self._factors(query, key, value)
            return (q * (self.gamma / length).mT) @ k.mT

    def _factors(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """XNorm(q) (B, h, N, dk), k (B, h, M, dk), k^T v (B, h, dk, dv) and the length of its rows."""
        layers = ((self.fc_q, query), (self.fc_k, key), (self.fc_v, value))
        q, k, v = (wide(split_heads(layer(x.to(layer.weight.dtype)), self.num_heads)) for layer, x in layers)
        context = k.mT @ v
        return self.gamma * q / _length(q), k, context, _length(context)


def _length(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
