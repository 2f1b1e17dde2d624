"""Contextual Transformer (CoT): a convolution's context, and values gathered by weights made from it, fused."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import (
    ConvNormAct,
    laid_out_like,
    neighbour_sum,
    precisely,
    shuffle_channels,
    spatial_mean,
    without_autocast,
)
from attnzoo.registry import Paper, register

COT = Paper(
    title="Contextual Transformer Networks for Visual Recognition",
    authors="Li, Yao, Pan, Mei",
    venue="TPAMI",
    year=2022,
    url="https://arxiv.org/abs/2107.12292",
)
PORT = (
    "The port in xmu-xiaoma666/External-Attention-pytorch is another computation: it averages the weights of a "
    "window, takes a softmax over all places of the map and has neither windows nor the fusion."
)


class ContextualTransformer(nn.Module):
    """What cot and coxt share: all of it, but for the groups of the convolutions.

    Args:
        name: of the module, for its errors.
        channels, kernel_size: as theirs.
        groups: of the 1x1 convolutions, and of the values with weights of their own.
        key_groups: of the convolution that gives the context.
    """

    reference_keys = {
        r"key_embed\.0": "context.conv",
        r"key_embed\.1": "context.norm",
        r"embed\.0": "weigh.0.conv",
        r"embed\.1": "weigh.0.norm",
        r"embed\.3": "weigh.1",
        r"embed\.4": "weigh.2",
        r"conv1x1\.0": "value.conv",
        r"conv1x1\.1": "value.norm",
        "bn": "norm",
        r"se\.0": "fuse.reduce.conv",
        r"se\.1": "fuse.reduce.norm",
        r"se\.3": "fuse.select",
    }

    def __init__(self, name: str, channels: int, kernel_size: int, groups: int, key_groups: int) -> None:
        super().__init__()
        checks.multiple(name, 8 * groups, channels=channels)
        checks.odd(name, kernel_size=kernel_size)
        self.name = name
        self.channels = channels
        self.kernel_size = kernel_size
        self.groups = groups
        half, maps = channels // 2, channels // 8
        self.context = ConvNormAct(channels, channels, kernel_size, groups=key_groups)
        self.weigh = nn.Sequential(
            ConvNormAct(2 * channels, half, groups=groups),
            nn.Conv2d(half, maps * kernel_size**2, 1, groups=groups),
            nn.GroupNorm(maps, maps * kernel_size**2),
        )
        self.value = ConvNormAct(channels, channels, groups=groups, act_layer=None)
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.SiLU()
        self.fuse = _Fusion(channels)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw(self.name, x, self.channels)
        if self.training:
            checks.batch_statistics(self.name, x)
        context = self.context(x)
        values = F.pad(self.value(x), [self.kernel_size // 2] * 4).unflatten(1, (self.groups, 8, -1))
        with without_autocast(x):
            weights = self._weights(x, context).unflatten(1, (self.groups, 1, -1))
            gathered = neighbour_sum(weights, values, self.kernel_size).flatten(1, 3)
            y = self.act(precisely(self.norm, laid_out_like(gathered, x)))
        return self.fuse(y, context.to(y.dtype)).to(x.dtype)

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the weights (B, C / 8, H W, k^2)."""
        return self._weights(x, self.context(x)).flatten(3).transpose(2, 3)

    def _weights(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, C, H, W) twice -> (B, C / 8, k^2, H, W)."""
        both = torch.cat([x, context.to(x.dtype)], dim=1)
        if self.groups > 1:
            both = shuffle_channels(both, 2)  # every group reads channels of both
        return precisely(self.weigh, both).unflatten(1, (-1, self.kernel_size**2))


class _Fusion(nn.Module):
    """Weigh two maps per channel, by a softmax over the two from a gate on the mean of their sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = max(channels // 2, 32)
        self.reduce = ConvNormAct(channels, width, bias=True)
        self.select = nn.Conv2d(width, 2 * channels, 1)

    def forward(self, y: Tensor, context: Tensor) -> Tensor:
        weights = self.gate(y, context).to(y.dtype)[..., None, None]
        return torch.addcmul(y * weights[:, :, 0], context, weights[:, :, 1])

    def gate(self, y: Tensor, context: Tensor) -> Tensor:
        """(B, C, H, W) twice -> their weights (B, C, 2), which sum to 1."""
        means = spatial_mean(y, keepdim=True) + spatial_mean(context, keepdim=True)
        logits = precisely(self.select, precisely(self.reduce, means))
        return logits.flatten(1).unflatten(1, (-1, 2)).softmax(dim=2)


@register(
    "cot",
    title="Contextual Transformer block (CoT)",
    contract="feature",
    paper=COT,
    source="JDAI-CV/CoTNet@895e024",
    source_license="Apache-2.0",
    summary="A grouped convolution gives the static context, from which together with the input come the weights that "
    "gather values in a window. A gate per channel then fuses the static and the gathered context.",
    summary_zh="分组卷积给出静态上下文，它与输入一起产生在窗口内汇聚各值的权重。"
    "随后逐通道的门将静态上下文与汇聚所得融合。",
    placement="In place of every 3x3 convolution of a ResNet; blocks of stride 2 put an average pooling before it.",
    reported="No headline figure recorded here.",
    differences=(PORT, "The authors' local aggregation is a CUDA kernel; here it is a plain tensor operation."),
)
class CoT(ContextualTransformer):
    """a_0 y + a_1 k: k the convolved input, y the values gathered with weights(x, k), a the softmax of a gate.

    The weights of a window are normalised by a GroupNorm, over the window and the whole map, and no softmax: channel
    c takes the weights c modulo C / 8. Windows reach over the border, where values are zero.

    Args:
        channels: C, the channels of the input, a multiple of 8.
        kernel_size: of the convolution and the windows, odd.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: k^2 C^2 / 4 + 2 C^2 + k^2 C^2 / 16 + 3 C max(C / 2, 32) weights or so; k^2 C multiply-adds besides at every
        place, in memory of k^2 C / 8.
    Raises: AttnzooError for channels that are no multiple of 8, an even kernel_size, a training batch of one, or an
        input that is not (B, C, H, W).
    """

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__("cot", channels, kernel_size, groups=1, key_groups=4)
