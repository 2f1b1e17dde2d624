"""The CCNet head: criss-cross attention on reduced features, then a classifier on them and the input."""

from functools import partial

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct
from attnzoo.modules.self_attention.cc import CCNET, CrissCross
from attnzoo.registry import register


@register(
    "rcca",
    title="Recurrent criss-cross attention head (CCNet)",
    contract="head",
    paper=CCNET,
    source="speedinghzl/CCNet@1fae6c6",
    source_license="MIT",
    summary="A segmentation head: reduce the channels to a quarter, run criss-cross attention, smooth, and classify "
    "every place from the result beside the input. Each of its three 3x3 convolutions has a norm and a LeakyReLU.",
    summary_zh="分割头：先把通道减到四分之一，做循环十字交叉注意力并平滑，再与输入拼接，逐位置分类。"
    "三个 3x3 卷积之后各接归一化与 LeakyReLU。",
    placement="On stride-8 features of a dilated ResNet (2048 channels), the output upsampled bilinearly with "
    "align_corners=True.",
    reported="Cityscapes test 81.4 mIoU, ADE20K val 45.22 mIoU (two passes, ResNet-101).",
    differences=(
        "The authors use InPlaceABN, some versions of which take |weight| + eps; here it is BatchNorm and LeakyReLU.",
        "Their classifier always reads 512 channels; here it reads out_channels.",
        "Their forward makes one pass unless told otherwise, and their scripts pass 2; the default here is 2.",
        "A popular Chinese explanation leaves out the LeakyReLUs, the second norm and the dropout.",
    ),
    inert=("cca.key_conv.bias",),
)
class RCCA(nn.Module):
    """classify(fuse([x, smooth(cc(reduce(x)))])).

    Args:
        in_channels: channels of the input, at least 32; the attention has in_channels // 4.
        out_channels: channels before the classifier.
        num_classes: channels of the output.
        recurrence: passes of the attention.

    Shape: (B, in_channels, H, W) -> (B, num_classes, H, W), for any H and W from 1 up.
    Cost: three 3x3 convolutions dominate; the attention as in cc.
    Raises: AttnzooError for fewer than 32 channels, numbers below 1, a single value per channel in training mode, or
        an input that is not (B, in_channels, H, W).
    """

    reference_keys = {
        r"conva\.0": "reduce.conv",
        r"conva\.1": "reduce.norm",
        r"convb\.0": "smooth.conv",
        r"convb\.1": "smooth.norm",
        r"bottleneck\.0": "fuse.conv",
        r"bottleneck\.1": "fuse.norm",
        r"bottleneck\.3": "classify",
    }

    def __init__(self, in_channels: int, num_classes: int, out_channels: int = 512, recurrence: int = 2) -> None:
        super().__init__()
        checks.at_least("rcca", 32, in_channels=in_channels)
        checks.positive("rcca", num_classes=num_classes, out_channels=out_channels, recurrence=recurrence)
        self.in_channels = in_channels
        width = in_channels // 4
        act = partial(nn.LeakyReLU, 0.01)
        self.reduce = ConvNormAct(in_channels, width, 3, act_layer=act)
        self.cca = CrissCross(width, recurrence=recurrence)
        self.smooth = ConvNormAct(width, width, 3, act_layer=act)
        self.fuse = ConvNormAct(in_channels + width, out_channels, 3, act_layer=act)
        self.dropout = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(out_channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("rcca", x, self.in_channels)
        if self.training:
            checks.several_values("rcca", x)
        seen = self.smooth(self.cca(self.reduce(x)))
        return self.classify(self.dropout(self.fuse(torch.cat([x, seen.to(x.dtype)], dim=1))))
