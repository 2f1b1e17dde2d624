"""Pairwise self-attention of SAN: a small network turns each difference in a window into a vector of weights."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import coordinates, laid_out_like, neighbour_sum, precisely, wide, windows, without_autocast
from attnzoo.registry import Paper, register

SAN = Paper(
    title="Exploring Self-attention for Image Recognition",
    authors="Zhao, Jia, Koltun",
    venue="CVPR",
    year=2020,
    url="https://arxiv.org/abs/2004.13621",
)


@register(
    "san_pairwise",
    title="Pairwise self-attention (SAN)",
    contract="context",
    plug_in=True,
    paper=SAN,
    source="hszhao/SAN@d88b022",
    source_license="none found",
    summary="Compares every place with each neighbour in a window by their difference in features and position, from "
    "which a small network makes a vector of weights. A softmax over the window follows, one per group of channels.",
    summary_zh="每个位置与窗口内的每个邻居按特征差与位置差相比较，由一个小网络据此给出一个权重向量。"
    "随后在窗口内做 softmax，每组通道共用一组权重。",
    placement="In the blocks of SAN: BatchNorm, ReLU, this layer from C to C/4 channels with rel_channels C/16, "
    "BatchNorm, ReLU, a 1x1 convolution back to C, and the shortcut.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors' subtraction and aggregation are CUDA kernels; here they are plain tensor operations.",
        "The channels that share a weight are not neighbours: channel c takes weight c modulo out_channels / "
        "share_channels.",
    ),
    example={"rel_channels": 4},
    min_size=4,
    inert=("position.bias", "weigh.5.bias"),
)
class SANPairwise(nn.Module):
    """softmax_j(weigh(u_i - u'_j)) v_j summed over the window of i, u and u' two feature maps beside the coordinates.

    Windows reach over the border by reflection.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; share_channels divides them.
        rel_channels: r, the channels that are compared (in_channels / 16 in the paper).
        share_channels: s, how many channels share a weight.
        kernel_size: k, the side of the window, odd.
        stride: of the windows' centres.
        dilation: of the windows.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)), for H and W above the
        window's reach, dilation * (k - 1) / 2.
    Cost: in_channels (2 r + out_channels) + r (r + 2 + out_channels / s) weights or so; k^2 (r (r + 2) +
        r out_channels / s + out_channels) multiply-adds at every place, in memory of k^2 (r + 2 + out_channels / s).
    Raises: AttnzooError for an even kernel_size, channels that share_channels does not divide, or an input that is
        not (B, in_channels, H, W) or too small to reflect.
    """

    reference_keys = {"conv1": "centre", "conv2": "around", "conv3": "value", "conv_p": "position", "conv_w": "weigh"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        rel_channels: int,
        share_channels: int = 8,
        kernel_size: int = 7,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        checks.positive("san_pairwise", in_channels=in_channels, out_channels=out_channels, rel_channels=rel_channels)
        checks.positive("san_pairwise", share_channels=share_channels, stride=stride, dilation=dilation)
        checks.divisible("san_pairwise", "out_channels", out_channels, share_channels=share_channels)
        checks.odd("san_pairwise", kernel_size=kernel_size)
        self.in_channels = in_channels
        self.share_channels = share_channels
        self.window = (kernel_size, stride, dilation)
        self.padding = [dilation * (kernel_size // 2)] * 4
        self.centre = nn.Conv2d(in_channels, rel_channels, 1)
        self.around = nn.Conv2d(in_channels, rel_channels, 1)
        self.value = nn.Conv2d(in_channels, out_channels, 1)
        self.position = nn.Conv2d(2, 2, 1)
        self.weigh = weigher(rel_channels + 2, rel_channels, out_channels // share_channels)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("san_pairwise", x, self.in_channels)
        checks.paddable("san_pairwise", x, self.padding[:2], "reflect")
        values = F.pad(self.value(x), self.padding, "reflect").unflatten(1, (self.share_channels, -1))
        with without_autocast(x):
            y = neighbour_sum(self._weights(x)[:, None], values, *self.window)
        return laid_out_like(y.flatten(1, 2).to(x.dtype), x)

    def attention(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> the attention map (B, out_channels / s, H' W', k^2)."""
        return self._weights(x).flatten(3).transpose(2, 3)

    def _weights(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels / s, k^2, H', W'), in at least float32."""
        stride = self.window[1]
        place = precisely(self.position, coordinates(x)).expand(x.shape[0], -1, -1, -1)
        centre = torch.cat([precisely(self.centre, x), place], dim=1)[..., ::stride, ::stride]
        around = F.pad(torch.cat([precisely(self.around, x), place], dim=1), self.padding, "reflect")
        differences = centre[:, :, None, None] - windows(around, *self.window)  # (B, r + 2, k, k, H', W')
        logits = precisely(self.weigh, differences.flatten(4).flatten(2, 3))
        return wide(logits).softmax(dim=2).unflatten(3, centre.shape[2:])


def weigher(channels: int, hidden: int, out_channels: int) -> nn.Sequential:
    """The network that makes the weights of a window."""
    return nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, hidden, 1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, out_channels, 1),
    )
