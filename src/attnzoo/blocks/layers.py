"""Layers that many modules are built from."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks.precision import precisely, wide

Layer = Callable[[int], nn.Module]  # channels -> normalisation


Activation = Callable[[], nn.Module]


class ConvNormAct(nn.Module):
    """Convolution, normalisation, activation; at stride 1 the map keeps its size.

    Args:
        in_channels, out_channels, kernel_size, stride, dilation, groups, bias: as in `nn.Conv2d`.
        norm_layer: makes the normalisation for out_channels; None leaves it out.
        act_layer: makes the activation; None leaves it out.

    Shape: (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)) for odd kernels.
    """

    reference_keys = {"bn": "norm", "0": "conv", "1": "norm"}  # as others name the parts, or count them

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        norm_layer: Layer | None = nn.BatchNorm2d,
        act_layer: Activation | None = nn.ReLU,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel_size - 1) // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=bias)
        self.norm = norm_layer(out_channels) if norm_layer else nn.Identity()
        self.act = act_layer() if act_layer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class Pointwise(nn.Module):
    """One of torch's activations; a subclass says which, and its name in messages."""

    called: str
    function: Callable[[Tensor, bool], Tensor]  # of the input, and whether to write over it

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        checks.floating(self.called, x)
        return self.function(x, self.inplace)


class BottleneckMLP(nn.Module):
    """Two linear layers with an activation between: the usual predictor of channel gates.

    Shape: (B, channels) -> (B, out_channels), logits, unrounded by autocast; out_channels is channels by default.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        bias: bool,
        act_layer: Activation = nn.ReLU,
        out_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden, bias=bias)
        self.act = act_layer()
        self.fc2 = nn.Linear(hidden, channels if out_channels is None else out_channels, bias=bias)

    def forward(self, z: Tensor) -> Tensor:
        return precisely(self.fc2, self.act(precisely(self.fc1, z)))


def depthwise(channels: int, kernel_size: int | tuple[int, int], dilation: int = 1) -> nn.Conv2d:
    """One filter per channel, with bias, for an odd kernel: the map keeps its size."""
    height, width = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    padding = (dilation * (height - 1) // 2, dilation * (width - 1) // 2)
    return nn.Conv2d(channels, channels, (height, width), padding=padding, dilation=dilation, groups=channels)


class GatedProjection(nn.Module):
    """x + proj_out(h * gating.gate(h)), h = gelu(proj_in(x)): the shell of the large-kernel attentions.

    Args:
        channels: of input and output.
        gating: a module with a method `gate`, (B, channels, H, W) -> the same.

    Shape: (B, channels, H, W) -> the same.
    """

    reference_keys = {"proj_1": "proj_in", "proj_2": "proj_out", "spatial_gating_unit": "gating"}

    def __init__(self, channels: int, gating: nn.Module) -> None:
        super().__init__()
        self.channels = channels
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.act = nn.GELU()
        self.gating: Any = gating
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.proj_in(x))
        return x + precisely(self.proj_out, wide(h) * self.gating.gate(h)).to(x.dtype)


NORMS: dict[str, Layer] = {"batch_norm": nn.BatchNorm2d}  # as a configuration file may call them


def norm_of(layer: Layer | str | None) -> Layer | None:
    """A normalisation, or the one that a name stands for."""
    return NORMS[layer] if isinstance(layer, str) else layer


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """(B, C, ...) -> the same: the channels of the groups dealt out in turn, as by a perfect shuffle."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def make_divisible(value: float, divisor: int = 8) -> int:
    """The multiple of the divisor nearest to a value, at least the divisor and at least 90% of the value."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * value else rounded + divisor


def strip_norm_act(
    in_channels: int,
    out_channels: int,
    kernel_size: tuple[int, int],
    norm_layer: Layer = nn.BatchNorm2d,
    act_layer: Activation = nn.ReLU,
) -> nn.Sequential:
    """As `ConvNormAct` with stride 1, for a kernel of odd height and width: the map keeps its size."""
    height, width = kernel_size
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=(height // 2, width // 2), bias=False)
    return nn.Sequential(OrderedDict(conv=conv, norm=norm_layer(out_channels), act=act_layer()))


def drop_path(y: Tensor, probability: float, training: bool) -> Tensor:
    """A residual branch left out for each sample with this probability in training, and scaled up to make up for it."""
    if not training or not probability:
        return y
    kept = y.new_empty(y.shape[0], *(1,) * (y.dim() - 1)).bernoulli_(1 - probability)
    return y * (kept / (1 - probability))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of every place: (B, C, H, W) -> the same."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
