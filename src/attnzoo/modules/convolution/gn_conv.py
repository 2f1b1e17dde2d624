"""g^n convolution (HorNet): features gated again and again by slices of one large depthwise convolution."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ChannelNorm, depthwise, precisely, wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "gn_conv",
    title="Recursive gated convolution (HorNet)",
    contract="feature",
    paper=Paper(
        title="HorNet: Efficient High-Order Spatial Interactions with Recursive Gated Convolutions",
        authors="Rao, Zhao, Tang, Zhou, Lim, Lu",
        venue="NeurIPS",
        year=2022,
        url="https://arxiv.org/abs/2207.14284",
    ),
    source="raoyongming/HorNet@ac9e210",
    source_license="MIT",
    summary="Features of growing width are multiplied, order after order, by slices of one large depthwise "
    "convolution. High-order interactions in space come at the price of a few 1x1 convolutions.",
    summary_zh="宽度逐阶增长的特征，一阶接一阶地与同一个大核深度卷积的各个切片相乘。"
    "以少数 1x1 卷积的代价得到高阶空间交互。",
    placement="The depthwise convolution's place in a ConvNeXt-like block, x + gamma gn_conv(norm(x)); HorNet takes "
    "the orders 2, 3, 4 and 5 in its stages, and the scale 1/3.",
    residual=True,
    reported="No headline figure recorded here.",
    differences=(
        "The authors cast to float32 before the Fourier transform and do not cast back; here the output has the "
        "input's dtype.",
        "The authors' constructor prints a line.",
    ),
    not_applicable=dict.fromkeys(
        ("large-finite-float16", "large-close-float16"),
        "the output grows with the power order + 1 of the input, past float16's range",
    ),
)
class GnConv(nn.Module):
    """proj_out(p_n), p_(i+1) = widen_i(p_i) * q_(i+1), p_0 * q_0 first, of (p_0, q) = proj_in(x), q spread and scaled.

    Args:
        channels: C, the channels of the input; 2^(order - 1) divides it, 2^order with a global filter.
        order: n, at least 2: how often features are gated. They have C / 2^(n - 1), ..., C / 2, C channels.
        scale: multiplies the gates.
        global_filter: (h, w), the size of a filter stored in frequency, for half of the channels of q, which takes the
            place of the 7x7 depthwise convolution; it is resized to (H, W // 2 + 1).

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 3.7 C^2 + 98 C weights or so, and as many multiply-adds per place.
    Raises: AttnzooError for an order below 2, channels that it does not divide, a global_filter that is not two
        integers of at least 1, or an input that is not (B, C, H, W).
    """

    reference_keys = {r"dwconv\.dw": "spread.local", "dwconv": "spread", "pws": "widen"}

    def __init__(
        self,
        channels: int,
        order: int = 5,
        scale: float = 1.0,
        global_filter: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        checks.positive("gn_conv", channels=channels)
        checks.at_least("gn_conv", 2, order=order)
        halvings = order - 1 if global_filter is None else order
        checks.divisible("gn_conv", "channels", channels, **{f"2^{halvings} (order={order})": 2**halvings})
        self.channels = channels
        self.scale = scale
        self.widths = [channels >> i for i in reversed(range(order))]
        gates = sum(self.widths)
        self.proj_in = nn.Conv2d(channels, 2 * channels, 1)
        self.spread: nn.Module
        if global_filter is None:
            self.spread = depthwise(gates, 7)
        else:
            self.spread = GlobalLocalFilter(gates, *checks.pair("gn_conv", "global_filter", global_filter))
        self.widen: Any = nn.ModuleList(
            nn.Conv2d(narrow, wider, 1) for narrow, wider in zip(self.widths, self.widths[1:], strict=False)
        )
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("gn_conv", x, self.channels)
        p, q = precisely(self.proj_in, x).split([self.widths[0], sum(self.widths)], dim=1)
        first, *gates = self.gate(q).split(self.widths, dim=1)
        y = p * first
        for widen, gate in zip(self.widen, gates, strict=True):
            y = precisely(widen, y) * gate
        return precisely(self.proj_out, y).to(x.dtype)

    def gate(self, q: Tensor) -> Tensor:
        """What features are multiplied by, of all orders: (B, (2 - 2^(1 - n)) C, H, W) -> the same."""
        return precisely(self.spread, q) * self.scale


class GlobalLocalFilter(nn.Module):
    """A 3x3 depthwise convolution of one half of the channels and a filter in frequency of the other, between norms."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.pre_norm = ChannelNorm(channels, eps=1e-6)
        self.local = nn.Conv2d(channels // 2, channels // 2, 3, padding=1, groups=channels // 2, bias=False)
        self.complex_weight = nn.Parameter(torch.empty(channels // 2, height, width, 2))
        self.post_norm = ChannelNorm(channels, eps=1e-6)
        nn.init.trunc_normal_(self.complex_weight, std=0.02)

    def forward(self, q: Tensor) -> Tensor:
        near, far = self.pre_norm(q).chunk(2, dim=1)
        size = (q.shape[2], q.shape[3])
        with without_autocast(q):
            weight = wide(self.complex_weight).movedim(3, 0)
            weight = F.interpolate(weight, (size[0], size[1] // 2 + 1), mode="bilinear", align_corners=True)
            spectrum = torch.fft.rfft2(wide(far), norm="ortho") * torch.complex(weight[0], weight[1])
            far = torch.fft.irfft2(spectrum, s=size, norm="ortho").to(q.dtype)
        return self.post_norm(torch.stack([self.local(near), far], dim=2).flatten(1, 2))
