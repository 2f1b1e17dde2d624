"""OCR's distribution: every place takes in the class vectors, by how well it matches them."""

import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, affinity, attend, precisely, resize, to_map_like, to_tokens, without_autocast
from attnzoo.modules.context.ocr_gather import OCR_PAPER
from attnzoo.registry import register


@register(
    "ocr_object_attention",
    title="Object attention block of OCR",
    contract="fusion",
    paper=OCR_PAPER,
    source="HRNet/HRNet-Semantic-Segmentation@0bbb288",
    source_license="MIT",
    summary="Lets every place of a map attend to a handful of object vectors and projects the answer back to the "
    "map's channels. As there are few objects, the price is linear in the places.",
    summary_zh="让特征图的每个位置关注少量的物体向量，并把结果投影回原通道数。由于物体很少，代价与位置数成线性关系。",
    placement="After ocr_gather, whose class vectors it takes; see ocr.",
    reported="Part of OCR: Cityscapes val with HRNetV2-W48 from 80.9 to 81.6 mIoU, single scale.",
    differences=("The authors resize with aligned corners, a constant of their file; so do we.",),
    example={"key_channels": 32},
    inputs=("B C H W", "B C K 1"),
)
class OCRObjectAttention(nn.Module):
    """up(softmax(q(x) k(p)^T / sqrt(Kc)) v(p)), p the object vectors; q, k, v and up are 1x1 convolution blocks.

    Args:
        channels: C, the channels of the map and of the vectors.
        key_channels: Kc, the width of queries, keys and values.
        scale: s, by which the map is shrunk by maximum pooling before, and enlarged bilinearly afterwards.

    Shape: map (B, C, H, W) and vectors (B, C, K, 1) -> (B, C, H, W), for any H and W from s up.
    Cost: 4 C Kc + 2 Kc^2 weights; 2 K Kc H W / s^2 multiply-adds of the attention, no stored H W x K map.
    Raises: AttnzooError for numbers below 1, a map smaller than scale, a single training value per channel,
        vectors that are not (B, C, K, 1), or a map that is not (B, C, H, W).
    """

    reference_keys = {
        rf"{theirs}\.{part}": f"{ours}.{layer}"
        for theirs, ours in (("f_pixel", "query"), ("f_object", "key"), ("f_down", "value"), ("f_up", "up"))
        for part, layer in (("0", "0.conv"), (r"1\.0", "0.norm"), ("2", "1.conv"), (r"3\.0", "1.norm"))
    }

    def __init__(self, channels: int, key_channels: int, scale: int = 1) -> None:
        super().__init__()
        checks.positive("ocr_object_attention", channels=channels, key_channels=key_channels, scale=scale)
        self.channels = channels
        self.scale = scale
        self.query, self.key = (
            nn.Sequential(ConvNormAct(channels, key_channels), ConvNormAct(key_channels, key_channels))
            for _ in range(2)
        )
        self.value = nn.Sequential(ConvNormAct(channels, key_channels))
        self.up = nn.Sequential(ConvNormAct(key_channels, channels))

    def forward(self, x: Tensor, proxy: Tensor) -> Tensor:
        self._check(x, proxy)
        small = self._shrunk(x)
        q, k = self._queries_keys(small, proxy)
        v = to_tokens(precisely(self.value, proxy))[:, None]
        with without_autocast(x):
            y = attend(q, k, v)[:, 0]  # (B, H W / s^2, Kc)
        y = self.up(to_map_like(y, small).to(x.dtype))
        return resize(y, *x.shape[2:], align_corners=True) if self.scale > 1 else y

    def attention(self, x: Tensor, proxy: Tensor) -> Tensor:
        """The inputs of forward -> the weights of the vectors at each place of the shrunk map (B, 1, H W / s^2, K)."""
        return affinity(*self._queries_keys(self._shrunk(x), proxy))

    def _check(self, x: Tensor, proxy: Tensor) -> None:
        checks.nchw("ocr_object_attention", x, self.channels, name="x")
        checks.shaped("ocr_object_attention", "proxy", proxy, (x.shape[0], self.channels, None, 1))
        checks.at_least_size("ocr_object_attention", x, self.scale)
        if self.training:
            checks.several_values("ocr_object_attention", proxy)
            checks.several_values("ocr_object_attention", x[:, :, :: self.scale, :: self.scale])

    def _shrunk(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, self.scale) if self.scale > 1 else x

    def _queries_keys(self, small: Tensor, proxy: Tensor) -> tuple[Tensor, Tensor]:
        q, k = (to_tokens(precisely(layers, of)) for layers, of in ((self.query, small), (self.key, proxy)))
        return q[:, None], k[:, None]
