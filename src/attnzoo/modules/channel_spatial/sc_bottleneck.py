"""The SCNet block: a bottleneck whose middle is half plain, half self-calibrated convolution."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, Layer
from attnzoo.modules.channel_spatial.sc_conv import SCNET, SCConv
from attnzoo.registry import register


@register(
    "sc_bottleneck",
    title="Self-calibrated bottleneck (SCNet block)",
    contract="context",
    plug_in=True,
    paper=SCNET,
    source="MCG-NKU/SCNet@c0b5bd6",
    source_license="none found",
    summary="A ResNet bottleneck in two lanes of half the width: one holds a plain 3x3 convolution, the other the "
    "self-calibrated one. A 1x1 convolution joins the lanes before the shortcut.",
    summary_zh="把 ResNet 瓶颈块分成宽度减半的两路：一路是普通 3x3 卷积，另一路是自校准卷积。"
    "两路由 1x1 卷积合并后再加上捷径。",
    placement="All blocks of SCNet-50 and SCNet-101.",
    reported="SCNet-50: ImageNet top-1 error 22.19; 25,564,584 parameters, SCNet-101 44,565,416.",
    differences=(
        "The authors give the width alone; here out_channels = 4 width may be given instead, or neither where the "
        "block keeps its input's channels.",
        "The authors pass the shortcut's layers in; downsample=True builds the usual ones, while their v1d models "
        "pool before a 1x1 convolution.",
    ),
    example={"pooling_r": 2},
    min_size=2,
)
class SCBottleneck(nn.Module):
    """act(join([plain(a(x)), calibrated(b(x))]) + shortcut(x)).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; None takes 4 width, or in_channels where width is not given either.
        width: a quarter of the output's channels.
        stride, dilation: of the middle.
        cardinality: groups of the middle, which also multiply its width.
        bottleneck_width: each lane has width * bottleneck_width // 64 channels for each group.
        avd: stride by average pooling after the middle instead.
        is_first: pool so even at stride 1, as the first block of a stage does with avd.
        downsample: a 1x1 convolution with normalisation on the shortcut, needed where the shape changes.
        pooling_r: r, by which the self-calibrated lane shrinks its coarse copy.
        norm_layer: makes the normalisation.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)), for H and W from r up.
    Cost: 2 Cin w + 36 w^2 / cardinality + 2 w Cout weights, w the width of a lane.
    Raises: AttnzooError for out_channels other than 4 width, a shape that changes without downsample, a lane
        without channels, a map smaller than r x r, or an input that is not (B, in_channels, H, W).
    """

    reference_keys = {
        "conv1_a": "reduce_plain.conv",
        "bn1_a": "reduce_plain.norm",
        "conv1_b": "reduce_calibrated.conv",
        "bn1_b": "reduce_calibrated.norm",
        r"k1\.0": "plain.conv",
        r"k1\.1": "plain.norm",
        "scconv": "calibrated",
        "conv3": "join.conv",
        "bn3": "join.norm",
        r"downsample\.0": "shortcut.conv",
        r"downsample\.1": "shortcut.norm",
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        width: int | None = None,
        stride: int = 1,
        dilation: int = 1,
        cardinality: int = 1,
        bottleneck_width: int = 32,
        avd: bool = False,
        is_first: bool = False,
        downsample: bool = False,
        pooling_r: int = 4,
        norm_layer: Layer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        checks.positive("sc_bottleneck", in_channels=in_channels, stride=stride, dilation=dilation)
        checks.positive("sc_bottleneck", cardinality=cardinality, bottleneck_width=bottleneck_width)
        checks.positive("sc_bottleneck", pooling_r=pooling_r)
        if width is None:
            out_channels = in_channels if out_channels is None else out_channels
            checks.multiple("sc_bottleneck", 4, out_channels=out_channels)
            width = out_channels // 4
        checks.positive("sc_bottleneck", width=width)
        out_channels = 4 * width if out_channels is None else out_channels
        checks.equal("sc_bottleneck", out_channels=out_channels, **{"4 * width": 4 * width})
        if not downsample:
            checks.shape_kept("sc_bottleneck", "downsample", stride, in_channels, out_channels)
        lane = int(width * (bottleneck_width / 64)) * cardinality
        checks.positive("sc_bottleneck", **{"width * bottleneck_width // 64": lane})

        self.in_channels = in_channels
        pools = avd and (stride > 1 or is_first)
        step = 1 if pools else stride
        self.reduce_plain = ConvNormAct(in_channels, lane, norm_layer=norm_layer)
        self.reduce_calibrated = ConvNormAct(in_channels, lane, norm_layer=norm_layer)
        self.plain = ConvNormAct(
            lane, lane, 3, stride=step, dilation=dilation, groups=cardinality, norm_layer=norm_layer
        )
        self.calibrated = SCConv(
            lane, stride=step, dilation=dilation, groups=cardinality, pooling_r=pooling_r, norm_layer=norm_layer
        )
        self.pool = nn.AvgPool2d(3, stride, padding=1) if pools else nn.Identity()
        self.join = ConvNormAct(2 * lane, out_channels, norm_layer=norm_layer, act_layer=None)
        self.shortcut: nn.Module = nn.Identity()
        if downsample:
            self.shortcut = ConvNormAct(in_channels, out_channels, stride=stride, norm_layer=norm_layer, act_layer=None)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("sc_bottleneck", x, self.in_channels)
        checks.at_least_size("sc_bottleneck", x, self.calibrated.pooling_r)
        plain = self.plain(self.reduce_plain(x))
        calibrated = F.relu(self.calibrated(self.reduce_calibrated(x)))
        joined = self.join(self.pool(torch.cat([plain, calibrated], dim=1)))
        return F.relu(joined + self.shortcut(x))
