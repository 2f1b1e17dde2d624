"""What a laboratory trains: a variant of a backbone with one seed, and what came of it."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

PLAIN: Final = "plain"
STARTS: Final = ("scratch", "base", "trained")
_MOST: Final = 1e18  # of a loss, or of seconds or joules of an epoch


@dataclass(frozen=True)
class Variant:
    """One line of a comparison: a backbone with or without a module, or widened in its place.

    Attributes:
        module: a registered module's name, with arguments as `attnzoo.lab.spelling` writes them; or PLAIN for none.
        backbone: a network, see `attnzoo.lab.backbones`.
        at: where the module is inserted, see `attnzoo.insert`; "" without a module.
        start: "scratch"; "base", a plain network whose weights others start from; or "trained", from such weights.
        widths: of a widened control, pairs (channels, wider channels) for every layer so wide; empty otherwise.
        matches: of a widened control, what it equals, "parameters" or "latency", and of which module, as in
            "parameters of se"; "" otherwise.
    """

    module: str = PLAIN
    backbone: str = "resnet20"
    at: str = ""
    start: str = "scratch"
    widths: tuple[tuple[int, int], ...] = ()
    matches: str = ""

    @property
    def plain(self) -> bool:
        """Whether it is the baseline: nothing inserted, nothing widened."""
        return self.module == PLAIN and not self.widths and not self.matches

    def __str__(self) -> str:
        """'se at block in resnet20', 'plain resnet20 with the parameters of se' in full."""
        name = f"{self.module} at {self.at} in {self.backbone}" if self.at else f"{self.module} {self.backbone}"
        return name + (f" with the {self.matches}" if self.matches else "") + _STARTED[self.start]

    def slug(self) -> str:
        """A name for files: the words that fit one, and 8 digits that tell any two variants apart."""
        text = repr(asdict(self))
        words = "-".join(part for part in (self.module, self.matches, self.at, self.backbone, self.start) if part)
        return (
            re.sub(r"[^A-Za-z0-9_.]+", "-", words)[:80].strip("-.")
            + "-"
            + hashlib.sha256(text.encode()).hexdigest()[:8]
        )


_STARTED: Final = {"scratch": "", "base": ", the base of others", "trained": ", from a trained network"}


@dataclass(frozen=True)
class Trial:
    """What is trained and with which seed."""

    variant: Variant
    seed: int

    def __str__(self) -> str:
        return f"{self.variant}, seed {self.seed}"

    def slug(self) -> str:
        """A name for files, its own."""
        return f"{self.variant.slug()}-seed{self.seed}"


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images and the test after it.

    Attributes:
        train_loss: mean over the epoch's batches.
        top1: on the test split, in percent.
        seconds: of training, testing excluded.
        top5: on the test split, in percent; None below 20 classes.
        joules: that the device drew while training; None where it does not say.
    """

    train_loss: float
    top1: float
    seconds: float
    top5: float | None = None
    joules: float | None = None


@dataclass(frozen=True)
class Outcome:
    """A finished trial. The last epoch counts, not the best."""

    trial: Trial
    epochs: tuple[Epoch, ...]

    @property
    def top1(self) -> float:
        """Top-1 after the last epoch, in percent."""
        return self.epochs[-1].top1

    @property
    def top5(self) -> float | None:
        """Top-5 after the last epoch, in percent; None where it was not measured."""
        return self.epochs[-1].top5

    @property
    def seconds(self) -> float:
        """Seconds of training, testing excluded."""
        return sum(epoch.seconds for epoch in self.epochs)


def variant_from(raw: Mapping[str, Any]) -> Variant:
    """The variant whose `asdict`, read back from JSON, is given.

    Raises:
        KeyError, TypeError, ValueError: it is no such mapping.
    """
    if set(raw) != {field.name for field in fields(Variant)} or raw["start"] not in STARTS:
        raise ValueError(f"{sorted(raw)} does not describe a variant")
    if not all(isinstance(value, str) for name, value in raw.items() if name != "widths"):
        raise TypeError("a variant's names are words")
    widths = tuple((int(narrow), int(wide)) for narrow, wide in raw["widths"])
    return Variant(**{**raw, "widths": widths})


def trial_from(raw: Mapping[str, Any]) -> Trial:
    """The trial whose `asdict`, read back from JSON, is given; raises as `variant_from`."""
    seed = raw["seed"]
    if type(seed) is not int or seed < 0:
        raise ValueError(f"{seed!r:.40} is no seed")
    return Trial(variant_from(raw["variant"]), seed)


def outcome_from(raw: Mapping[str, Any]) -> Outcome:
    """The outcome whose `asdict`, read back from JSON, is given; raises as `variant_from`."""
    epochs = tuple(_epoch_from(epoch) for epoch in raw["epochs"])
    if not epochs:
        raise ValueError("a trial has no epoch")
    return Outcome(trial_from(raw["trial"]), epochs)


def _epoch_from(raw: Mapping[str, Any]) -> Epoch:
    epoch = Epoch(**raw)
    needed = (epoch.train_loss, epoch.top1, epoch.seconds)
    for value in (*needed, *(value for value in (epoch.top5, epoch.joules) if value is not None)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST:
            raise ValueError(f"{value!r:.40} is no figure of an epoch")
    if max(epoch.top1, epoch.top5 or 0) > 100:
        raise ValueError("a top-1 or top-5 is above 100%")
    return epoch
