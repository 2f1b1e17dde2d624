"""Recipes by name, and in files of TOML."""

import sys
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path
from typing import Any, Final

from attnzoo.checks import nearest
from attnzoo.errors import AttnzooError
from attnzoo.lab.recipe import CHOICES, Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEMO: Final = Recipe()

CLASSIC: Final = Recipe(
    epochs=200,
    batch_size=128,
    learning_rate=0.1,
    nesterov=False,
    decay="all",
    stepped="epoch",
    warmup=0.0,
)
"""The recipe of the usual CIFAR tables, but for two slips of theirs. Their deviations of about 0.20 are averages of
per-image deviations; here images are normalised by the mean and deviation of all training pixels, about 0.25. And the
last epoch counts, not the best."""

FAST: Final = Recipe(
    epochs=30,
    batch_size=512,
    learning_rate=0.4,
    momentum=0.85,
    weight_decay=0.01,
    decoupled=True,
    schedule="triangle",
    warmup=0.25,
    label_smoothing=0.2,
    margin="reflect",
    flip="alternate",
    cutout=0.25,
    average=0.95,
    test_mirror=True,
    half=True,
    channels_last=True,
)
"""What the fast CIFAR-10 records (hlb-CIFAR10, airbench) teach any network. Their learning rate, 11.5 per 1024
examples with the momentum counted in, is 0.75 as SGD counts it; half of that, since residual networks spend their first
epochs recovering from the whole. Their decay of 0.0153 per 1024 examples is halved with it.

Left out, since they belong to their own small network without residual sums: the whitening first layer, identity
initialisation, the scaled output, and normalisation whose scale is frozen while its bias learns 64 times faster. So are
the shifted images of their test, which would make it three times as long."""

_ABOUT: Final = {
    "demo": "resnet20 on the digits, 99% top-1",
    "classic": "the recipe of the usual CIFAR tables",
    "fast": "what the fast CIFAR-10 records teach any network; below about 15 epochs set cutout = 0.0",
}
_NAMED: Final = {"demo": DEMO, "classic": CLASSIC, "fast": FAST}
_WORDS: Final = {int: "a whole number", float: "a number", str: "a word in quotes", bool: "true or false"}


def names() -> list[str]:
    """The recipes that have a name."""
    return list(_NAMED)


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        AttnzooError: there is none.
    """
    if name not in _NAMED:
        raise AttnzooError(
            f"unknown recipe {name!r}{nearest(name, _NAMED)} Use one of {', '.join(_NAMED)}, or a file NAME.toml."
        )
    return _NAMED[name]


def find(word: str) -> Recipe:
    """The recipe of that name, or of that file where the word ends in .toml.

    Raises:
        AttnzooError: as `recipe` and `load`.
    """
    return load(Path(word)) if word.endswith(".toml") else recipe(word)


def load(path: Path) -> Recipe:
    """Read a recipe from a file of lines `field = value`, as `text` writes it.

    What the file leaves out is taken from the recipe that its line `recipe = "NAME"` names, else from `demo`.

    Raises:
        AttnzooError: the file cannot be read, is no TOML, or has an unknown field or a wrong value.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AttnzooError(f"{path}: expected a recipe in TOML ({error}); see attnzoo recipe demo.") from error
    try:
        start = given.pop("recipe", "demo")
        return changed(recipe(str(start)), given)
    except AttnzooError as error:
        raise AttnzooError(f"{path}: {error}") from error


def changed(start: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with other values in some of its fields.

    Raises:
        AttnzooError: an unknown field, or a value of a wrong type or out of range.
    """
    types = {field.name: type(field.default) for field in fields(Recipe) if field.default is not MISSING}
    for name, value in values.items():
        if name not in types:
            raise AttnzooError(f"recipe: unknown field {name!r}{nearest(name, types)} See attnzoo recipe demo.")
        fits = type(value) is types[name] or (types[name] is float and type(value) is int)
        if not fits:
            raise AttnzooError(f"recipe: {name}={value!r} is not {_WORDS[types[name]]}.")
    return replace(start, **{name: types[name](value) for name, value in values.items()})


def text(chosen: Recipe) -> str:
    """The recipe as TOML; saved in a file and read by `load` it is the same again."""
    lines = [f"# {name}: {_ABOUT[name]}" for name, known in _NAMED.items() if known == chosen]
    for name, value in asdict(chosen).items():
        others = [_toml(option) for option in CHOICES.get(name, ()) if option != value]
        lines.append(f"{name} = {_toml(value)}" + (f"  # or {', '.join(others)}" if others else ""))
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)
