"""Multi-head external attention: heads of an expanded token share one small memory."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import merge_heads, precisely, split_heads
from attnzoo.modules.self_attention.external_attention_token import EXTERNAL_ATTENTION
from attnzoo.registry import register

_EXPANSION = 4
_SLOTS = 256 // _EXPANSION


@register(
    "multi_head_external_attention",
    title="Multi-head External Attention",
    contract="tokens",
    paper=EXTERNAL_ATTENTION,
    source="MenghaoGuo/EANet@59c03cb",
    source_license="none found",
    summary="Widens the tokens four times and cuts them into heads, all of which attend to one memory of 64 slots. "
    "The attention of the authors' EAMLP networks.",
    summary_zh="把 token 加宽四倍并切分成多头，各头共用一个 64 槽的记忆。这是作者 EAMLP 网络所用的注意力。",
    placement="In place of multi-head self-attention in blocks like those of ViT.",
    reported="No headline figure recorded here.",
    differences=("The authors' class takes qkv_bias and qk_scale and ignores both; here they are left out.",),
    inert=("expand.bias", "memory_key.bias"),
)
class MultiHeadExternalAttention(nn.Module):
    """proj(concat over 4 h heads of memory_value(a)), a as in external attention, of the head's part of expand(x).

    Args:
        channels: C, the width of the tokens; num_heads divides it.
        num_heads: h; there are 4 h heads of d = C // h channels.
        attn_drop, proj_drop: dropout of the map and of the output.

    Shape: (B, N, C) -> (B, N, C).
    Cost: 8 C^2 + 5 C + 129 d + 64 parameters; linear in N.
    Raises: AttnzooError for num_heads that does not divide channels, or tokens that are not (B, N, C).
    """

    reference_keys = {"trans_dims": "expand", "linear_0": "memory_key", "linear_1": "memory_value"}

    def __init__(self, channels: int, num_heads: int = 8, attn_drop: float = 0.0, proj_drop: float = 0.0) -> None:
        super().__init__()
        checks.positive("multi_head_external_attention", channels=channels, num_heads=num_heads)
        checks.divisible("multi_head_external_attention", "channels", channels, num_heads=num_heads)
        checks.probability("multi_head_external_attention", attn_drop=attn_drop, proj_drop=proj_drop)
        self.channels = channels
        self.heads = _EXPANSION * num_heads
        self.expand = nn.Linear(channels, _EXPANSION * channels)
        self.memory_key = nn.Linear(channels // num_heads, _SLOTS)
        self.memory_value = nn.Linear(_SLOTS, channels // num_heads)
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(_EXPANSION * channels, channels)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        checks.tokens("multi_head_external_attention", x, self.channels)
        y = self.memory_value(self.attn_drop(self.attention(x).to(x.dtype)))
        return self.proj_drop(self.proj(merge_heads(y))).to(x.dtype)

    def attention(self, x: Tensor) -> Tensor:
        """(B, N, C) -> the attention map from tokens to slots (B, 4 h, N, 64)."""
        logits = precisely(self.memory_key, split_heads(precisely(self.expand, x), self.heads))
        over_tokens = logits.softmax(dim=2)
        return over_tokens / (over_tokens.sum(dim=3, keepdim=True) + 1e-9)
