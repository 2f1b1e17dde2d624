"""Criss-cross attention (CCNet): every place asks its own row and column, twice over."""

from typing import cast

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import to_tokens, wide, without_autocast
from attnzoo.registry import Paper, register

CCNET = Paper(
    title="CCNet: Criss-Cross Attention for Semantic Segmentation",
    authors="Huang, Wang, Huang, Huang, Wei, Liu",
    venue="ICCV",
    year=2019,
    url="https://arxiv.org/abs/1811.11721",
)


@register(
    "cc",
    title="Criss-Cross attention",
    contract="feature",
    paper=CCNET,
    source="speedinghzl/CCNet@1fae6c6",
    source_license="MIT",
    summary="Every place attends to the H + W - 1 places of its own row and column, under one softmax. After a second "
    "pass with the same weights it has heard from the whole map.",
    summary_zh="每个位置只关注自己所在行与列的 H + W - 1 个位置，共用一个 softmax。"
    "以相同权重再做一遍之后，它便获得整张图的信息。",
    placement="In a segmentation head between two 3x3 convolutions, on features of stride 8; see rcca.",
    reported="Cityscapes test 81.4 mIoU, ADE20K val 45.22 mIoU (two passes, ResNet-101).",
    differences=(
        "The authors' class is one pass, called R times by their network; here recurrence counts the passes.",
        "Their -inf on the diagonal needs a GPU, and they copy queries, keys and values for rows and for columns; here "
        "the values lie so that both can be read in place.",
        "mmcv's version has a Scale layer in place of gamma: the same numbers.",
    ),
    inert=("key_conv.bias",),
)
class CrissCross(nn.Module):
    """x + gamma * (a v over the place's row and column), a the softmax of q k^T over both; then again.

    Args:
        channels: C, the channels of the input.
        reduction: r; queries and keys have C // r channels (the authors fix 8).
        recurrence: R, how many passes with the same weights.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: C^2 + 2 C^2/r weights; R H W (C^2 + 2 C^2/r + (H + W) (C + C/r)) multiply-adds; H W (H + W) weights of
        the attention are kept for the backward pass, less than one more map while H + W < C.
    Raises: AttnzooError for queries without channels, no pass, or an input that is not (B, C, H, W).
    """

    def __init__(self, channels: int, reduction: int = 8, recurrence: int = 2) -> None:
        super().__init__()
        width = checks.reduced("cc", channels, reduction)
        checks.positive("cc", recurrence=recurrence)
        self.channels = channels
        self.recurrence = recurrence
        self.query_conv = nn.Conv2d(channels, width, 1)
        self.key_conv = nn.Conv2d(channels, width, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("cc", x, self.channels)
        with without_autocast(x):
            y = wide(x)
            for _ in range(self.recurrence):
                y = self._pass(y)[0]
        return y.to(x.dtype)

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the weights of the W places of the row, then of the H of the column (B, R, H W, W + H).

        One map for every pass, where others have heads.
        """
        with without_autocast(x):
            y, maps = wide(x), []
            for _ in range(self.recurrence):
                y, weights = self._pass(y)
                maps.append(weights)
        return torch.stack(maps, dim=1).flatten(2, 3)

    def _pass(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> the map with what it has taken in (B, C, H, W), and the weights of that (B, H, W, W + H)."""
        q, k, v = self._projected(x)
        weights = _weights(q, k)
        rows, columns = weights.split((x.shape[3], x.shape[2]), dim=3)
        y = rows @ v + (columns.transpose(1, 2) @ v.transpose(1, 2)).transpose(1, 2)
        return x + y.permute(0, 3, 1, 2), weights

    def _projected(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> queries, keys and gamma times the values, (B, H, W, C / r or C), by one product."""
        convs = (self.query_conv, self.key_conv, self.value_conv)
        *others, values = ((conv.weight.flatten(1), cast(Tensor, conv.bias)) for conv in convs)
        scaled = tuple(p * self.gamma for p in values)  # so that what is taken in need not be kept for gamma's gradient
        weight, bias = (torch.cat(parts).to(x.dtype) for parts in zip(*others, scaled, strict=True))
        y = torch.baddbmm(bias, to_tokens(x), weight.mT.expand(x.shape[0], -1, -1)).unflatten(1, x.shape[2:])
        return list(y.split([conv.out_channels for conv in convs], dim=3))


def _weights(q: Tensor, k: Tensor) -> Tensor:
    """Queries and keys (B, H, W, c) -> the softmax over row and column of every place (B, H, W, W + H)."""
    rows = q @ k.mT  # (B, H, W, W)
    columns = q.transpose(1, 2) @ k.permute(0, 2, 3, 1)  # (B, W, H, H)
    y = torch.arange(q.shape[1], device=q.device)
    columns = columns.masked_fill(y[:, None] == y, float("-inf"))  # the place itself is in its row already
    return torch.cat([rows, columns.transpose(1, 2)], dim=3).softmax(dim=3)
