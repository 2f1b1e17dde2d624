"""DCA, Deep Connected Attention: each block's gate also reads what the block before it passed on."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import BottleneckMLP, ConvNormAct, mean, precisely, spatial_mean, wide, without_autocast
from attnzoo.modules.channel.eca import filter_size
from attnzoo.modules.channel_spatial.cbam import SpatialGate
from attnzoo.registry import Paper, register

_KEYS = {  # the authors' names, by form
    "ge": {r"conv\.0": "mix.weigh", r"conv\.1": "mix.norm", "att_fc": "adapt"},
    "gc": {"conv_mask": "score", "channel_add_conv": "transform", "att_fc": "adapt", "weight": "prev_weight"},
    "cbam": {
        r"ChannelGate\.mlp\.1": "channel_gate.mlp.fc1",
        r"ChannelGate\.mlp\.3": "channel_gate.mlp.fc2",
        r"ChannelGate\.alpha\.0": "channel_gate.mix.weigh",
        r"ChannelGate\.alpha\.1": "channel_gate.mix.norm",
        r"ChannelGate\.att_fc\.0": "channel_gate.adapt.conv",
        r"ChannelGate\.att_fc\.1": "channel_gate.adapt.norm",
        r"SpatialGate\.spatial\.conv": "spatial_gate.conv",
        r"SpatialGate\.spatial\.bn": "spatial_gate.norm",
        r"SpatialGate\.bnrelu\.0": "spatial_gate.mixed_norm",
        r"SpatialGate\.p1": "spatial_gate.own_weight",
        r"SpatialGate\.p2": "spatial_gate.prev_weight",
    },
}
_KEYS["eca"] = _KEYS["ge"]
_KEYS["se"] = {**_KEYS["ge"], r"fc\.0": "mlp.fc1", r"fc\.2": "mlp.fc2"}


@register(
    "dca",
    title="Deep Connected Attention (DCANet)",
    contract="feature",
    plug_in=False,
    carries=True,
    paper=Paper(
        title="DCANet: Learning Connected Attentions for Convolutional Neural Networks",
        authors="Ma, Guo, Tang, Qiao, Chen, Yang, Fu",
        venue="ICME",
        year=2021,
        url="https://arxiv.org/abs/2007.05099",
    ),
    source="13952522076/DCANet@29c0792",
    source_license="none found",
    summary="Links the attention of neighbouring blocks: each mixes the message of the block before it into its own "
    "statistics, and passes a message on. There are forms for SE, ECA, GE, GC and CBAM.",
    summary_zh="把相邻残差块的注意力连接起来：每一块将前一块传来的消息混入自己的统计量，再向后传出消息。"
    "提供 SE、ECA、GE、GC 与 CBAM 五种形式。",
    placement="In every residual block, the messages handed from block to block through the whole network.",
    reported="ImageNet top-1, ResNet-50: SE 77.29 to 77.55, GE 76.24 to 76.75, GC 74.90 to 75.42, CBAM 77.28 to 77.83, "
    "SK 77.79 to 77.94.",
    differences=(
        "The paper passes the attention on; the code, followed here, passes the gated statistic or the gated map.",
        "The authors' mobile networks adapt a message of other width by two layers, and a bottleneck of theirs "
        "connects SK; both are left out.",
        "The form for ECA is ours, made by the rule of the others; the authors have none.",
        "The authors' code and results table disagree on sizes: ResNet-50 with SE has 30,898,696 parameters in code.",
    ),
    inert=("form.score.bias", "form*.mix.weigh.*"),  # under a softmax; the norm takes out shift and scale
    inputs=("B C H W", "B C"),
)
class DCA(nn.Module):
    """An attention of the chosen form, and its message to the next block: (y, message), of CBAM two messages.

    Args:
        channels: C, the channels of the input.
        attention: 'se', 'eca', 'ge', 'gc' or 'cbam'.
        prev_channels: P, the width of the message from the block before, C by default.
        reduction: r; the bottlenecks of 'se', 'gc' and 'cbam' are C // r wide.

    Shape: (B, C, H, W) and the message, or None at the first block -> (B, C, H, W) and the message. Messages
        are (B, P) of 'se', 'eca' and 'ge', (B, P, 1, 1) of 'gc'; of 'cbam' the channel gate's map (B, P, H', W') and
        the spatial gate's, whose sides are k H and k W.
    Cost: that of the attention, 2 C + 3 parameters for the mixing, and (P + 3) C where the widths differ.
    Raises: AttnzooError for an unknown attention, a bottleneck without channels, messages of another shape, or
        an input that is not (B, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        attention: str = "se",
        prev_channels: int | None = None,
        reduction: int = 16,
    ) -> None:
        super().__init__()
        checks.choice("dca", _FORMS, attention=attention)
        prev_channels = channels if prev_channels is None else prev_channels
        checks.positive("dca", channels=channels, prev_channels=prev_channels, reduction=reduction)
        hidden = channels if attention in ("eca", "ge") else checks.reduced("dca", channels, reduction)
        self.channels = channels
        self.prev_channels = prev_channels
        self.form: Any = _FORMS[attention](channels, prev_channels, hidden)
        self.reference_keys = {theirs: f"form.{ours}" for theirs, ours in _KEYS[attention].items()}

    def forward(self, x: Tensor, prev: Tensor | None = None, prev_spatial: Tensor | None = None) -> tuple[Tensor, ...]:
        checks.nchw("dca", x, self.channels, name="x")
        if prev is not None:
            checks.shaped("dca", "prev", prev, (x.shape[0], self.prev_channels, *self.form.message))
        if not isinstance(self.form, _CBAM):
            checks.absent("dca", prev_spatial=prev_spatial)
            return self.form(x, prev)
        if prev_spatial is not None:
            times = max(1, prev_spatial.shape[2] // x.shape[2]) if prev_spatial.dim() == 4 else 1
            sides = (times * x.shape[2], times * x.shape[3])
            checks.shaped("dca", "prev_spatial", prev_spatial, (x.shape[0], None, *sides))
        return self.form(x, prev, prev_spatial)


class _Mix(nn.Module):
    """relu(norm(a p + b q)), a and b scalars: twice (B, C) -> (B, C)."""

    def __init__(self, channels: int, bias: bool = True) -> None:
        super().__init__()
        self.weigh = nn.Linear(2, 1, bias=bias)
        self.norm = nn.LayerNorm(channels)

    def forward(self, p: Tensor, q: Tensor) -> Tensor:
        return self.norm(self.weigh(torch.stack([p, q], dim=2))[..., 0]).relu()


class _Gated(nn.Module):
    """Gate the channels by mlp of their means, mixed with the message: (B, C, H, W), (B, P) -> the map, (B, C)."""

    message = ()

    def __init__(self, channels: int, prev_channels: int, mlp: nn.Module) -> None:
        super().__init__()
        layers = (nn.Linear(prev_channels, channels), nn.LayerNorm(channels), nn.ReLU())
        self.adapt = nn.Sequential(*(layers if prev_channels != channels else ()))
        self.mix = _Mix(channels)
        self.mlp = mlp

    def forward(self, x: Tensor, prev: Tensor | None) -> tuple[Tensor, Tensor]:
        means = spatial_mean(x).to(self.mix.norm.weight.dtype)  # (B, C)
        gate = self.gate(means, prev)
        return x * gate.to(x.dtype), (means * gate[:, :, 0, 0]).to(x.dtype)

    def gate(self, means: Tensor, prev: Tensor | None) -> Tensor:
        """The means and the message -> (B, C, 1, 1)."""
        with without_autocast(means):
            mixed = means if prev is None else self.mix(means, self.adapt(prev.to(means.dtype)))
            return self.mlp(mixed).sigmoid()[:, :, None, None]


class _GC(nn.Module):
    """Add one transformed context to all places. (B, C, H, W), (B, P, 1, 1) -> the map, (B, C, 1, 1)."""

    message = (1, 1)

    def __init__(self, channels: int, prev_channels: int, hidden: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, 1, 1)
        self.transform = _bottleneck(channels, hidden, channels)
        self.adapt = _bottleneck(prev_channels, hidden, channels) if prev_channels != channels else nn.Sequential()
        self.prev_weight = nn.Parameter(torch.zeros(1))
        for parameter in self.transform[3].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, prev: Tensor | None) -> tuple[Tensor, Tensor]:
        with without_autocast(x):
            places = self.attention(x)[:, 0, 0, :, None]  # (B, H W, 1)
            context = (x.flatten(2).to(places.dtype) @ places)[..., 0]  # (B, C)
            if prev is not None:
                context = context + self.prev_weight * self.adapt(prev.flatten(1).to(context.dtype))
            message = self.transform(context).to(x.dtype)[:, :, None, None]
        return x + message, message

    def attention(self, x: Tensor, _: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> the weight of each place in the context, (B, 1, 1, H W)."""
        return precisely(self.score, x).flatten(2).softmax(dim=2)[:, None]


class _CBAM(nn.Module):
    """Both gates of CBAM, each with a map for its message. (B, C, H, W) and two maps -> the map, both messages."""

    message = (None, None)

    def __init__(self, channels: int, prev_channels: int, hidden: int) -> None:
        super().__init__()
        self.channel_gate = _ChannelGate(channels, prev_channels, hidden)
        self.spatial_gate = _SpatialGate()

    def forward(self, x: Tensor, prev: Tensor | None, prev_spatial: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        y = wide(x) * self.channel_gate.gate(x, prev)
        out = (y * self.spatial_gate.gate(y, prev_spatial)).to(x.dtype)
        return out, y.to(x.dtype), out


class _ChannelGate(nn.Module):
    """CBAM's channel gate, each of its poolings mixed with that of the message."""

    def __init__(self, channels: int, prev_channels: int, hidden: int) -> None:
        super().__init__()
        same = prev_channels == channels
        self.adapt = nn.Identity() if same else ConvNormAct(prev_channels, channels, bias=True)
        self.mix = _Mix(channels, bias=False)
        self.mlp = BottleneckMLP(channels, hidden, bias=True)

    def gate(self, x: Tensor, prev: Tensor | None = None) -> Tensor:
        """(B, C, H, W) and the message -> (B, C, 1, 1)."""
        with without_autocast(x):
            pooled = self._pool(x)
            if prev is not None:
                pooled = self.mix(pooled, self._pool(self.adapt(prev.to(pooled.dtype))))
            return self.mlp(pooled).unflatten(0, (2, -1)).sum(dim=0).sigmoid()[:, :, None, None]

    def _pool(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the means and then the maxima, (2 B, C)."""
        dtype = self.mix.norm.weight.dtype
        return torch.cat([spatial_mean(x).to(dtype), x.amax(dim=(2, 3)).to(dtype)])


class _SpatialGate(SpatialGate):
    """CBAM's spatial gate, its two pooled maps mixed with those of the message."""

    def __init__(self) -> None:
        super().__init__(7)
        self.own_weight = nn.Parameter(torch.ones(1))
        self.prev_weight = nn.Parameter(torch.zeros(1))
        self.mixed_norm = nn.BatchNorm2d(2)

    def gate(self, x: Tensor, prev: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """(B, C, H, W) and the message -> (B, 1, H, W)."""
        with without_autocast(x):
            pooled = self._pool(x)
            if prev is not None:
                before = self._pool(F.avg_pool2d(wide(prev), prev.shape[2] // x.shape[2]))
                pooled = self.mixed_norm(self.own_weight * pooled + self.prev_weight * before).relu()
            return self.norm(self.conv(pooled)).sigmoid().to(x.dtype)

    def _pool(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the channels' maximum and then their mean, (B, 2, H, W)."""
        return torch.cat([x.amax(dim=1, keepdim=True), mean(x, 1, keepdim=True)], dim=1).to(self.conv.weight.dtype)


def _bottleneck(channels: int, hidden: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, out_channels))


def _ge(channels: int, prev_channels: int, _: int) -> nn.Module:
    return _Gated(channels, prev_channels, nn.Identity())


def _se(channels: int, prev_channels: int, hidden: int) -> nn.Module:
    return _Gated(channels, prev_channels, BottleneckMLP(channels, hidden, bias=True))


def _eca(channels: int, prev_channels: int, _: int) -> nn.Module:
    along = nn.Conv1d(1, 1, filter_size(channels), padding="same", bias=False)
    return _Gated(channels, prev_channels, nn.Sequential(nn.Unflatten(1, (1, channels)), along, nn.Flatten(1)))


_FORMS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "se": _se,
    "eca": _eca,
    "ge": _ge,
    "gc": _GC,
    "cbam": _CBAM,
}
