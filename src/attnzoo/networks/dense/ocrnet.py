"""HRNet with object-contextual representations: maps of all its resolutions, and what the objects in them are."""

from functools import partial

import torch
from torch import Tensor, nn

from attnzoo.blocks import ConvNormAct, resize
from attnzoo.modules.context.ocr import OCR
from attnzoo.networks.base import ImageNetwork
from attnzoo.networks.dense.hrnet import HRNet
from attnzoo.networks.presets import preset
from attnzoo.registry import paper_of


class OCRNet(ImageNetwork):
    """classify(ocr(conv(f), aux(f))), f the maps of HRNet side by side at the size of its finest.

    Args:
        called, num_classes, in_channels, features_only: as in `ImageNetwork`.
        width: the channels of HRNet's finest branch.
        mid_channels, key_channels: of OCR, and of its attention.
        full_size: resize the logits to the images'; False leaves them at stride 4, as the authors' forward does.

    Shape: (B, in_channels, H, W) -> logits and those of the auxiliary classifier, both (B, num_classes, H, W), or at
        H / 4 and W / 4, rounded up.
    Raises: as `ImageNetwork` and `OCR`.
    """

    reference_keys = {
        r"(conv\d|bn\d|layer1|transition\d|stage\d)": r"backbone.\1",
        r"aux_head\.3": "aux.1",
        "aux_head": "aux.0",
        "conv3x3_ocr": "conv",
        "(ocr_distri_head)": r"ocr.\1",
        "cls_head": "classify",
    }

    def __init__(
        self,
        called: str,
        num_classes: int,
        in_channels: int,
        features_only: bool,
        width: int,
        mid_channels: int = 512,
        key_channels: int = 256,
        full_size: bool = True,
    ) -> None:
        super().__init__(called, num_classes, in_channels, features_only)
        self.backbone = HRNet(in_channels, width)
        self.feature_info = self.backbone.feature_info.within("backbone")
        self.full_size = full_size
        if not features_only:
            channels = 15 * width
            self.aux = nn.Sequential(ConvNormAct(channels, channels, bias=True), nn.Conv2d(channels, num_classes, 1))
            self.conv = ConvNormAct(channels, mid_channels, 3, bias=True)
            self.ocr = OCR(mid_channels, key_channels, mid_channels, num_classes)
            self.classify = nn.Conv2d(mid_channels, num_classes, 1)

    def forward(self, x: Tensor) -> list[Tensor] | tuple[Tensor, Tensor]:
        self.check_input(x)
        maps = self.backbone(x)
        if self.features_only:
            return maps
        size = maps[0].shape[2:]
        f = torch.cat([maps[0], *(resize(m, *size, align_corners=True) for m in maps[1:])], dim=1)
        aux = self.aux(f)
        logits = self.classify(self.ocr(self.conv(f), aux))
        if not self.full_size:
            return logits, aux
        return resize(logits, *x.shape[2:], align_corners=True), resize(aux, *x.shape[2:], align_corners=True)


_preset = partial(
    preset,
    classes=19,
    options=["full_size"],
    paper=paper_of("ocr"),
    source="HRNet/HRNet-Semantic-Segmentation@0bbb288",
    source_license="MIT",
    image_size=512,
    task="segmentation",
)
_OUTPUTS = (
    "The authors' forward gives the auxiliary logits first and leaves both at stride 4 for its loss to resize; here "
    "the final ones come first, at the size of the images unless full_size=False."
)
_LOSS = "The authors train on crops of 512 x 1024, the auxiliary loss with weight 0.4."
_UNSTORED = "No run of the authors' code is stored for this width; one is for ocrnet_hrnet_w18, of the same class."

_preset(
    "ocrnet_hrnet_w18",
    partial(OCRNet, width=18),
    title="HRNetV2-W18 + OCR",
    summary="Branches of four resolutions keep exchanging their maps, so that the finest, at a quarter of the image, "
    "never loses its detail. OCR then tells every place of the object that it belongs to.",
    summary_zh="四个分辨率的分支不断交换特征，四分之一分辨率的最细分支因此始终保有细节。"
    "随后 OCR 让每个位置得知自己所属的物体。",
    reported="No figure recorded for this width.",
    differences=(_OUTPUTS, _LOSS),
    parameters=12_080_818,
    macs=53252.5,
)

_preset(
    "ocrnet_hrnet_w32",
    partial(OCRNet, width=32),
    title="HRNetV2-W32 + OCR",
    summary="The network of ocrnet_hrnet_w18 with branches of 32 to 256 channels. It stands between the light and the "
    "published width.",
    summary_zh="与 ocrnet_hrnet_w18 相同，但各分支有 32 至 256 个通道。它介于轻量宽度与论文所用宽度之间。",
    reported="No figure recorded for this width.",
    differences=(_OUTPUTS, _LOSS, _UNSTORED),
    parameters=32_953_894,
    macs=95835.1,
)

_preset(
    "ocrnet_hrnet_w48",
    partial(OCRNet, width=48),
    title="HRNetV2-W48 + OCR",
    summary="The network of ocrnet_hrnet_w18 with branches of 48 to 384 channels, the width that the paper reports. "
    "OCR adds five million weights to a backbone of sixty-five.",
    summary_zh="与 ocrnet_hrnet_w18 相同，但各分支有 48 至 384 个通道，即论文报告的宽度。"
    "主干有六千五百万个参数，OCR 头只增加五百万。",
    reported="Cityscapes val, single scale: 81.6 mIoU, 80.9 without OCR.",
    differences=(_OUTPUTS, _LOSS, _UNSTORED),
    parameters=70_372_678,
    macs=162240.3,
)
