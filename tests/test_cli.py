"""Does the command line print what the library knows, as text and as JSON, and refuse in one line?"""

import json
import subprocess
import sys
import warnings
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

import attnzoo
from attnzoo import AttnzooError, cli, terminal
from attnzoo.cli.flags import HELP
from attnzoo.lab import recipes, sweep
from attnzoo.lab.recipe import CHOICES, Recipe
from attnzoo.lab.recipes import CLASSIC


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What a successful command prints."""
    status = cli.run(list(argv))
    captured = capsys.readouterr()
    assert (status, captured.err) == (0, "")
    return captured.out


def refuse(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The line that a command with bad input prints."""
    status = cli.run(list(argv))
    captured = capsys.readouterr()
    assert (status, captured.out) == (2, "")
    assert captured.err.startswith("attnzoo: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_every_field_of_a_recipe_has_a_flag(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given with another value than the recipe's, it reaches the comparison; what is not given stays."""
    seen: list[Recipe] = []

    def compare(*_: object, recipe: Recipe, **__: object) -> None:
        seen.append(recipe)
        raise AttnzooError("enough")

    monkeypatch.setattr(sweep, "compare", compare)
    assert list(HELP) == [field.name for field in fields(Recipe)]
    for name, value in asdict(CLASSIC).items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            given, wanted = [flag if not value else flag.replace("--", "--no-")], not value
        elif isinstance(value, str):
            wanted = next(other for other in CHOICES[name] if other != value)
            given = [flag, wanted]
        else:
            wanted = 3 if isinstance(value, int) else 0.25
            given = [flag, str(wanted)]
        momentum = ["--momentum", "0.5"] if name == "nesterov" else []
        refuse(capsys, "compare", "se", "--out", "x", "--recipe", "classic", *given, *momentum)
        assert seen[-1] == replace(CLASSIC, **({"momentum": 0.5} if momentum else {}), **{name: wanted})


def test_a_recipe_in_a_file_is_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('recipe = "fast"\nepochs = 7\n')
    shown = run(capsys, "recipe", str(file))
    assert "epochs = 7\n" in shown
    file.write_text(shown)
    assert recipes.load(file) == replace(recipes.FAST, epochs=7)


def test_warnings_of_ours_are_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the line of code that Python adds; those of others are printed as ever."""

    def compare(*_: object, **__: object) -> None:
        for file in (Path(attnzoo.__file__).parent / "lab" / "checkpoint.py", Path("other.py")):
            warnings.warn_explicit(f"from {file.stem}", UserWarning, str(file), 7)
        raise AttnzooError("enough")

    monkeypatch.setattr(sweep, "compare", compare)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: sys.stderr.write(f"python: {message}\n")
        assert cli.run(["compare", "se", "--out", "x"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "attnzoo: from checkpoint",
        "python: from other",
        "attnzoo: enough",
    ]


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "list").splitlines()
    assert [line.split()[0] for line in lines[1:]] == attnzoo.names()
    listed = json.loads(run(capsys, "list", "--family", "channel", "--json"))
    assert [card["name"] for card in listed] == attnzoo.names("channel")
    assert listed[0]["summary_zh"] == attnzoo.card(listed[0]["name"]).summary_zh


@pytest.mark.parametrize("name", attnzoo.names())
def test_info(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = run(capsys, "info", name)
    for part in (attnzoo.card(name).url, "Usage", "Arguments", "Args:", "Shape:"):
        assert part in page
    told = json.loads(run(capsys, "info", name, "--json"))
    assert told["card"]["title"] == attnzoo.card(name).title
    assert ("kept for backward" in page) == ("cost" in told) == (attnzoo.card(name).contract != "loss")
    if "cost" not in told:
        return
    module = attnzoo.create(name, **told["cost"]["arguments"])
    assert told["cost"]["parameters"] == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", attnzoo.names())
def test_usage_runs(name: str) -> None:
    """The snippet of `info`, but for its line about a model that is not there."""
    lines = [line for line in terminal.usage(name).splitlines() if "insert(model" not in line]
    exec("\n".join(lines), {})


def test_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert "25,557,032" in run(capsys, "cost", "resnet50")
    told = json.loads(run(capsys, "cost", "se", "--input", "32x7x9", "--latency", "--json"))
    assert (told["parameters"], told["inputs"]) == (128, [[32, 7, 9]])
    assert told["latency_ms"] > 0
    assert json.loads(run(capsys, "cost", "self_attention", "--input", "10x16", "--json"))["parameters"] == 1088
    assert "11,689,512" in run(capsys, "cost", "torchvision:resnet18")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["info", "cbm"], "unknown module 'cbm'; did you mean cbam"),
        (["list", "--family", "chanel"], "did you mean channel"),
        (["cost", "resnet5"], "'resnet5' is no module"),
        (["cost", "se", "--input", "3,7,7"], "--input='3,7,7' is no shape"),
        (["cost", "se", "--input", "8x7x7"], "reduction=16 leaves no channels of 8"),
        (["cost", "se", "--input", "7x7"], "se takes (C, H, W), such as 64x56x56, got (7, 7)"),
        (["cost", "resnet18d", "--input", "7x7"], "does not take an input of shape"),
        (["cost", "ra_cnn_rank_loss"], "ra_cnn_rank_loss: is a loss"),
        (["cost"], "Missing argument"),
        (["frobnicate"], "No such command"),
        (["list", "--frob"], "No such option"),
        (["compare", "cbm", "--out", "x"], "did you mean cbam"),
        (["compare", "se", "--out", "x", "--seeds", "0"], "seeds=0"),
        (["compare", "se", "--out", "x", "--trained-epochs", "3"], "trained_epochs needs from_trained"),
        (["compare", "se", "--out", "x", "--epochs", "0"], "epochs=0"),
        (["compare", "se", "--out", "x", "--backbone", "resnet5000"], "unknown backbone 'resnet5000'"),
        (["compare", "se", "--out", "x", "--data", "nothing"], "nothing"),
        (["compare", "se", "--out", "x", "--data", "parquet:nowhere"], "nowhere"),
        (["compare", "se", "--out", "x", "--at", "nowhere.*"], "matches no submodule"),
        (["compare", "dual_attention", "--out", "x"], "does not plug in"),
        (["compare", "se", "--out", "x", "--device", "abacus"], "abacus"),
    ],
)
def test_bad_input_gets_one_line(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refuse(capsys, *argv)
    assert not list(tmp_path.iterdir())


def test_it_is_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "attnzoo", "info", "nope"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("attnzoo: unknown module 'nope'")


def test_missing_extras_are_named() -> None:
    code = "import sys; sys.modules['typer'] = None; from attnzoo.__main__ import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "attnzoo: the command line needs typer: pip install 'attnzoo[lab]'\n"
