"""CMPT-SE, Competitive Inner-Imaging SE: the means of the residual branch and of the shortcut, as one picture."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import BottleneckMLP, precisely, spatial_mean
from attnzoo.registry import Paper, register

_KERNELS = {"1x1": (1, 1), "2x1": (1, 2), "3x3": (3, 3)}  # of the pictures, channels down and branches across


@register(
    "cmpt_se",
    title="Competitive Inner-Imaging Squeeze-and-Excitation",
    contract="feature",
    plug_in=False,
    paper=Paper(
        title="Competitive Inner-Imaging Squeeze and Excitation for Residual Network",
        authors="Hu, Wen, Luo, Dai, Ma, Yu",
        venue="arXiv",
        year=2018,
        url="https://arxiv.org/abs/1807.08920",
    ),
    source="scut-aitcm/Competitive-Inner-Imaging-SENet@97a91e5 (MXNet, re-expressed)",
    source_license="none found",
    summary="Gates the residual branch by the channel means of both branches, so that the shortcut competes with it. "
    "In three of the four forms the two mean vectors make a small picture that a convolution scans first.",
    summary_zh="根据残差分支与恒等分支两者的通道均值为残差分支加门，使两者相互竞争。"
    "四种形式中有三种先把两个均值向量排成小图，再由卷积扫描。",
    placement="In every block of pre-activation ResNet-164 and of wide ResNets on CIFAR; the caller adds the shortcut.",
    reported="No headline figures recorded.",
    differences=(
        "Where a block changes shape, the shortcut is taken after its projection.",
        "The authors use C / 16 picture filters in wide networks and a quarter of that in bottlenecks, and in wide "
        "networks fold to C / 10 columns.",
        "The README shows three forms; the folded picture exists in the code only.",
        "The original, in Python 2, no longer runs; the numbers come from a plain re-expression.",
    ),
    inputs=("B C H W", "B C H W"),
)
class CompetitiveSE(nn.Module):
    """Scale channel c of x by a gate that reads the means of x and of the shortcut; the caller adds the latter.

    Args:
        channels: C, the channels of both inputs.
        reduction: r; the bottleneck is C // r wide, or twice that for 'double_fc'.
        mode: 'double_fc' squeezes each vector by itself; '1x1', '2x1' and '3x3' are pictures, read value by
            value, pair by pair, or folded to a square of neighbours.
        map_channels: m, the picture's filters; C // 16, at least 1, by default.
        fold_width: k, the columns of the folded picture, at least 3; it divides C, and 2 C / k is at least 3.

    Shape: twice (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up; those of the shortcut may differ.
    Cost: 3 C C/r weights for 'double_fc' and '1x1', 2 C C/r for '2x1', and a few of the filters.
    Raises: AttnzooError for a bottleneck without channels, an unknown mode, a picture that does not fold, or
        inputs that are not (B, C, H, W) with the same B.
    """

    reference_keys = {
        "conv_squeeze": "squeeze",
        "skip_squeeze": "squeeze_identity",
        "map_conv": "picture_conv",
        "map_bn": "picture_norm",
        "fc1": "mlp.fc1",
        "fc2": "mlp.fc2",
    }

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        mode: str = "2x1",
        map_channels: int | None = None,
        fold_width: int = 16,
    ) -> None:
        super().__init__()
        hidden = checks.reduced("cmpt_se", channels, reduction)
        checks.choice("cmpt_se", ("double_fc", *_KERNELS), mode=mode)
        filters = max(1, channels // 16) if map_channels is None else map_channels
        checks.positive("cmpt_se", map_channels=filters)
        checks.at_least("cmpt_se", 3, fold_width=fold_width)
        self.channels = channels
        self.mode = mode
        self.fold_width = fold_width
        if mode == "double_fc":
            self.squeeze = nn.Linear(channels, hidden, bias=False)
            self.squeeze_identity = nn.Linear(channels, hidden, bias=False)
            self.excite = nn.Linear(2 * hidden, channels, bias=False)
            return
        rows, columns = channels, 2
        if mode == "3x3":
            checks.divisible("cmpt_se", "channels", channels, fold_width=fold_width)
            rows, columns = 2 * channels // fold_width, fold_width
            checks.at_least("cmpt_se", 3, **{"2 * channels / fold_width": rows})
        height, width = _KERNELS[mode]
        self.picture_conv = nn.Conv2d(1, filters, (height, width), bias=False)
        self.picture_norm = nn.BatchNorm2d(filters)
        places = (rows - height + 1) * (columns - width + 1)
        self.mlp = BottleneckMLP(places, hidden, bias=False, out_channels=channels)

    def forward(self, x: Tensor, identity: Tensor) -> Tensor:
        checks.nchw("cmpt_se", x, self.channels, name="x")
        identity = checks.shaped("cmpt_se", "identity", identity, (x.shape[0], self.channels, None, None))
        return x * self.gate(x, identity)

    def gate(self, x: Tensor, identity: Tensor) -> Tensor:
        """Residual branch and shortcut (B, C, H, W) -> (B, C, 1, 1)."""
        means, others = spatial_mean(x), spatial_mean(identity)  # (B, C)
        if self.mode == "double_fc":
            squeezed = [precisely(self.squeeze, means), precisely(self.squeeze_identity, others)]
            logits = precisely(self.excite, torch.cat(squeezed, dim=1).relu())
            return logits.sigmoid().to(x.dtype)[:, :, None, None]
        if self.mode == "3x3":
            folded = [z.unflatten(1, (-1, self.fold_width)) for z in (means, others)]  # (B, C / k, k)
            picture = torch.stack(folded, dim=2).flatten(1, 2)  # rows of both in turn: (B, 2 C / k, k)
        else:
            picture = torch.stack([means, others], dim=2)  # (B, C, 2)
        scanned = precisely(self.picture_norm, precisely(self.picture_conv, picture[:, None])).mean(dim=1)
        return self.mlp(scanned.flatten(1)).sigmoid().to(x.dtype)[:, :, None, None]
