"""Multi-head scaled dot-product attention on tokens."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import affinity, attend, merge_heads, split_heads
from attnzoo.registry import Paper, register

TRANSFORMER = Paper(
    title="Attention Is All You Need",
    authors="Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin",
    venue="NeurIPS",
    year=2017,
    url="https://arxiv.org/abs/1706.03762",
)


@register(
    "self_attention",
    title="Multi-head scaled dot-product attention",
    contract="tokens",
    paper=TRANSFORMER,
    source="xmu-xiaoma666/External-Attention-pytorch@d75848e",
    source_license="MIT",
    summary="Every token asks all others with a query, and takes the mean of their values weighted by how well "
    "their keys answer, in several heads. Widths of keys and values are free; masks and weights are optional.",
    summary_zh="每个 token 以查询向量与其余 token 的键匹配，并按匹配程度对它们的值加权平均，分多头进行。"
    "键与值的宽度可自由设定，可选掩码与乘性权重。",
    placement="Transformer blocks.",
    reported="WMT 2014 English-German: 28.4 BLEU with the big Transformer.",
    differences=(
        "attention_mask is True where a key is removed; torch's scaled_dot_product_attention means the opposite.",
        "The source initialises with a normal of 0.001, nearly uniform attention; here torch's default holds.",
    ),
    inert=("fc_k.bias",),
    not_applicable={"large-close": "the rounding of logits of 1e6 decides the softmax"},
)
class SelfAttention(nn.Module):
    """fc_o(concat over heads of softmax(q k^T / sqrt(dk)) v); no residual, no normalisation.

    Args:
        channels: C, the width of the tokens.
        key_dim: dk, width of queries and keys per head; C // num_heads by default.
        value_dim: dv, width of values per head; C // num_heads by default.
        num_heads: h.
        dropout: probability with which an entry of the attention map is dropped in training.

    Shape: query (B, N, C), key and value (B, M, C) -> (B, N, C); key defaults to query, value to key.
    Cost: C h (2 dk + dv) + h dv C weights; memory linear in N unless attention_weights are given.
    Raises: AttnzooError for wrong widths, tokens that are not (B, N, C), a mask that is not boolean, or
        shapes that do not go together.
    """

    def __init__(
        self,
        channels: int,
        key_dim: int | None = None,
        value_dim: int | None = None,
        num_heads: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        checks.probability("self_attention", dropout=dropout)
        key_dim, value_dim = checks.head_widths("self_attention", channels, num_heads, key_dim, value_dim)
        self.channels = channels
        self.num_heads = num_heads
        self.dropout = dropout
        self.fc_q = nn.Linear(channels, num_heads * key_dim)
        self.fc_k = nn.Linear(channels, num_heads * key_dim)
        self.fc_v = nn.Linear(channels, num_heads * value_dim)
        self.fc_o = nn.Linear(num_heads * value_dim, channels)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        attention_mask: Tensor | None = None,
        attention_weights: Tensor | None = None,
    ) -> Tensor:
        """Attend from the query's tokens to the key's.

        Args:
            query, key, value: tokens, see the class.
            attention_mask: boolean, broadcast to (B, h, N, M): True removes a key.
            attention_weights: broadcast to (B, h, N, M): multiply the logits, before the mask.
        """
        key = query if key is None else key
        value = key if value is None else value
        checks.attention_inputs("self_attention", self.channels, query, key, value, attention_mask, attention_weights)
        q, k = self._queries_keys(query, key)
        v = split_heads(self.fc_v(value), self.num_heads)
        dropout = self.dropout if self.training else 0.0
        return self.fc_o(merge_heads(attend(q, k, v, attention_mask, attention_weights, dropout)))

    def attention(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,  # noqa: ARG002 (the arguments of forward)
        attention_mask: Tensor | None = None,
        attention_weights: Tensor | None = None,
    ) -> Tensor:
        """The attention map (B, h, N, M) for the arguments of `forward`."""
        q, k = self._queries_keys(query, query if key is None else key)
        return affinity(q, k, attention_mask, attention_weights)

    def _queries_keys(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        return split_heads(self.fc_q(query), self.num_heads), split_heads(self.fc_k(key), self.num_heads)
