"""VGG: stages of 3x3 convolutions with a pooling between."""

from collections.abc import Sequence
from typing import Final

from torch import nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct
from attnzoo.networks.base import Level, Network

VGG16: Final = (2, 2, 3, 3, 3)  # how many convolutions each stage has
VGG19: Final = (2, 2, 4, 4, 4)
WIDTHS: Final = (64, 128, 256, 512, 512)


class VGG(Network):
    """Stages of 3x3 convolutions with biases and ReLU; all but the first begin with a 2x2 max-pooling, rounded down.

    `attnzoo.load_reference` takes the weights of torchvision's `features`.

    Args:
        called, num_classes, in_channels, features_only: as in `Network`.
        depths: how many convolutions each stage has.
        widths: the channels of each stage.
        batch_norm: normalise behind each convolution.
        last_pool: end with a pooling, too.
    """

    def __init__(
        self,
        called: str,
        num_classes: int,
        in_channels: int,
        features_only: bool,
        *,
        depths: Sequence[int],
        widths: Sequence[int] = WIDTHS,
        batch_norm: bool = False,
        last_pool: bool = False,
    ) -> None:
        checks.sequence(called, depths=depths)
        checks.sequence(called, length=len(depths), widths=widths)
        checks.positive(called, **checks.items(depths=depths, widths=widths))
        halvings = len(depths) - 1 + last_pool
        super().__init__(called, num_classes, in_channels, features_only, min_size=2**halvings)
        norm = nn.BatchNorm2d if batch_norm else None
        self.reference_keys: dict[str, str] = {}  # the numbers of torchvision's layers, and ours
        levels, channels, number = [], in_channels, 0
        for i, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            name = f"stage{i + 1}"
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if i else []
            number += len(layers)
            for _ in range(depth):
                at = f"{name}.{len(layers)}"
                self.reference_keys[f"{number}"] = f"{at}.conv"
                if batch_norm:
                    self.reference_keys[f"{number + 1}"] = f"{at}.norm"
                number += 3 if batch_norm else 2
                layers.append(ConvNormAct(channels, width, 3, bias=True, norm_layer=norm))
                channels = width
            self.add_module(name, nn.Sequential(*layers))
            levels.append(Level(name, width, 2**i))
        if last_pool:
            self.pool = nn.MaxPool2d(2)
            levels.append(Level("pool", channels, 2**halvings))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.complete([level.module for level in levels], levels, channels)
