"""Does every module pass the deployment matrix, and does the matrix notice what is wrong?"""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Group
from torch import nn

import attnzoo
from attnzoo import cli, registry, terminal
from attnzoo.verify import CHECKS, Cell, Check, read, unknown_exceptions, verify
from attnzoo.verify.matrix import answer
from attnzoo.verify.subject import Subject

RESULTS = Path(__file__).parents[1] / "results" / "verify.json"


@pytest.mark.parametrize("name", attnzoo.names())
def test_matrix(name: str) -> None:
    matrix = verify(name)
    assert not matrix.failures
    assert [cell.check for cell in matrix.rows[name]] == list(CHECKS)


def test_exceptions_in_cards_belong_to_checks() -> None:
    assert not unknown_exceptions(attnzoo.names())


def excused(name: str) -> list[Check]:
    return [check for check in CHECKS.values() if check.excuse(attnzoo.card(name))]


def test_little_is_not_applicable() -> None:
    count = sum(len(excused(name)) for name in attnzoo.names())
    assert count < 0.05 * len(attnzoo.names()) * len(CHECKS)


@pytest.mark.parametrize("name", [name for name in attnzoo.names() if excused(name)])
def test_what_is_excused_would_fail(name: str) -> None:
    """Under one reason for several checks, one of them at least."""
    subject = Subject(name)
    failed = {check.name for check in excused(name) if answer(check, subject, "quick").status == "fail"}
    for reason in subject.card.not_applicable:
        assert failed & {check.name for check in excused(name) if reason in (check.name, check.among)}, reason


class Careless(nn.Module):
    """Wrong in most ways that a module can be."""

    __module__ = "package.channel.careless"

    def __init__(self, channels: int, mode: str = "a") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.unused = nn.Parameter(torch.ones(1))
        self.hidden = [nn.Linear(channels, channels)]
        self.table = torch.zeros(7, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.mul_(self.weight[:, None, None])
        if x.sum() > 0:
            x = x * 2
        return (x - x.mean(dim=0)).exp() + self.hidden[0].weight.sum() + self.table


def test_the_matrix_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    facts = dict.fromkeys(("title", "source", "source_license", "summary", "summary_zh", "placement", "reported"), "x")
    paper = attnzoo.Paper("a", "b", "c", 2020, "https://example.org")
    attnzoo.register("careless", paper=paper, contract="feature", differences=(), **facts)(Careless)
    failed = {cell.check for cell in verify("careless").rows["careless"] if cell.status == "fail"}
    assert failed >= {
        "vectors",
        "parameters",
        "input-unchanged",
        "batch-independent",
        "odd-sizes",
        "two-sizes",
        "large-finite",
        "compile",
        "export",
        "onnx",
        "vmap",
        "meta",
        "ddp",
        "invalid-arguments",
    }


def test_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "matrix.json"
    assert cli.run(["verify", "eca", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert f"1 modules: {len(CHECKS)} pass, 0 fail, 0 not applicable" in printed
    told = json.loads(file.read_text())
    assert told["totals"] == {"pass": len(CHECKS)}
    assert told["runs"][0]["torch"] == torch.__version__
    assert told["runs"][0]["onnxruntime"]
    assert {cell["status"] for cell in told["modules"]["eca"]} == {"pass"}


def test_command_refuses_unknown_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["verify", "simmam"]) == 2
    assert "did you mean simam" in capsys.readouterr().err


def test_cells_of_several_runs_keep_their_own(tmp_path: Path) -> None:
    file = tmp_path / "matrix.json"
    assert cli.run(["verify", "eca", "--check", "vectors", "--check", "export", "--json", str(file)]) == 0
    first = json.loads(file.read_text())
    first["runs"][0]["date"] = "2001-01-01"
    file.write_text(json.dumps(first))
    assert cli.run(["verify", "eca", "se", "--check", "vectors", "--json", str(file)]) == 0
    told = read(file)
    dates = {(n, c["check"]): told["runs"][c["run"]]["date"] for n, row in told["modules"].items() for c in row}
    assert set(dates) == {("eca", "vectors"), ("eca", "export"), ("se", "vectors")}
    assert [cell for cell, date in dates.items() if date == "2001-01-01"] == [("eca", "export")]
    assert told["totals"] == {"pass": 3}


def test_an_interrupted_run_keeps_the_modules_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = terminal.matrix_row

    def interrupted(name: str, cells: tuple[Cell, ...]) -> Group:
        if name == "eca":
            raise KeyboardInterrupt
        return row(name, cells)

    file = tmp_path / "matrix.json"
    assert cli.run(["verify", "se", "eca", "--check", "vectors", "--json", str(file)]) == 0
    monkeypatch.setattr(terminal, "matrix_row", interrupted)
    assert cli.run(["verify", "se", "eca", "--check", "vectors", "--check", "meta", "--json", str(file)]) == 130
    assert {name: len(cells) for name, cells in read(file)["modules"].items()} == {"se": 2, "eca": 1}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"modules": {}}', "[" * 100_000])
def test_a_foreign_file_is_refused_before_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str
) -> None:
    file = tmp_path / "matrix.json"
    file.write_text(text)
    for path in (file, tmp_path):
        assert cli.run(["verify", "--json", str(path)]) == 2
        told = capsys.readouterr()
        assert "is no matrix of attnzoo verify" in told.err
        assert not told.out
    assert file.read_text() == text


def test_the_results_can_be_read() -> None:
    assert set(read(RESULTS)["modules"]) <= set(attnzoo.names())


def test_unknown_checks_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["verify", "eca", "--check", "gradchek"]) == 2
    assert "did you mean gradcheck" in capsys.readouterr().err
