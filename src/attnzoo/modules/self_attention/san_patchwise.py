"""Patchwise self-attention of SAN: the weights of a window are computed jointly, from all that it holds."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import SQUARES, laid_out_like, neighbour_sum, precisely, windows, without_autocast
from attnzoo.modules.self_attention.san_pairwise import SAN, weigher
from attnzoo.registry import register


@register(
    "san_patchwise",
    title="Patchwise self-attention (SAN)",
    contract="context",
    plug_in=True,
    paper=SAN,
    source="hszhao/SAN@d88b022",
    source_license="none found",
    summary="At every place a small network reads the features of the whole window and gives the weights of all its "
    "places at once. There is no softmax, so the weights may have either sign.",
    summary_zh="在每个位置，一个小网络读入整个窗口的特征，一次给出窗口内所有位置的权重。"
    "不做 softmax，因此权重可正可负。",
    placement="As san_pairwise.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors' aggregation is a CUDA kernel; here it is a plain tensor operation.",
        "Their class takes a stride and a dilation, but its shapes fit for 1 only: neither is an argument here.",
        "Channel c takes weight c modulo out_channels / share_channels.",
    ),
    not_applicable=SQUARES,
    example={"rel_channels": 4},
    min_size=4,
)
class SANPatchwise(nn.Module):
    """sum_j w_ij v_j over the window of i, all the w_i from one network on u_i and the window of u'.

    Windows reach over the border by reflection.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; share_channels divides them.
        rel_channels: r, the channels that the network reads of every place.
        share_channels: s, how many channels share a weight.
        kernel_size: k, the side of the window, odd.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H, W), for H and W above k // 2.
    Cost: in_channels (2 r + out_channels) + (r (k^2 + 1) + k^2 out_channels / s) out_channels / s weights or so;
        these and k^2 out_channels multiply-adds at every place, in memory of k^2 (r + out_channels / s).
    Raises: AttnzooError for an even kernel_size, channels that share_channels does not divide, or an input that is
        not (B, in_channels, H, W) or too small to reflect.
    """

    reference_keys = {"conv1": "centre", "conv2": "around", "conv3": "value", "conv_w": "weigh"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        rel_channels: int,
        share_channels: int = 8,
        kernel_size: int = 7,
    ) -> None:
        super().__init__()
        checks.positive("san_patchwise", in_channels=in_channels, out_channels=out_channels)
        checks.positive("san_patchwise", rel_channels=rel_channels, share_channels=share_channels)
        checks.divisible("san_patchwise", "out_channels", out_channels, share_channels=share_channels)
        checks.odd("san_patchwise", kernel_size=kernel_size)
        maps, places = out_channels // share_channels, kernel_size**2
        self.in_channels = in_channels
        self.share_channels = share_channels
        self.kernel_size = kernel_size
        self.padding = [kernel_size // 2] * 4
        self.centre = nn.Conv2d(in_channels, rel_channels, 1)
        self.around = nn.Conv2d(in_channels, rel_channels, 1)
        self.value = nn.Conv2d(in_channels, out_channels, 1)
        self.weigh = weigher(rel_channels * (places + 1), maps, maps * places)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("san_patchwise", x, self.in_channels)
        checks.paddable("san_patchwise", x, self.padding[:2], "reflect")
        values = F.pad(self.value(x), self.padding, "reflect").unflatten(1, (self.share_channels, -1))
        with without_autocast(x):
            y = neighbour_sum(self._weights(x)[:, None], values, self.kernel_size)
        return laid_out_like(y.flatten(1, 2).to(x.dtype), x)

    def attention(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> the weights (B, out_channels / s, H W, k^2)."""
        return self._weights(x).flatten(3).transpose(2, 3)

    def _weights(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels / s, k^2, H, W)."""
        around = F.pad(precisely(self.around, x), self.padding, "reflect")
        held = windows(around, self.kernel_size).flatten(1, 3)  # (B, r k^2, H, W)
        weights = precisely(self.weigh, torch.cat([precisely(self.centre, x), held], dim=1))
        return weights.unflatten(1, (-1, self.kernel_size**2))
