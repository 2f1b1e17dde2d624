"""A flag for every field of a recipe."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, Final, Optional

import typer

from attnzoo.lab.recipe import CHOICES, Recipe

TRAINING: Final = "Training: what of the recipe is changed"
HELP: Final = {
    "epochs": "Passes over the images.",
    "batch_size": "Images per step.",
    "learning_rate": "The peak of its schedule.",
    "momentum": "Of SGD.",
    "nesterov": "Look ahead along the momentum.",
    "weight_decay": "See decoupled.",
    "decay": "What decays.",
    "decoupled": "Decay beside the momentum, not through it.",
    "schedule": "After the warm-up.",
    "stepped": "When the learning rate changes.",
    "warmup": "Share of the training in which it rises.",
    "label_smoothing": "Share of the target for all classes.",
    "crop": "Random shift, of the side.",
    "margin": "What a shift brings in.",
    "flip": "Mirrored images.",
    "cutout": "Blank square, of the side.",
    "average": "What remains per step in the average of the weights; 0 for none.",
    "test_mirror": "Test mirrored images, too.",
    "half": "Half precision on a GPU.",
    "channels_last": "Channels as neighbours in memory.",
}


def recipe_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a flag for every field of a recipe; those that were given come in its argument `changed`."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        changed = {name: given.pop(name) for name in HELP}
        command(**given, changed={name: value for name, value in changed.items() if value is not None})

    own = [one for one in inspect.signature(command).parameters.values() if one.name != "changed"]
    every = [*own, *map(_flag, (field.name for field in fields(Recipe)))]
    run.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in every}
    return run


def _flag(name: str) -> inspect.Parameter:
    text = f"{HELP[name].rstrip('.')}: {', '.join(CHOICES[name])}." if name in CHOICES else HELP[name]
    option = typer.Option(help=text, rich_help_panel=TRAINING)
    kind: Any = Annotated[Optional[type(getattr(Recipe, name))], option]  # noqa: UP045, a union of a computed type
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
