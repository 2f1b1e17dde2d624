"""Running the checks: modules down, checks across."""

import importlib
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import repeat
from typing import Literal

import torch

from attnzoo import checks, registry
from attnzoo.verify.check import CHECKS, Check, Failure, Profile
from attnzoo.verify.subject import Subject

Status = Literal["pass", "fail", "not applicable"]


@dataclass(frozen=True)
class Cell:
    """The answer of one check for one module; `note` says what failed, or why it is not applicable."""

    check: str
    status: Status
    note: str
    seconds: float


@dataclass(frozen=True)
class Matrix:
    """The cells of some modules, by name, in the order of the checks."""

    rows: dict[str, tuple[Cell, ...]]
    profile: Profile

    @property
    def totals(self) -> Counter[str]:
        """How many cells have each status."""
        return Counter(cell.status for cells in self.rows.values() for cell in cells)

    @property
    def failures(self) -> list[str]:
        """A line per failure."""
        return [
            f"{name}: {c.check}: {c.note}" for name, cells in self.rows.items() for c in cells if c.status == "fail"
        ]


def verify(
    *names: str,
    profile: Profile = "quick",
    only: Sequence[str] = (),
    jobs: int = 1,
    told: Callable[[str, tuple[Cell, ...]], None] | None = None,
) -> Matrix:
    """Run the checks on the named modules, or on all of them.

    Args:
        names: of modules; none means all.
        profile: 'quick' takes seconds a module, 'full' draws more arguments and compiles with Inductor.
        only: the checks to run; none means all.
        jobs: processes to share the modules among.
        told: called with each module's name and cells as soon as they are there.

    Raises:
        AttnzooError: a name is unknown, of a module or of a check.
    """
    for name in names:
        registry.card(name)
    checks.known_checks(only, CHECKS)
    checks.positive("verify", jobs=jobs)
    chosen = list(names) or registry.names()
    rows = {}
    with ExitStack() as stack:
        through: Iterable[tuple[Cell, ...]] = map(_row, chosen, repeat(profile), repeat(tuple(only)))
        if jobs > 1:
            spawn = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(jobs, spawn, initializer=torch.set_num_threads, initargs=(1,))
            through = stack.enter_context(pool).map(_row, chosen, repeat(profile), repeat(tuple(only)))
        for name, cells in zip(chosen, through, strict=True):
            rows[name] = cells
            if told:
                told(name, cells)
    return Matrix(rows, profile)


def unknown_exceptions(names: Iterable[str]) -> list[str]:
    """Reasons in cards that belong to no check."""
    known = {*CHECKS, *(check.among for check in CHECKS.values())}
    return [f"{n}: {key}" for n in names for key in registry.card(n).not_applicable if key not in known]


def answer(check: Check, subject: Subject, profile: Profile) -> Cell:
    """Ask one check, whether or not the card says that it is applicable."""
    start = time.perf_counter()
    try:
        check.run(subject, profile)
        status, note = "pass", ""
    except Failure as failure:
        status, note = "fail", str(failure)
    except Exception as error:
        status, note = "fail", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    finally:
        torch.use_deterministic_algorithms(False)
    return Cell(check.name, status, note, round(time.perf_counter() - start, 3))  # type: ignore[arg-type]


def _row(name: str, profile: Profile, only: Sequence[str]) -> tuple[Cell, ...]:
    importlib.import_module("attnzoo.verify")  # in a process of its own, fills registry and checks
    subject = Subject(name)
    return tuple(_cell(check, subject, profile) for check in CHECKS.values() if not only or check.name in only)


def _cell(check: Check, subject: Subject, profile: Profile) -> Cell:
    reason = check.excuse(subject.card)
    return Cell(check.name, "not applicable", reason, 0.0) if reason else answer(check, subject, profile)
