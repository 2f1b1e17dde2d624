"""External attention on tokens: two linear layers are the memory that all tokens attend to."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely
from attnzoo.registry import Paper, register

EXTERNAL_ATTENTION = Paper(
    title="Beyond Self-attention: External Attention using Two Linear Layers for Visual Tasks",
    authors="Guo, Liu, Mu, Hu",
    venue="TPAMI",
    year=2022,
    url="https://arxiv.org/abs/2105.02358",
)


@register(
    "external_attention_token",
    title="External Attention on tokens",
    contract="tokens",
    paper=EXTERNAL_ATTENTION,
    source="xmu-xiaoma666/External-Attention-pytorch@d75848e",
    source_license="MIT",
    summary="Compares every token with the slots of a small learnt memory, normalises over the tokens and then over "
    "the slots, and reads the answer from a second memory. Nothing else is in it, no residual either.",
    summary_zh="将每个 token 与一个小型可学习记忆的各槽比较，先对 token、再对槽做归一化，并从第二个记忆中读出结果。"
    "除此之外别无他物，也没有残差。",
    placement="In place of self-attention on tokens.",
    reported="No figures of its own; see external_attention.",
    differences=(
        "The form of a popular collection: the authors' block, external_attention, adds convolutions, BatchNorm and a "
        "residual.",
        "The collection divides by the sum over the slots as it is, which gives NaN where that underflows; here the "
        "logarithm is normalised, the same value wherever both exist.",
    ),
)
class ExternalAttentionToken(nn.Module):
    """mv(a), a the softmax over the tokens of mk(x), divided by its sum over the slots.

    Args:
        channels: C, the width of the tokens.
        num_memory: k, the slots of the memory.

    Shape: (B, N, C) -> (B, N, C).
    Cost: 2 C k weights, 2 N C k multiply-adds; linear in N.
    Raises: AttnzooError for num_memory below 1, or tokens that are not (B, N, C).
    """

    reference_keys = {"mk": "memory_key", "mv": "memory_value"}

    def __init__(self, channels: int, num_memory: int = 64) -> None:
        super().__init__()
        checks.positive("external_attention_token", channels=channels, num_memory=num_memory)
        self.channels = channels
        self.memory_key = nn.Linear(channels, num_memory, bias=False)
        self.memory_value = nn.Linear(num_memory, channels, bias=False)
        for layer in (self.memory_key, self.memory_value):
            nn.init.normal_(layer.weight, std=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        checks.tokens("external_attention_token", x, self.channels)
        return self.memory_value(self.attention(x)[:, 0].to(x.dtype)).to(x.dtype)

    def attention(self, x: Tensor) -> Tensor:
        """(B, N, C) -> the attention map from tokens to slots (B, 1, N, k)."""
        logits = precisely(self.memory_key, x)
        return logits.log_softmax(dim=1).softmax(dim=2)[:, None]
