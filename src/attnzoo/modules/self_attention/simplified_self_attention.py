"""Multi-head attention directly on its inputs, without query, key and value projections."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import affinity, attend, merge_heads, split_heads
from attnzoo.modules.self_attention.self_attention import TRANSFORMER
from attnzoo.registry import register


@register(
    "simplified_self_attention",
    title="Multi-head attention without q/k/v projections",
    contract="tokens",
    paper=TRANSFORMER,
    source="xmu-xiaoma666/External-Attention-pytorch@d75848e",
    source_license="MIT",
    summary="Scaled dot-product attention applied to the tokens as they are, followed by an output projection. "
    "It saves the three input projections.",
    summary_zh="直接在输入 token 上做缩放点积注意力，再接一个输出投影。省去了三个输入投影层。",
    placement="A building block, such as the channel branch of da_module.",
    reported="No figures of its own.",
    differences=("Known from one popular collection; no paper describes it on its own.",),
    example={"num_heads": 4},
    not_applicable={"large-close-bfloat16": "the rounding of logits of 1e6 decides the softmax"},
)
class SimplifiedSelfAttention(nn.Module):
    """fc_o(concat over heads of softmax(q k^T / sqrt(d)) v), q, k and v slices of the inputs themselves.

    Args:
        channels: C, the width of the tokens; num_heads divides it.
        num_heads: h; each takes d = C // h channels.
        dropout: probability with which an entry of the attention map is dropped in training.

    Shape: query (B, N, C), key and value (B, M, C) -> (B, N, C); key defaults to query, value to key.
    Cost: C^2 + C parameters; memory linear in N unless attention_weights are given.
    Raises: AttnzooError for num_heads that does not divide channels, tokens that are not (B, N, C), a mask
        that is not boolean, or shapes that do not go together.
    """

    def __init__(self, channels: int, num_heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        checks.positive("simplified_self_attention", channels=channels, num_heads=num_heads)
        checks.divisible("simplified_self_attention", "channels", channels, num_heads=num_heads)
        checks.probability("simplified_self_attention", dropout=dropout)
        self.channels = channels
        self.num_heads = num_heads
        self.dropout = dropout
        self.fc_o = nn.Linear(channels, channels)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        attention_mask: Tensor | None = None,
        attention_weights: Tensor | None = None,
    ) -> Tensor:
        """Attend from the query's tokens to the key's; the arguments are those of `SelfAttention.forward`."""
        key = query if key is None else key
        value = key if value is None else value
        checks.attention_inputs(
            "simplified_self_attention", self.channels, query, key, value, attention_mask, attention_weights
        )
        q, k, v = (split_heads(x, self.num_heads) for x in (query, key, value))
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
        q, k = (split_heads(x, self.num_heads) for x in (query, query if key is None else key))
        return affinity(q, k, attention_mask, attention_weights)
