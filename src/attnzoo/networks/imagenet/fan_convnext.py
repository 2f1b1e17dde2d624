"""The ConvNeXt stages at the head of the hybrid FANs."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from attnzoo.blocks import ChannelNorm, ConvNeXtBlock, wide
from attnzoo.networks.base import Level

EPS: Final = 1e-6  # of all normalisations
FINE, COARSE = 128, 256  # channels of the two stages
REFERENCE_KEYS: Final = {
    r"patch_embed\.backbone\.stem\.0": "stem.conv",
    r"patch_embed\.backbone\.stem\.1": "stem.norm",
    r"patch_embed\.backbone\.stages\.0\.blocks\.(\d+)": r"layer1.block\1",
    r"patch_embed\.backbone\.stages\.1\.blocks\.(\d+)": r"layer2.block\1",
    r"patch_embed\.backbone\.stages\.1\.downsample\.0": "layer2.norm",
    r"patch_embed\.backbone\.stages\.1\.downsample\.1": "layer2.down",
}


class UnbiasedNorm(nn.LayerNorm):
    """Layer normalisation over the channels of every place, by their unbiased variance: (B, C, H, W) -> the same."""

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(wide(x), dim=1, keepdim=True)
        y = (wide(x) - mean) * (variance + self.eps).rsqrt()
        return (y * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class UnbiasedConvNeXtBlock(ConvNeXtBlock):
    """The block of ConvNeXt with `UnbiasedNorm`."""

    reference_keys = {"conv_dw": "conv", r"mlp\.fc1": "fc1", r"mlp\.fc2": "fc2"}

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.norm = UnbiasedNorm(channels, EPS)

    def look(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).permute(0, 2, 3, 1)


def convnext_patches(
    in_channels: int, channels: int, depths: Sequence[int]
) -> tuple[dict[str, nn.Module], list[Level]]:
    """A convolution over patches of 4 x 4, two stages of these depths, and two more halvings of the map.

    Shape: (B, in_channels, H, W) -> (B, channels, H // 16, W // 16).
    Returns: the parts in turn, and the levels that are among them.
    """
    fine, coarse = (
        OrderedDict[str, nn.Module]((f"block{i}", UnbiasedConvNeXtBlock(width)) for i in range(depth))
        for width, depth in zip((FINE, COARSE), depths, strict=True)
    )
    stem = OrderedDict[str, nn.Module](conv=nn.Conv2d(in_channels, FINE, 4, stride=4), norm=ChannelNorm(FINE, EPS))
    down = OrderedDict[str, nn.Module](norm=UnbiasedNorm(FINE, EPS), down=nn.Conv2d(FINE, COARSE, 2, stride=2))
    parts = {
        "stem": nn.Sequential(stem),
        "layer1": nn.Sequential(fine),
        "layer2": nn.Sequential(down | coarse),
        "embed": nn.Conv2d(COARSE, channels, 2, stride=2),
    }
    return parts, [Level("layer1", FINE, 4), Level("layer2", COARSE, 8)]
