"""BA2M, Batch-Aware Attention: the samples of a batch compete for weight, by what three branches see in them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import precisely, without_autocast
from attnzoo.registry import Paper, register


@register(
    "ba2m",
    title="Batch-Aware Attention Module",
    contract="feature",
    plug_in=False,
    paper=Paper(
        title="BA^2M: A Batch Aware Attention Module for Image Classification",
        authors="Cheng, Li, Wu, Ngan",
        venue="arXiv",
        year=2021,
        url="https://arxiv.org/abs/2103.15099",
    ),
    source="paper",
    source_license="not applicable",
    summary="Sums up every sample in one number, from a channel, a local and a global branch, and shares out the "
    "weight of the batch by a softmax over these numbers. Samples rich in content so count for more than plain ones.",
    summary_zh="由通道、局部与全局三个分支把每个样本概括为一个数，再在整个批次上做 softmax 分配权重。"
    "内容丰富的样本因此比平淡的样本更受重视。",
    placement="The ends of residual blocks or stages, or before the classifier.",
    reported="No headline figure recorded here.",
    differences=(
        "There is no code by the authors; this is our reading of the abstract, of a published explanation with "
        "formulas and of two ports.",
        "The two ports differ in extra ReLUs, in the global branch (a plain non-local block in one) and in the "
        "reduction, 32 or 16; in one the softmax over the keys runs over the batch, a slip.",
        "The explanation takes the maximum of the branches before pooling two of them, which gives other weights.",
        "The weights sum to 1, so that features shrink by the batch size; rescale=True takes that back.",
        "A sample's output depends on its batch, in evaluation too: a batch of one is left as it is, and replicas "
        "weigh their own parts only.",
    ),
    not_applicable={
        "batch-independent": "the method weighs each sample against the others of its batch",
        "ddp": "each process weighs the samples of its own part of the batch",
    },
)
class BA2M(nn.Module):
    """x_b w_b, w the softmax over the batch of mean_c max(channel(x), mean local(x), mean whole(x)).

    Args:
        channels: C, the channels of the input; num_heads divides it.
        reduction: r; the channel and the local branch have a bottleneck of C // r.
        num_heads: heads of the global branch, which share one projection; reduction by default.
        rescale: multiply the weights by the batch size, so that their mean is 1.
        return_weights: also return the weights, for `weighted_loss`.

    Shape: (B, C, H, W) -> (B, C, H, W) and (B,), for any H and W from 1 up.
    Cost: 4 C C/r + 9 (C/r)^2 + 3 (C / num_heads)^2 weights or so; 2 C (H W)^2 multiply-adds, linear memory.
    Raises: AttnzooError for a bottleneck without channels, num_heads that does not divide channels, a training
        batch of one, or an input that is not (B, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 32,
        num_heads: int | None = None,
        rescale: bool = False,
        return_weights: bool = True,
    ) -> None:
        super().__init__()
        width = checks.reduced("ba2m", channels, reduction)
        num_heads = reduction if num_heads is None else num_heads
        checks.positive("ba2m", num_heads=num_heads)
        checks.divisible("ba2m", "channels", channels, num_heads=num_heads)
        self.channels = channels
        self.num_heads = num_heads
        self.rescale = rescale
        self.return_weights = return_weights
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, width, 1),
            nn.Conv2d(width, channels, 1),
            nn.BatchNorm2d(channels),
        )
        self.local = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            nn.Conv2d(width, width, 3, padding=1),
            nn.Conv2d(width, channels, 1),
            nn.BatchNorm2d(channels),
        )
        self.qkv = nn.Linear(channels // num_heads, 3 * (channels // num_heads))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        checks.nchw("ba2m", x, self.channels)
        if self.training:
            checks.batch_statistics("ba2m", x)
        weights = self.gate(x)
        return (x * weights, weights.flatten()) if self.return_weights else x * weights

    @staticmethod
    def weighted_loss(losses: Tensor, weights: Tensor) -> Tensor:
        """The sum of the samples' losses (B,), each times its weight (B,)."""
        checks.shaped("ba2m", "weights", weights, losses.shape)
        return (losses * weights).sum()

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1, 1, 1), weights that sum to 1 over the batch, or to B."""
        channel = precisely(self.channel, x).flatten(1)  # (B, C)
        local = precisely(self.local, x).mean(dim=(2, 3))
        q, k, v = self._queries_keys_values(x)
        with without_autocast(x):
            whole = F.scaled_dot_product_attention(q, k, v, scale=1.0).mean(dim=2).flatten(1)
        score = torch.maximum(torch.maximum(channel, local), whole).mean(dim=1)  # (B,)
        weights = score.softmax(dim=0).to(x.dtype)[:, None, None, None]
        return weights * x.shape[0] if self.rescale else weights

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the global branch's attention map (B, h, H W, H W)."""
        q, k, _ = self._queries_keys_values(x)
        return (q @ k.transpose(-2, -1)).softmax(dim=-1)

    def _queries_keys_values(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) -> three times (B, h, H W, C / h)."""
        tokens = x.flatten(2).unflatten(1, (self.num_heads, -1)).transpose(2, 3)
        return precisely(self.qkv, tokens).chunk(3, dim=-1)
