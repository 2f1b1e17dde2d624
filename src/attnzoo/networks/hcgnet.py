"""HCGNet: stages of gated cells that hand all their features on, and gated cells between that shrink them."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from torch import nn

from attnzoo.modules.convolution.hcg import HCG
from attnzoo.modules.convolution.hcg_transition import HCGTransition
from attnzoo.networks.base import Level, Network
from attnzoo.networks.resnet import Stem

SQUARE: Final = "The authors' code takes square maps only; here any."
COUNTED: Final = "The published multiply-adds, a thousandth lower, leave out the weighted means of the gates."


class HCGNet(Network):
    """A stem, stages of `hcg` cells with `hcg_transition` between, BatchNorm, ReLU, mean, one linear layer.

    Every cell adds as many channels as its stage's growth rate; a transition halves channels and map.

    Args:
        called, num_classes, in_channels, features_only: as in `Network`.
        growth_rate: of each stage.
        depths: how many cells each stage has.
        stem: makes the layers before the first stage.
        stem_channels, stem_stride: of the stem.
        pool: between stem and first stage, with stride 2; None leaves it out.

    Shape: as in `Network`, the quotients rounded up.
    Raises: AttnzooError for a training batch of one, growth rates that are no multiple of 4, and as `Network`.
    """

    reference_keys = {
        r"features\.norm5": "tail.norm",
        r"features\.(conv|norm)([012])": r"stem.\2.\1",
        r"features\.[Hh]ybrid[Bb]lock(\d+)\.SMG(\d+)": r"layer\1.cell\2",
        r"features\.[Tt]ransition(\d+)": r"transition\1",
        "classifier": "fc",
    }

    def __init__(
        self,
        called: str,
        num_classes: int,
        in_channels: int,
        features_only: bool,
        *,
        growth_rate: Sequence[int],
        depths: Sequence[int],
        stem: Stem,
        stem_channels: int,
        stem_stride: int = 1,
        pool: nn.Module | None = None,
    ) -> None:
        super().__init__(called, num_classes, in_channels, features_only)
        self.stem = stem(in_channels, stem_channels)
        steps, levels, reduction = ["stem"], [], stem_stride
        if pool is not None:
            self.pool = pool
            steps.append("pool")
            levels.append(Level("stem", stem_channels, reduction))
            reduction *= 2
        channels = stem_channels
        for i, (growth, depth) in enumerate(zip(growth_rate, depths, strict=True)):
            if i:
                steps.append(f"transition{i}")
                self.add_module(steps[-1], HCGTransition(channels, channels // 2))
                channels, reduction = channels // 2, 2 * reduction
            cells: OrderedDict[str, nn.Module] = OrderedDict()
            for j in range(depth):
                cells[f"cell{j + 1}"] = HCG(channels, growth_rate=growth)
                channels += growth
            steps.append(f"layer{i + 1}")
            self.add_module(steps[-1], nn.Sequential(cells))
            levels.append(Level(steps[-1], channels, reduction))
        self.tail = nn.Sequential(OrderedDict[str, nn.Module](norm=nn.BatchNorm2d(channels), act=nn.ReLU()))
        self.complete([*steps, "tail"], levels, channels)
