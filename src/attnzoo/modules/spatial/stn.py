"""STN, the Spatial Transformer: the map is sampled anew through an affine transform of its own choice."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import laid_out_like, wide, without_autocast
from attnzoo.registry import Paper, register

JADERBERG = Paper(
    title="Spatial Transformer Networks",
    authors="Jaderberg, Simonyan, Zisserman, Kavukcuoglu",
    venue="NeurIPS",
    year=2015,
    url="https://arxiv.org/abs/1506.02025",
)


@register(
    "stn",
    title="Spatial Transformer (affine)",
    contract="feature",
    plug_in=False,
    paper=JADERBERG,
    source="torch.nn.functional (the sampling); pytorch/tutorials (conv); "
    "AlexHex7/Spatial-Transformer-Networks_pytorch@546ab6c (fc)",
    source_license="none found",
    summary="A small network reads an affine transform from the map, and the map is sampled bilinearly on the grid so "
    "transformed. The network can thus crop, turn and scale its own input, trained by the task alone.",
    summary_zh="一个小型定位网络从特征图预测仿射变换，再按变换后的网格对特征图做双线性采样。"
    "网络由此能够自行裁剪、旋转和缩放输入，只靠任务损失训练。",
    placement="On the input image or between early convolutions, the localisation network at a tenth of the learning "
    "rate or so.",
    reported="None for the plain module; the paper's figures belong to its whole networks.",
    differences=(
        "PyTorch before 1.3 sampled with aligned corners, today's default is without: weights of the fc port need "
        "align_corners=True, and a mixture of both shifts the image even for the identity.",
        "The fc port ends in a tanh, so that its identity bias gives 0.76 on the diagonal and zooms in at first; "
        "this is kept.",
        "A well-known TensorFlow version scales by size - 2, so that the identity does not give the input back, and "
        "clips corners instead of padding with zeros.",
        "The method takes any sampling kernel; for thin-plate splines instead of affine transforms see stn_tps.",
    ),
    inputs=("B C H W", "B 2 3"),
    settled=("localization",),
    not_applicable={"ddp": "no parameters, so nothing to synchronise"},
)
class STN(nn.Module):
    """Sample x at the places theta (u, v, 1), (u, v) the places of the output, all coordinates in [-1, 1].

    Args:
        channels, height, width: of the maps; 'fc' and 'conv' need all three.
        localization: what gives theta: None takes it as the second input; 'fc' is linear, tanh, dropout, linear,
            tanh; 'conv' is two convolutions with pooling and two linear layers, for maps of at least 18 x 18;
            or any module from (B, C, H, W) to six numbers an image.
        hidden: the width of 'fc'.
        output_size: height and width of the output; None takes the input's.
        align_corners: whether -1 and 1 are the centres of the outermost pixels, or their outer edges.
        mode: 'bilinear', 'nearest' or 'bicubic'.
        padding_mode: what lies outside: 'zeros', 'border' or 'reflection'.

    Shape: (B, C, H, W), and (B, 2, 3) if there is no localization -> (B, C, H', W').
    Cost: 4 C H' W' multiply-adds for the sampling, and the localisation network.
    Raises: AttnzooError for an unknown option, a size that is missing or too small, maps of another size than the
        localisation was built for, a theta that is not (B, 2, 3), or an input that is not (B, C, H, W).
    """

    reference_keys = {
        r"fc\.0": "localization.1",
        r"fc\.3": "localization.4",
        r"fc_loc\.0": "localization.7",
        r"fc_loc\.2": "localization.9",
    }

    def __init__(
        self,
        channels: int | None = None,
        height: int | None = None,
        width: int | None = None,
        localization: str | nn.Module | None = None,
        hidden: int = 20,
        output_size: Sequence[int] | None = None,
        align_corners: bool = False,
        mode: str = "bilinear",
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        sizes = {"channels": channels, "height": height, "width": width}
        checks.positive("stn", hidden=hidden, **{name: size for name, size in sizes.items() if size is not None})
        if output_size is not None:
            checks.sequence("stn", length=2, output_size=output_size)
            checks.positive("stn", **checks.items(output_size=output_size))
        checks.choice("stn", ("bilinear", "nearest", "bicubic"), mode=mode)
        checks.choice("stn", ("zeros", "border", "reflection"), padding_mode=padding_mode)
        self.channels, self.output_size = channels, None if output_size is None else tuple(output_size)
        self.fixed_size: tuple[int, int] | None = None
        self.how: dict[str, Any] = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
        if isinstance(localization, str):
            checks.choice("stn", ("fc", "conv"), localization=localization)
            why = f"localization={localization!r} is built for maps of one size"
            c, h, w = (checks.needed("stn", name, size, why) for name, size in sizes.items())
            if localization == "conv":
                checks.at_least("stn", 18, height=h, width=w)
            localization = _fc(c * h * w, hidden) if localization == "fc" else _conv(c, h, w)
            self.fixed_size = (h, w)
        self.localization = localization

    def forward(self, x: Tensor, theta: Tensor | None = None) -> Tensor:
        checks.nchw("stn", x, self.channels, name="x")
        return sample(x, self._grid(x, theta), **self.how)

    def attention(self, x: Tensor, theta: Tensor | None = None) -> Tensor:
        """The inputs of forward -> how much each output pixel reads of each input pixel, (B, 1, H' W', H W)."""
        return sampling_weights(x, self._grid(x, theta), **self.how)

    def _grid(self, x: Tensor, theta: Tensor | None) -> Tensor:
        """Where each output pixel is read: (B, H', W', 2), the last axis (x, y)."""
        if self.fixed_size is not None:
            checks.same_size("stn", x, *self.fixed_size)
        if self.localization is not None:
            theta = self.localization(x).view(-1, 2, 3)
        theta = wide(checks.shaped("stn", "theta", theta, (x.shape[0], 2, 3)))
        height, width = self.output_size or x.shape[2:]
        places = lattice(height, width, theta, self.how["align_corners"]).flatten(0, 1)  # (H' W', 2)
        with without_autocast(x):
            read = places @ theta[:, :, :2].transpose(1, 2) + theta[:, None, :, 2]
        return read.unflatten(1, (height, width))


def lattice(height: int, width: int, like: Tensor, align_corners: bool) -> Tensor:
    """The places (x, y) of all pixels, from -1 to 1: (height, width, 2), in the dtype and on the device of `like`."""
    y, x = (
        torch.arange(n, dtype=like.dtype, device=like.device) * (2 / max(n - 1, 1)) - 1
        if align_corners
        else (2 * torch.arange(n, dtype=like.dtype, device=like.device) + 1) / n - 1
        for n in (height, width)
    )
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=2)


def sample(x: Tensor, grid: Tensor, **how: Any) -> Tensor:
    """Read x (B, C, H, W) at the places of the grid (B, H', W', 2) -> (B, C, H', W')."""
    return laid_out_like(F.grid_sample(wide(x), grid.to(wide(x).dtype), **how).to(x.dtype), x)


def sampling_weights(x: Tensor, grid: Tensor, **how: Any) -> Tensor:
    """How much each place of the grid reads of each pixel: (B, 1, H' W', H W), found by sampling unit images."""
    pixels = x.shape[2] * x.shape[3]
    units = torch.eye(pixels, dtype=grid.dtype, device=x.device).view(1, pixels, *x.shape[2:])
    read = F.grid_sample(units.expand(x.shape[0], -1, -1, -1), grid, **how)  # (B, H W, H', W')
    return read.flatten(2).transpose(1, 2)[:, None]


def _fc(inputs: int, hidden: int) -> nn.Sequential:
    last = _identity(nn.Linear(hidden, 6))
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.Tanh(), nn.Dropout(0.5), last, nn.Tanh())


def _conv(channels: int, height: int, width: int) -> nn.Sequential:
    left = [((n - 6) // 2 - 4) // 2 for n in (height, width)]  # what the convolutions and poolings leave of a side
    return nn.Sequential(
        nn.Conv2d(channels, 8, 7),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(8, 10, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(10 * left[0] * left[1], 32),
        nn.ReLU(),
        _identity(nn.Linear(32, 6)),
    )


def _identity(layer: nn.Linear) -> nn.Linear:
    """Let the layer give the identity transform, whatever its input."""
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))
    return layer
