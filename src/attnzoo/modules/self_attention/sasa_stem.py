"""The stem of stand-alone self-attention: values that depend on where in the window they lie."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import laid_out_like, neighbour_products, precisely, wide, windows, without_autocast
from attnzoo.modules.self_attention.sasa import SASA
from attnzoo.registry import register


@register(
    "sasa_stem",
    title="Attention stem (spatially aware values)",
    contract="context",
    paper=SASA,
    source="leaderj1001/Stand-Alone-Self-Attention@a983f0f",
    source_license="none found",
    summary="Attention of every channel to the window around each place, where the value projection is a mixture of "
    "several, mixed by the place in the window. It lets attention see edges in raw images, as a convolution does.",
    summary_zh="每个通道对其周围窗口做注意力，值投影由若干投影混合而成，混合系数取决于窗口内的位置。"
    "这使注意力像卷积一样能在原始图像上看到边缘。",
    placement="The first layer of the network; BatchNorm, ReLU and a 4x4 max-pooling follow it.",
    reported="No headline figure recorded here.",
    differences=(
        "There is no code by the authors; the numbers are those of the popular port, which takes the softmax for "
        "every channel on its own, whatever the groups.",
        "The port makes a map of each value projection and mixes these; here the projections are mixed first.",
    ),
)
class AttentionStem(nn.Module):
    """softmax_j(q_i * k_j) * (sum_n p_n(j) V_n) x_j summed over the window of i, channel by channel.

    p(j) is the softmax over the projections n of mix_n . (row_a + column_b), at place (a, b) of the window.
    Windows reach over the border, where the input is zero.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; groups divides them.
        kernel_size: k, the side of the window.
        padding: zeros around the map, at least (k - 1) / 2; windows beyond H x W are left out.
        groups: the mixture's embeddings have out_channels // groups channels.
        num_mix: how many value projections are mixed.
        bias: whether queries, keys and values have a bias.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H, W), for any H and W from 1 up.
    Cost: (2 + num_mix) in_channels out_channels weights and the embeddings; k^2 (in_channels + 2) out_channels
        multiply-adds at every place or so.
    Raises: AttnzooError for groups that do not divide out_channels, a padding too small, or an input that is not
        (B, in_channels, H, W).
    """

    reference_keys = {"emb_a": "row", "emb_b": "column", "emb_mix": "mix"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 4,
        padding: int = 2,
        groups: int = 1,
        num_mix: int = 4,
        bias: bool = False,
    ) -> None:
        super().__init__()
        checks.positive("sasa_stem", in_channels=in_channels, out_channels=out_channels, groups=groups)
        checks.positive("sasa_stem", kernel_size=kernel_size, num_mix=num_mix)
        checks.divisible("sasa_stem", "out_channels", out_channels, groups=groups)
        checks.at_least("sasa_stem", kernel_size // 2, padding=padding)
        width = out_channels // groups
        self.in_channels = in_channels
        self.kernel_size = kernel_size
        self.padding = padding
        self.query_conv = nn.Conv2d(in_channels, out_channels, 1, bias=bias)
        self.key_conv = nn.Conv2d(in_channels, out_channels, 1, padding=padding, bias=bias)
        self.value_conv = nn.Conv2d(in_channels, num_mix * out_channels, 1, bias=bias)  # one projection by another
        self.row = nn.Parameter(torch.randn(width, kernel_size))
        self.column = nn.Parameter(torch.randn(width, kernel_size))
        self.mix = nn.Parameter(torch.randn(num_mix, width))
        for conv in (self.query_conv, self.key_conv, self.value_conv):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Join the value projections."""
        joined = dict(state)
        for part in ("weight", "bias"):
            keys = [f"value_conv.{n}.{part}" for n in range(len(self.mix))]
            if all(key in joined for key in keys):
                joined[f"value_conv.{part}"] = torch.cat([joined.pop(key) for key in keys])
        return joined

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("sasa_stem", x, self.in_channels)
        with without_autocast(x):
            values = self._values(x.to(self.value_conv.weight.dtype))
            y = (self._weights(x).transpose(1, 2) * values).sum(dim=1)
        return laid_out_like(y.to(x.dtype), x)

    def attention(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> the attention map (B, out_channels, H W, k^2)."""
        return self._weights(x).flatten(3).transpose(2, 3)

    def _weights(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, k^2, H, W), in at least float32."""
        q, k = (wide(precisely(conv, x))[:, :, None] for conv in (self.query_conv, self.key_conv))
        with without_autocast(x):
            return neighbour_products(q, k, self.kernel_size).softmax(dim=2)

    def _values(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, k^2, out_channels, H, W): each place of the windows under its own mixture."""
        height, width = x.shape[2:]
        places = self.kernel_size**2
        held = windows(F.pad(x, [self.padding] * 4), self.kernel_size)[..., :height, :width]
        held = held.permute(0, 2, 3, 1, 4, 5).flatten(1, 3)  # (B, k^2 in_channels, H, W)
        down, across = self.mix @ self.row, self.mix @ self.column
        shares = (down[:, :, None] + across[:, None]).softmax(dim=0).flatten(1).T  # (k^2, num_mix)
        conv = self.value_conv
        kernels = (shares @ conv.weight.view(len(self.mix), -1)).view(-1, self.in_channels, 1, 1)
        bias = None if conv.bias is None else (shares @ conv.bias.view(len(self.mix), -1)).flatten()
        return F.conv2d(held, kernels, bias, groups=places).unflatten(1, (places, -1))
