"""Kill training runs at random moments, resume them, and compare them bit by bit with one that was left alone.

    python benchmarks/kill_test.py              20 runs; writes results/kill-test.txt

Every run is a process of its own that trains a network with all that has a state: momentum, averaged weights, a module
that draws random numbers. SIGKILL meets it at a random moment of its life; every second run is killed once more while
it resumes. Then it runs to its end. Its weights, its file byte by byte, and its losses and accuracies must equal those
of the undisturbed run.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from attnzoo.lab import environment, recipes, train
from attnzoo.lab.data import Data, load
from attnzoo.lab.fabric import fabric_for
from attnzoo.lab.store import Store, read_all
from attnzoo.lab.trial import Outcome, Trial, Variant

TRIAL = Trial(Variant("weighted_channel_dropout", at="block"), 0)
RECIPE = replace(recipes.FAST, epochs=6, batch_size=64, learning_rate=0.1)
RESULTS = Path(__file__).parents[1] / "results" / "kill-test.txt"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)  # fork needs a process without other threads
    fabric_for(torch.device("cpu"), 1, "32-true")  # imports what each run would import anew
    data = replace(load("digits", limit_train=256, limit_test=64), mirror=True)
    with tempfile.TemporaryDirectory() as folder:
        lines, equal = kill_test(Path(folder), data, given.runs, random.Random(given.seed))
    where = environment.describe(torch.device("cpu"))
    lines += [f"On {where['device']}, torch {where['torch']}, {time.strftime('%Y-%m-%d')}, seed {given.seed}."]
    given.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[-2:]))
    return 0 if equal == given.runs else 1


def kill_test(folder: Path, data: Data, runs: int, dice: random.Random) -> tuple[list[str], int]:
    """The lines of the log, printed as they come, and how many runs ended equal to the undisturbed one."""
    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    undisturbed = folder / "undisturbed"
    seconds = lives(partial(study, undisturbed, data), None)
    log(f"{TRIAL}: {RECIPE.epochs} epochs, {seconds:.1f} s undisturbed, top-1 {outcome(undisturbed).top1:.1f}%.")
    equal = 0
    for number in range(1, runs + 1):
        out, met = folder / str(number), ""
        while not met:
            shutil.rmtree(out, ignore_errors=True)
            lived = lives(partial(study, out, data), dice.uniform(0, seconds))
            if lived is None:
                seconds *= 0.9  # it was over already: the machine is less busy than before
            else:
                met = f"killed after {lived:.2f} s, {state(out)}"
        if number % 2 == 0:
            lived = lives(partial(study, out, data), dice.uniform(0, seconds))
            met += (
                "; over before it was killed again" if lived is None else f"; again after {lived:.2f} s, {state(out)}"
            )
        lives(partial(study, out, data), None)
        same = equals(out, undisturbed)
        equal += same
        log(f"run {number:2}: {met}; resumed, {'equal' if same else 'DIFFERENT'}")
    log(f"{equal} of {runs} runs ended bit-equal to the undisturbed one.")
    return lines, equal


def study(out: Path, data: Data) -> None:
    """Train the trial and store it, as a comparison does."""
    settings = {"epochs": RECIPE.epochs}
    with Store(out, settings) as store:
        if store.find(TRIAL) is None:
            done = train.train(TRIAL, data, RECIPE, folder=out, on_epoch=lambda n, _: (out / f"epoch-{n}").touch())
            store.add(done, environment.describe(torch.device("cpu")))


def lives(work: Callable[[], None], killed_after: float | None) -> float | None:
    """Seconds that a process doing the work lived; None if it was over before it was to be killed."""
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    if killed_after is not None:
        time.sleep(killed_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return time.perf_counter() - start
    if os.waitstatus_to_exitcode(status):
        raise SystemExit("a run failed, see above")
    return None if killed_after is not None else time.perf_counter() - start


def state(out: Path) -> str:
    """What a killed run left behind, in words."""
    if (out / "trials").exists() and list((out / "trials").glob("*.json")):
        return "its result stored"
    epochs = len(list(out.glob("epoch-*")))
    return f"{epochs} epochs done" + (", a file half written" if list(out.glob("**/.*.draft")) else "")


def outcome(out: Path) -> Outcome:
    _, records = read_all(out)
    return records[0].outcome


def equals(one: Path, other: Path) -> bool:
    """Whether two folders hold the same trained weights and figures, and nothing half done."""
    model = f"models/{TRIAL.slug()}.safetensors"
    figures = [[(e.train_loss, e.top1, e.top5) for e in outcome(out).epochs] for out in (one, other)]
    left = [*one.glob("checkpoints/*"), *one.glob("**/.*.draft")]
    return (one / model).read_bytes() == (other / model).read_bytes() and figures[0] == figures[1] and not left


if __name__ == "__main__":
    sys.exit(main())
