"""Interflow: a prediction from every stage of a backbone, mixed by one small convolution."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.blocks import adaptive_avg_pool, spatial_mean
from attnzoo.registry import Paper, register


@register(
    "interflow",
    title="Interflow head",
    contract="head",
    paper=Paper(
        title="Interflow: Aggregating Multi-layer Feature Mappings with Attention Mechanism",
        authors="Cai",
        venue="arXiv",
        year=2021,
        url="https://arxiv.org/abs/2106.14073",
    ),
    source="paper",
    source_license="not applicable",
    summary="Classifies from the features of every stage of a backbone, and mixes the predictions by one weight per "
    "stage, learnt or set by hand. So the shallow stages get gradients directly.",
    summary_zh="从骨干网络每个阶段的特征各做一次分类，再按每个阶段一个权重（可学习或手工设定）混合这些预测。"
    "浅层阶段因此直接获得梯度。",
    placement="On the stages of a CNN, see attnzoo.Branched, which wraps any; in the paper VGG-16, its 13 convolutions "
    "cut into four stages.",
    reported="No headline figure recorded here.",
    differences=(
        "There is no code by the author; this is our reading, with medium to low certainty, of the abstract and of a "
        "public explanation of the paper.",
        "Our reading: the convolution spans the stages and is shared by the classes, has no bias, which would not "
        "change the softmax, and its weights are not normalised; they start as a mean.",
    ),
    example={"in_channels": (64, 32, 16)},
    inputs=("B 64 H W", "B 32 2*H W", "B 16 H 3*W"),
)
class Interflow(nn.Module):
    """sum_i w_i (W_i pool(x_i) + b_i), the same weights w for every class and image.

    Args:
        in_channels: C_i, the channels of each map.
        num_classes: of the logits.
        attention: 'soft', the weights are learnt, or 'hard', they are fixed.
        branch_weights: the weights of 'hard', one for each map; None makes them equal, with the sum 1.
        pool_size: P, the side of the grid that each map is averaged on.
        return_branches: also return the prediction of each stage.

    Shape: maps (B, C_i, H_i, W_i), one by one and of any sizes -> (B, num_classes), and (B, L, num_classes) of L maps
        with return_branches.
    Cost: sum over i of (C_i P^2 + 1) num_classes parameters, and L with 'soft'.
    Raises: AttnzooError for no in_channels, numbers below 1, an unknown attention, branch_weights that are not one for
        each map or that 'soft' would learn, another number of maps, or one that is not (B, C_i, H_i, W_i).
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        attention: str = "soft",
        branch_weights: Sequence[float] | None = None,
        pool_size: int = 1,
        return_branches: bool = False,
    ) -> None:
        super().__init__()
        checks.sequence("interflow", in_channels=in_channels)
        checks.positive("interflow", num_classes=num_classes, pool_size=pool_size)
        checks.positive("interflow", **checks.items(in_channels=in_channels))
        checks.choice("interflow", ("soft", "hard"), attention=attention)
        checks.only_with(
            "interflow", branch_weights is None or attention == "hard", "branch_weights", "attention='hard'"
        )
        count = len(in_channels)
        if branch_weights is not None:
            checks.sequence("interflow", length=count, branch_weights=branch_weights)
        self.in_channels = tuple(in_channels)
        self.pool_size = pool_size
        self.return_branches = return_branches
        self.branches = nn.ModuleList(nn.Linear(width * pool_size**2, num_classes) for width in in_channels)
        self.fusion = nn.Conv2d(1, 1, (1, count), bias=False) if attention == "soft" else None
        self.branch_weights = tuple(branch_weights or [1 / count] * count)
        if self.fusion is not None:
            nn.init.constant_(self.fusion.weight, 1 / count)

    def forward(self, *maps: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        checks.several_maps("interflow", maps, len(self.in_channels))
        for i, (x, width) in enumerate(zip(maps, self.in_channels, strict=True)):
            checks.shaped("interflow", f"maps[{i}]", x, (maps[0].shape[0] if i else None, width, None, None))
        predictions = torch.stack([branch(self._pool(x)) for branch, x in zip(self.branches, maps, strict=True)], dim=1)
        mixed = (predictions * self._weights(predictions)[:, None]).sum(dim=1)
        return (mixed, predictions) if self.return_branches else mixed

    def _pool(self, x: Tensor) -> Tensor:
        """(B, C_i, H_i, W_i) -> (B, C_i P^2)."""
        if self.pool_size == 1:
            return spatial_mean(x).to(x.dtype)
        return adaptive_avg_pool(x, self.pool_size, self.pool_size).flatten(1).to(x.dtype)

    def _weights(self, like: Tensor) -> Tensor:
        if self.fusion is None:
            return torch.tensor(self.branch_weights, dtype=like.dtype, device=like.device)
        return self.fusion.weight.flatten()
