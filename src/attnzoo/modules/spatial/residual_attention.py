"""Residual attention module: a trunk of residual units, strengthened by the mask of an hourglass beside it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import without_autocast
from attnzoo.registry import Paper, register


@register(
    "residual_attention",
    title="Residual attention module (trunk and soft mask)",
    contract="feature",
    paper=Paper(
        title="Residual Attention Network for Image Classification",
        authors="Wang, Jiang, Qian, Yang, Li, Zhang, Wang, Tang",
        venue="CVPR",
        year=2017,
        url="https://arxiv.org/abs/1704.06904",
    ),
    source="fwang91/residual-attention-network@bc207a8 (Caffe); tengshaofeng/ResidualAttentionNetwork-pytorch@88ed90f",
    source_license="none found",
    summary="A stack of residual units whose features T become (1 + M) T, with a mask M that an hourglass of pooling "
    "and interpolation draws from the same input. The mask can only strengthen, so modules can be stacked deep.",
    summary_zh="主干残差单元输出特征 T，旁路的沙漏结构（先池化再插值）由同一输入得到掩码 M，结果为 (1 + M) T。"
    "掩码只会增强特征，因此模块可以层层堆叠。",
    placement="One to three modules in each stage of a ResNet, between the down-sampling units: 1, 1, 1 in "
    "Attention-56, 1, 2, 3 in Attention-92.",
    reported="ImageNet top-1 error, single crop 224: Attention-56 21.76, Attention-92 19.5; CIFAR-10 error 3.90 "
    "(Attention-452).",
    differences=(
        "The best-known PyTorch port (variant='pytorch') pads its pooling, and adds the features of a level, not "
        "only those of its skip unit, after every interpolation: it misread the second input of the Caffe layer, "
        "which only gives the size.",
        "That port fixes the sizes of all interpolations in the constructor, and stores an unused projection "
        "(conv4) in every unit; here the sizes follow the input, and load_reference passes conv4 over.",
        "A Keras version pools 2x2, doubles by nearest neighbours, and ends its mask in two biased convolutions.",
        "The paper's other mask activations are not in the released network, nor here.",
    ),
    min_size=2,
)
class ResidualAttention(nn.Module):
    """last((1 + M) T): T two residual units after a first one, M the sigmoid of an hourglass on the same features.

    Args:
        channels: C, the channels of the input, divisible by 4.
        depth: how often the hourglass halves the map, 1 to 4; the paper has 3, 2, 1 for maps of 56, 28, 14.
        variant: 'caffe', the authors' topology, or 'pytorch', that of the usual port.

    Shape: (B, C, H, W) -> (B, C, H, W); each side must exceed 1 before every halving: 2^depth do, and for
        'pytorch' 2^(depth - 1) + 1.
    Cost: 17/16 C^2 weights for each of 3 depth + 3 residual units, 2 C^2 for the end of the mask.
    Raises: AttnzooError for channels not divisible by 4, another depth or variant, a map too small to halve, or
        an input that is not (B, C, H, W).
    """

    def __init__(self, channels: int, depth: int = 1, variant: str = "caffe") -> None:
        super().__init__()
        checks.multiple("residual_attention", 4, channels=channels)
        checks.between("residual_attention", 1, 4, depth=depth)
        checks.choice("residual_attention", ("caffe", "pytorch"), variant=variant)
        self.channels = channels
        self.ported = variant == "pytorch"
        self.least = 2 ** (depth - 1) + 1 if self.ported else 2**depth
        self.first = ResidualUnit(channels)
        self.trunk = nn.Sequential(ResidualUnit(channels), ResidualUnit(channels))
        self.pool = nn.MaxPool2d(3, 2, padding=1) if self.ported else nn.MaxPool2d(3, 2, ceil_mode=True)
        self.downs = nn.ModuleList(ResidualUnit(channels) for _ in range(depth - 1))
        self.skips = nn.ModuleList(ResidualUnit(channels) for _ in range(depth - 1))
        self.bottom = nn.Sequential(ResidualUnit(channels), ResidualUnit(channels))
        self.ups = nn.ModuleList(ResidualUnit(channels) for _ in range(depth - 1))
        self.tail = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1, bias=False),
        )
        self.last = ResidualUnit(channels)

    @property
    def reference_keys(self) -> dict[str, str]:
        """The authors count the parts of the mask from 1, on the way down and on the way up."""
        depth = len(self.downs) + 1
        keys = {"first_residual_blocks": "first", "trunk_branches": "trunk", "last_blocks": "last"}
        for i in range(depth - 1):
            keys |= {
                f"softmax{i + 1}_blocks": f"downs.{i}",
                f"skip{i + 1}_connection_residual_block": f"skips.{i}",
                f"softmax{depth + 1 + i}_blocks": f"ups.{i}",
            }
        return keys | {f"softmax{depth}_blocks": "bottom", f"softmax{2 * depth}_blocks": "tail"}

    def from_reference(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Leave out the port's projections that nothing uses."""
        return {key: value for key, value in state.items() if ".conv4." not in key}

    @property
    def unused_in_reference(self) -> int:
        """How many parameters those projections have: C^2 in every unit."""
        return self.channels**2 * sum(isinstance(module, ResidualUnit) for module in self.modules())

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("residual_attention", x, self.channels)
        checks.at_least_size("residual_attention", x, self.least)
        with without_autocast(x):  # the mask's logits would round with the features
            features = self.first(x.to(self.first.conv1.weight.dtype))
        trunk = self.trunk(features)
        with without_autocast(x):
            mask = self.gate(features, trunk)
        return self.last(torch.addcmul(trunk, trunk, mask)).to(x.dtype)

    def gate(self, features: Tensor, trunk: Tensor) -> Tensor:
        """The first unit's and the trunk's features -> the mask, all (B, C, H, W)."""
        levels, z = [], features
        for down, skip in zip(self.downs, self.skips, strict=True):
            z = down(self.pool(z))
            levels.append(z + skip(z) if self.ported else skip(z))
        z = self.pool(z)
        if self.training:
            checks.several_values("residual_attention", z)
        z = self.bottom(z)
        for up, level in zip(self.ups, reversed(levels), strict=True):
            z = up(_resize(z, level) + level)
        z = _resize(z, trunk)
        return self.tail(z + trunk if self.ported else z).sigmoid()


class ResidualUnit(nn.Module):
    """Three convolutions, each after BatchNorm and ReLU, around a shortcut.

    Args:
        channels: of the input.
        out_channels: of the output; None keeps those of the input.
        stride: of the 3x3 convolution, and of the shortcut.

    Shape: (B, channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, channels: int, out_channels: int | None = None, stride: int = 1) -> None:
        super().__init__()
        out_channels = channels if out_channels is None else out_channels
        width = out_channels // 4
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride > 1 or out_channels != channels:
            self.shortcut = nn.Conv2d(channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(x))
        if self.shortcut is not None:
            x = self.shortcut(h)
        h = self.conv1(h)
        h = self.conv2(F.relu(self.bn2(h)))
        return x + self.conv3(F.relu(self.bn3(h)))


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)
