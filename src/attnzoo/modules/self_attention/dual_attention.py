"""The DANet head: position and channel attention side by side, each with a classifier, and their sum."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, Layer
from attnzoo.modules.self_attention.da_channel import DAChannel
from attnzoo.modules.self_attention.da_position import DANET, DAPosition
from attnzoo.registry import register


@register(
    "dual_attention",
    title="DANet head (dual attention)",
    contract="head",
    paper=DANET,
    source="junfu1115/DANet@b0a0fa0",
    source_license="MIT",
    summary="A segmentation head with one branch of position and one of channel attention, and three classifiers: "
    "for their sum and for each. Training uses all three maps, inference the first.",
    summary_zh="分割头：位置注意力与通道注意力两个分支，各接一个分类器，另有一个作用于两者之和。"
    "训练使用全部三张输出，推理只用第一张。",
    placement="On stride-8 features of a dilated ResNet (2048 channels), the outputs upsampled bilinearly.",
    reported="Cityscapes test 81.5 mIoU.",
    differences=("A popular collection ships another method under the name DANet; here it is da_module.",),
    inert=("sa.key_conv.bias",),
)
class DualAttention(nn.Module):
    """Classify the sum of both branches, the position branch and the channel branch, in this order.

    Args:
        in_channels: channels of the input, at least 32; the branches have in_channels // 4.
        out_channels: the number of classes.
        norm_layer: makes the normalisation.

    Shape: (B, in_channels, H, W) -> three times (B, out_channels, H, W).
    Cost: four 3x3 convolutions dominate.
    Raises: AttnzooError for fewer than 32 channels, or an input that is not (B, in_channels, H, W).
    """

    reference_keys = {
        rf"conv{stage}\.{theirs}": f"conv{stage}.{ours}"
        for stage in ("5a", "5c", "51", "52")
        for theirs, ours in (("0", "conv"), ("1", "norm"))
    }

    def __init__(self, in_channels: int, out_channels: int, norm_layer: Layer = nn.BatchNorm2d) -> None:
        super().__init__()
        checks.at_least("dual_attention", 32, in_channels=in_channels)
        checks.positive("dual_attention", out_channels=out_channels)
        self.in_channels = in_channels
        width = in_channels // 4
        self.conv5a = ConvNormAct(in_channels, width, 3, norm_layer=norm_layer)
        self.conv5c = ConvNormAct(in_channels, width, 3, norm_layer=norm_layer)
        self.sa = DAPosition(width)
        self.sc = DAChannel(width)
        self.conv51 = ConvNormAct(width, width, 3, norm_layer=norm_layer)
        self.conv52 = ConvNormAct(width, width, 3, norm_layer=norm_layer)
        self.conv6, self.conv7, self.conv8 = (
            nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(width, out_channels, 1)) for _ in range(3)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        checks.nchw("dual_attention", x, self.in_channels)
        position = self.conv51(self.sa(self.conv5a(x)))
        channel = self.conv52(self.sc(self.conv5c(x)))
        return self.conv8(position + channel), self.conv6(position), self.conv7(channel)
