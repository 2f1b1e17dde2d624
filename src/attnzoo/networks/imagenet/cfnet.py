"""CFNet as a classifier: the backbone `cfnet`, and a head on the coarsest map of its last stage."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from torch import Tensor, nn

from attnzoo.blocks import Activation, ConvNormAct, Layer, spatial_mean
from attnzoo.modules.network.cfnet import CFNet, draw_weights
from attnzoo.modules.network.cfnet_stage import STYLES
from attnzoo.networks.base import FeatureInfo, ImageNetwork, Level
from attnzoo.networks.presets import preset
from attnzoo.registry import paper_of

WIDTH: Final = 2048  # of the heads
HEAD_PARTS: Final = {"final_layers": "widen", "norms": "norm", "heads": "fc"}  # the authors' lists, for all heads


class Head(nn.Module):
    """fc(norm(mean(widen(x)))): (B, in_channels, H, W) -> (B, num_classes)."""

    def __init__(self, in_channels: int, num_classes: int, norm_layer: Layer, act_layer: Activation) -> None:
        super().__init__()
        self.widen = ConvNormAct(in_channels, WIDTH, bias=True, norm_layer=norm_layer, act_layer=act_layer)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.fc = nn.Linear(WIDTH, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(spatial_mean(self.widen(x)).to(x.dtype)))


class CFNetClassifier(ImageNetwork):
    """head(p5), p5 of the last stage of `cfnet`.

    Args:
        called, num_classes, in_channels, features_only: as in `ImageNetwork`; the features are the last stage's.
        aux: also a head on every other stage, for training: the logits come as a tuple, the last stage's first, and
            the losses of all are summed.
        channels, depths, num_stages, block, stem_channels, drop_path_rate: of `cfnet`.

    Shape: (B, in_channels, H, W) -> (B, num_classes), or num_stages of these, or a list of three maps with strides 8,
        16 and 32, for H and W that are multiples of 32.
    """

    def __init__(
        self,
        called: str,
        num_classes: int,
        in_channels: int,
        features_only: bool,
        aux: bool,
        drop_path_rate: float,
        *,
        channels: Sequence[int] = (192, 352, 512),
        depths: Sequence[int] = (2, 4, 2),
        num_stages: int = 3,
        block: str = "next",
        stem_channels: int = 96,
    ) -> None:
        super().__init__(called, num_classes, in_channels, features_only, multiple_of=32)
        self.backbone = CFNet(
            in_channels,
            stem_channels,
            channels=channels,
            depths=depths,
            num_stages=num_stages,
            block=block,
            drop_path_rate=drop_path_rate,
        )
        self.reference_keys = {"(stem|stages)": r"backbone.\1"}
        for i in range(num_stages):
            at = "head" if i == num_stages - 1 else f"aux_heads.{i}"
            self.reference_keys |= {rf"{theirs}\.{i}": f"{at}.{ours}" for theirs, ours in HEAD_PARTS.items()}
        last = f"backbone.stages.{num_stages - 1}.level"
        self.feature_info = FeatureInfo(
            [Level(f"{last}{i}", width, 2**i) for i, width in zip((3, 4, 5), channels, strict=True)]
        )
        if features_only:
            return
        _, _, norm, act = STYLES[block]
        heads = [Head(channels[2], num_classes, norm, act) for _ in range(num_stages if aux else 1)]
        self.aux_heads = nn.ModuleList(heads[:-1])
        self.head = heads[-1]
        for head in heads:
            draw_weights(head)

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Leave out the heads that this instance was built without."""
        absent = set() if self.aux_heads else {str(i) for i in range(len(self.backbone.stages) - 1)}
        parts = {key: key.split(".") for key in state}
        return {
            key: state[key] for key, (first, *rest) in parts.items() if first not in HEAD_PARTS or rest[0] not in absent
        }

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...] | list[Tensor]:
        self.check_input(x)
        if self.features_only:
            return list(self.backbone(x))
        if not self.aux_heads:
            return self.head(self.backbone(x)[2])
        *others, last = self.backbone.pyramids(x)
        aux = (head(maps[2]) for head, maps in zip(self.aux_heads, others, strict=True))
        return self.head(last[2]), *aux


def _enter(
    name: str, *, title: str, rate: float, size: dict[str, Any], differences: tuple[str, ...], **card: Any
) -> None:
    """Enter a network of this size, `rate` its drop_path_rate by default."""
    preset(
        name,
        partial(CFNetClassifier, aux=False, drop_path_rate=rate, **size),
        title=title,
        options=["aux", "drop_path_rate"],
        paper=paper_of("cfnet"),
        source="zhanggang001/CEDNet@305d637",
        source_license="MIT",
        reported="No headline figure recorded here.",
        image_size=224,
        multiple_of=32,
        differences=(
            "In training the authors have a head on every stage and sum the losses: aux=True; by default, as at "
            "inference there, only the last stage has one.",
            "The sizes are those of CEDNet, the second version by the same authors; the first version's table could "
            "not be consulted.",
            *differences,
        ),
        **card,
    )


_UNSTORED = "No run of the authors' code is stored for this size; one is for cfnet_tiny, of the same class."

_enter(
    "cfnet_tiny",
    title="CFNet-T (CEDNet-NeXt-T)",
    summary="Three stages of ConvNeXt blocks, each a pyramid that is fused before the next begins. It is "
    "somewhat larger than ConvNeXt-T, and ends in a pyramid that needs no neck.",
    summary_zh="由 ConvNeXt 块构成的三个阶段，每个阶段的金字塔先融合再进入下一阶段。"
    "规模略大于 ConvNeXt-T，末端即是无需再接颈部的金字塔。",
    differences=(),
    rate=0.1,
    size={},
    parameters=33_826_152,
    macs=5690.5,
)

_enter(
    "cfnet_small",
    title="CFNet-S (CEDNet-NeXt-S)",
    summary="The network of cfnet_tiny with a fourth stage, and seven blocks in place of four at stride 16. It is the "
    "middle one of three sizes.",
    summary_zh="在 cfnet_tiny 的基础上增加第四个阶段，并把步幅 16 处的块由四个增至七个。它是三种规模中的中间一档。",
    differences=(_UNSTORED,),
    rate=0.4,
    size={"depths": (2, 7, 2), "num_stages": 4},
    parameters=56_174_824,
    macs=9651.1,
)

_enter(
    "cfnet_base",
    title="CFNet-B (CEDNet-NeXt-B)",
    summary="The network of cfnet_small, a third wider. It is the largest of three sizes.",
    summary_zh="与 cfnet_small 相同，宽度增加约三分之一。它是三种规模中最大的一档。",
    differences=(_UNSTORED,),
    rate=0.5,
    size={"stem_channels": 128, "channels": (256, 448, 704), "depths": (2, 7, 2), "num_stages": 4},
    parameters=94_615_528,
    macs=16195.2,
)

_enter(
    "cfnet_swin_tiny",
    title="CFNet-Swin-T (CEDNet-Swin-T)",
    summary="The network of cfnet_tiny from blocks of Swin, and somewhat narrower. Its focal blocks add a dilated "
    "convolution to the attention within windows.",
    summary_zh="以 Swin 块构成的 cfnet_tiny，宽度略小。其聚焦块在窗口内注意力之外再加空洞卷积。",
    differences=(
        "The original turns a shifted map of one window back without having turned it, as at stride 32 of 224 x 224 "
        "images, and refuses sides that 7 does not divide at any stride; here such a map is not shifted, and sides "
        "are padded.",
        _UNSTORED,
    ),
    rate=0.1,
    size={"channels": (160, 288, 416), "block": "swin"},
    parameters=32_178_833,
    macs=6081.8,
)

_enter(
    "cfnet_res50",
    title="CFNet-R50 (CEDNet-R50)",
    summary="The network of cfnet_tiny from bottlenecks with BatchNorm and ReLU, and narrower. It is made to be "
    "compared with ResNet-50.",
    summary_zh="以带 BatchNorm 与 ReLU 的瓶颈块构成的 cfnet_tiny，宽度更小。它用于与 ResNet-50 比较。",
    differences=(
        "Its bottlenecks begin with their 3x3 convolution, and widen after it; ResNet's narrow before.",
        _UNSTORED,
    ),
    rate=0.0,
    size={"stem_channels": 64, "channels": (128, 256, 384), "depths": (1, 4, 2), "block": "bottleneck"},
    parameters=34_387_048,
    macs=4965.4,
)
