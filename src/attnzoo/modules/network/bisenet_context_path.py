"""The context path of BiSeNet: a ResNet-18 whose last stages are refined, and merged from the top down."""

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, precisely, spatial_mean
from attnzoo.modules.channel.attention_refinement import BISENET, AttentionRefinement
from attnzoo.registry import register


@register(
    "bisenet_context_path",
    title="BiSeNet context path",
    contract="conv",
    paper=BISENET,
    source="CoinCheung/BiSeNet@6b4b67a",
    source_license="MIT",
    summary="A ResNet-18 whose features at strides 16 and 32 pass through attention_refinement, with the mean of the "
    "whole image added at the top. It is the path of BiSeNet that knows what things are.",
    summary_zh="以 ResNet-18 为主干，步幅 16 与 32 的特征经 attention_refinement 整理，并在顶端加入整幅图像的均值。"
    "它是 BiSeNet 中负责语义的一条路径。",
    placement="Beside bisenet_spatial_path, on the image; feature_fusion joins the two.",
    reported="Part of BiSeNet; 12,456,256 parameters, 11,176,512 of them in the ResNet-18.",
    differences=(
        "The upsampling is that of the nearest place; sides that 32 does not divide, which the original refuses, are "
        "resized to the next finer map.",
        "The paper's other backbone, Xception39, is not in this implementation.",
    ),
    example={"width_divisor": 16},
    inputs=("B C 9*H 9*W",),
)
class BiSeNetContextPath(nn.Module):
    """u16 = head(up(refine(f32) + conv(mean(f32)))), u8 = head(up(refine(f16) + u16)), f of a ResNet-18.

    Args:
        in_channels: channels of the image.
        out_channels: channels of both outputs.
        width_divisor: divides all widths, out_channels among them, for small instances: a power of two up to 64.

    Shape: (B, in_channels, H, W) -> u8 (B, out_channels, ceil(H / 8), ceil(W / 8)) and u16 (B, out_channels,
        ceil(H / 16), ceil(W / 16)), for any H and W from 1 up.
    Cost: 12.5M parameters at the default widths.
    Raises: AttnzooError for numbers below 1, widths that width_divisor does not divide, a training batch of one (the
        mean is normalised over the batch), or an input that is not (B, in_channels, H, W).
    """

    reference_keys = {
        "arm(16|32)": r"refine\1",
        "conv_head(16|32)": r"head\1",
        "conv_avg": "whole",
        r"resnet\.conv1": "stem.conv",
        r"resnet\.bn1": "stem.norm",
        r"resnet\.(layer\d\.\d)\.conv(\d)": r"\1.conv\2.conv",
        r"resnet\.(layer\d\.\d)\.bn(\d)": r"\1.conv\2.norm",
        r"resnet\.(layer\d\.\d)\.downsample\.0": r"\1.shortcut.conv",
        r"resnet\.(layer\d\.\d)\.downsample\.1": r"\1.shortcut.norm",
    }

    def __init__(self, in_channels: int = 3, out_channels: int = 128, width_divisor: int = 1) -> None:
        super().__init__()
        name = "bisenet_context_path"
        checks.positive(name, in_channels=in_channels, out_channels=out_channels, width_divisor=width_divisor)
        checks.divisible(name, "the stem's 64 channels", 64, width_divisor=width_divisor)
        checks.divisible(name, "out_channels", out_channels, width_divisor=width_divisor)
        w, out = 64 // width_divisor, out_channels // width_divisor
        self.in_channels = in_channels
        self.stem = ConvNormAct(in_channels, w, 7, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(w, w, stride=1)
        self.layer2 = _stage(w, 2 * w, stride=2)
        self.layer3 = _stage(2 * w, 4 * w, stride=2)
        self.layer4 = _stage(4 * w, 8 * w, stride=2)
        self.refine16 = AttentionRefinement(4 * w, out)
        self.refine32 = AttentionRefinement(8 * w, out)
        self.whole = ConvNormAct(8 * w, out)
        self.head32 = ConvNormAct(out, out, 3)
        self.head16 = ConvNormAct(out, out, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        checks.nchw("bisenet_context_path", x, self.in_channels)
        if self.training:
            checks.batch_statistics("bisenet_context_path", x)
        f8 = self.layer2(self.layer1(self.pool(self.stem(x))))
        f16 = self.layer3(f8)
        f32 = self.layer4(f16)
        whole = precisely(self.whole, spatial_mean(f32, keepdim=True)).to(f32.dtype)
        u16 = self.head32(_like(self.refine32(f32) + whole, f16))
        u8 = self.head16(_like(self.refine16(f16) + u16, f8))
        return u8, u16


class BasicBlock(nn.Module):
    """relu(conv2(conv1(x)) + shortcut(x)), the block of ResNet-18 and -34; the shortcut is x where the shape stays.

    Shape: (B, in_channels, H, W) -> (B, channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        same = stride == 1 and in_channels == channels
        self.conv1 = ConvNormAct(in_channels, channels, 3, stride)
        self.conv2 = ConvNormAct(channels, channels, 3, act_layer=None)
        self.shortcut = nn.Identity() if same else ConvNormAct(in_channels, channels, stride=stride, act_layer=None)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv2(self.conv1(x)) + self.shortcut(x))


def _stage(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(in_channels, channels, stride), BasicBlock(channels, channels, 1))


def _like(x: Tensor, finer: Tensor) -> Tensor:
    """The map at the size of a finer one, every place from its nearest."""
    return F.interpolate(x, size=finer.shape[2:])
