"""Position attention of DANet: every place takes in all others, by how well they match."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import affinity, attend, to_map, to_tokens
from attnzoo.registry import Paper, register

DANET = Paper(
    title="Dual Attention Network for Scene Segmentation",
    authors="Fu, Liu, Tian, Li, Bao, Fang, Lu",
    venue="CVPR",
    year=2019,
    url="https://arxiv.org/abs/1809.02983",
)


@register(
    "da_position",
    title="Position attention module (DANet)",
    contract="feature",
    paper=DANET,
    source="junfu1115/DANet@b0a0fa0",
    source_license="MIT",
    summary="Self-attention between all places of a map, added to the input through a learnt scalar that starts "
    "at zero. The softmax takes the plain products, without the usual scale.",
    summary_zh="在特征图所有位置之间做自注意力，并经一个从零开始学习的标量加回输入。"
    "softmax 直接作用于内积，不做常见的缩放。",
    placement="In the DANet head, on features of stride 8; see dual_attention.",
    reported="Part of DANet: Cityscapes test 81.5 mIoU.",
    differences=(
        "Many ports scale the logits by 1/sqrt(d); the authors do not.",
        "A popular explanation leaves out the channel reduction and the biases.",
    ),
    inert=("key_conv.bias",),
)
class DAPosition(nn.Module):
    """gamma * softmax(q k^T) v + x, between the H W places.

    Args:
        channels: C, the channels of the input.
        reduction: r; queries and keys have C // r channels (the authors fix 8).

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: C^2 + 2 C^2/r weights; 1.1 C (H W)^2 multiply-adds or so.
    Raises: AttnzooError for queries without channels, or an input that is not (B, C, H, W).
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        width = checks.reduced("da_position", channels, reduction)
        self.channels = channels
        self.query_conv = nn.Conv2d(channels, width, 1)
        self.key_conv = nn.Conv2d(channels, width, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("da_position", x, self.channels)
        q, k, v = (to_tokens(conv(x))[:, None] for conv in (self.query_conv, self.key_conv, self.value_conv))
        y = attend(q, k, v, scale=1.0)  # (B, 1, H W, C)
        return torch.addcmul(x, self.gamma.to(x.dtype), to_map(y[:, 0], *x.shape[2:]).to(x.dtype))

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the attention map (B, 1, H W, H W)."""
        q, k = (to_tokens(conv(x))[:, None] for conv in (self.query_conv, self.key_conv))
        return affinity(q, k, scale=1.0)
