"""The ResNets of the CIFAR experiments in 'Deep Residual Learning for Image Recognition' (He et al., 2016)."""

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.networks.base import Level, Network
from attnzoo.networks.papers import RESNET
from attnzoo.registry import register_network


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters: strided, its new channels zero.

    Shape: (B, in_channels, H, W) -> (B, channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y))
        return (y + self.shortcut(x, y.shape[1])).relu()

    def shortcut(self, x: Tensor, channels: int) -> Tensor:
        """Every stride-th place, the new channels zero, half of them on each side."""
        new = channels - x.shape[1]
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, new // 2, new - new // 2))


class CifarResNet(Network):
    """conv3x3 - BatchNorm - ReLU, three stages of 16, 32 and 64 channels, average pooling, one linear layer.

    Args:
        blocks: per stage; the depth is 6 blocks + 2.
        num_classes: of the logits.
        in_channels: of the images.
        features_only: give the maps of the three stages instead of logits.

    Shape: (B, in_channels, H, W) -> (B, num_classes), for any H and W from 1 up.
    Raises: AttnzooError for arguments below 1, or an input that is not (B, in_channels, H, W).
    """

    def __init__(self, blocks: int, num_classes: int = 10, in_channels: int = 3, features_only: bool = False) -> None:
        super().__init__("cifar resnet", num_classes, in_channels, features_only)
        checks.positive("cifar resnet", blocks=blocks)
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        levels = [Level(f"layer{i + 1}", 16 * 2**i, 2**i) for i in range(3)]
        self.complete(("stem", "layer1", "layer2", "layer3"), levels, 64)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def stem(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 16, H, W)."""
        return self.bn1(self.conv1(x)).relu()


@register_network(
    "resnet20",
    title="ResNet-20 for CIFAR",
    paper=RESNET,
    source="paper",
    source_license="not applicable",
    summary="Three stages of three basic blocks, of 16, 32 and 64 channels, with shortcuts that have no weights. The "
    "small network of the CIFAR experiments, and of the laboratory here.",
    summary_zh="三个阶段各有三个基本残差块，通道数为 16、32、64，捷径不含参数。"
    "它是论文 CIFAR 实验中的小网络，也是本库实验室的默认网络。",
    reported="CIFAR-10 test error 8.75.",
    differences=(
        "Many ports have convolutions on the shortcuts (the paper's option B), and so a few thousand numbers more.",
    ),
    parameters=269_722,
    macs=40.6,
    image_size=32,
)
def resnet20(num_classes: int = 10, in_channels: int = 3, features_only: bool = False) -> CifarResNet:
    """The ResNet of 20 layers: 269,722 parameters for 10 classes, 40.6M multiply-adds at 32 x 32."""
    return CifarResNet(3, num_classes, in_channels, features_only)


@register_network(
    "resnet56",
    title="ResNet-56 for CIFAR",
    paper=RESNET,
    source="paper",
    source_license="not applicable",
    summary="Three stages of nine basic blocks, of 16, 32 and 64 channels, with shortcuts that have no weights. The "
    "deep thin network that small studies are often made on.",
    summary_zh="三个阶段各有九个基本残差块，通道数为 16、32、64，捷径不含参数。它深而窄，常用于小型研究。",
    reported="CIFAR-10 test error 6.97.",
    differences=(
        "Many ports have convolutions on the shortcuts (the paper's option B), and so a few thousand numbers more.",
    ),
    parameters=853_018,
    macs=125.5,
    image_size=32,
)
def resnet56(num_classes: int = 10, in_channels: int = 3, features_only: bool = False) -> CifarResNet:
    """The ResNet of 56 layers: 853,018 parameters for 10 classes."""
    return CifarResNet(9, num_classes, in_channels, features_only)


def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))
