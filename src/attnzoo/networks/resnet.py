"""Residual networks: one class, whose stem and blocks are given."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo.blocks import ConvNormAct
from attnzoo.networks.base import Level, Network
from attnzoo.networks.keys import POOLED_SHORTCUT, Keys, ahead

Stem = Callable[[int, int], nn.Module]  # channels of the image, of the stem -> the layers before the pooling
Block = Callable[[int, int, int], nn.Module]  # in_channels, planes, stride -> a block
Stage = Callable[[list[nn.Module], int], nn.Module]  # the blocks of a stage, the channels they give -> the stage
Attention = Callable[[int], nn.Module]  # channels -> a module that keeps the map's shape


class Residual(nn.Module):
    """relu(branch(x) + shortcut(x)), or the sum itself where it is not `rectified`.

    `keys`: authors' names that are neither torchvision's nor, for what the branch ends with, timm's.
    """

    def __init__(
        self, branch: nn.Module, shortcut: nn.Module, rectified: bool = True, keys: Keys | None = None
    ) -> None:
        super().__init__()
        self.reference_keys = ahead(
            keys,
            {
                r"conv(\d+)(?=\.weight)": r"branch.conv\1.conv",
                r"conv(\d+)": r"branch.conv\1",
                r"bn(\d+)": r"branch.conv\1.norm",
                "downsample": "shortcut",
                "(se|se_module)": "branch.attention",
            },
        )
        self.branch = branch
        self.shortcut = shortcut
        self.rectified = rectified

    def forward(self, x: Tensor) -> Tensor:
        return self.join(*self.parts(x))

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the branch gives, and the shortcut."""
        return self.branch(x), self.shortcut(x)

    def join(self, branch: Tensor, shortcut: Tensor) -> Tensor:
        """The output, of both parts."""
        return F.relu(branch + shortcut) if self.rectified else branch + shortcut


class PreActivation(nn.Module):
    """attention(conv2(act(norm2(conv1(a))))) + shortcut, a = act(norm1(x)); the shortcut is x, or conv(a).

    Args:
        in_channels, channels: of input and output.
        stride: of the first convolution, and of the shortcut.
        attention: makes what the branch ends with; None leaves it out.
        keys: authors' names, besides bn1, bn2 and shortcut.0.

    Shape: (B, in_channels, H, W) -> (B, channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        attention: Attention | None = None,
        keys: Keys | None = None,
    ) -> None:
        super().__init__()
        self.reference_keys = ahead(keys, {r"bn(\d)": r"norm\1", r"shortcut\.0": "shortcut"})
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.attention = attention(channels) if attention else nn.Identity()
        self.shortcut: nn.Module | None = None
        if stride > 1 or in_channels != channels:
            self.shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(*self.parts(x))

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the branch gives, and the shortcut."""
        a = F.relu(self.norm1(x))
        branch = self.conv2(F.relu(self.norm2(self.conv1(a))))
        return self.attention(branch), x if self.shortcut is None else self.shortcut(a)

    def join(self, branch: Tensor, shortcut: Tensor) -> Tensor:
        """The output, of both parts."""
        return branch + shortcut


class ResNet(Network):
    """A stem, a pooling, stages of residual blocks; unless told otherwise, every stage but the first halves the map.

    Args:
        called, num_classes, in_channels, features_only, min_size, image_size: as in `Network`.
        blocks: for each stage, what makes its blocks, of planes * expansion channels: one maker, or one for each.
        depths: how many blocks each stage has.
        stem: makes the layers before the first stage.
        planes: of each stage.
        strides: of each stage, in its first block.
        expansion: the channels that a block gives, over its planes.
        stem_channels, stem_stride: of the stem.
        pool: between stem and first stage, with stride 2; None leaves it out.
        stage: joins the blocks of a stage.
        tail: makes, for its channels, what follows the last stage; None leaves it out.
        tail_channels: that the tail gives, where they are others.
        keys: authors' names of what is not in a stage, where they are not torchvision's.
    """

    def __init__(
        self,
        called: str,
        num_classes: int,
        in_channels: int,
        features_only: bool,
        *,
        blocks: Sequence[Block | Sequence[Block]],
        depths: Sequence[int],
        stem: Stem,
        planes: Sequence[int] = (64, 128, 256, 512),
        strides: Sequence[int] = (1, 2, 2, 2),
        expansion: int = 4,
        stem_channels: int = 64,
        stem_stride: int = 1,
        pool: nn.Module | None = None,
        stage: Stage | None = None,
        tail: Attention | None = None,
        tail_channels: int | None = None,
        keys: Keys | None = None,
        min_size: int = 1,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(called, num_classes, in_channels, features_only, min_size, image_size=image_size)
        self.reference_keys = ahead(keys, {"conv1": "stem.conv", "bn1": "stem.norm", "(linear|last_linear)": "fc"})
        self.stem = stem(in_channels, stem_channels)
        steps, levels, reduction = ["stem"], [], stem_stride
        if pool is not None:
            self.pool = pool
            steps.append("pool")
            levels.append(Level("stem", stem_channels, reduction))
            reduction *= 2
        channels = stem_channels
        for i, (block, depth, width) in enumerate(zip(blocks, depths, planes, strict=True)):
            made = []
            for j, make in enumerate([block] * depth if callable(block) else block):
                made.append(make(channels, width, 1 if j else strides[i]))
                channels = expansion * width
            reduction *= strides[i]
            levels.append(Level(f"layer{i + 1}", channels, reduction))
            steps.append(f"layer{i + 1}")
            self.add_module(steps[-1], stage(made, channels) if stage else nn.Sequential(*made))
        if tail:
            self.tail = tail(channels)
            steps.append("tail")
        self.complete(steps, levels, tail_channels or channels)


def basic(
    in_channels: int, channels: int, stride: int, attention: Attention | None = None, keys: Keys | None = None
) -> Residual:
    """Two 3x3 convolutions; `attention` makes what the branch ends with, `keys` are those of `Residual`."""
    branch: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=ConvNormAct(in_channels, channels, 3, stride),
        conv2=ConvNormAct(channels, channels, 3, act_layer=None),
    )
    if attention:
        branch["attention"] = attention(channels)
    return Residual(nn.Sequential(branch), shortcut(in_channels, channels, stride), keys=keys)


def bottleneck(
    in_channels: int,
    planes: int,
    stride: int,
    *,
    widening: float = 1,
    groups: int = 1,
    dilation: int = 1,
    middle: Callable[[int, int], nn.Module] | None = None,
    attention: Attention | None = None,
    stride_first: bool = False,
    pooled: bool = False,
    keys: Keys | None = None,
) -> Residual:
    """1x1, 3x3 and 1x1 convolutions, to 4 planes channels.

    Args:
        in_channels, planes, stride: of the block.
        widening: the channels between, over planes.
        groups, dilation: of the 3x3 convolution.
        middle: makes, for channels and a stride, what stands in place of the 3x3 convolution.
        attention: makes what the branch ends with.
        stride_first: the first convolution has the stride, as in Caffe's ResNet, not the middle.
        pooled: the shortcut averages before its convolution, see `shortcut`.
        keys: as in `Residual`.
    """
    width = int(widening * planes)
    first, second = (stride, 1) if stride_first else (1, stride)
    branch: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=ConvNormAct(in_channels, width, stride=first),
        conv2=middle(width, second) if middle else ConvNormAct(width, width, 3, second, dilation, groups),
        conv3=ConvNormAct(width, 4 * planes, act_layer=None),
    )
    if attention:
        branch["attention"] = attention(4 * planes)
    keys = ahead(keys, POOLED_SHORTCUT if pooled else {})
    return Residual(nn.Sequential(branch), shortcut(in_channels, 4 * planes, stride, pooled), keys=keys)


def shortcut(in_channels: int, out_channels: int, stride: int, pooled: bool = False) -> nn.Module:
    """Nothing where the shape stays, else a 1x1 convolution; `pooled`, an average over stride x stride before it."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if not pooled:
        return ConvNormAct(in_channels, out_channels, stride=stride, act_layer=None)
    pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False) if stride > 1 else nn.Identity()
    return nn.Sequential(OrderedDict(pool=pool, conv=ConvNormAct(in_channels, out_channels, act_layer=None)))


def small_stem(in_channels: int, channels: int) -> nn.Module:
    """One 3x3 convolution."""
    return ConvNormAct(in_channels, channels, 3)


def large_stem(in_channels: int, channels: int) -> nn.Module:
    """One 7x7 convolution with stride 2."""
    return ConvNormAct(in_channels, channels, 7, stride=2)


def deep_stem(in_channels: int, channels: int) -> nn.Module:
    """Three 3x3 convolutions, the first with stride 2 and, as the second, half the channels."""
    half = channels // 2
    return nn.Sequential(
        ConvNormAct(in_channels, half, 3, stride=2), ConvNormAct(half, half, 3), ConvNormAct(half, channels, 3)
    )


def draw_weights(network: nn.Module, biased: bool = False) -> None:
    """He's normal draw, for the fan out, of every convolution without bias, as these networks' authors have it.

    `biased`: also of those with a bias, as some of the authors do.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and (biased or layer.bias is None):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


class GatedStage(nn.Module):
    """Blocks whose branches one module gates in turn, what it remembers being handed on from block to block.

    Args:
        blocks: with methods `parts` and `join`, as `Residual` and `PreActivation` have them.
        gating: (branch, what it remembers, None at first) -> (branch, what it remembers).
    """

    reference_keys = {"ModuleList": "blocks", "(lstm)": r"gating.\1"}  # as DIANet has them

    def __init__(self, blocks: Sequence[nn.Module], gating: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.gating = gating

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for block in self.blocks:
            branch, shortcut = block.parts(x)  # type: ignore[operator]
            branch, state = self.gating(branch, state)
            x = block.join(branch, shortcut)  # type: ignore[operator]
        return x
