"""A discriminator of patches, for losses that ask whether a map looks like a true one."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct


class PatchDiscriminator(nn.Module):
    """Five 4x4 convolutions of strides 2, 2, 2, 1 and 1, which judge patches of 70 x 70 pixels, as PatchGAN's.

    Args:
        in_channels: of what is judged: 1 for a map, 4 for an image and its map, concatenated.
        channels: of the first convolution; the next have 2, 4 and 8 times as many.

    Shape: (B, in_channels, H, W) -> logits (B, 1, H / 8 - 2, W / 8 - 2) rounded down, for H and W from 24 up; those
        above zero say that it is true.
    Raises: AttnzooError for numbers below 1, or an input that is smaller or not (B, in_channels, H, W).
    """

    def __init__(self, in_channels: int = 4, channels: int = 64) -> None:
        super().__init__()
        checks.positive("patch_discriminator", in_channels=in_channels, channels=channels)
        self.in_channels = in_channels
        widths = [channels, 2 * channels, 4 * channels, 8 * channels]
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, channels, 4, 2, padding=1),
            nn.LeakyReLU(0.2),
            *(_halving(a, b, 1 if b == widths[-1] else 2) for a, b in pairwise(widths)),
            nn.Conv2d(widths[-1], 1, 4, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("patch_discriminator", x, self.in_channels)
        checks.at_least_size("patch_discriminator", x, 24)
        return self.layers(x)


def _halving(in_channels: int, out_channels: int, stride: int) -> ConvNormAct:
    return ConvNormAct(in_channels, out_channels, 4, stride, act_layer=_leaky)


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.2)


def discriminator_loss(true: Tensor, made: Tensor) -> Tensor:
    """Cross-entropy of a discriminator's logits for true maps and for made ones, any shapes -> one number."""
    return (
        F.binary_cross_entropy_with_logits(true, torch.ones_like(true))
        + F.binary_cross_entropy_with_logits(made, torch.zeros_like(made))
    ) / 2
