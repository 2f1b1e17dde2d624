"""The block of ConvNeXt: a wide filter for each channel, then an MLP at each place."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo.blocks.layers import depthwise, drop_path


class ConvNeXtBlock(nn.Module):
    """x + gamma * W2 gelu(W1 look(x)), look(x) = norm(conv(x)); a subclass may look in another way.

    Args:
        channels: C, the channels of the input.
        drop_path: with what probability a sample's branch is left out in training.
        layer_scale_init_value: where gamma, a scale per channel, starts; None or 0 leaves it out.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    """

    reference_keys = {"dwconv": "conv", "pwconv1": "fc1", "pwconv2": "fc2"}

    def __init__(self, channels: int, drop_path: float = 0.0, layer_scale_init_value: float | None = 1e-6) -> None:
        super().__init__()
        self.channels = channels
        self.drop_path = drop_path
        self.conv = depthwise(channels, 7)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)
        scale = layer_scale_init_value
        self.gamma = nn.Parameter(torch.full((channels,), float(scale))) if scale else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc2(F.gelu(self.fc1(self.look(x))))
        if self.gamma is not None:
            y = y * self.gamma.to(y.dtype)
        return x + drop_path(y.permute(0, 3, 1, 2), self.drop_path, self.training).to(x.dtype)

    def look(self, x: Tensor) -> Tensor:
        """What the MLP reads: (B, C, H, W) -> (B, H, W, C)."""
        return self.norm(self.conv(x).permute(0, 2, 3, 1))
