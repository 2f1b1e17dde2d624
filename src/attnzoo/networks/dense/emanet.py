"""EMANet: a dilated ResNet whose last map is rebuilt from a few bases."""

from functools import partial
from typing import Final

from torch import Tensor, nn

from attnzoo.blocks import ConvNormAct, resize
from attnzoo.modules.self_attention.em_attention import EMAttention
from attnzoo.networks.base import ImageNetwork
from attnzoo.networks.keys import DEEP_STEM
from attnzoo.networks.presets import preset
from attnzoo.networks.resnet import ResNet, bottleneck, deep_stem, draw_weights
from attnzoo.registry import paper_of

DEPTHS: Final = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
MOMENTUM: Final = 3e-4  # of every BatchNorm
GRID: Final = (2, 8, 16)  # the dilations of the last stage


class EMANet(ImageNetwork):
    """classify(drop(reduce(attention(enter(f))))), f the last map, at stride 8, of a ResNet, then resized.

    Args:
        called, num_classes, in_channels, features_only: as in `ImageNetwork`.
        depth: of the ResNet, 50, 101 or 152.
        num_bases, num_stages: of `EMAttention`.

    Shape: (B, in_channels, H, W) -> (B, num_classes, H, W), or a list of five maps with strides 2, 4, 8, 8 and 8.
    """

    reference_keys = {
        r"extractor\.0": "backbone.conv1",
        r"extractor\.1": "backbone.bn1",
        **{rf"extractor\.{i + 3}": f"backbone.layer{i}" for i in range(1, 5)},
        "fc0": "enter",
        "emau": "attention",
        r"fc1\.0": "reduce",
        "fc2": "classify",
    }

    def __init__(
        self,
        called: str,
        num_classes: int,
        in_channels: int,
        features_only: bool,
        depth: int,
        num_bases: int = 64,
        num_stages: int = 3,
    ) -> None:
        super().__init__(called, num_classes, in_channels, features_only)
        depths = DEPTHS[depth]
        dilated = [partial(bottleneck, dilation=d) for d in (1, *[2] * (depths[2] - 1))]
        gridded = [partial(bottleneck, dilation=d) for d in GRID]
        self.backbone = ResNet(
            called,
            num_classes,
            in_channels,
            features_only=True,
            blocks=[bottleneck, bottleneck, dilated, gridded],
            depths=depths,
            strides=(1, 2, 1, 1),
            stem=deep_stem,
            stem_channels=128,
            stem_stride=2,
            pool=nn.MaxPool2d(3, 2, padding=1),
            keys=DEEP_STEM,
        )
        draw_weights(self.backbone)
        self.feature_info = self.backbone.feature_info.within("backbone")
        if not features_only:
            self.enter = ConvNormAct(2048, 512, 3)
            self.attention = EMAttention(512, num_bases, num_stages)
            self.reduce = ConvNormAct(512, 256, 3)
            self.drop = nn.Dropout2d(0.1)
            self.classify = nn.Conv2d(256, num_classes, 1)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = MOMENTUM

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        self.check_input(x)
        maps = self.backbone(x)
        if self.features_only:
            return maps
        y = self.attention(self.enter(maps[-1]))
        logits = self.classify(self.drop(self.reduce(y)))
        return resize(logits, *x.shape[2:], align_corners=True)


_preset = partial(
    preset,
    classes=21,
    options=["num_bases", "num_stages"],
    paper=paper_of("em_attention"),
    source="XiaLiPKU/EMANet@f09ffac",
    source_license="none found",
    image_size=513,
    task="segmentation",
)
_NORMS = (
    "The authors normalise over the batches of all GPUs; here each has its own statistics, unless "
    "torch.nn.SyncBatchNorm.convert_sync_batchnorm is used."
)
_BASES = "The authors update the running bases in their training script; here em_attention does so in training mode."
_COUNTED = (
    "The authors' table has 233.7G multiply-adds for a ResNet-101, fewer than here by about those of the head's second "
    "3x3 convolution."
)
_UNSTORED = "No run of the authors' code is stored for this depth; one is for emanet50, of the same class."

_preset(
    "emanet50",
    partial(EMANet, depth=50),
    title="EMANet-50",
    summary="A ResNet-50 at stride 8, on whose features 64 bases are fitted to the image at hand by expectation and "
    "maximisation. The map rebuilt from them is of low rank, and one convolution from the classes.",
    summary_zh="步幅为 8 的 ResNet-50，其特征上由期望最大化迭代拟合出适合当前图像的 64 个基向量。"
    "由它们重建的低秩特征图再经卷积得到类别得分。",
    reported="No figure recorded for this depth.",
    differences=(_NORMS, _BASES),
    parameters=34_781_397,
    macs=157931.1,
)

_preset(
    "emanet101",
    partial(EMANet, depth=101),
    title="EMANet-101",
    summary="The network of emanet50 on a ResNet-101. It is the depth that the paper's comparisons are made at.",
    summary_zh="与 emanet50 相同，主干换成 ResNet-101。论文的对比实验即用这一深度。",
    reported="Pascal VOC val: 80.05 mIoU, single scale; 81.32 with several scales and flips.",
    differences=(_NORMS, _BASES, _COUNTED, _UNSTORED),
    parameters=53_773_525,
    macs=237952.2,
)

_preset(
    "emanet152",
    partial(EMANet, depth=152),
    title="EMANet-152",
    summary="The network of emanet50 on a ResNet-152. It is the largest of the authors' three depths.",
    summary_zh="与 emanet50 相同，主干换成 ResNet-152。它是作者三种深度中最大的一种。",
    reported="Pascal VOC test: 88.2 mIoU (repository, stride 8).",
    differences=(_NORMS, _BASES, _UNSTORED),
    parameters=69_417_173,
    macs=303851.9,
)
