"""What all networks share: logits, or the maps of their stages."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import spatial_mean


class Level(NamedTuple):
    """A map that a network can give: the submodule it comes from, its channels, its stride on the image."""

    module: str
    channels: int
    reduction: int


class FeatureInfo:
    """Channels and strides of the maps that `features_only=True` gives, in their order, asked for as in timm."""

    def __init__(self, levels: Sequence[Level]) -> None:
        self.levels = tuple(levels)

    def channels(self) -> list[int]:
        return [level.channels for level in self.levels]

    def reduction(self) -> list[int]:
        return [level.reduction for level in self.levels]

    def module_name(self) -> list[str]:
        return [level.module for level in self.levels]


class Network(nn.Module):
    """A chain of steps, the mean over the map, one linear layer.

    A network sets its steps as attributes between `super().__init__` and `complete`.

    Args:
        called: the name in messages.
        num_classes: of the logits.
        in_channels: of the images.
        features_only: give the maps of `feature_info` instead of logits, and have no layers beyond them.
        min_size: the least height and width of the images.
        image_size: the only height and width of the images, where the method fixes them.

    Shape: (B, in_channels, H, W) -> (B, num_classes), or a list of (B, channels, H / reduction, W / reduction), the
        quotients rounded up (or down, where a first pooling does not pad).
    Raises: AttnzooError for numbers below 1, or an input that is smaller or not (B, in_channels, H, W).
    """

    feature_info: FeatureInfo
    steps: tuple[str, ...]

    def __init__(
        self,
        called: str,
        num_classes: int,
        in_channels: int,
        features_only: bool = False,
        min_size: int = 1,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        checks.positive(called, num_classes=num_classes, in_channels=in_channels)
        self.called = called
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.features_only = features_only
        self.min_size = min_size
        self.image_size = image_size

    def complete(self, steps: Sequence[str], levels: Sequence[Level], width: int) -> None:
        """Say which attributes run in turn and which give levels; add the classifier of `width` channels."""
        self.feature_info = FeatureInfo(levels)
        if self.features_only:
            count = steps.index(levels[-1].module) + 1
            for unused in steps[count:]:
                delattr(self, unused)
            self.steps = tuple(steps[:count])
        else:
            self.steps = tuple(steps)
            self.fc = nn.Linear(width, self.num_classes)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        checks.nchw(self.called, x, self.in_channels)
        checks.at_least_size(self.called, x, self.min_size)
        if self.image_size is not None:
            checks.fixed_size(self.called, x, image_size=self.image_size)
        wanted = self.feature_info.module_name() if self.features_only else []
        maps = []
        for step in self.steps:
            x = getattr(self, step)(x)
            if step in wanted:
                maps.append(x)
        return maps if self.features_only else self.fc(spatial_mean(x).to(x.dtype))
