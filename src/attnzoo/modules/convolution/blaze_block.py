"""The BlazeBlock of BlazeFace: a separable convolution beside a shortcut that pools and adds empty channels."""

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.modules.convolution.depthwise_separable import DepthwiseSeparable
from attnzoo.registry import Paper, register


@register(
    "blaze_block",
    title="BlazeBlock",
    contract="conv",
    paper=Paper(
        title="BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs",
        authors="Bazarevsky, Kartynnik, Vakunov, Raveendran, Grundmann",
        venue="CVPR Workshops",
        year=2019,
        url="https://arxiv.org/abs/1907.05047",
    ),
    source="hollance/BlazeFace-PyTorch@852bfd8 (weights of the authors' released model)",
    source_license="Apache-2.0",
    summary="A depthwise separable convolution with a shortcut around it, and ReLU on their sum. Where the block is "
    "strided the shortcut takes maxima, and where it widens the shortcut has zeros in the new channels.",
    summary_zh="深度可分离卷积外加一条捷径，两者之和经过 ReLU。步进时捷径取最大池化，通道增多时捷径在新通道上补零。",
    placement="The backbone of BlazeFace.",
    reported="No headline figure recorded here.",
    differences=(
        "At stride 2 the map is padded at the right and the bottom only, as by TensorFlow; even padding shifts it, so "
        "that converted weights fail silently.",
        "The paper has 5x5 kernels and double blocks; the released front model has 3x3 and single blocks.",
        "A collection's block has a BatchNorm after each convolution and even padding; these weights do not fit it.",
    ),
)
class BlazeBlock(nn.Module):
    """relu(pointwise(depthwise(x)) + [pool(x), 0]), `pool` the maximum of 2 x 2 at stride 2.

    Args:
        in_channels, out_channels: channels of input and output, of which there are no fewer.
        kernel_size: of the depthwise convolution, odd; 3 at stride 2.
        stride: 1 or 2.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride), for even H and W at stride 2.
    Cost: in_channels (k^2 + 1) + out_channels (in_channels + 1) weights.
    Raises: AttnzooError for fewer channels out than in, an even kernel, a stride that is neither 1 nor 2, a kernel
        other than 3 at stride 2, or an input that is not (B, in_channels, H, W) or odd at stride 2.
    """

    reference_keys = {r"convs\.0": "branch.depthwise", r"convs\.1": "branch.pointwise"}

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> None:
        super().__init__()
        checks.positive("blaze_block", in_channels=in_channels, out_channels=out_channels)
        checks.at_least("blaze_block", in_channels, out_channels=out_channels)
        checks.choice("blaze_block", (1, 2), stride=stride)
        checks.odd("blaze_block", kernel_size=kernel_size)
        if stride == 2:
            checks.choice("blaze_block", (3,), kernel_size=kernel_size)
        self.in_channels = in_channels
        self.added = out_channels - in_channels
        self.stride = stride
        padding = kernel_size // 2 if stride == 1 else 0
        self.branch = DepthwiseSeparable(in_channels, out_channels, kernel_size, stride, padding)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("blaze_block", x, self.in_channels)
        shortcut = x
        if self.stride == 2:
            checks.whole_blocks("blaze_block", x, 2)
            shortcut = F.max_pool2d(x, 2)
            x = F.pad(x, (0, 1, 0, 1))
        if self.added:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.added))
        return self.act(self.branch(x) + shortcut)
