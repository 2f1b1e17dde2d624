"""What networks of transformer blocks share."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from torch import nn

POINT: Final = partial(nn.Conv2d, kernel_size=1)  # a linear layer at every place of a map
COUNTED: Final = (
    "The published {} G multiply-adds leave out the products of queries, keys and values, which are counted here."
)


def mlp(channels: int, hidden: int, linear: Callable[[int, int], nn.Module] = nn.Linear) -> nn.Sequential:
    """Two linear layers with GELU between, for tokens (B, N, C); with `linear=POINT` for maps (B, C, H, W)."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](fc1=linear(channels, hidden), act=nn.GELU(), fc2=linear(hidden, channels))
    )


def draw_narrowly(layers: Iterable[nn.Module]) -> None:
    """Draw the weights of the linear layers and convolutions among these with deviation 0.02; their biases are 0."""
    for layer in layers:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
