"""FPT, Feature Pyramid Transformer: every level mixed with itself, with coarser and with finer ones."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, Layer
from attnzoo.modules.fusion.fpt_grounding import CUBES, FPTGrounding
from attnzoo.modules.fusion.fpt_rendering import FPTRendering
from attnzoo.modules.fusion.fpt_self import FPT as PAPER
from attnzoo.modules.fusion.fpt_self import FPTSelf
from attnzoo.registry import register

NORMS: Final[dict[str, Layer | None]] = {
    "none": None,
    "batch_norm": nn.BatchNorm2d,
    "group_norm": partial(nn.GroupNorm, 32),
}
LEVELS = range(2, 6)


@register(
    "fpt",
    title="Feature Pyramid Transformer",
    contract="fusion",
    paper=PAPER,
    source="ZHANGDONG-NJUST/FPT@c7c76f9; @75dec07 (its rendering transformer)",
    source_license="none found",
    summary="Turns the pyramid of a backbone into one of equal widths, in which every level has met itself, all "
    "coarser and all finer ones. Three kinds of attention do it: fpt_self, fpt_grounding and fpt_rendering.",
    summary_zh="把骨干网络的金字塔变成等宽的金字塔，其中每个层级都与自身、所有更粗和更细的层级交互过。"
    "交互由三种注意力完成：fpt_self、fpt_grounding 与 fpt_rendering。",
    placement="In place of an FPN.",
    reported="No headline figure recorded here.",
    differences=(
        "The authors' last rendering transformer needs exactly twice the size, so that their pyramid cannot run with "
        "it; it runs with their first one, which is used here.",
        "A second file of theirs, for detection, has undefined names and does not run.",
        "DropBlock after the output convolutions stands in a comment there only, and is left out.",
    ),
    not_applicable=CUBES,
    example={"in_channels": (8, 8, 16, 32), "channels": 32},
    inputs=("B 8 8*H 8*W", "B 8 4*H 4*W", "B 16 2*H 2*W", "B 32 H W"),
)
class FPT(nn.Module):
    """p_i = conv3x3(concat(self(f_i), render(f_i, f_j) for finer j, ground(f_i, f_j) for coarser j, f_i)).

    f_i is a 1x1 convolution of level i; the levels j come nearest first.

    Args:
        in_channels: channels of the four levels, fine to coarse.
        channels: C, of every level from the first convolution on.
        norm_layer: behind the first and the last convolutions: 'none', 'batch_norm' or 'group_norm' (32 groups).

    Shape: c2, c3, c4, c5, each (B, in_channels[i], H, W) with sides half the ones before, rounded up -> p2, p3, p4,
        p5, (B, C, H, W) of the same sizes.
    Cost: about 281 C^2 weights and the first convolutions'; attention within each level takes N^2 / 4 C multiply-adds
        for N places, everything else is linear in the map.
    Raises: AttnzooError for other than four levels, an unknown norm_layer, channels that 'group_norm' cannot group, a
        training batch of one, or inputs that are no such pyramid, named level by level.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        channels: int = 256,
        norm_layer: str = "none",
    ) -> None:
        super().__init__()
        checks.sequence("fpt", length=len(LEVELS), in_channels=in_channels)
        checks.positive("fpt", channels=channels, **checks.items(in_channels=in_channels))
        checks.choice("fpt", NORMS, norm_layer=norm_layer)
        if norm_layer == "group_norm":
            checks.multiple("fpt", 32, channels=channels)
        unit = partial(ConvNormAct, bias=norm_layer == "none", norm_layer=NORMS[norm_layer], act_layer=None)
        self.in_channels = tuple(in_channels)
        self.laterals = nn.ModuleList(unit(width, channels) for width in in_channels)
        self.own = nn.ModuleList(FPTSelf(channels) for _ in LEVELS)
        self.ground = nn.ModuleDict({f"p{i}_p{j}": FPTGrounding(channels) for i in LEVELS for j in LEVELS if i < j})
        self.render = nn.ModuleDict(
            {f"p{i}_p{j}": FPTRendering(channels, channels, source_map="high") for i in LEVELS for j in LEVELS if i > j}
        )
        self.outputs = nn.ModuleList(unit(5 * channels, channels, 3) for _ in LEVELS)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight, a=1)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.unused_in_reference = sum(part.unused_in_reference for part in self.render.values())  # type: ignore[misc]

    @property
    def reference_keys(self) -> dict[str, str]:
        """The authors number the levels, and name the parts by the levels that they join."""
        keys: dict[str, str] = {}
        for i, level in enumerate(LEVELS):
            for theirs, ours in ((f"fpn_p{level}_1x1", f"laterals.{i}"), (f"fpt_p{level}", f"outputs.{i}")):
                keys |= {rf"{theirs}\.0": f"{ours}.conv", rf"{theirs}\.1": f"{ours}.norm", theirs: f"{ours}.conv"}
            keys[f"st_p{level}"] = f"own.{i}"
        return keys | {r"gt_(p\d_p\d)": r"ground.\1", r"rt_(p\d_p\d)": r"render.\1"}

    def forward(self, c2: Tensor, c3: Tensor, c4: Tensor, c5: Tensor) -> list[Tensor]:
        levels = {"c2": c2, "c3": c3, "c4": c4, "c5": c5}
        for (name, x), width in zip(levels.items(), self.in_channels, strict=True):
            checks.shaped("fpt", name, x, (None, width, None, None))
        checks.pyramid("fpt", levels)
        f = {i: lateral(x) for i, lateral, x in zip(LEVELS, self.laterals, levels.values(), strict=True)}
        mixed = []
        for i, own in zip(LEVELS, self.own, strict=True):
            finer = [self.render[f"p{i}_p{j}"](f[i], f[j]) for j in reversed(LEVELS) if j < i]
            coarser = [self.ground[f"p{i}_p{j}"](f[i], f[j]) for j in LEVELS if j > i]
            mixed.append(torch.cat([own(f[i]), *finer, *coarser, f[i]], dim=1))
        return [output(x) for output, x in zip(self.outputs, mixed, strict=True)]
