"""The ResNets of the CIFAR experiments in 'Deep Residual Learning for Image Recognition' (He et al., 2016)."""

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks


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
        self.new_channels = channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y))
        return (y + self.shortcut(x)).relu()

    def shortcut(self, x: Tensor) -> Tensor:
        """Every stride-th place, the new channels zero, half of them on each side."""
        before = self.new_channels // 2
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, before, self.new_channels - before))


class CifarResNet(nn.Module):
    """conv3x3 - BatchNorm - ReLU, three stages of 16, 32 and 64 channels, average pooling, one linear layer.

    Args:
        blocks: per stage; the depth is 6 blocks + 2.
        num_classes: of the logits.
        in_channels: of the images.

    Shape: (B, in_channels, H, W) -> (B, num_classes), for any H and W from 1 up.
    Raises: AttnzooError for arguments below 1, or an input that is not (B, in_channels, H, W).
    """

    def __init__(self, blocks: int, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        checks.positive("cifar resnet", blocks=blocks, num_classes=num_classes, in_channels=in_channels)
        self.in_channels = in_channels
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.fc = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("cifar resnet", x, self.in_channels)
        y = self.bn1(self.conv1(x)).relu()
        y = self.layer3(self.layer2(self.layer1(y)))
        return self.fc(y.mean(dim=(2, 3)))


def resnet20(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:
    """The ResNet of 20 layers: 269,722 parameters for 10 classes, 40.6M multiply-adds at 32 x 32."""
    return CifarResNet(3, num_classes, in_channels)


def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))
