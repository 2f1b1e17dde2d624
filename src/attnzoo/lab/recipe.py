"""How a network is trained: SGD with Nesterov momentum, one warm-up and one cosine over all steps."""

import math
from dataclasses import dataclass

from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from attnzoo import checks


@dataclass(frozen=True)
class Recipe:
    """The training of every variant of a comparison.

    The defaults suit the demo: resnet20 on the 8 x 8 digits, 99% top-1 in 15 epochs.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step; what is left of an epoch after whole batches is dropped.
        learning_rate: its peak, reached at the end of the warm-up.
        momentum: of Nesterov.
        weight_decay: on weights of two and more dimensions; none on biases, scales and shifts.
        label_smoothing: share of the target spread over all classes.
        warmup: share of the steps over which the learning rate rises from 0.
        crop: random shift, as a share of the image's side; zeros fill the margin.
        flip: mirror half of the images, where the data set allows it.

    Raises:
        AttnzooError: a value out of range.
    """

    epochs: int = 15
    batch_size: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    warmup: float = 0.2
    crop: float = 0.125
    flip: bool = True

    def __post_init__(self) -> None:
        checks.positive("recipe", epochs=self.epochs, batch_size=self.batch_size)
        checks.above_zero("recipe", learning_rate=self.learning_rate, momentum=self.momentum)
        shares = ("momentum", "weight_decay", "label_smoothing", "warmup", "crop")
        checks.probability("recipe", **{name: getattr(self, name) for name in shares})

    def optimizer(self, model: nn.Module) -> SGD:
        """SGD over the model's parameters, with decay only where it belongs."""
        weights = [p for p in model.parameters() if p.requires_grad and p.dim() >= 2]
        others = [p for p in model.parameters() if p.requires_grad and p.dim() < 2]
        groups = [{"params": weights, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return SGD(groups, lr=self.learning_rate, momentum=self.momentum, nesterov=True)

    def schedule(self, optimizer: SGD, steps: int) -> LambdaLR:
        """The learning rate over `steps` steps, to be advanced after each."""
        rising = max(1, round(self.warmup * steps))

        def share(step: int) -> float:
            if step < rising:
                return (step + 1) / rising
            return 0.5 * (1 + math.cos(math.pi * (step + 1 - rising) / (steps + 1 - rising)))

        return LambdaLR(optimizer, share)
