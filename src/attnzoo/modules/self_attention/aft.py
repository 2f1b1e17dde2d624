"""AFT, Attention Free Transformer: every channel pools the values by its own exponentials of the keys."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely, wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "aft",
    title="Attention Free Transformer (AFT-full, AFT-simple)",
    contract="tokens",
    paper=Paper(
        title="An Attention Free Transformer",
        authors="Zhai, Talbott, Srivastava, Huang, Goh, Zhang, Susskind",
        venue="arXiv",
        year=2021,
        url="https://arxiv.org/abs/2105.14103",
    ),
    source="xmu-xiaoma666/External-Attention-pytorch@d75848e",
    source_license="MIT",
    summary="Averages the values in each channel with weights from the exponential of the keys and of a learnt bias "
    "for every pair of places, then gates the mean by the sigmoid of the query. No query meets a key.",
    summary_zh="每个通道以键与可学习的位置对偏置之指数为权重，对值取平均，再乘以查询的 sigmoid 门。"
    "查询与键之间不做内积。",
    placement="In place of self-attention.",
    reported="No headline figure recorded here.",
    differences=(
        "The collection that the numbers come from takes the exponentials as they are, which overflow for large "
        "keys, and forms a tensor with all pairs for every image and channel; ours takes the maxima off first and "
        "multiplies matrices, the same value.",
        "In its simple form the collection keeps the zero biases as a tensor that stays behind when the module moves.",
    ),
    inert=("fc_k.bias",),
    example={"simple": True},
)
class AFT(nn.Module):
    """sigmoid(q_i) sum_j exp(k_j + w_ij) v_j / sum_j exp(k_j + w_ij), channel by channel.

    Args:
        channels: C, the width of the tokens.
        num_tokens: N, fixed by the position biases w; without effect where simple.
        simple: leave out w; any number of tokens then runs.

    Shape: (B, N, C) -> (B, N, C).
    Cost: 3 C^2 + 3 C + N^2 parameters; 3 N C^2 + 2 N^2 C multiply-adds; simple has no term in N^2.
    Raises: AttnzooError for another number of tokens than num_tokens unless simple, or tokens that are not
        (B, N, C).
    """

    def __init__(self, channels: int, num_tokens: int = 49, simple: bool = False) -> None:
        super().__init__()
        checks.positive("aft", channels=channels, num_tokens=num_tokens)
        self.channels = channels
        self.num_tokens = num_tokens
        self.fc_q = nn.Linear(channels, channels)
        self.fc_k = nn.Linear(channels, channels)
        self.fc_v = nn.Linear(channels, channels)
        self.position_biases = None if simple else nn.Parameter(torch.ones(num_tokens, num_tokens))

    def forward(self, x: Tensor) -> Tensor:
        checks.tokens("aft", x, self.channels)
        if self.position_biases is not None:
            checks.same_length("aft", x, num_tokens=self.num_tokens)
        return self._pooled(x) * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return precisely(self.fc_q, x).sigmoid().to(x.dtype)

    def _pooled(self, x: Tensor) -> Tensor:
        """(B, N, C) -> the pooled values (B, N, C), or (B, 1, C) where all tokens get the same."""
        k, v = wide(precisely(self.fc_k, x)), wide(self.fc_v(x))
        if self.position_biases is None:
            return (k.softmax(dim=1) * v).sum(dim=1, keepdim=True).to(x.dtype)
        weights = (k - k.amax(dim=1, keepdim=True)).exp()
        biases = wide(self.position_biases)
        with without_autocast(x):
            pairs = (biases - biases.amax(dim=1, keepdim=True)).exp()
            return ((pairs @ (weights * v)) / (pairs @ weights)).to(x.dtype)
