"""What `attnzoo.lab.data.load` is asked for, handed to the readers as one."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """The options of `load`, where they are explained."""

    limit_train: int | None = None
    limit_test: int | None = None
    image_size: int | None = None
    skip_broken: bool = False
    max_gigabytes: float = 4.0
    root: str | Path | None = None
