"""What networks of transformer blocks share."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from torch import nn

from attnzoo.registry import register_network

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


def transformer_preset(name: str, build: Callable[..., nn.Module], *, title: str, **card: Any) -> None:
    """Enter a network of the usual three arguments, and the rate at which training leaves branches out.

    Args:
        name: the registry name.
        build: takes the name, num_classes, in_channels and features_only, and by its name drop_path_rate.
        title, card: as in `register_network`.
    """

    def make(
        num_classes: int = 1000, in_channels: int = 3, features_only: bool = False, drop_path_rate: float = 0.0
    ) -> nn.Module:
        return build(name, num_classes, in_channels, features_only, drop_path_rate=drop_path_rate)

    make.__qualname__ = name
    make.__doc__ = f"{title}; arguments and shapes as in `Network`, drop_path_rate of the blocks in training."
    register_network(name, title=title, **card)(make)
