"""BAM: a channel branch and a dilated spatial branch, joined to one gate for every element."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, product
from attnzoo.registry import Paper, register


@register(
    "bam",
    title="Bottleneck Attention Module",
    contract="feature",
    paper=Paper(
        title="BAM: Bottleneck Attention Module",
        authors="Park, Woo, Lee, Kweon",
        venue="BMVC",
        year=2018,
        url="https://arxiv.org/abs/1807.06514",
    ),
    source="Jongchan/attention-module@459efad",
    source_license="MIT",
    summary="A pooled MLP scores the channels and dilated convolutions on reduced channels score the places; "
    "together they form one gate for every element. The input is kept and its gated copy added.",
    summary_zh="池化后的 MLP 为通道打分，降维后的空洞卷积为位置打分，两者合成逐元素的门。输出为输入与其门控副本之和。",
    placement="At the ends of ResNet stages 1, 2 and 3, before the down-sampling; not inside the blocks.",
    reported="ImageNet top-1: ResNet-50 75.44 to 75.98 in the paper; released weights 76.86.",
    differences=(
        "The paper adds the two branches before the sigmoid (fusion='add'); the authors' code and checkpoints "
        "multiply them, the default here.",
        "The authors pool with a square window of side H, which crashes or drops columns on maps that are not "
        "square; here the pooling is global, which is the same on square maps.",
        "The authors' file cannot be instantiated as published, for a name that is never defined.",
        "A popular collection pads a dilation of 2 by 1 only, so that just 7x7 maps run.",
    ),
    not_applicable={"large-close": "logits of half-precision convolutions round by more than a sigmoid's width at 1e3"},
)
class BAM(nn.Module):
    """x (1 + sigmoid(channel(x) * spatial(x))).

    Args:
        channels: C, the channels of the input.
        reduction: r; both branches work on c = C // r channels.
        num_layers: hidden layers of the channel branch.
        num_dilated_convs: dilated 3x3 convolutions of the spatial branch.
        dilation: their dilation.
        fusion: 'mul' multiplies the branches' logits, 'add' adds them.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: about 3 C c + 9 n c^2 parameters; H W (C c + 9 n c^2) multiply-adds, n the dilated convolutions.
    Raises: AttnzooError for branches without channels, an unknown fusion, a training batch of one, or an
        input that is not (B, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        num_layers: int = 1,
        num_dilated_convs: int = 2,
        dilation: int = 4,
        fusion: str = "mul",
    ) -> None:
        super().__init__()
        width = checks.reduced("bam", channels, reduction)
        checks.positive("bam", num_layers=num_layers, dilation=dilation)
        checks.at_least("bam", 0, num_dilated_convs=num_dilated_convs)
        checks.choice("bam", ("mul", "add"), fusion=fusion)
        self.channels = channels
        self.fusion = fusion
        self.channel = nn.Sequential(
            *(ConvNormAct(channels if i == 0 else width, width, bias=True) for i in range(num_layers)),
            nn.Conv2d(width, channels, 1),
        )
        self.spatial = nn.Sequential(
            ConvNormAct(channels, width, bias=True),
            *(ConvNormAct(width, width, 3, dilation=dilation, bias=True) for _ in range(num_dilated_convs)),
            nn.Conv2d(width, 1, 1),
        )

    @property
    def reference_keys(self) -> dict[str, str]:
        """The authors' names; their BatchNorms of the channel branch count from 1."""
        channel, spatial = r"channel_att\.gate_c\.gate_c_", r"spatial_att\.gate_s\.gate_s_"
        keys = {
            channel + "fc_final": f"channel.{len(self.channel) - 1}",
            spatial + "conv_reduce0": "spatial.0.conv",
            spatial + "bn_reduce0": "spatial.0.norm",
            spatial + "conv_final": f"spatial.{len(self.spatial) - 1}",
        }
        for i in range(len(self.channel) - 1):
            keys |= {f"{channel}fc_{i}": f"channel.{i}.conv", f"{channel}bn_{i + 1}": f"channel.{i}.norm"}
        for i in range(len(self.spatial) - 2):
            keys |= {
                f"{spatial}conv_di_{i}": f"spatial.{i + 1}.conv",
                f"{spatial}bn_di_{i}": f"spatial.{i + 1}.norm",
            }
        return keys

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("bam", x, self.channels)
        if self.training:
            checks.batch_statistics("bam", x)
        return product(self.gate(x) + 1, x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        channel = self.channel(x.mean(dim=(2, 3), keepdim=True))  # (B, C, 1, 1)
        spatial = self.spatial(x)  # (B, 1, H, W)
        logits = channel * spatial if self.fusion == "mul" else channel + spatial
        return logits.sigmoid_()
