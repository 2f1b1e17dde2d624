"""EMA, Efficient Multi-scale Attention: two branches on grouped channels, each weighed by the other's summary."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import mean, spatial_mean, without_autocast
from attnzoo.registry import Paper, register


@register(
    "ema_multiscale",
    title="Efficient Multi-Scale Attention (EMA)",
    contract="feature",
    paper=Paper(
        title="Efficient Multi-Scale Attention Module with Cross-Spatial Learning",
        authors="Ouyang, He, Zhang, Luo, Guo, Zhan, Huang",
        venue="ICASSP",
        year=2023,
        url="https://arxiv.org/abs/2305.13563",
    ),
    source="YOLOonMe/EMA-attention-module@afc37ec",
    source_license="none found",
    summary="Folds groups of channels into the batch and runs a branch of coordinate gates beside a 3x3 convolution, "
    "with the same weights for every group. Each branch's pooled vector weighs the other's map, into one gate per "
    "group and place.",
    summary_zh="把通道分组并入批次，坐标门分支与 3x3 卷积分支并行，各组共用权重。"
    "两个分支互以自己的池化向量为对方的特征图加权，得到逐组逐位置的门。",
    placement="After deep blocks: behind the last two C3 stages of YOLOv5; in MobileNetV2 and ResNet as coordinate "
    "attention.",
    reported="CIFAR-100: ResNet-50 77.26 to 80.69; ImageNet top-1: MobileNetV2 72.3 to 74.32.",
    differences=(
        "The mean of the normalised branch is the norm's bias itself, so that its softmax is one learnt vector for "
        "all images; we take it from there.",
        "The authors call the groups factor, and fail in a reshape where they do not divide the channels.",
        "Neither the exponential moving average of weights, nor the expectation-maximisation attention of EMANet.",
    ),
)
class EMA(nn.Module):
    """Scale a group z by sigmoid(softmax(mean(z1)) . z2 + softmax(mean(z2)) . z1).

    z1 is the norm of z times its gates per row and per column, z2 a 3x3 convolution of z.

    Args:
        channels: C, the channels of the input.
        groups: G, runs of k = C // G channels; it divides C.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 10 k^2 + 4 k parameters; about 10 k C H W multiply-adds.
    Raises: AttnzooError for groups that do not divide the channels, or an input that is not (B, C, H, W).
    """

    reference_keys = {"conv1x1": "strips", "conv3x3": "local", "gn": "norm"}

    def __init__(self, channels: int, groups: int = 32) -> None:
        super().__init__()
        checks.positive("ema_multiscale", channels=channels, groups=groups)
        checks.divisible("ema_multiscale", "channels", channels, groups=groups)
        width = channels // groups
        self.channels, self.groups = channels, groups
        self.strips = nn.Conv2d(width, width, 1)
        self.local = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("ema_multiscale", x, self.channels)
        return (x.unflatten(1, (self.groups, -1)) * self.gate(x)[:, :, None]).flatten(1, 2)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, groups, H, W)."""
        height, width = x.shape[2:]
        z = x.to(self.norm.weight.dtype).unflatten(1, (self.groups, -1)).flatten(0, 1)  # (B G, k, H, W)
        with without_autocast(x):
            strips = torch.cat([mean(z, 3), mean(z, 2)], dim=2)[..., None].to(z.dtype)  # (B G, k, H + W, 1)
            rows, columns = self.strips(strips).sigmoid().split([height, width], dim=2)
            gated = z * rows * columns.transpose(2, 3)
            # not nn.GroupNorm's forward, which refuses a single value per channel
            z1 = torch.group_norm(gated, self.norm.num_groups, self.norm.weight, self.norm.bias, self.norm.eps)
            z2 = self.local(z)
            first = self.norm.bias.softmax(dim=0)  # of mean(z1), which is the bias
            second = spatial_mean(z2).to(z.dtype).softmax(dim=1)[:, None]  # (B G, 1, k)
            scores = first @ z2.flatten(2) + (second @ z1.flatten(2))[:, 0]  # (B G, N)
        return scores.sigmoid().view(-1, self.groups, height, width).to(x.dtype)
