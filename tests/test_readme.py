"""Are the READMEs' tables fresh, and does the example in them run?"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_tables_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools/readme.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"run `make readme`: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_example_runs(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As written, but for the pretrained weights, which a test does not download."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert "pretrained=True" in code
    scope: dict = {}
    exec(code.replace("pretrained=True", "pretrained=False"), scope)
    assert len(scope["maps"]) == 32  # a channel and a spatial gate in each of 16 blocks
    printed = capsys.readouterr().out
    assert "cbam: 16 plugged in" in printed
    assert "macs=" in printed


def test_both_languages_have_the_same_shape() -> None:
    english, chinese = ((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "README.zh.md"))
    for mark in (r"^#+ ", r"^```", r"^\| `", r"^- "):
        assert len(re.findall(mark, english, re.M)) == len(re.findall(mark, chinese, re.M)), mark
