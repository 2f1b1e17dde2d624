"""Concat: several feature maps, one behind the other."""

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.registry import Paper, register


@register(
    "concat",
    title="Concatenation of feature maps",
    contract="fusion",
    paper=Paper(
        title="Going Deeper with Convolutions",
        authors="Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich",
        venue="CVPR",
        year=2015,
        url="https://arxiv.org/abs/1409.4842",
    ),
    source="paper",
    source_license="not applicable",
    summary="Joins feature maps along their channels, or along another dimension. It is torch.cat as a layer, so that "
    "the place where a network's branches meet has a name and shows when the network is printed.",
    summary_zh="把多张特征图沿通道（或其他维度）拼接起来。它是 torch.cat 的层形式，使网络各分支汇合之处有名字，"
    "并在打印网络时可见。",
    placement="Wherever branches meet: inception blocks, skip connections, detection necks.",
    reported="No figure: it has no effect of its own.",
    differences=(
        "No paper introduces concatenation; the one named here made it common in vision.",
        "Detection frameworks take a list; here the maps are given one by one, as to all modules of this family.",
    ),
    inputs=("B C H W", "B 2*C H W", "B 3 H W"),
    settled=("dim",),
    not_applicable={"ddp": "no parameters, so nothing to synchronise"},
)
class Concat(nn.Module):
    """[x_0, x_1, ...], joined along a dimension.

    For networks in which the joining of branches should be a layer: seen when the network is printed, hooked,
    recorded as a node of a graph, and told from other joints by its name.

    Args:
        dim: along which the maps are joined: 1 for channels, 2 for rows, 3 for columns.

    Shape: maps (B, C_i, H, W), equal but along dim -> (B, sum of C_i, H, W) for dim 1.
    Cost: no parameters and no multiply-adds; one copy of the maps.
    Raises: AttnzooError for a dim that is not 1, 2 or 3, no maps, or maps that differ along another dimension.
    """

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        checks.between("concat", 1, 3, dim=dim)
        self.dim = dim

    def forward(self, *maps: Tensor) -> Tensor:
        checks.several_maps("concat", maps)
        checks.nchw("concat", maps[0], name="maps[0]")
        sizes = [None if i == self.dim else n for i, n in enumerate(maps[0].shape)]
        for i, x in enumerate(maps):
            checks.shaped("concat", f"maps[{i}]", x, sizes)
        return torch.cat(maps, dim=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
