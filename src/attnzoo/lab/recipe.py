"""How a network is trained: SGD, its schedule, what is done to the images, and how it is tested."""

from dataclasses import dataclass
from typing import Final

from attnzoo import checks

CHOICES: Final = {
    "decay": ("weights", "all"),
    "schedule": ("cosine", "triangle"),
    "stepped": ("batch", "epoch"),
    "margin": ("zeros", "reflect"),
    "flip": ("none", "random", "alternate"),
}


@dataclass(frozen=True)
class Recipe:
    """The training of every variant of a comparison.

    The defaults are the recipe `demo`: resnet20 on the 8 x 8 digits, 99% top-1 in 15 epochs.

    When a training is over, and before its last test, the running statistics of every BatchNorm are measured again on
    up to 32 further batches of augmented training images: a short training is too short for those that move slowly.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step, of all devices together; what is left of an epoch after whole batches is dropped.
        learning_rate: its peak.
        momentum: of SGD.
        nesterov: look ahead along the momentum.
        weight_decay: see `decoupled`.
        decay: what decays: `weights` of two and more dimensions, or `all`, biases, scales and shifts too.
        decoupled: shrink by learning rate times weight_decay each step, beside the momentum instead of through it.
        schedule: after the warm-up `cosine` or a straight line (`triangle`), to nearly 0.
        stepped: the learning rate changes after every `batch` or every `epoch`.
        warmup: share of the training over which the learning rate rises from 0.
        label_smoothing: share of the target spread over all classes.
        crop: random translation, as a share of the image's shorter side.
        margin: what it brings in: `zeros`, or the image mirrored at its edge (`reflect`).
        flip: mirror a `random` half of the images each epoch; or a random half in the first epoch and then each
            image every other epoch (`alternate`); or `none`. Only where the data set allows it.
        cutout: the side of a square of zeros, as a share of the image's shorter side.
        average: what remains per step, at the end of the training, in the exponential average of the weights that
            is tested and saved; it rises with the cube of the time. 0 tests the weights themselves.
        test_mirror: add the logits of the mirrored image, where the data set allows it.
        half: compute in bfloat16 on a GPU, in float16 where it has no bfloat16; the weights stay float32. A CPU never
            does.
        channels_last: lay images and weights out so that channels are neighbours.

    Raises:
        AttnzooError: a value out of range.
    """

    epochs: int = 15
    batch_size: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    decay: str = "weights"
    decoupled: bool = False
    schedule: str = "cosine"
    stepped: str = "batch"
    warmup: float = 0.2
    label_smoothing: float = 0.0
    crop: float = 0.125
    margin: str = "zeros"
    flip: str = "random"
    cutout: float = 0.0
    average: float = 0.0
    test_mirror: bool = False
    half: bool = False
    channels_last: bool = False

    def __post_init__(self) -> None:
        checks.positive("recipe", epochs=self.epochs, batch_size=self.batch_size)
        checks.above_zero("recipe", learning_rate=self.learning_rate)
        shares = ("momentum", "weight_decay", "label_smoothing", "warmup", "crop", "cutout", "average")
        checks.probability("recipe", **{name: getattr(self, name) for name in shares})
        for name, options in CHOICES.items():
            checks.choice("recipe", options, **{name: getattr(self, name)})
        checks.only_with("recipe", not self.nesterov or self.momentum > 0, "nesterov", "a momentum above 0")
