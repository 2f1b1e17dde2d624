"""FCA, Frequency Channel Attention: an SE gate whose groups of channels are read with cosine patterns."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import BottleneckMLP, adaptive_averaging, wide, without_autocast
from attnzoo.registry import Paper, register

_FREQUENCIES = {  # the authors' rankings on a 7x7 grid: down, across
    "top": ("00600114513000324635526553342261", "01052020060463526333511242113053"),
    "low": ("00110221203401301234501234561234", "01012012230043154321065432106543"),
    "bot": ("61332412445146256162243355625536", "64466314456522514350311242115333"),
}
_NAMES = tuple(f"{ranking}{count}" for ranking in _FREQUENCIES for count in (1, 2, 4, 8, 16, 32))


@register(
    "fca",
    title="Frequency Channel Attention (multi-spectral)",
    contract="feature",
    paper=Paper(
        title="FcaNet: Frequency Channel Attention Networks",
        authors="Qin, Zhang, Wu, Li",
        venue="ICCV",
        year=2021,
        url="https://arxiv.org/abs/2012.11879",
    ),
    source="cfzd/FcaNet@aa5fb63",
    source_license="MIT",
    summary="Splits the channels into groups and sums each group up with a cosine pattern of its own, of which the "
    "plain mean is only the lowest. The usual bottleneck of SE then makes the gates.",
    summary_zh="把通道分组，每组用各自的二维余弦（DCT）模式汇总，普通均值只是其中频率最低的一种。"
    "其后与 SE 相同，由瓶颈网络产生门。",
    placement="End of the residual branch, before the addition; grids 56, 28, 14 and 7 in the stages of a ResNet, "
    "though 7 everywhere is fine.",
    reported="ImageNet top-1: FcaNet34 75.07, FcaNet50 78.52, FcaNet101 79.64, FcaNet152 80.08; FcaNet50 with random "
    "fixed patterns 77.74, with learnt ones 78.35.",
    differences=(
        "The authors store the patterns as a float32 buffer of every channel's; here they are computed when needed, "
        "exact to the input's precision, and such a buffer in a checkpoint is left aside.",
        "On grids below 7 the original rounds all frequencies to zero without a word; here that is an error.",
        "The lowest frequency is the mean times the root of the grid's area, so that weights of SE do not fit.",
    ),
)
class FrequencyAttention(nn.Module):
    """Scale channel c by sigmoid(fc2(relu(fc1(z))))[c], z[c] the sum of its map times its group's cosines.

    Args:
        channels: C, the channels of the input; the number of frequencies divides it.
        dct_size: height and width of the grid, from 7 up, on which the cosines are taken; maps of other size
            are pooled to it.
        reduction: r; the bottleneck is C // r wide.
        frequency: 'top', 'low' or 'bot', the best, lowest or worst of the authors' rankings, and how many of
            it: 1, 2, 4, 8, 16 or 32.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C C/r weights; one pass over the map for the sums.
    Raises: AttnzooError for an unknown frequency, a number of them that does not divide the channels, a grid
        below 7, a bottleneck without channels, or an input that is not (B, C, H, W).
    """

    reference_keys = {r"fc\.0": "mlp.fc1", r"fc\.2": "mlp.fc2"}

    def __init__(
        self,
        channels: int,
        dct_size: Sequence[int] = (7, 7),
        reduction: int = 16,
        frequency: str = "top16",
    ) -> None:
        super().__init__()
        checks.choice("fca", _NAMES, frequency=frequency)
        hidden = checks.reduced("fca", channels, reduction)
        self.dct_size = checks.pair("fca", "dct_size", dct_size)
        checks.at_least("fca", 7, **checks.items(dct_size=dct_size))
        count = int(frequency[3:])
        checks.divisible("fca", "channels", channels, frequencies=count)
        self.channels = channels
        self.frequencies = [  # down, across
            [int(digit) * (size // 7) for digit in ranked[:count]]
            for ranked, size in zip(_FREQUENCIES[frequency[:3]], self.dct_size, strict=True)
        ]
        self.mlp = BottleneckMLP(channels, hidden, bias=False)

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Leave out the patterns, which are no weights."""
        return {key: value for key, value in state.items() if key != "dct_layer.weight"}

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("fca", x, self.channels)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        x_wide = wide(x)
        patterns = self._waves(x_wide, 2)[:, :, None] * self._waves(x_wide, 3)[:, None, :]  # (n, H, W)
        maps = x_wide.flatten(2).unflatten(1, (len(patterns), -1))  # (B, n, C / n, H * W)
        with without_autocast(x):
            sums = (maps @ patterns.flatten(1)[..., None]).flatten(1)  # (B, C)
        return self.mlp(sums).sigmoid()[:, :, None, None].to(x.dtype)

    def _waves(self, x: Tensor, dim: int) -> Tensor:
        """Along a dimension of x, the pooling to the grid and the n cosines on it in one: (n, size)."""
        size, frequencies = self.dct_size[dim - 2], x.new_tensor(self.frequencies[dim - 2])
        places = torch.arange(size, device=x.device) + 0.5
        cosines = (frequencies[:, None] * places * (math.pi / size)).cos()  # (n, grid)
        scale = ((1 + (frequencies != 0).to(cosines.dtype)) / size).sqrt()
        with without_autocast(x):
            return scale[:, None] * cosines @ adaptive_averaging(x, dim, size)
