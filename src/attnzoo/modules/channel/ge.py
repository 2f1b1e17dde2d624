"""GE, Gather-Excite: each channel's context over a neighbourhood, spread back as the channel's gate."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import Layer, precisely, spatial_mean, wide, without_autocast
from attnzoo.registry import Paper, register


@register(
    "ge",
    title="Gather-Excite",
    contract="feature",
    paper=Paper(
        title="Gather-Excite: Exploiting Feature Context in Convolutional Neural Networks",
        authors="Hu, Shen, Albanie, Sun, Vedaldi",
        venue="NeurIPS",
        year=2018,
        url="https://arxiv.org/abs/1810.12348",
    ),
    source="hujie-frank/GENet@ae791f8 (Caffe graphs, re-expressed); huggingface/pytorch-image-models@v1.0.31 (extents)",
    source_license="none found; Apache-2.0",
    summary="Collects every channel's context over an extent, the whole map by default, and gates the channel with "
    "it, place by place. Three strengths: plain means, a learnt depthwise gather, and the gather with a bottleneck.",
    summary_zh="在给定范围（默认整张特征图）内逐通道汇集上下文，再展开回原尺寸作为该通道的门。"
    "共有三档：无参数的平均、可学习的深度卷积汇集，以及在其后再加通道瓶颈。",
    placement="End of every residual branch, before the addition; global kernels 56, 28, 14, 7 in the stages of "
    "ResNet-50 at 224.",
    reported="No headline figures recorded; the ResNet-50 variants are published as Caffe graphs.",
    differences=(
        "The authors publish code for global extents only; the extent forms follow their diagrams, and timm.",
        "timm leaves out the ReLU between the gather's normalisation and the bottleneck of theta_plus.",
        "timm pads the learned global gather, so that it does not give one value per map; its constructor fails for "
        "every learned gather (1.0.31).",
        "Windows at the border average the pixels they hold, as in timm; Caffe would count the padding.",
    ),
    example={"extent": 2},
)
class GatherExcite(nn.Module):
    """Scale x by sigmoid(resize(excite(gather(x)))), every channel gathered by itself.

    Args:
        channels: C, the channels of the input.
        variant: 'theta_minus' averages; 'theta' gathers with depthwise convolutions; 'theta_plus' adds a
            bottleneck over the channels.
        extent: e, the stride of the gather, a power of two; 0 gathers the whole map.
        feat_size: the map's height and width, which a learned gather of the whole map is made for.
        reduction: r; the bottleneck is C // r wide.
        norm_layer: makes the normalisation after each depthwise convolution.

    Shape: (B, C, H, W) -> (B, C, H, W), for any H and W but where feat_size fixes them.
    Cost: no weights for theta_minus; C H W (whole map) or 9 C log2(e), and 2 C each normalisation, for theta;
        2 C C/r more for theta_plus.
    Raises: AttnzooError for an unknown variant, an extent that is no power of two, a missing feat_size or
        another map size, a bottleneck without channels, a training batch of one where a channel is gathered to
        one value, or an input that is not (B, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        variant: str = "theta_plus",
        extent: int = 0,
        feat_size: Sequence[int] | None = None,
        reduction: int = 16,
        norm_layer: Layer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        checks.positive("ge", channels=channels, reduction=reduction)
        checks.choice("ge", ("theta_minus", "theta", "theta_plus"), variant=variant)
        checks.choice("ge", [0, *(2**i for i in range(1, 16))], extent=extent)
        size = None if feat_size is None else checks.pair("ge", "feat_size", feat_size)
        self.channels = channels
        self.extent = extent
        self.feat_size: tuple[int, int] | None = None
        layers: list[nn.Module] = []
        if variant != "theta_minus" and extent == 0:
            why = "with extent=0 a learned gather is made for one (height, width)"
            self.feat_size = checks.needed("ge", "feat_size", size, why)
            layers = [nn.Conv2d(channels, channels, self.feat_size, groups=channels, bias=False), norm_layer(channels)]
        elif variant != "theta_minus":
            for _ in range(extent.bit_length() - 1):
                conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False)
                layers += [conv, norm_layer(channels), nn.ReLU()]
            layers.pop()
        self.gather = nn.Sequential(*layers)
        self.excite = nn.Sequential()
        if variant == "theta_plus":
            width = checks.reduced("ge", channels, reduction)
            self.excite = nn.Sequential(
                nn.ReLU(), nn.Conv2d(channels, width, 1), nn.ReLU(), nn.Conv2d(width, channels, 1)
            )

    @property
    def reference_keys(self) -> dict[str, str]:
        """The authors' names, which count from 1, and timm's."""
        keys = {r"(mlp\.)?fc1": "excite.1", r"(mlp\.)?fc2": "excite.3"}
        for i in range(len(self.gather)):
            keys |= {rf"(gather\.)?conv{i + 1}": f"gather.{3 * i}", rf"(gather\.norm|bn){i + 1}": f"gather.{3 * i + 1}"}
        return keys

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("ge", x, self.channels)
        if self.feat_size is not None:
            checks.fixed_size("ge", x, feat_size=self.feat_size)
        if self.training and len(self.gather) and (self.extent == 0 or max(x.shape[2:]) <= self.extent):
            checks.batch_statistics("ge", x)
        return x * self.gate(x)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1) for the whole map, else (B, C, H, W)."""
        e = self.extent
        if len(self.gather):
            context = precisely(self.gather, x)
        elif e == 0:
            context = spatial_mean(x, keepdim=True)
        else:
            context = F.avg_pool2d(wide(x), 2 * e - 1, stride=e, padding=e - 1, count_include_pad=False)
        with without_autocast(x):
            gate = self.excite(context).sigmoid().to(x.dtype)
        return F.interpolate(gate, size=x.shape[2:]) if e else gate
