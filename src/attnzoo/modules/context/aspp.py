"""ASPP, Atrous Spatial Pyramid Pooling: convolutions of several dilations and the image's mean, side by side."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, spatial_mean
from attnzoo.registry import Paper, register


@register(
    "aspp",
    title="Atrous Spatial Pyramid Pooling (DeepLabV3)",
    contract="context",
    paper=Paper(
        title="Rethinking Atrous Convolution for Semantic Image Segmentation",
        authors="Chen, Papandreou, Schroff, Adam",
        venue="arXiv",
        year=2017,
        url="https://arxiv.org/abs/1706.05587",
    ),
    source="torchvision 0.29.2 (port of the authors' TensorFlow code)",
    source_license="BSD-3-Clause",
    summary="Reads the map at several scales at once, by 3x3 convolutions of different dilations, a 1x1 convolution "
    "and the mean of the whole image. A 1x1 convolution fuses what they give.",
    summary_zh="用不同空洞率的 3x3 卷积、一个 1x1 卷积和整幅图像的均值，同时在多个尺度上读取特征图。"
    "最后由 1x1 卷积融合各分支。",
    placement="After the backbone, before the classifier; rates (12, 24, 36) at output stride 8, (6, 12, 18) at 16.",
    reported="No headline figure recorded here.",
    differences=(
        "The dropout is 0.5 as in torchvision; the TensorFlow code and most ports use 0.1, the paper none.",
        "A popular collection's class of this name is a single branch of a separable variant, without pooling and "
        "fusion.",
        "A popular explanation gives the 3x3 branches a bias, resizes the image branch with aligned corners, and "
        "upsamples by 8 before the fusion.",
    ),
)
class ASPP(nn.Module):
    """dropout(fuse(concat(conv1x1(x), conv_r(x) for every rate r, conv1x1(mean(x))))), each with norm and ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of every branch and of the output.
        atrous_rates: the dilations r of the 3x3 convolutions, any number of them.
        dropout: probability at the end, in training.

    Shape: (B, in_channels, H, W) -> (B, out_channels, H, W), for any H and W from 1 up.
    Cost: in_channels out_channels (2 + 9 n) + (n + 2) out_channels^2 weights for n rates.
    Raises: AttnzooError for no rates or rates below 1, a dropout that is no probability, a training batch of one
        (the mean is normalised over the batch), or an input that is not (B, in_channels, H, W).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        atrous_rates: Sequence[int] = (12, 24, 36),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        checks.positive("aspp", in_channels=in_channels, out_channels=out_channels)
        checks.sequence("aspp", atrous_rates=atrous_rates)
        checks.positive("aspp", **checks.items(atrous_rates=atrous_rates))
        checks.probability("aspp", dropout=dropout)
        self.in_channels = in_channels
        self.point = ConvNormAct(in_channels, out_channels)
        self.atrous = nn.ModuleList(ConvNormAct(in_channels, out_channels, 3, dilation=r) for r in atrous_rates)
        self.image = ConvNormAct(in_channels, out_channels)
        self.fuse = ConvNormAct((len(atrous_rates) + 2) * out_channels, out_channels)
        self.drop = nn.Dropout(dropout)

    @property
    def reference_keys(self) -> dict[str, str]:
        """The names of torchvision, whose branches are numbered through."""
        parts = ["point", *(f"atrous.{i}" for i in range(len(self.atrous)))]
        last = rf"convs\.{len(parts)}"
        keys = {last + r"\.1": "image.conv", last + r"\.2": "image.norm"}
        for i, part in enumerate(parts):
            keys |= {rf"convs\.{i}\.0": f"{part}.conv", rf"convs\.{i}\.1": f"{part}.norm"}
        return {**keys, r"project\.0": "fuse.conv", r"project\.1": "fuse.norm"}

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("aspp", x, self.in_channels)
        if self.training:
            checks.batch_statistics("aspp", x)
        image = self.image(spatial_mean(x, keepdim=True).to(x.dtype)).expand(-1, -1, *x.shape[2:])
        branches = [self.point(x), *(conv(x) for conv in self.atrous), image]
        return self.drop(self.fuse(torch.cat(branches, dim=1)))
