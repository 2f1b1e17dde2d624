"""MobileNetV2: one class, whose stages and blocks are given."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from attnzoo.blocks import Activation, ConvNormAct
from attnzoo.networks.base import Level, Network
from attnzoo.networks.resnet import Attention

Row = tuple[int, int, int]  # expansion, channels, blocks
Block = Callable[[int, int, int, int, Activation], nn.Module]  # in_channels, channels, expansion, stride, act_layer


class InvertedResidual(nn.Module):
    """branch(x) + x, the branch widening, filtering channel by channel, narrowing; no sum where the shape changes.

    Args:
        in_channels, channels: of input and output.
        expansion: the channels between, over in_channels; at 1 nothing is widened.
        stride: of the filter.
        act_layer: makes the activations.
        middle: makes, for the widened channels, what follows the filter; not in blocks that do not widen.
        end: makes what the branch ends with.
        full: also widen by 1, and sum wherever the stride is 1, by a convolution where the channels change.
        flat: the authors number all layers of the branch in turn; else, as torchvision, those of a convolution with
            its normalisation and activation as one.

    Shape: (B, in_channels, H, W) -> (B, channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        expansion: int,
        stride: int,
        act_layer: Activation,
        *,
        middle: Attention | None = None,
        end: Attention | None = None,
        full: bool = False,
        flat: bool = False,
    ) -> None:
        super().__init__()
        width = expansion * in_channels
        branch: OrderedDict[str, nn.Module] = OrderedDict()
        if full or expansion > 1:
            branch["expand"] = ConvNormAct(in_channels, width, act_layer=act_layer)
        branch["filter"] = ConvNormAct(width, width, 3, stride, groups=width, act_layer=act_layer)
        if middle and expansion > 1:
            branch["middle"] = middle(width)
        branch["project"] = ConvNormAct(width, channels, act_layer=None)
        if end:
            branch["end"] = end(channels)
        self.branch = nn.Sequential(branch)
        self.flat = flat
        self.adds = stride == 1 and (full or in_channels == channels)
        widens = self.adds and in_channels != channels
        self.shortcut = ConvNormAct(in_channels, channels, act_layer=None) if widens else nn.Identity()

    @property
    def reference_keys(self) -> dict[str, str]:
        """The numbers of the layers, and the names of the collection for CIFAR."""
        keys: dict[str, str] = {}
        number = 0
        for name, part in self.branch.named_children():
            ours, apart = f"branch.{name}", self.flat or name == "project"
            if apart and isinstance(part, ConvNormAct):
                keys |= {rf"conv\.{number}": f"{ours}.conv", rf"conv\.{number + 1}": f"{ours}.norm"}
                number += 2 if name == "project" else 3
            else:
                keys[rf"conv\.{number}"] = ours
                number += 1
        for i, name in enumerate(("expand", "filter", "project")):
            keys |= {f"conv{i + 1}": f"branch.{name}.conv", f"bn{i + 1}": f"branch.{name}.norm"}
        return keys

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        return y + self.shortcut(x) if self.adds else y


class MobileNetV2(Network):
    """conv3x3, stages of `InvertedResidual` blocks, conv1x1.

    Args:
        called, num_classes, in_channels, features_only: as in `Network`.
        stages: their rows; every stage but the first begins with stride 2.
        block: makes the blocks.
        stem_stride: of the first convolution.
        act_layer: makes the activations.
        tail: makes, for its channels, what follows the last convolution; None leaves it out.

    Shape: as in `Network`.
    """

    def __init__(
        self,
        called: str,
        num_classes: int,
        in_channels: int,
        features_only: bool,
        *,
        stages: Sequence[Sequence[Row]],
        block: Block = InvertedResidual,
        stem_stride: int = 1,
        act_layer: Activation = nn.ReLU,
        tail: Attention | None = None,
    ) -> None:
        super().__init__(called, num_classes, in_channels, features_only)
        self.stem = ConvNormAct(in_channels, 32, 3, stem_stride, act_layer=act_layer)
        before, levels, blocks_at = 32, [], list[str]()
        for i, rows in enumerate(stages):
            made: list[nn.Module] = []
            for expansion, channels, blocks in rows:
                for _ in range(blocks):
                    blocks_at.append(f"layer{i + 1}.{len(made)}")
                    made.append(block(before, channels, expansion, 1 if made or not i else 2, act_layer))
                    before = channels
            levels.append(Level(f"layer{i + 1}", before, stem_stride * 2**i))
            self.add_module(levels[-1].module, nn.Sequential(*made))
        steps = ["stem", *(level.module for level in levels), "tail"]
        self.tail = ConvNormAct(before, 1280, act_layer=act_layer)
        if tail:
            self.drop = tail(1280)
            steps.append("drop")
        self.complete(steps, levels, 1280)
        self.reference_keys = {  # those of torchvision and of the authors of Coord; then the collection's for CIFAR
            r"features\.0": "stem",
            **{rf"features\.{i + 1}": at for i, at in enumerate(blocks_at)},
            rf"(conv|features\.{len(blocks_at) + 1})": "tail",
            r"(classifier\.1|linear)": "fc",
            **{rf"layers\.{i}": at for i, at in enumerate(blocks_at)},
            "conv1": "stem.conv",
            "bn1": "stem.norm",
            "conv2": "tail.conv",
            "bn2": "tail.norm",
        }
