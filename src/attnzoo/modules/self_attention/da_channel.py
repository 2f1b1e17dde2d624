"""Channel attention of DANet: every channel takes in all others, the unlike ones most."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import wide, without_autocast
from attnzoo.modules.self_attention.da_position import DANET
from attnzoo.registry import register


@register(
    "da_channel",
    title="Channel attention module (DANet)",
    contract="feature",
    paper=DANET,
    source="junfu1115/DANet@b0a0fa0",
    source_license="MIT",
    summary="Every channel becomes a weighted sum of all channels, weighted by how unlike their maps are, and is "
    "added to the input through a learnt scalar that starts at zero. It has no other parameter.",
    summary_zh="每个通道由所有通道加权求和而成，权重取决于两者特征图的不相似程度，并经一个从零开始学习的标量加回输入。"
    "除此之外没有参数。",
    placement="In the DANet head, on features of stride 8; see dual_attention.",
    reported="Part of DANet: Cityscapes test 81.5 mIoU.",
    differences=(
        "The paper writes the softmax of the products; the authors' code, on purpose, that of their maximum minus "
        "the products, which turns the order round.",
        "A popular explanation keeps the paper's order and multiplies by the transposed map, whose rows do not "
        "sum to 1.",
    ),
)
class DAChannel(nn.Module):
    """gamma * softmax(-X X^T) X + x, X the C x (H W) matrix of an image; softmax(max - E) is softmax(-E).

    Args:
        channels: not needed; taken so that all feature modules are built alike.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: one parameter; 2 C^2 H W multiply-adds.
    Raises: AttnzooError for an input that is not (B, C, H, W).
    """

    def __init__(self, channels: int | None = None) -> None:
        super().__init__()
        if channels is not None:
            checks.positive("da_channel", channels=channels)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("da_channel", x)
        mixed = self.attention(x)[:, 0].to(x.dtype) @ x.flatten(2)  # (B, C, H W)
        return torch.addcmul(x, self.gamma.to(x.dtype), mixed.view_as(x).to(x.dtype))

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the attention map between the channels (B, 1, C, C)."""
        rows = wide(x).flatten(2)  # (B, C, H W)
        with without_autocast(x):
            return (-(rows @ rows.transpose(1, 2))).softmax(dim=-1)[:, None]
