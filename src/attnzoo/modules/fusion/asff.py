"""ASFF, Adaptively Spatial Feature Fusion: all levels of a pyramid at one of them, weighed place by place."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, precisely, wide
from attnzoo.registry import Paper, register

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"leaky_relu": partial(nn.LeakyReLU, 0.1), "relu6": nn.ReLU6}


@register(
    "asff",
    title="Adaptively Spatial Feature Fusion",
    contract="fusion",
    paper=Paper(
        title="Learning Spatial Fusion for Single-Shot Object Detection",
        authors="Liu, Huang, Wang",
        venue="arXiv",
        year=2019,
        url="https://arxiv.org/abs/1911.09516",
    ),
    source="GOATmessi7/ASFF@4df6f72",
    source_license="AGPL-3.0",
    summary="Brings all maps of a feature pyramid to one level's size and lets every place choose between them by a "
    "softmax across the levels. What contradicts the other levels there is filtered out.",
    summary_zh="把特征金字塔的所有层调整到某一层的尺寸，再在层间做 softmax，让每个位置自行取舍。"
    "与其他层相矛盾的信息因此被滤除。",
    placement="One module per pyramid level, between the neck and the detection heads.",
    reported="COCO test-dev of the authors' repository: from 38.8 to 40.6 AP at 608; MobileNetV2 at 416 from 29.0 to "
    "30.6.",
    differences=(
        "The authors fix three levels of 512, 256 and 256 channels (512, 256 and 128 for MobileNetV2); see yolov3.",
        "Their rfb flag changes nothing here but the width of the weight features, 8 instead of 16.",
        "A popular explanation resizes coarse maps bilinearly; the code takes the nearest pixel.",
    ),
    example={"in_channels": (16, 8, 8), "out_channels": 24, "level": 1},
    inputs=("B 16 H W", "B 8 2*H 2*W", "B 8 4*H 4*W"),
)
class ASFF(nn.Module):
    """expand(sum_i w_i r_i): r_i the maps at the level's size and width D, w the softmax over i of a convolution.

    A coarser map is narrowed to D by a 1x1 block, unless it has D channels, and enlarged to the nearest pixel; a
    finer one is halved by maximum pooling but for the last step, a 3x3 block of stride 2.

    Args:
        in_channels: of the L maps, from coarse to fine; D is that of the level.
        out_channels: channels of the output.
        level: the index of the map whose size the output has.
        weight_channels: what each map contributes to the choice of the weights.
        act_layer: 'leaky_relu', of slope 0.1, or 'relu6'.
        return_weights: also return the weights (B, L, H, W) and the fused map's sum over the channels (B, H, W).

    Shape: L maps, one by one, map i (B, in_channels[i], H0 2^i, W0 2^i) ->
        (B, out_channels, H0 2^level, W0 2^level), for any H0 and W0 from 1 up.
    Cost: 9 D out_channels weights at the level's size, and 9 D in_channels[i] for each finer map.
    Raises: AttnzooError for fewer than 2 maps, a level that is none of them, an unknown act_layer, numbers below
        1, a single training value per channel, or maps of other channels or sizes.
    """

    reference_keys = {
        rf"{theirs}\.{part}": f"{ours}.{layer}"
        for theirs, ours in (
            (r"compress_level_(\d+)", r"resize.\1"),
            (r"stride_level_(\d+)", r"resize.\1"),
            (r"weight_level_(\d+)", r"features.\1"),
            ("expand", "expand"),
        )
        for part, layer in (("conv", "conv"), ("batch_norm", "norm"))
    } | {"weight_levels": "choose"}

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        level: int,
        weight_channels: int = 16,
        act_layer: str = "leaky_relu",
        return_weights: bool = False,
    ) -> None:
        super().__init__()
        checks.sequence("asff", least=2, in_channels=in_channels)
        checks.positive("asff", **checks.items(in_channels=in_channels))
        checks.positive("asff", out_channels=out_channels, weight_channels=weight_channels)
        checks.between("asff", 0, len(in_channels) - 1, level=level)
        checks.choice("asff", _ACTIVATIONS, act_layer=act_layer)
        self.in_channels = tuple(in_channels)
        self.level = level
        self.return_weights = return_weights
        width, block = in_channels[level], partial(ConvNormAct, act_layer=_ACTIVATIONS[act_layer])
        self.resize = nn.ModuleDict()
        for i, channels in enumerate(in_channels):
            if i > level:
                self.resize[str(i)] = block(channels, width, 3, stride=2)
            elif channels != width:
                self.resize[str(i)] = block(channels, width)
        self.features = nn.ModuleList([block(width, weight_channels) for _ in in_channels])
        self.choose = nn.Conv2d(len(in_channels) * weight_channels, len(in_channels), 1)
        self.expand = block(width, out_channels, 3)

    @classmethod
    def yolov3(cls, level: int, rfb: bool = False) -> "ASFF":
        """The authors' instance for YOLOv3, level 0 at stride 32, 1 at 16, 2 at 8; rfb narrows the weight features."""
        checks.between("asff", 0, 2, level=level)
        return cls((512, 256, 256), (1024, 512, 256)[level], level, weight_channels=8 if rfb else 16)

    def forward(self, *maps: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        checks.several_maps("asff", maps, len(self.in_channels))
        checks.nchw("asff", maps[0], self.in_channels[0], name="maps[0]")
        batch, _, height, width = maps[0].shape
        for i, (x, channels) in enumerate(zip(maps, self.in_channels, strict=True)):
            checks.shaped("asff", f"maps[{i}]", x, (batch, channels, height * 2**i, width * 2**i))
        if self.training:
            checks.several_values("asff", maps[0])
        resized = [self._resized(x, i) for i, x in enumerate(maps)]
        weights = self.gate(*resized)
        fused = resized[0] * weights[:, :1]
        for i, x in enumerate(resized[1:], start=1):
            fused = torch.addcmul(fused, x, weights[:, i : i + 1])
        y = self.expand(fused.to(maps[0].dtype))
        return (y, weights, fused.sum(dim=1)) if self.return_weights else y

    def gate(self, *resized: Tensor) -> Tensor:
        """The L maps (B, D, H, W) at the level's size -> their weights (B, L, H, W), which sum to 1 at every place."""
        features = [precisely(block, x) for block, x in zip(self.features, resized, strict=True)]
        return precisely(self.choose, torch.cat(features, dim=1)).softmax(dim=1).to(resized[0].dtype)

    def _resized(self, x: Tensor, i: int) -> Tensor:
        """Map i at the size and width of the level, in at least float32, as the weights' logits come from it."""
        for _ in range(i - self.level - 1):
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        if str(i) in self.resize:
            x = precisely(self.resize[str(i)], x)
        return wide(F.interpolate(x, scale_factor=2.0 ** (self.level - i)) if i < self.level else x)
