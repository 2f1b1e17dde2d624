"""FAN: rows of FAN blocks at one resolution, and a class token that reads them."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ChannelNorm
from attnzoo.modules.self_attention.fan_block import FANBlock
from attnzoo.networks.base import Level, Network
from attnzoo.networks.imagenet import fan_convnext
from attnzoo.networks.imagenet.fan_parts import EPS, ClassReadout, FourierPosition, patch_embedding
from attnzoo.networks.presets import preset
from attnzoo.networks.transformers import COUNTED, draw_narrowly
from attnzoo.registry import paper_of, register_network

REFERENCE_KEYS: Final = {
    **fan_convnext.REFERENCE_KEYS,
    **{rf"patch_embed\.proj\.{2 * i}\.0": f"embed.{i}.conv" for i in range(4)},
    **{rf"patch_embed\.proj\.{2 * i}\.1": f"embed.{i}.norm" for i in range(4)},
    r"patch_embed\.proj": "embed",
    r"pos_embed\.token_projection": "position.proj",
    "cls_token": "readout.token",
    "cls_attn_blocks": "readout.blocks",
    "norm": "readout.norm",
    "head": "fc",
}


class Row(NamedTuple):
    """FAN blocks of one width: how many, their channels, the heads of their attentions."""

    depth: int
    channels: int
    num_heads: int


class FAN(Network):
    """An embedding of patches, position waves, rows of FAN blocks, class attention, one linear layer.

    Args:
        called, num_classes, in_channels, features_only: as in `Network`.
        rows: of FAN blocks; a strided convolution leads from one to the next.
        convnext: the depths of two ConvNeXt stages before the blocks, which then begin at stride 16; without them 3x3
            convolutions embed the patches.
        patch_size: the stride of the 3x3 convolutions together.
        eta: where the scales of the branches start.
        tokens_norm: whether the class attention normalises the patches twice.
        cls_attn_layers: how many blocks of class attention there are.
        se: whether an MLP with an SE gate stands in place of the attention between channels.
        drop_path_rate: probability with which a half of a block is left out for a sample in training.

    Shape: (B, in_channels, H, W) -> (B, num_classes), or a list of (B, channels, H / reduction, W / reduction), the
        quotients rounded up, with `convnext` down.
    """

    def __init__(
        self,
        called: str,
        num_classes: int,
        in_channels: int,
        features_only: bool,
        *,
        rows: Sequence[Row],
        convnext: Sequence[int] = (),
        patch_size: int = 16,
        eta: float = 1.0,
        tokens_norm: bool = True,
        cls_attn_layers: int = 2,
        se: bool = False,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(called, num_classes, in_channels, features_only, min_size=16 if convnext else 1)
        checks.probability(called, drop_path_rate=drop_path_rate)
        self.reference_keys = dict(REFERENCE_KEYS)
        channels, reduction, count = rows[0].channels, patch_size, 0
        parts: dict[str, nn.Module] = {}
        levels: list[Level] = []
        if convnext:
            parts, levels = fan_convnext.convnext_patches(in_channels, channels, convnext)
        else:
            parts["embed"] = patch_embedding(in_channels, channels, patch_size)
        parts["position"] = FourierPosition(channels)
        for row in rows:
            name = f"layer{len(levels) + 1}"
            if row.channels != channels:
                parts[f"{name}_down"] = _down(channels, row.channels)
                at = rf"blocks\.{count - 1}\.downsample"  # before what its block's own name matches
                down = {rf"{at}\.proj": f"{name}_down.conv", at: f"{name}_down"}
                self.reference_keys = down | self.reference_keys
                channels, reduction = row.channels, 2 * reduction
            blocks = [_block(row, eta, se, drop_path_rate) for _ in range(row.depth)]
            parts[name] = nn.Sequential(*blocks)
            levels.append(Level(name, channels, reduction))
            self.reference_keys |= {rf"blocks\.{count + i}": f"{name}.{i}" for i in range(row.depth)}
            count += row.depth
        for name, part in parts.items():
            self.add_module(name, part)
        self.complete(list(parts), levels, channels)
        if not features_only:
            self.readout = ClassReadout(channels, rows[-1].num_heads, cls_attn_layers, eta, tokens_norm)
        draw_narrowly(m for m in self.modules() if not isinstance(m, nn.Conv2d) or m.groups == 1)

    def pooled(self, x: Tensor) -> Tensor:
        return self.readout(x)


def _block(row: Row, eta: float, se: bool, drop_path_rate: float) -> FANBlock:
    block = FANBlock(row.channels, row.num_heads, qkv_bias=True, se=se, eta=eta, drop_path=drop_path_rate)
    block.norm1.eps = block.norm2.eps = EPS
    return block


def _down(in_channels: int, channels: int) -> nn.Sequential:
    """(B, in_channels, H, W) -> (B, channels, H / 2, W / 2), rounded up."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(in_channels, channels, 3, stride=2, padding=1), norm=ChannelNorm(channels)
    )
    return nn.Sequential(parts)


CARD: Final[dict[str, Any]] = {
    "paper": paper_of("fan_block"),
    "source": "NVlabs/FAN@ee1b7df",
    "source_license": "NVIDIA non-commercial",
    "image_size": 224,
}
WAVES: Final = (
    "The waves of the positions are computed in float32 at least; the authors compute them in float32 always."
)
DOUBLED: Final = "As in the authors' code, each block of class attention doubles the patches that it hands on."
ROUNDED_DOWN: Final = (
    "As in the authors' code, sizes that are no multiple of 16 lose a margin at the lower and right border."
)
UNBIASED: Final = (
    "Behind their stem the ConvNeXt stages normalise by the unbiased variance of the channels, as the authors' code "
    "does for maps laid out channels-last in memory; ConvNeXt itself takes the biased one."
)
HYBRID_DEPTH: Final = "The authors' function is named small_12, but its depth is 10."


@register_network(
    "fan",
    title="FAN-ViT of any size",
    summary="A transformer of FAN blocks at one resolution, read out by class attention, whose width, depth and heads "
    "are yours to choose. By default it is fan_tiny_vit.",
    summary_zh="由单一分辨率的 FAN 块组成、以类别注意力读出的 Transformer，宽度、深度与头数均可自定。"
    "默认即 fan_tiny_vit。",
    reported="See fan_tiny_vit and its larger kin.",
    differences=(DOUBLED, WAVES, "The authors' code also knows a patch size of 4, which no published size has."),
    parameters=7_319_920,
    macs=1474.1,
    **CARD,
)
def fan(
    num_classes: int = 1000,
    in_channels: int = 3,
    features_only: bool = False,
    patch_size: int = 16,
    embed_dim: int = 192,
    depth: int = 12,
    num_heads: int = 4,
    eta: float = 1.0,
    tokens_norm: bool = True,
    cls_attn_layers: int = 2,
    se: bool = False,
    drop_path_rate: float = 0.0,
) -> FAN:
    """One row of blocks; patch_size is 8 or 16, the other arguments are as of `FAN`."""
    checks.choice("fan", (8, 16), patch_size=patch_size)
    checks.at_least("fan", patch_size // 2, embed_dim=embed_dim)
    checks.positive("fan", depth=depth, num_heads=num_heads, cls_attn_layers=cls_attn_layers)
    checks.divisible("fan", "embed_dim", embed_dim, num_heads=num_heads)

    return FAN(
        "fan",
        num_classes,
        in_channels,
        features_only,
        rows=[Row(depth, embed_dim, num_heads)],
        patch_size=patch_size,
        eta=eta,
        tokens_norm=tokens_norm,
        cls_attn_layers=cls_attn_layers,
        se=se,
        drop_path_rate=drop_path_rate,
    )


preset(
    "fan_tiny_vit",
    partial(FAN, rows=[Row(12, 192, 4)]),
    options=["drop_path_rate"],
    title="FAN-T-ViT",
    summary="Twelve FAN blocks of 192 channels behind four strided convolutions, read out by class attention. The "
    "smallest FAN, for robustness at 7 million parameters.",
    summary_zh="四个步进卷积之后接 12 个 192 通道的 FAN 块，最后以类别注意力读出。"
    "它是最小的 FAN，以 700 万参数换取鲁棒性。",
    reported="ImageNet top-1: 79.2.",
    differences=(DOUBLED, WAVES, COUNTED.format("1.30")),
    parameters=7_319_920,
    macs=1474.1,
    **CARD,
)
preset(
    "fan_small_vit",
    partial(FAN, rows=[Row(12, 384, 8)]),
    options=["drop_path_rate"],
    title="FAN-S-ViT",
    summary="FAN-T-ViT at twice its width: twelve blocks of 384 channels. The plain FAN of 28 million parameters.",
    summary_zh="宽度为 FAN-T-ViT 两倍的版本：12 个 384 通道的 FAN 块。它是 2800 万参数的纯 FAN 网络。",
    reported="ImageNet top-1: 82.5.",
    differences=(DOUBLED, WAVES),
    parameters=28_345_336,
    macs=5457.3,
    **CARD,
)
preset(
    "fan_small_vit_se",
    partial(FAN, rows=[Row(12, 384, 8)], se=True),
    options=["drop_path_rate"],
    title="FAN-S-ViT with SE",
    summary="FAN-S-ViT with fan_se_mlp, an MLP under an SE gate, in place of the attention between channels. A simpler "
    "gate, and a little fewer weights.",
    summary_zh="以带 SE 门的 MLP（fan_se_mlp）取代通道间注意力的 FAN-S-ViT。门更简单，参数也略少。",
    reported="No figure recorded.",
    differences=(DOUBLED, WAVES),
    parameters=27_452_440,
    macs=5110.4,
    **CARD,
)
preset(
    "fan_base_vit",
    partial(FAN, rows=[Row(18, 448, 8)]),
    options=["drop_path_rate"],
    title="FAN-B-ViT",
    summary="Eighteen FAN blocks of 448 channels behind four strided convolutions. The plain FAN of 54 million "
    "parameters.",
    summary_zh="四个步进卷积之后接 18 个 448 通道的 FAN 块。它是 5400 万参数的纯 FAN 网络。",
    reported="ImageNet top-1: 83.6.",
    differences=(DOUBLED, WAVES),
    parameters=54_350_320,
    macs=10655.9,
    **CARD,
)
preset(
    "fan_large_vit",
    partial(FAN, rows=[Row(24, 480, 10)]),
    options=["drop_path_rate"],
    title="FAN-L-ViT",
    summary="Twenty-four FAN blocks of 480 channels behind four strided convolutions. The largest of the plain FANs.",
    summary_zh="四个步进卷积之后接 24 个 480 通道的 FAN 块。它是纯 FAN 网络中最大的一个。",
    reported="ImageNet top-1: 83.9.",
    differences=(DOUBLED, WAVES),
    parameters=80_574_100,
    macs=15959.3,
    **CARD,
)
preset(
    "fan_tiny_hybrid",
    partial(FAN, rows=[Row(8, 192, 8)], convnext=(3, 3)),
    options=["drop_path_rate"],
    title="FAN-T-Hybrid",
    summary="Two ConvNeXt stages of 128 and 256 channels, then eight FAN blocks of 192. The convolutions give maps at "
    "strides 4 and 8 as well, which dense prediction wants.",
    summary_zh="先是 128 与 256 通道的两个 ConvNeXt 阶段，再接 8 个 192 通道的 FAN 块。"
    "卷积部分另提供步幅 4 与 8 的特征图，适合密集预测。",
    reported="ImageNet top-1: 80.1.",
    differences=(DOUBLED, WAVES, UNBIASED, ROUNDED_DOWN, COUNTED.format("3.5")),
    parameters=7_467_240,
    macs=3638.1,
    min_size=16,
    **CARD,
)
preset(
    "fan_small_hybrid",
    partial(FAN, rows=[Row(10, 384, 8)], convnext=(3, 3)),
    options=["drop_path_rate"],
    title="FAN-S-Hybrid",
    summary="Two ConvNeXt stages of 128 and 256 channels, then ten FAN blocks of 384. One point more accurate than "
    "FAN-S-ViT at fewer weights.",
    summary_zh="先是 128 与 256 通道的两个 ConvNeXt 阶段，再接 10 个 384 通道的 FAN 块。"
    "参数少于 FAN-S-ViT，精度高一个百分点。",
    reported="ImageNet top-1: 83.5.",
    differences=(DOUBLED, WAVES, UNBIASED, ROUNDED_DOWN, HYBRID_DEPTH, COUNTED.format("6.7")),
    parameters=26_117_944,
    macs=6983.3,
    min_size=16,
    **CARD,
)
preset(
    "fan_base_hybrid",
    partial(FAN, rows=[Row(16, 448, 8)], convnext=(3, 3)),
    options=["drop_path_rate"],
    title="FAN-B-Hybrid",
    summary="Two ConvNeXt stages of 128 and 256 channels, then sixteen FAN blocks of 448. The hybrid FAN of 50 million "
    "parameters.",
    summary_zh="先是 128 与 256 通道的两个 ConvNeXt 阶段，再接 16 个 448 通道的 FAN 块。"
    "它是 5000 万参数的混合 FAN 网络。",
    reported="ImageNet top-1: 83.9.",
    differences=(DOUBLED, WAVES, UNBIASED, ROUNDED_DOWN),
    parameters=50_475_048,
    macs=11768.1,
    min_size=16,
    **CARD,
)
preset(
    "fan_large_hybrid",
    partial(FAN, rows=[Row(22, 480, 10)], convnext=(3, 5)),
    options=["drop_path_rate"],
    title="FAN-L-Hybrid",
    summary="Two ConvNeXt stages of 128 and 256 channels, three and five blocks deep, then twenty-two FAN blocks of "
    "480. The network of the paper's headline figures.",
    summary_zh="先是深度 3 与 5、通道数 128 与 256 的两个 ConvNeXt 阶段，再接 22 个 480 通道的 FAN 块。"
    "论文的主要结果即来自该网络。",
    reported="ImageNet top-1: 84.3, with pre-training 87.1; 35.8 mCE on ImageNet-C.",
    differences=(DOUBLED, WAVES, UNBIASED, ROUNDED_DOWN),
    parameters=76_855_140,
    macs=17682.7,
    min_size=16,
    **CARD,
)
preset(
    "fan_xlarge_hybrid",
    partial(FAN, rows=[Row(20, 528, 11), Row(3, 768, 16)], convnext=(3, 7)),
    options=["drop_path_rate"],
    title="FAN-XL-Hybrid",
    summary="Two ConvNeXt stages, then twenty FAN blocks of 528 channels, and three of 768 at half the resolution. The "
    "largest in the authors' code.",
    summary_zh="先是两个 ConvNeXt 阶段，再接 20 个 528 通道的 FAN 块，最后是分辨率减半的 3 个 768 通道块。"
    "它是作者代码中最大的一个。",
    reported="No figure recorded.",
    differences=(
        DOUBLED,
        WAVES,
        UNBIASED,
        ROUNDED_DOWN,
        "No run of the authors' code is stored: only its parameters are compared.",
    ),
    parameters=120_407_316,
    macs=21094.8,
    min_size=16,
    **CARD,
)
