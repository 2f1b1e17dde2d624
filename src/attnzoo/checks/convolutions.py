"""Wrong arguments and inputs of convolutions."""

from collections.abc import Sequence

from torch import Tensor, nn

from attnzoo.checks.arguments import divisible, odd, pair, positive
from attnzoo.checks.inputs import _shape
from attnzoo.errors import AttnzooError


def larger_than_kernel(
    module: str, x: Tensor, kernel_size: Sequence[int], dilation: Sequence[int], padding: Sequence[int]
) -> None:
    """Raise AttnzooError for a map that a convolution's kernel does not fit into, padding included."""
    height, width = (d * (k - 1) + 1 - 2 * p for k, d, p in zip(kernel_size, dilation, padding, strict=True))
    if x.shape[2] < height or x.shape[3] < width:
        raise AttnzooError(f"{module}: expected maps of at least {height} x {width}, got {_shape(x)}.")


def square(module: str, name: str, value: int | Sequence[int]) -> int:
    """Give the value of an argument as one integer of at least 1; two equal ones count as one."""
    height, width = pair(module, name, value)
    if height != width:
        raise AttnzooError(f"{module}: {name}={value!r} is not square; use one integer.")
    return height


def window(
    module: str,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    dilation: int | Sequence[int],
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Give kernel_size, stride, padding and dilation of a convolution as two integers each, or raise AttnzooError."""
    return (
        pair(module, "kernel_size", kernel_size),
        pair(module, "stride", stride),
        pair(module, "padding", padding, least=0),
        pair(module, "dilation", dilation),
    )


def centred(
    module: str, kernel_size: int, padding: int | Sequence[int] | None, dilation: int | Sequence[int]
) -> tuple[int, int]:
    """Give the padding that centres an odd kernel on its place; raise AttnzooError where another is asked for."""
    odd(module, kernel_size=kernel_size)
    height, width = (d * (kernel_size // 2) for d in pair(module, "dilation", dilation))
    if padding is not None and pair(module, "padding", padding, least=0) != (height, width):
        raise AttnzooError(
            f"{module}: padding={padding!r} moves kernels of different sizes apart; use {(height, width)}, or None."
        )
    return height, width


def size_kept(module: str, kernel_size: int, padding: int | None) -> int:
    """Give kernel_size // 2, or raise AttnzooError for an even kernel or any other padding but None."""
    odd(module, kernel_size=kernel_size)
    if padding not in (None, kernel_size // 2):
        raise AttnzooError(
            f"{module}: padding={padding!r} changes the map's size under kernel_size={kernel_size}; "
            f"use {kernel_size // 2}, or None."
        )
    return kernel_size // 2


def strided_windows(module: str, x: Tensor, kernel_size: int, padding: int, stride: int) -> None:
    """Raise AttnzooError unless the padded map has as many windows as stride x stride cells, on both sides."""
    for size in x.shape[2:]:
        windows, cells = (size + 2 * padding - kernel_size) // stride + 1, (size - 1) // stride + 1
        if windows != cells:
            raise AttnzooError(
                f"{module}: expected as many windows as cells of {stride} x {stride}, got {windows} and {cells} along "
                f"{size} places of {_shape(x)} for kernel_size={kernel_size}, padding={padding}, stride={stride}; "
                "use an odd kernel_size and padding = kernel_size // 2."
            )


def channel_groups(module: str, in_channels: int, out_channels: int, groups: int) -> None:
    """Raise AttnzooError unless all are positive and the groups divide the channels on both sides."""
    positive(module, in_channels=in_channels, out_channels=out_channels, groups=groups)
    divisible(module, "in_channels", in_channels, groups=groups)
    divisible(module, "out_channels", out_channels, groups=groups)


def paddable(module: str, x: Tensor, padding: Sequence[int], padding_mode: str) -> None:
    """Raise AttnzooError for a map too small for its own padding: a reflection leaves out the border itself."""
    if padding_mode not in ("reflect", "circular"):
        return
    height, width = (p + (padding_mode == "reflect") for p in padding)
    if x.shape[2] < height or x.shape[3] < width:
        raise AttnzooError(
            f"{module}: expected maps of at least {height} x {width} for padding_mode={padding_mode!r}, "
            f"got {_shape(x)}."
        )


def same_convolution(module: str, conv: nn.Conv2d, own: nn.Conv2d) -> None:
    """Raise AttnzooError unless a plain convolution, to be taken over, has the form of the module's own."""
    for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"):
        given, wanted = getattr(conv, name), getattr(own, name)
        if given != wanted:
            raise AttnzooError(f"{module}: cannot take over a convolution of {name}={given}; its own is {wanted}.")
    if conv.padding_mode != own.padding_mode:
        raise AttnzooError(
            f"{module}: cannot take over a convolution of padding_mode={conv.padding_mode!r}; its own is "
            f"{own.padding_mode!r}."
        )


def whole_blocks(module: str, x: Tensor, side: int) -> None:
    """Raise AttnzooError unless the map divides into blocks of side x side places."""
    if x.shape[2] % side or x.shape[3] % side:
        raise AttnzooError(
            f"{module}: expected maps whose height and width are multiples of {side}, got {_shape(x)}. Pad them first."
        )


def takes_over(module: str, conv: nn.Conv2d, holds: bool, wanted: str) -> None:
    """Raise AttnzooError unless it holds that a plain convolution can be taken over; `wanted` says which ones can."""
    if not holds:
        raise AttnzooError(f"{module}: cannot take over {conv}; as built it takes {wanted}.")


def bare(module: str, **parts: nn.Module) -> None:
    """Raise AttnzooError unless the parts, which no plain convolution has, are identities; named by their arguments."""
    for name, part in parts.items():
        if not isinstance(part, nn.Identity):
            raise AttnzooError(
                f"{module}: cannot take over a plain convolution, which has nothing like its {name}; build it without."
            )


def running_statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Give the mean and variance that a BatchNorm keeps, or raise AttnzooError where it keeps none."""
    if norm.running_mean is None or norm.running_var is None:
        raise AttnzooError(
            "fold: expected a BatchNorm with running statistics, got track_running_stats=False: what it computes "
            "depends on the batch, so no convolution equals it."
        )
    return norm.running_mean, norm.running_var
