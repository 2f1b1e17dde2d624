"""The transition block of CFNet: coarse maps added to fine ones, at the price of 1x1 convolutions."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ChannelNorm, Layer, resize
from attnzoo.modules.network.cfnet_focal_next import CFNET
from attnzoo.registry import register

MODES = ("seq_add", "add", "concat")
LAYER_NORM: Final = partial(ChannelNorm, eps=1e-6)


@register(
    "cfnet_transition",
    title="CFNet transition block",
    contract="fusion",
    paper=CFNET,
    source="zhanggang001/CEDNet@305d637; paper ('add', 'concat', without norms)",
    source_license="MIT",
    summary="Ends a stage of CFNet by adding its coarse maps to the finer ones, by 1x1 convolutions and bilinear "
    "upsampling. It is light, as fusing is the work of the blocks themselves.",
    summary_zh="在 CFNet 每个阶段末尾，用 1x1 卷积与双线性上采样把较粗的特征图加到较细的上。"
    "它非常轻量，因为融合主要由各模块自身完成。",
    placement="The last part of a CFNet stage; only p3 goes on to the next.",
    reported="Part of CFNet; no headline figure recorded here.",
    differences=(
        "Only 'seq_add' with normalisations has authors' code; the other forms are read from figure 4 of the paper's "
        "first version.",
        "That figure shows p4 behind its convolution and upsampling; the code gives the sum at stride 16, as we do.",
    ),
    example={"in_channels": (16, 24, 32)},
    inputs=("B 16 4*H 4*W", "B 24 2*H 2*W", "B 32 H W"),
)
class CFNetTransition(nn.Module):
    """p4 = norm(c4 + up(conv(c5))), p3 = norm(c3 + up(conv(p4))), p5 = c5.

    Or p3 = c3 + up(conv(c4)) + up(conv(c5)) ('add'), or p3 = conv(concat(c3, up(c4), up(c5))) ('concat'), with p4 and
    p5 as they came.

    Args:
        in_channels: channels of the three maps, fine to coarse.
        mode: 'seq_add', 'add' or 'concat'.
        use_norm: normalise the sums, in 'seq_add'.
        norm_layer: makes these normalisations; None takes layer normalisations over the channels.

    Shape: c3 (B, d3, H, W), c4 (B, d4, H / 2, W / 2), c5 (B, d5, H / 4, W / 4) -> p3, p4, p5 of the same shapes.
    Cost: d5 d4 + d4 d3 weights, (d4 + d5) d3 with 'add', (d3 + d4 + d5) d3 with 'concat'.
    Raises: AttnzooError for other than three in_channels, an unknown mode, or maps that are no such pyramid, named
        level by level.
    """

    reference_keys = {
        r"decoder_upsample\.0\.0": "conv5",
        r"decoder_upsample\.1\.0": "conv4",
        r"decoder_norm\.0": "norm4",
        r"decoder_norm\.1": "norm3",
    }

    def __init__(
        self,
        in_channels: Sequence[int],
        mode: str = "seq_add",
        use_norm: bool = True,
        norm_layer: Layer | None = None,
    ) -> None:
        super().__init__()
        checks.sequence("cfnet_transition", length=3, in_channels=in_channels)
        checks.positive("cfnet_transition", **checks.items(in_channels=in_channels))
        checks.choice("cfnet_transition", MODES, mode=mode)
        d3, d4, d5 = in_channels
        self.in_channels = tuple(in_channels)
        self.mode = mode
        if mode == "concat":
            self.conv = nn.Conv2d(d3 + d4 + d5, d3, 1)
            return
        self.conv5 = nn.Conv2d(d5, d4 if mode == "seq_add" else d3, 1)
        self.conv4 = nn.Conv2d(d4, d3, 1)
        norm = (norm_layer or LAYER_NORM) if mode == "seq_add" and use_norm else nn.Identity
        self.norm4 = norm(d4)
        self.norm3 = norm(d3)

    def forward(self, c3: Tensor, c4: Tensor, c5: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        levels = {"c3": c3, "c4": c4, "c5": c5}
        for (name, x), width in zip(levels.items(), self.in_channels, strict=True):
            checks.shaped("cfnet_transition", name, x, (None, width, None, None))
        checks.pyramid("cfnet_transition", levels, exact=True)
        return self.fuse(c3, c4, c5)

    def fuse(self, c3: Tensor, c4: Tensor, c5: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As forward, for maps that need no check."""
        if self.mode == "seq_add":
            p4 = self.norm4(c4 + resize(self.conv5(c5), *c4.shape[2:]))
            return self.norm3(c3 + resize(self.conv4(p4), *c3.shape[2:])), p4, c5
        if self.mode == "add":
            return c3 + resize(self.conv4(c4), *c3.shape[2:]) + resize(self.conv5(c5), *c3.shape[2:]), c4, c5
        joined = torch.cat([c3, resize(c4, *c3.shape[2:]), resize(c5, *c3.shape[2:])], dim=1)
        return self.conv(joined), c4, c5
