"""The networks that a study trained: one with a module, and the plain one beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import nn

from attnzoo.errors import AttnzooError
from attnzoo.lab.layout import model_file
from attnzoo.lab.spelling import spelled
from attnzoo.lab.store import read_all
from attnzoo.lab.trained import Trained, load_trained
from attnzoo.lab.trial import PLAIN, Trial, Variant

_NAMED: Final = 20  # networks that a message names


@dataclass(frozen=True)
class Run:
    """A trained network, and the plain one of the same study, backbone, start and seed, where it is there.

    Attributes:
        trained: the network.
        plain: the plain one; None where there is none.
        plain_is: what that is, in words; "" where there is none.
    """

    trained: Trained
    plain: nn.Module | None
    plain_is: str


def open_run(run: Path, module: str | None = None, seed: int | None = None) -> Run:
    """A model file that `attnzoo compare` wrote, or one of those in a study's folder.

    Args:
        run: `models/*.safetensors`, or the folder.
        module, seed: which of the folder's; needed where it holds several. Widened controls are reached by their file.

    Raises:
        AttnzooError: there is no such network or are several, or a file is damaged.
    """
    if run.is_dir():
        path = _only(run, module, seed)
    elif module is None and seed is None:
        path = run
    else:
        raise AttnzooError(f"{run}: is one network; leave out module and seed, or give the folder of the study.")
    trained = load_trained(path)
    variant = trained.trial.variant
    plain = Trial(Variant(backbone=variant.backbone, start=variant.start), trained.trial.seed)
    beside = path.with_name(f"{plain.slug()}.safetensors")
    if variant.plain or not beside.exists():
        return Run(trained, None, "")
    other = load_trained(beside)
    if other.trial != plain or other.about != trained.about:
        raise AttnzooError(f"{beside}: expected {plain} on the images of {path.name}, got {other.trial}; remove it.")
    return Run(trained, other.model, f"{plain}, of the same study")


def _only(folder: Path, module: str | None, seed: int | None) -> Path:
    """The model file of the one trial of a study that is meant."""
    trials = [record.outcome.trial for record in read_all(folder)[1]]
    there = {trial: file for trial in trials if (file := model_file(folder, trial)).exists()}
    if not there:
        raise AttnzooError(
            f"{folder}: expected trained networks models/*.safetensors, found none; to train them again, delete "
            "the folder trials and run compare again."
        )
    wanted = spelled(module) if module else None
    meant = [
        trial
        for trial in there
        if (trial.variant.module == wanted if wanted else trial.variant.module != PLAIN)
        and not trial.variant.matches
        and seed in (None, trial.seed)
    ]
    if len(meant) == 1:
        return there[meant[0]]
    asked = ", ".join(f"{name}={value}" for name, value in (("module", module), ("seed", seed)) if value is not None)
    found = f"{len(meant)} networks" if meant else "no network"
    raise AttnzooError(
        f"{folder}: expected one network, got {found}{f' with {asked}' if asked else ''}; give --module and --seed, or "
        f"a file: {_listed(meant or list(there))}"
    )


def _listed(trials: Sequence[Trial]) -> str:
    lines = [f"models/{trial.slug()}.safetensors ({trial})" for trial in trials[:_NAMED]]
    more = f", and {len(trials) - _NAMED} more" if len(trials) > _NAMED else ""
    return ", ".join(lines) + f"{more}."
