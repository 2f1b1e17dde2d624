"""GSoP, Global Second-order Pooling: gates read row by row from a covariance matrix."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, adaptive_avg_pool, covariance, precisely, without_autocast
from attnzoo.registry import Paper, register

_MODES = ("channel", "position", "average", "max", "concat")


@register(
    "gsop",
    title="Global Second-order Pooling block",
    contract="feature",
    paper=Paper(
        title="Global Second-order Pooling Convolutional Networks",
        authors="Gao, Xie, Wang, Li",
        venue="CVPR",
        year=2019,
        url="https://arxiv.org/abs/1811.12006",
    ),
    source="ZilinGao/Global-Second-order-Pooling-Convolutional-Networks@662a699",
    source_license="MIT",
    summary="Reduces the channels, takes their covariance over the map, and lets a filter of its own read each row of "
    "that matrix; one layer turns the readings into channel gates. Gates for the places work alike, on a coarse grid.",
    summary_zh="先降维，再求通道在整张图上的协方差矩阵，每一行由各自的滤波器读取，最后一层得到各通道的门。"
    "位置的门在粗网格上以同样方式得到。",
    placement="In chosen bottlenecks of each stage, after the last BatchNorm and before the addition; reduction_stride "
    "is 2 in the first stage.",
    reported="ImageNet top-1 error, ResNet-50: GSoP-Net1 22.02, GSoP-Net2 21.19 (last stage at stride 1).",
    differences=(
        "The paper draws a LeakyReLU after the row-wise convolution; the code has none for channels and a "
        "ReLU for places.",
        "The place gate centres with the number of places where that of the channels belongs, and so takes no true "
        "covariance; this is kept.",
        "Mode 'average' is a sum, as in the code. No stored numbers cover 'concat'.",
        "GSoP-Net2's covariance head, which replaces the global pooling, is not part of this module.",
        "A popular explanation leaves out the division by the number of places and the ReLU on the input, and "
        "normalises after the row-wise convolution.",
    ),
    example={"attn_channels": 16},
)
class GSoP(nn.Module):
    """x * c, relu(x * p), or both joined: c the gates of the channels, p those of the places.

    Args:
        channels: C, the channels of the input; 'concat' wants 64 times a power of two, up to 2048.
        attn_channels: d, the channels that the covariance is taken of.
        mode: 'channel', 'position', 'average' (their sum), 'max', or 'concat' (a convolution of each, added).
        reduction_stride: the stride at which the map of the channel gates is read.
        position_size: p, the side of the grid of the position gates.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: C d + 4 d^2 + 4 d C parameters for the channel gates, C d + 8 p^4 for the position gates; d^2 H W
        multiply-adds for the covariance.
    Raises: AttnzooError for sizes below 1, an unknown mode, channels that 'concat' cannot group, a training
        batch of a single pixel, or an input that is not (B, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        attn_channels: int = 128,
        mode: str = "channel",
        reduction_stride: int = 1,
        position_size: int = 8,
    ) -> None:
        super().__init__()
        checks.positive("gsop", channels=channels, attn_channels=attn_channels)
        checks.positive("gsop", reduction_stride=reduction_stride, position_size=position_size)
        checks.choice("gsop", _MODES, mode=mode)
        self.channels = channels
        self.mode = mode
        self.reduction_stride = reduction_stride
        if mode != "position":
            self.channel_gate = ChannelGate(channels, attn_channels, reduction_stride)
        if mode != "channel":
            self.position_gate = PositionGate(channels, attn_channels, position_size)
        if mode == "concat":
            checks.choice("gsop", [64 * 2**i for i in range(6)], channels=channels)
            groups = channels // 64
            reach = 2 + int(math.log2(32 // groups))
            self.joint_conv1, self.joint_conv2 = (
                nn.Conv2d(channels, channels, (2 * reach + 1, 1), padding=(reach, 0), groups=groups) for _ in range(2)
            )
            self.joint_norm = nn.BatchNorm2d(channels)

    @property
    def reference_keys(self) -> dict[str, str]:
        """The authors' names, which sit side by side in their bottleneck."""
        parts = {"conv_for_DR": "reduce.conv", "bn_for_DR": "reduce.norm", "row_bn": "row_norm"}
        parts |= {"row_conv_group": "row_conv", "fc_adapt_channels": "to_gates"}
        keys = {theirs: f"channel_gate.{ours}" for theirs, ours in parts.items()}
        for theirs, ours in parts.items():
            suffix = "_spatial" if "_DR" in theirs else "_for_spatial"
            keys[theirs + suffix] = f"position_gate.{ours}"
        joint = {f"dilate_conv_for_concat{i}": f"joint_conv{i}" for i in (1, 2)}
        return keys | joint | {"bn_for_concat": "joint_norm"}

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("gsop", x, self.channels)
        if self.training:
            step = self.reduction_stride
            checks.several_values("gsop", x[:, :, ::step, ::step])
        if self.mode == "channel":
            return self.channel_gate(x)
        by_position = F.relu(self.position_gate(x))
        if self.mode == "position":
            return by_position
        by_channel = self.channel_gate(x)
        if self.mode == "average":
            return by_channel + by_position
        if self.mode == "max":
            return torch.maximum(by_channel, by_position)
        return self.joint_norm(self.joint_conv1(by_channel) + self.joint_conv2(by_position))


class ChannelGate(nn.Module):
    """Scale every channel. (B, C, H, W) -> the same."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.reduce = ConvNormAct(channels, width, stride=stride, bias=True)
        self.row_norm, self.row_conv, self.to_gates = _readers(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        rows = covariance(precisely(self.reduce, F.relu(x)).flatten(2))[..., None]  # (B, d, d, 1)
        with without_autocast(x):  # covariances pass float16's range
            readings = self.row_conv(self.row_norm(rows.to(self.row_conv.weight.dtype)))  # (B, 4 d, 1, 1)
            return self.to_gates(readings).sigmoid().to(x.dtype)


class PositionGate(nn.Module):
    """Scale every place. (B, C, H, W) -> the same."""

    def __init__(self, channels: int, width: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.reduce = ConvNormAct(channels, width, bias=True, act_layer=None)
        self.row_norm, self.row_conv, self.to_gates = _readers(side * side, side * side)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1, H, W)."""
        cells = adaptive_avg_pool(precisely(self.reduce, F.relu(x)), self.side, self.side).flatten(2)  # (B, d, R)
        with without_autocast(x):
            places = self.side * self.side
            sums = cells.sum(dim=1)  # (B, R); below, R stands where d belongs, as with the authors
            rows = cells.mT @ cells / places - sums[:, :, None] * sums[:, None] / places**2
            readings = F.relu(self.row_conv(self.row_norm(rows[..., None].to(self.row_conv.weight.dtype))))
            gates = self.to_gates(readings).sigmoid()  # (B, R, 1, 1)
        return adaptive_avg_pool(gates.reshape(-1, 1, self.side, self.side), *x.shape[2:]).to(x.dtype)


def _readers(rows: int, gates: int) -> tuple[nn.BatchNorm2d, nn.Conv2d, nn.Conv2d]:
    """For a (B, rows, rows, 1) matrix: its normalisation, 4 filters for each row, and the layer to the gates."""
    return (
        nn.BatchNorm2d(rows),
        nn.Conv2d(rows, 4 * rows, (rows, 1), groups=rows),
        nn.Conv2d(4 * rows, gates, 1),
    )
