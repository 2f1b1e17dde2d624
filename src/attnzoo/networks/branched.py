"""A backbone whose stages each make a prediction, mixed by Interflow."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attnzoo import checks
from attnzoo.errors import AttnzooError
from attnzoo.modes import evaluating
from attnzoo.modules.head.interflow import Interflow


class Branched(nn.Module):
    """A backbone whose named stages feed an Interflow head; what the backbone itself returns is not used.

    Layers behind the last stage, such as the classifier, still run and get no gradient: with DDP, take them out or
    set find_unused_parameters.

    Args:
        backbone: any module that runs on images.
        stages: the names of submodules of the backbone that give maps, such as 'layer1'.
        num_classes: of the logits.
        example_input: what the backbone takes, to find the stages' channels; None is one image of 3 x 224 x 224.
        **arguments: of `interflow`, such as attention='hard' or return_branches=True.

    Shape: what the backbone takes -> what `interflow` gives for the stages' maps, (B, num_classes).
    Raises: AttnzooError for a stage that the backbone does not have, that does not run or that gives no map, or
        arguments that `interflow` refuses.
    """

    def __init__(
        self,
        backbone: nn.Module,
        stages: Sequence[str],
        num_classes: int,
        example_input: Tensor | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__()
        checks.sequence("interflow", stages=stages)
        checks.choice(
            "interflow", [name for name, _ in backbone.named_modules() if name], **checks.items(stages=stages)
        )
        self.backbone = backbone
        self.stages = tuple(stages)
        self.seen: dict[str, Tensor] = {}
        for name in stages:
            backbone.get_submodule(name).register_forward_hook(_Keeper(self.seen, name))
        with evaluating(backbone), torch.no_grad():
            maps = self.maps(torch.zeros(1, 3, 224, 224) if example_input is None else example_input)
        self.head = Interflow([x.shape[1] for x in maps], num_classes, **arguments)

    def forward(self, *inputs: Any) -> Tensor | tuple[Tensor, Tensor]:
        return self.head(*self.maps(*inputs))

    def maps(self, *inputs: Any) -> list[Tensor]:
        """What the stages give."""
        self.seen.clear()
        self.backbone(*inputs)
        for name in self.stages:
            if name not in self.seen:
                raise AttnzooError(f"interflow: the stage {name!r} does not run in a forward pass; name one that does.")
            checks.shaped("interflow", f"the output of {name!r}", self.seen[name], (None, None, None, None))
        return [self.seen.pop(name) for name in self.stages]


class _Keeper:
    """A forward hook that keeps a stage's output for the head; it can be copied and pickled with its module."""

    def __init__(self, seen: dict[str, Tensor], name: str) -> None:
        self.seen = seen
        self.name = name

    def __call__(self, stage: nn.Module, given: Any, output: Tensor) -> None:  # noqa: ARG002 (as torch calls it)
        self.seen[self.name] = output
