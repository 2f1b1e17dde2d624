"""Point-wise spatial attention of PSANet: every place predicts its weights for all others, by their offset."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import ConvNormAct, Layer, precisely, without_autocast
from attnzoo.registry import Paper, register


@register(
    "psa_point",
    title="Point-wise spatial attention (PSANet)",
    contract="context",
    paper=Paper(
        title="PSANet: Point-wise Spatial Attention Network for Scene Parsing",
        authors="Zhao, Zhang, Liu, Shi, Loy, Lin, Jia",
        venue="ECCV",
        year=2018,
        url="https://hszhao.github.io/papers/eccv18_psanet.pdf",
    ),
    source="hszhao/semseg@4f274c3",
    source_license="MIT",
    summary="Every place predicts, by convolutions alone, a weight for every offset: one branch collects from the "
    "others by it, a second one distributes to them. What comes out is appended to the input.",
    summary_zh="每个位置仅凭卷积就为所有相对偏移预测权重：一个分支据此从其他位置收集信息，另一个分支据此向其他位置分发。"
    "结果拼接在输入之后。",
    placement="On stride-8 features before the classifier: 2048 channels, mid_channels 512, masks of 59 x 59.",
    reported="No headline figure recorded here.",
    differences=(
        "The reference lays out its masks by a compiled extension; here it is a gather.",
        "Places beyond the mask keep a logit of 0, and so a share of the softmax, as in the reference.",
        "Pyramid squeeze attention and polarized self-attention are called PSA too.",
    ),
    example={"mid_channels": 16, "shrink_factor": 1, "mask_size": [9, 13]},
    settled=("compact",),
)
class PSAPoint(nn.Module):
    """[x, resize(act(norm(conv([r A for every branch]))))], A the softmax of predicted weights, r = act(norm(conv(x))).

    Args:
        in_channels: C, the channels of the input.
        out_channels: 2 C, or None.
        mid_channels: D, of the branches.
        psa_type: 0 collects, 1 distributes, 2 does both.
        compact: predict one weight for every place instead of every offset, which fixes the size.
        shrink_factor: s; the branches work on maps of (H - 1) / s + 1 by (W - 1) / s + 1.
        mask_size: height and width of the window of offsets, centred; (2h - 1, 2w - 1) covers maps of h x w.
        normalization_factor: what the result is divided by; None takes the number of offsets.
        softmax: over the places that are collected from or that distribute.
        norm_layer: makes the normalisations.

    Shape: (B, C, H, W) -> (B, 2 C, H, W), H - 1 and W - 1 divisible by s.
    Cost: D (C + D + mask) weights a branch, and 2 D C; N^2 D multiply-adds a branch and N^2 stored weights for N
        shrunk places, by the method: they are predicted, not computed from pairs.
    Raises: AttnzooError for an unknown psa_type, numbers below 1, sides that do not shrink evenly, a compact mask of
        another number of places than the map, a single value per channel in training mode, or an input that is not
        (B, C, H, W).
    """

    reference_keys = {
        **{
            rf"{theirs}{suffix}\.{i}": f"branches.{branch}.{ours}"
            for branch, suffix in enumerate(("", "_p"))
            for theirs, i, ours in (
                ("reduce", 0, "reduce.conv"),
                ("reduce", 1, "reduce.norm"),
                ("attention", 0, "hidden.conv"),
                ("attention", 1, "hidden.norm"),
                ("attention", 3, "predict"),
            )
        },
        r"proj\.0": "proj.conv",
        r"proj\.1": "proj.norm",
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        mid_channels: int = 512,
        psa_type: int = 2,
        compact: bool = False,
        shrink_factor: int = 2,
        mask_size: Sequence[int] = (59, 59),
        normalization_factor: float | None = 1.0,
        softmax: bool = True,
        norm_layer: Layer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        checks.positive("psa_point", in_channels=in_channels, mid_channels=mid_channels, shrink_factor=shrink_factor)
        if out_channels is not None:
            checks.equal("psa_point", out_channels=out_channels, **{"2 * in_channels": 2 * in_channels})
        checks.between("psa_point", 0, 2, psa_type=psa_type)
        mask = checks.pair("psa_point", "mask_size", mask_size)
        if normalization_factor is not None:
            checks.above_zero("psa_point", normalization_factor=normalization_factor)
        self.in_channels = in_channels
        self.compact = compact
        self.shrink_factor = shrink_factor
        self.offsets = mask[0] * mask[1]
        divisor = self.offsets if normalization_factor is None else normalization_factor
        self.branches = nn.ModuleList(
            _Branch(in_channels, mid_channels, mask, shrink_factor, collects, compact, softmax, divisor, norm_layer)
            for collects in ((True,), (False,), (True, False))[psa_type]
        )
        self.proj = ConvNormAct(len(self.branches) * mid_channels, in_channels, norm_layer=norm_layer)

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("psa_point", x, self.in_channels)
        checks.shrinks_evenly("psa_point", x, shrink_factor=self.shrink_factor)
        shrunk = x[:, :, :: self.shrink_factor, :: self.shrink_factor]
        if self.compact:
            checks.pixels("psa_point", shrunk, **{"mask_size[0] * mask_size[1]": self.offsets})
        if self.training:
            checks.several_values("psa_point", shrunk)
        y = self.proj(torch.cat([branch(x) for branch in self.branches], dim=1))
        if self.shrink_factor > 1:
            y = F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=True)
        return torch.cat([x, y.to(x.dtype)], dim=1)


class _Branch(nn.Module):
    """Collect or distribute features by weights that are predicted from them: (B, C, H, W) -> (B, D, h, w)."""

    def __init__(
        self,
        channels: int,
        width: int,
        mask: tuple[int, int],
        shrink_factor: int,
        collects: bool,
        compact: bool,
        softmax: bool,
        divisor: float,
        norm_layer: Layer,
    ) -> None:
        super().__init__()
        self.mask, self.shrink_factor = mask, shrink_factor
        self.collects, self.compact, self.softmax, self.divisor = collects, compact, softmax, divisor
        self.reduce = ConvNormAct(channels, width, norm_layer=norm_layer)
        self.hidden = ConvNormAct(width, width, norm_layer=norm_layer)
        self.predict = nn.Conv2d(width, mask[0] * mask[1], 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        r = self._features(x)
        with without_autocast(x):
            return (r.flatten(2) @ self._weights(r).mT).view(r.shape).to(x.dtype)

    def attention(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the weights, a row for every place that receives (B, 1, h w, h w)."""
        return self._weights(self._features(x))[:, None]

    def _features(self, x: Tensor) -> Tensor:
        """(B, D, h, w), in full precision, as the weights are a softmax of what follows."""
        r = precisely(self.reduce, x)
        if self.shrink_factor == 1:
            return r
        size = [(side - 1) // self.shrink_factor + 1 for side in x.shape[2:]]
        return F.interpolate(r, size=size, mode="bilinear", align_corners=True)

    def _weights(self, r: Tensor) -> Tensor:
        logits = precisely(self.predict, precisely(self.hidden, r)).flatten(2)  # (B, mask, h w)
        if not self.compact:
            logits = self._by_place(logits, r.shape[2], r.shape[3])
        if self.collects:
            logits = logits.mT
        return (logits.softmax(dim=2) if self.softmax else logits) / self.divisor

    def _by_place(self, logits: Tensor, height: int, width: int) -> Tensor:
        """From an offset and the place that predicts to the other place and it: (B, mask, h w) -> (B, h w, h w)."""
        (down, is_down), (across, is_across) = (
            _offsets(side, cells, logits) for side, cells in ((height, self.mask[0]), (width, self.mask[1]))
        )
        index = down[:, None, :, None] * self.mask[1] + across[:, None, :]  # (h, w, h, w)
        inside = is_down[:, None, :, None] & is_across[:, None, :]
        places = height * width
        found = logits.gather(1, index.view(1, places, places).expand(logits.shape[0], -1, -1))
        return found.masked_fill(~inside.view(places, places), 0.0)


def _offsets(side: int, cells: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """The mask's cell for every pair of places along a side (side, side), and whether the mask has it."""
    places = torch.arange(side, device=like.device)
    offset = places[:, None] - places + (cells - 1) // 2
    return offset.clamp(0, cells - 1), (offset >= 0) & (offset < cells)
