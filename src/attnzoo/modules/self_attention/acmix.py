"""ACmix: attention in a window and a convolution, both from the same three projections."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import (
    coordinates,
    laid_out_like,
    neighbour_products,
    neighbour_sum,
    precisely,
    wide,
    without_autocast,
)
from attnzoo.registry import Paper, register


@register(
    "acmix",
    title="ACmix: mixed self-attention and convolution",
    contract="context",
    plug_in=True,
    paper=Paper(
        title="On the Integration of Self-Attention and Convolution",
        authors="Pan, Ge, Lu, Song, Chen, Huang, Huang",
        venue="CVPR",
        year=2022,
        url="https://arxiv.org/abs/2111.14556",
    ),
    source="LeapLabTHU/ACmix@81dddb6",
    source_license="none found",
    summary="Three 1x1 convolutions feed both an attention over a window and a convolution, which recombines their "
    "features and sums them in nine shifts. Two learnt rates weigh the sum of both.",
    summary_zh="三个 1x1 卷积同时供给窗口注意力与卷积支路，后者重组这些特征并按九种平移求和。"
    "两个可学习的系数为两者之和加权。",
    placement="In place of the 3x3 convolutions of a ResNet, or of the attention of SAN, PVT and Swin.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors' dilation changes the padding alone and fits for 1 only: it is no argument here.",
        "Their code adds the query's own position to every logit of its window, where the softmax takes it away again: "
        "here it is left out.",
        "Their code fails on sizes that the stride does not divide; here the last windows reach over the border.",
    ),
    inert=("position.bias",),
    min_size=4,
)
class ACmix(nn.Module):
    """rate1 * attention + rate2 * convolution, both of the projections q, k and v.

    The attention is softmax_j(q_i . (k_j - p_j) / sqrt(d)) v_j summed over the window of i, per head, where p_j is a
    linear map of the coordinates, and windows reach over the border by reflection. The convolution takes, for each of
    the d channels of a head, nine combinations of that channel in all heads of q, k and v.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; num_heads divides them, into d.
        attn_kernel_size: k, the side of the attention's window, odd.
        num_heads: h.
        conv_kernel_size: side of the convolution's kernel, 3 only.
        stride: s.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / s), ceil(W / s)), for H and W above k // 2.
    Cost: 3 in_channels out_channels + 81 out_channels + 27 h + 2 d weights or so; these weights at every place and
        2 k^2 out_channels multiply-adds, in memory of k^2 h.
    Raises: AttnzooError for an even attn_kernel_size, a conv_kernel_size other than 3, heads that do not divide
        out_channels, or an input that is not (B, in_channels, H, W) or too small to reflect.
    """

    reference_keys = {
        "conv1": "query",
        "conv2": "key",
        "conv3": "value",
        "conv_p": "position",
        "fc": "combine",
        "dep_conv": "shift",
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        attn_kernel_size: int = 7,
        num_heads: int = 4,
        conv_kernel_size: int = 3,
        stride: int = 1,
    ) -> None:
        super().__init__()
        checks.positive("acmix", in_channels=in_channels, out_channels=out_channels, num_heads=num_heads)
        checks.positive("acmix", stride=stride)
        checks.odd("acmix", attn_kernel_size=attn_kernel_size)
        checks.divisible("acmix", "out_channels", out_channels, num_heads=num_heads)
        checks.choice("acmix", (3,), conv_kernel_size=conv_kernel_size)
        width, shifts = out_channels // num_heads, conv_kernel_size**2
        self.in_channels = in_channels
        self.num_heads = num_heads
        self.kernel_size = attn_kernel_size
        self.stride = stride
        self.padding = [attn_kernel_size // 2] * 4
        self.query = nn.Conv2d(in_channels, out_channels, 1)
        self.key = nn.Conv2d(in_channels, out_channels, 1)
        self.value = nn.Conv2d(in_channels, out_channels, 1)
        self.position = nn.Conv2d(2, width, 1)
        self.combine = nn.Conv2d(3 * num_heads, shifts, 1, bias=False)
        self.shift = nn.Conv2d(
            shifts * width, out_channels, conv_kernel_size, stride, padding=1, groups=width, bias=False
        )
        self.rate1 = nn.Parameter(torch.tensor([0.5]))
        self.rate2 = nn.Parameter(torch.tensor([0.5]))
        with torch.no_grad():  # combination m is shifted to place m of the kernel
            self.shift.weight.copy_(torch.eye(shifts).view(shifts, conv_kernel_size, conv_kernel_size))

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("acmix", x, self.in_channels)
        checks.paddable("acmix", x, self.padding[:2], "reflect")
        q, k = precisely(self.query, x), precisely(self.key, x)
        v = self.value(x).to(q.dtype)
        with without_autocast(x):
            padded = F.pad(v, self.padding, "reflect").unflatten(1, (self.num_heads, -1))
            attended = neighbour_sum(self._weights(q, k)[:, :, None], padded, self.kernel_size, self.stride)
            convolved = self._convolution(q, k, v)
            y = self.rate1 * attended.flatten(1, 2) + self.rate2 * convolved
        return laid_out_like(y.to(x.dtype), x)

    def attention(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> the attention map (B, h, H' W', k^2)."""
        return self._weights(precisely(self.query, x), precisely(self.key, x)).flatten(3).transpose(2, 3)

    def _weights(self, q: Tensor, k: Tensor) -> Tensor:
        """(B, out_channels, H, W) twice -> (B, h, k^2, H', W'), in at least float32."""
        heads = (self.num_heads, -1)
        q = wide(q[..., :: self.stride, :: self.stride]).unflatten(1, heads)
        places = precisely(self.position, coordinates(k)).tile(1, self.num_heads, 1, 1)
        k = F.pad(wide(k) - places, self.padding, "reflect").unflatten(1, heads)
        with without_autocast(q):
            return neighbour_products(q * q.shape[2] ** -0.5, k, self.kernel_size, self.stride).softmax(dim=2)

    def _convolution(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, out_channels, H, W) three times -> (B, out_channels, H', W')."""
        heads = torch.cat([part.unflatten(1, (self.num_heads, -1)) for part in (q, k, v)], dim=1)
        combined = self.combine(heads.flatten(3)).transpose(1, 2)  # (B, d, 9, H W)
        return self.shift(combined.flatten(1, 2).unflatten(2, q.shape[2:]))
