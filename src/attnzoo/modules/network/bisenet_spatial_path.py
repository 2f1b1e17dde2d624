"""The spatial path of BiSeNet: a short and wide way to an eighth of the image's size."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct
from attnzoo.modules.channel.attention_refinement import BISENET
from attnzoo.registry import register


@register(
    "bisenet_spatial_path",
    title="BiSeNet spatial path",
    contract="conv",
    paper=BISENET,
    source="CoinCheung/BiSeNet@6b4b67a",
    source_license="MIT",
    summary="Three strided convolutions and a 1x1: wide enough to keep the detail of the image, short enough to be "
    "fast. It is the path of BiSeNet that knows where things are.",
    summary_zh="三个步进卷积加一个 1x1 卷积：足够宽以保留图像细节，足够短以保证速度。"
    "它是 BiSeNet 中负责空间位置的一条路径。",
    placement="Beside bisenet_context_path, on the image; feature_fusion joins the two.",
    reported="Part of BiSeNet; 91,968 parameters at the default widths.",
    differences=(
        "The paper has three 3x3 convolutions; this implementation begins with a 7x7.",
        "A popular collection has 64, 128 and 256 channels with 3x3 kernels.",
    ),
    example={"out_channels": 32, "base_channels": 16},
    inputs=("B C 3*H 3*W",),
)
class BiSeNetSpatialPath(nn.Module):
    """conv7x7, conv3x3, conv3x3, each at stride 2, and conv1x1, all with BatchNorm and ReLU.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the output.
        base_channels: channels in between.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / 8), ceil(W / 8)), for any H and W from 1 up.
    Cost: with b = base_channels, 49 in_channels b + 18 b^2 + b out_channels weights.
    Raises: AttnzooError for numbers below 1, a single value per channel in training, or an input that is not
        (B, in_channels, H, W).
    """

    reference_keys = {r"(conv\d|conv_out)\.bn": r"\1.norm"}

    def __init__(self, in_channels: int = 3, out_channels: int = 128, base_channels: int = 64) -> None:
        super().__init__()
        checks.positive("bisenet_spatial_path", in_channels=in_channels, out_channels=out_channels)
        checks.positive("bisenet_spatial_path", base_channels=base_channels)
        self.in_channels = in_channels
        self.conv1 = ConvNormAct(in_channels, base_channels, 7, stride=2)
        self.conv2 = ConvNormAct(base_channels, base_channels, 3, stride=2)
        self.conv3 = ConvNormAct(base_channels, base_channels, 3, stride=2)
        self.conv_out = ConvNormAct(base_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("bisenet_spatial_path", x, self.in_channels)
        if self.training:
            checks.several_values("bisenet_spatial_path", x[:, :, ::8, ::8])
        return self.conv_out(self.conv3(self.conv2(self.conv1(x))))
