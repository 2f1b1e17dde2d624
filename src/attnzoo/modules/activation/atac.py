"""ATAC, Attention as Activation: a pointwise bottleneck gates every number from its own place."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, precisely, spatial_mean
from attnzoo.registry import Paper, register


@register(
    "atac",
    title="Attentional Activation (Attention as Activation)",
    contract="feature",
    paper=Paper(
        title="Attention as Activation",
        authors="Dai, Oehmcke, Gieseke, Wu, Barnard",
        venue="ICPR",
        year=2020,
        url="https://arxiv.org/abs/2007.07729",
    ),
    source="YimianDai/open-atac@49d42f7 (MXNet, rewritten plainly)",
    source_license="none found",
    summary="Takes the place of a ReLU: a bottleneck of pointwise convolutions sees all channels at one place and "
    "gates each of them. It joins a non-linearity and channel attention in one unit.",
    summary_zh="取代 ReLU：由逐点卷积组成的瓶颈在每个位置观察所有通道，并为每个通道给出门。"
    "它把非线性与通道注意力合为一个单元。",
    placement="In ResNet-50, the two inner activations of the bottlenecks of the last two stages; the block's final "
    "ReLU stays.",
    reported="ImageNet top-1 error, ResNet-50: from 23.30 to 21.41, 25.6M to 28.0M parameters.",
    differences=(
        "The authors' CIFAR script has no ReLU in the bottleneck unless asked for, their ImageNet one has; so do we.",
        "The default reduction is the ImageNet script's; the reported runs take 2.",
        "A popular explanation has no BatchNorm and a reduction of 16: the authors' weights do not fit it.",
    ),
)
class ATAC(nn.Module):
    """x sigmoid(norm(W2 relu(norm(W1 x)))), at every place for itself.

    Args:
        channels: C, the channels of the input.
        reduction: r; the bottleneck is C // r wide.
        use_relu: whether it has a ReLU.
        use_global: run it on the means of the map instead, as SE does.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W from 1 up.
    Cost: 2 C C/r + 2 C + 2 C/r parameters; 2 C C/r H W multiply-adds, without H W if global.
    Raises: AttnzooError for a bottleneck without channels, a single training value per channel (with use_global a
        training batch of one), or an input that is not (B, C, H, W).
    """

    def __init__(self, channels: int, reduction: int = 4, use_relu: bool = True, use_global: bool = False) -> None:
        super().__init__()
        width = checks.reduced("atac", channels, reduction)
        self.channels = channels
        self.use_relu = use_relu
        self.use_global = use_global
        self.layers = nn.Sequential(
            ConvNormAct(channels, width, act_layer=nn.ReLU if use_relu else None),
            ConvNormAct(width, channels, act_layer=None),
        )

    @property
    def reference_keys(self) -> dict[str, str]:
        """The authors number the layers, pooling and ReLU included."""
        first = int(self.use_global)
        second = first + 2 + int(self.use_relu)
        return {
            rf"module\.{start + j}": f"layers.{i}.{part}"
            for i, start in enumerate((first, second))
            for j, part in enumerate(("conv", "norm"))
        }

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("atac", x, self.channels)
        if self.training:
            (checks.batch_statistics if self.use_global else checks.several_values)("atac", x)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), or (B, C, 1, 1) if global."""
        seen = spatial_mean(x, keepdim=True) if self.use_global else x
        return precisely(self.layers, seen).sigmoid().to(x.dtype)
