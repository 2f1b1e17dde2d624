"""SSH context module: three receptive fields from stacked 3x3 convolutions."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import NORMS, ConvNormAct, Layer, norm_of
from attnzoo.registry import Paper, register


@register(
    "ssh",
    title="SSH context module",
    contract="context",
    paper=Paper(
        title="SSH: Single Stage Headless Face Detector",
        authors="Najibi, Samangouei, Chellappa, Davis",
        venue="ICCV",
        year=2017,
        url="https://arxiv.org/abs/1708.03979",
    ),
    source="mahyarnajibi/SSH@9389c2b; biubug6/Pytorch_Retinaface@b984b4b (with normalisations)",
    source_license="MIT; MIT",
    summary="Stacked 3x3 convolutions look at windows of 3, 5 and 7 pixels, at the price of a few channels for the "
    "larger ones. The three views are concatenated.",
    summary_zh="用堆叠的 3x3 卷积得到 3、5、7 像素的窗口，较大的窗口只占少量通道。三种视野的结果被拼接在一起。",
    placement="On every detection level, before the classifier and the box head.",
    reported="No headline figure recorded here.",
    differences=(
        "Without norm_layer it is the authors' Caffe model; with 'batch_norm', convolutions lose their bias and it is "
        "RetinaFace's, which sets negative_slope to 0.1 up to 64 channels and 0 above.",
        "A popular collection has another structure: a shared stem, no 3x3 branch of the input, normalisations "
        "everywhere.",
    ),
)
class SSH(nn.Module):
    """relu(concat(near(x), mid(d), far_2(act(far_1(d))))), d = act(reduce(x)); all of them 3x3 convolutions.

    Args:
        in_channels: channels of the input.
        out_channels: o, channels of the output, a multiple of 4: o / 2 for the near view, o / 4 for the others.
        norm_layer: makes the normalisations, or is 'batch_norm'; None leaves them out.
        negative_slope: of the inner activations.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H, W), for any H and W from 1 up.
    Cost: 9 (3/4 in_channels o + 3/16 o^2) weights.
    Raises: AttnzooError for out_channels that 4 does not divide, an unknown norm_layer, a single value per channel in
        training with a normalisation, or an input that is not (B, in_channels, H, W).
    """

    reference_keys = {
        r"conv3X3\.0": "near.conv",
        r"conv3X3\.1": "near.norm",
        r"conv5X5_1\.0": "reduce.conv",
        r"conv5X5_1\.1": "reduce.norm",
        r"conv5X5_2\.0": "mid.conv",
        r"conv5X5_2\.1": "mid.norm",
        r"conv7X7_2\.0": "far_1.conv",
        r"conv7X7_2\.1": "far_1.norm",
        r"conv7x7_3\.0": "far_2.conv",
        r"conv7x7_3\.1": "far_2.norm",
        "conv3x3": "near.conv",
        "dimred": "reduce.conv",
        "conv5x5": "mid.conv",
        "conv7x7_1": "far_1.conv",
        "conv7x7_2": "far_2.conv",
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        norm_layer: Layer | str | None = None,
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()
        checks.positive("ssh", in_channels=in_channels, out_channels=out_channels)
        checks.divisible("ssh", "out_channels", out_channels, branches=4)
        if isinstance(norm_layer, str):
            checks.choice("ssh", NORMS, norm_layer=norm_layer)
        make_norm = norm_of(norm_layer)
        quarter = out_channels // 4

        def conv(channels: int, width: int, active: bool) -> ConvNormAct:
            act = (lambda: nn.LeakyReLU(negative_slope)) if active else None
            return ConvNormAct(channels, width, 3, bias=make_norm is None, norm_layer=make_norm, act_layer=act)

        self.in_channels = in_channels
        self.normalises = make_norm is not None
        self.near = conv(in_channels, 2 * quarter, active=False)
        self.reduce = conv(in_channels, quarter, active=True)
        self.mid = conv(quarter, quarter, active=False)
        self.far_1 = conv(quarter, quarter, active=True)
        self.far_2 = conv(quarter, quarter, active=False)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("ssh", x, self.in_channels)
        if self.training and self.normalises:
            checks.several_values("ssh", x)
        reduced = self.reduce(x)
        return self.act(torch.cat([self.near(x), self.mid(reduced), self.far_2(self.far_1(reduced))], dim=1))
