"""Token mixing of FAN: plain multi-head attention."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import affinity, attend, merge_heads, split_heads
from attnzoo.modules.channel.fan_channel import FAN
from attnzoo.registry import register


@register(
    "fan_attention",
    title="FAN token mixing",
    contract="tokens",
    paper=FAN,
    source="NVlabs/FAN@ee1b7df",
    source_license="NVIDIA non-commercial",
    summary="Plain multi-head attention between all tokens. What sets FAN apart is the channel processing that follows "
    "it in a block.",
    summary_zh="所有 token 之间的普通多头注意力。FAN 的特别之处在于块中随后的通道处理。",
    placement="The first half of a FAN block.",
    reported="No headline figures recorded; it is a part of FAN.",
    differences=(
        "The authors' class also returns the values that each head attends to, and takes arguments that do nothing "
        "(sr_ratio, sharpen_attn, emlp, share_atten).",
    ),
    not_applicable={"large-close": "the rounding of logits of 1e6 decides the softmax"},
)
class FANAttention(nn.Module):
    """proj(concat over heads of softmax(q k^T / sqrt(d)) v).

    Args:
        channels: C, the width of the tokens.
        num_heads: h; it divides C.
        qkv_bias: whether queries, keys and values have a bias (the authors' models set it).
        attn_drop, proj_drop: dropout of the map and of the output.

    Shape: (B, N, C) -> (B, N, C), for any N from 1 up.
    Cost: 4 C^2 + C weights; 2 N^2 C multiply-adds besides, in memory linear in N.
    Raises: AttnzooError for heads that do not divide the channels, dropout outside [0, 1), or tokens that are not
        (B, N, C).
    """

    def __init__(
        self,
        channels: int,
        num_heads: int = 8,
        qkv_bias: bool = False,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        checks.positive("fan_attention", channels=channels, num_heads=num_heads)
        checks.divisible("fan_attention", "channels", channels, num_heads=num_heads)
        checks.probability("fan_attention", attn_drop=attn_drop, proj_drop=proj_drop)
        self.channels = channels
        self.num_heads = num_heads
        self.attn_drop = attn_drop
        self.q = nn.Linear(channels, channels, bias=qkv_bias)
        self.kv = nn.Linear(channels, 2 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        checks.tokens("fan_attention", x, self.channels)
        y = attend(*self._queries_keys_values(x), dropout=self.attn_drop if self.training else 0.0)
        return self.proj_drop(self.proj(merge_heads(y)))

    def attention(self, x: Tensor) -> Tensor:
        """(B, N, C) -> the attention map (B, h, N, N)."""
        q, k, _ = self._queries_keys_values(x)
        return affinity(q, k)

    def _queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, (k, v) = self.q(x), self.kv(x).chunk(2, dim=2)
        return split_heads(q, self.num_heads), split_heads(k, self.num_heads), split_heads(v, self.num_heads)
