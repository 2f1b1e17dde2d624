"""Flatten: a feature map as one vector, or its places as one row."""

from torch import Tensor, nn

from attnzoo import checks
from attnzoo.registry import Paper, register


@register(
    "flatten",
    title="Flattening of a feature map",
    contract="fusion",
    paper=Paper(
        title="Gradient-Based Learning Applied to Document Recognition",
        authors="LeCun, Bottou, Bengio, Haffner",
        venue="Proceedings of the IEEE",
        year=1998,
        url="https://doi.org/10.1109/5.726791",
    ),
    source="paper",
    source_license="not applicable",
    summary="Lays out a feature map as one vector per sample, or its rows one behind the other. It is torch.flatten "
    "as a layer, so that the step from maps to vectors has a name and shows when the network is printed.",
    summary_zh="把每个样本的特征图展开成一个向量，或把它的各行依次相连。它是 torch.flatten 的层形式，"
    "使从特征图到向量的这一步有名字，并在打印网络时可见。",
    placement="Between the last feature map, often pooled, and a linear classifier; with start_dim 2 before layers "
    "that take rows of places.",
    reported="No figure: it has no effect of its own.",
    differences=(
        "No paper introduces flattening; the one named here is an early network that has it.",
        "torch.nn.Flatten takes any tensor; this one refuses all but feature maps, with a sentence that says so.",
    ),
    not_applicable={"ddp": "no parameters, so nothing to synchronise"},
)
class Flatten(nn.Module):
    """x, all its dimensions from start_dim on made one, in the order of memory.

    For networks in which the step from maps to vectors should be a layer: seen when the network is printed, and
    checked, so that a forgotten batch dimension or a map of tokens is an error instead of a wrong vector.

    Args:
        start_dim: the first dimension that is flattened: 1 gives vectors, 2 rows of places, 3 the map itself.

    Shape: (B, C, H, W) -> (B, C H W) for start_dim 1, (B, C, H W) for 2.
    Cost: no parameters and no multiply-adds; no copy where memory is contiguous.
    Raises: AttnzooError for a start_dim that is not 1, 2 or 3, or an input that is not (B, C, H, W).
    """

    def __init__(self, start_dim: int = 1) -> None:
        super().__init__()
        checks.between("flatten", 1, 3, start_dim=start_dim)
        self.start_dim = start_dim

    def forward(self, x: Tensor) -> Tensor:
        checks.nchw("flatten", x)
        return x.flatten(self.start_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}"
