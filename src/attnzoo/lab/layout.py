"""Where a study keeps what belongs to a trial, below its folder."""

from pathlib import Path

from attnzoo.lab.trial import Trial


def trial_file(out: Path, trial: Trial) -> Path:
    """Its outcome, once it is finished."""
    return out / "trials" / f"{trial.slug()}.json"


def model_file(out: Path, trial: Trial) -> Path:
    """Its trained network."""
    return out / "models" / f"{trial.slug()}.safetensors"


def checkpoint_file(out: Path, trial: Trial) -> Path:
    """Its state while it is under way."""
    return out / "checkpoints" / f"{trial.slug()}.pt"
