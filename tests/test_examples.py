"""Do the examples run, and show what they say?"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SMALLER = {"finetune": ["--seeds", "1", "--pretraining", "5", "--epochs", "2"]}


def output(name: str) -> str:
    """What an example prints, run on its own as a user does."""
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *SMALLER.get(name, [])]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # the tests share the cores
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=alone)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_the_example_runs(name: str) -> None:
    shown = output(name)
    assert shown.strip()
    if name in CLAIMS:
        CLAIMS[name](shown)


def keeps_accuracy(shown: str) -> None:
    """Inserted as the identity, a trained network neither loses accuracy nor falls later; inserted plainly, it does."""
    _, *rows = shown.strip().splitlines()
    means = {re.split(r"  +", row)[0]: [float(m) for m in re.findall(r"(\S+) ± ", row)] for row in rows}
    untouched, identity, plain = means.values()
    assert untouched[0] > 95
    assert identity[0] == untouched[0]
    assert min(identity) > untouched[0] - 1
    assert plain[0] < untouched[0] - 5


def comes_back(shown: str) -> None:
    """Insertion changes no output, and the loaded model gives what the saved one gives."""
    answers = re.findall(r"\b(True|False)\b", shown.split('"version"')[0])
    assert answers[:2] == ["True", "True"]


CLAIMS = {"finetune": keeps_accuracy, "deeplab_cbam": comes_back, "detector_simam": comes_back}
