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

    def within(self, name: str) -> "FeatureInfo":
        """The same levels, as of a network that holds this one under `name`."""
        return FeatureInfo([level._replace(module=f"{name}.{level.module}") for level in self.levels])


class ImageNetwork(nn.Module):
    """What takes images: the arguments and the input checked, the features told.

    A subclass sets its layers and `feature_info`, and begins its forward with `check_input`.

    Args:
        called: the name in messages.
        num_classes: of the logits.
        in_channels: of the images.
        features_only: give the maps of `feature_info`, in a list, and have no layers beyond them.
        min_size: the least height and width of the images.
        multiple_of: what height and width are multiples of.
        image_size: the only height and width of the images, where the method fixes them.

    Raises: AttnzooError for numbers below 1, or an input that is smaller, not divisible, or not (B, in_channels, H, W).
    """

    feature_info: FeatureInfo

    def __init__(
        self,
        called: str,
        num_classes: int,
        in_channels: int,
        features_only: bool = False,
        min_size: int = 1,
        multiple_of: int = 1,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        checks.positive(called, num_classes=num_classes, in_channels=in_channels)
        self.called = called
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.features_only = features_only
        self.min_size = min_size
        self.multiple_of = multiple_of
        self.image_size = image_size

    def check_input(self, x: Tensor) -> None:
        """Refuse what is no batch of images, or has a size that the network does not take."""
        checks.nchw(self.called, x, self.in_channels)
        checks.at_least_size(self.called, x, self.min_size)
        checks.whole_blocks(self.called, x, self.multiple_of)
        if self.image_size is not None:
            checks.fixed_size(self.called, x, image_size=self.image_size)


class Network(ImageNetwork):
    """A chain of steps, the mean over the map (or what a subclass sets as `pooled`), one linear layer.

    A network sets its steps as attributes between `super().__init__` and `complete`. Arguments as in `ImageNetwork`.

    Shape: (B, in_channels, H, W) -> (B, num_classes), or a list of (B, channels, H / reduction, W / reduction), the
        quotients rounded up (or down, where a first pooling does not pad).
    """

    steps: tuple[str, ...]

    def complete(self, steps: Sequence[str], levels: Sequence[Level], width: int) -> None:
        """Say which attributes run in turn and which give levels; add the classifier of `width` channels."""
        self.feature_info = FeatureInfo(levels)
        self.steps = tuple(steps)
        if self.features_only:
            self.end_at(levels[-1].module)
        else:
            self.fc = nn.Linear(width, self.num_classes)

    def end_at(self, step: str) -> None:
        """Leave out the steps behind one."""
        count = self.steps.index(step) + 1
        for unused in self.steps[count:]:
            delattr(self, unused)
        self.steps = self.steps[:count]

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        self.check_input(x)
        wanted = self.feature_info.module_name() if self.features_only else []
        maps = []
        for step in self.steps:
            x = getattr(self, step)(x)
            if step in wanted:
                maps.append(x)
        return maps if self.features_only else self.fc(self.pooled(x))

    def pooled(self, x: Tensor) -> Tensor:
        """What the classifier sees of the last map: (B, C, H, W) -> (B, C)."""
        return spatial_mean(x).to(x.dtype)
