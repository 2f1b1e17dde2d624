"""Does what a study reports hold its numbers, say how far to trust them, and fit where it is read?"""

import csv
import itertools
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console

from attnzoo.lab import console, page, report, words
from attnzoo.lab.cost import Cost
from attnzoo.lab.labels import Point, name_points, side_by_side
from attnzoo.lab.latency import Latency
from attnzoo.lab.study import Study, summarise
from attnzoo.lab.train import Epoch, Outcome, Trial

HERE = {"device": "CPU of the test", "torch": "2.99"}
FINAL = {"plain": (90.0, 91.0), "se": (91.0, 92.5), "external_attention": (89.0, 90.0)}


def study(final: dict[str, tuple[float, ...]] = FINAL, name: str = "digits") -> Study:
    outcomes = tuple(
        Outcome(variant, seed, (Epoch(2.0, 10.0, 3.0), Epoch(0.5, 50.0, 1.0), Epoch(0.25, top1, 1.0)))
        for variant, scores in final.items()
        for seed, top1 in enumerate(scores)
    )
    costs = {variant: Cost(269_434 + 27 * i, 2_520_000, 4096) for i, variant in enumerate(final)}
    latencies = {variant: Latency(0.75 + 0.5 * i, 1 + i / 2) for i, variant in enumerate(final)}
    settings = {
        "backbone": "resnet20",
        "at": "layer*.*.bn2",
        "data": name,
        "shape": [1, 8, 8],
        "classes": 10,
        "train_images": 1297,
        "test_images": 500,
        "epochs": 3,
        "batch_size": 64,
        "learning_rate": 0.05,
        "momentum": 0.9,
        "weight_decay": 5e-4,
    }
    rows = summarise(outcomes, costs, latencies)
    return Study(settings, HERE, "2026-11-20T12:00:00+00:00", outcomes, (HERE,) * len(outcomes), rows)


def printed(study: Study, width: int = 100) -> str:
    text = StringIO()
    console.show(study, [Path("runs/demo/report.html")], Console(file=text, width=width))
    return text.getvalue()


def test_json(tmp_path: Path) -> None:
    content = json.loads(report.write(study(), tmp_path / "new").json.read_text())
    assert (content["runs"], content["seeds"], content["environment"]) == (6, 2, HERE)
    assert content["date"] == "2026-11-20T12:00:00+00:00"
    assert content["settings"]["epochs"] == 3
    assert [trial["variant"] for trial in content["trials"]] == [v for v in FINAL for _ in range(2)]
    assert [epoch["top1"] for epoch in content["trials"][3]["epochs"]] == [10.0, 50.0, 92.5]
    se = content["summary"][1]
    assert (se["top1_percent"], se["difference_points"], se["parameters"]) == (91.75, 1.25, 269_461)
    assert se["difference_half_width"] == pytest.approx(0.25 * 12.7062, abs=1e-4)
    assert se["train_seconds"] == 3.0  # three epochs at the median of 3, 1, 1, 3, 1, 1


def test_csv(tmp_path: Path) -> None:
    with report.write(study(), tmp_path).csv.open() as file:
        plain, se, external = csv.DictReader(file)
    assert (plain["variant"], plain["difference_points"], plain["difference_half_width"]) == ("plain", "", "")
    assert (se["variant"], se["seeds"], float(se["latency_ms"]), float(se["latency_ratio"])) == ("se", "2", 1.25, 1.5)
    assert float(external["difference_points"]) == -1.0


class Page(HTMLParser):
    """Tags, ids and words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_page_is_whole_and_needs_nothing_else() -> None:
    text = page.render(study())
    parsed = Page(text)
    assert not parsed.open
    assert len(parsed.ids) == len(set(parsed.ids))
    assert not parsed.tags & {"script", "link", "img", "iframe", "image", "object"}
    assert not re.findall(r"(?:src|href)=\"(?!#)|url\((?!#)|@import", text)
    charts = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(charts) == 6
    for chart in charts:
        ET.fromstring(chart)
    assert not re.search("#01020[0-9]", text)  # ink that follows light and dark
    for name in FINAL:
        assert sum(f">{name}</text>" in chart for chart in charts) == (3 if name == "plain" else 4)


def test_page_says_the_numbers_and_their_limits() -> None:
    said = Page(page.render(study())).words
    assert "3 variants × 2 seeds = 6 trainings" in said
    for cell in ("91.75 ± 9.53", "+1.25 ± 3.18", "-1.00 ± 0.00", "269,461", "2.52 M", "1.25 (×1.50)", "3.0 s"):
        assert cell in said
    assert "over 2 seeds, which stretches the standard error 12.7 times" in said
    assert "whose interval includes 0 is no evidence" in said
    assert "500 of them pin a top-1 of 90.5% down to ± 2.6 points only" in said
    assert "another environment" not in said
    elsewhere = ({**HERE, "device": "GPU"}, *(HERE,) * 5)
    assert "another environment" in Page(page.render(replace(study(), made_on=elsewhere))).words


def test_only_differences_clear_of_zero_are_coloured() -> None:
    five = {"plain": (90.0,) * 5, "se": (91.0, 91.1, 91.2, 91.1, 91.0), "eca": (89.0, 91.2, 90.0, 90.1, 90.0)}
    text = page.render(study(five))
    assert re.findall(r'<td><span class="(up|down)">([+-]\d)', text) == [("up", "+1")]


def test_page_escapes_names() -> None:
    text = page.render(study(name="<script>alert('&')</script>"))
    assert "<script" not in text
    assert "&lt;script&gt;alert(" in text


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    alone = study({"plain": (90.0,), "se": (91.0,)})
    said = Page(page.render(alone)).words
    assert "+1.00 ± -" in said
    assert "One seed says nothing about its own spread" in said
    assert json.loads(report.write(alone, tmp_path).json.read_text())["summary"][1]["top1_half_width"] is None
    assert "91.00 ± -" in printed(alone)
    assert "nan" not in (said + printed(alone)).lower()


def test_table_fits_in_100_columns() -> None:
    text = printed(study(), width=60)  # a narrow terminal may break lines, but loses no number
    assert re.search(r"external_attention  89\.50 ± 6\.35  -1\.00 ± 0\.00 .* 1\.75 \(×2\.00\) +3\.0 s", text)
    text = printed(study())
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    [line] = [line for line in lines if "external_attention" in line]
    cells = "external_attention 89.50 ± 6.35 -1.00 ± 0.00 269,488 2.52 M 1.75 (×2.00) 3.0 s"
    assert " ".join(line.split()) == cells
    assert "wrote runs/demo/report.html" in lines
    assert "no evidence that a module helps or harms" in " ".join(text.split())


def test_progress_without_a_terminal_is_one_line_a_trial() -> None:
    text, trials = StringIO(), [Trial("plain", 0, "resnet20", "x"), Trial("se", 0, "resnet20", "x")]
    epoch = Epoch(0.1234, 98.5, 61.0)
    with console.Progress(Console(file=text, width=100)) as progress:
        progress.planned(trials, 1, 1)
        progress.started(trials[1])
        progress.epoch(trials[1], 1, epoch)
        progress.finished(trials[1], Outcome("se", 0, (epoch,)))
        progress.measuring()
    first, second = text.getvalue().splitlines()
    assert first == "1 trial of 2 found finished"
    assert " ".join(second.split()) == "2/2 se seed 0 top-1 98.50% loss 0.1234 trained in 1 min 01 s"


def test_progress_on_a_terminal_shows_the_current_epoch() -> None:
    text, trial = StringIO(), Trial("external_attention", 1, "resnet20", "x")
    with console.Progress(Console(file=text, width=100, force_terminal=True, color_system=None)) as progress:
        progress.planned([trial], 0, 30)
        progress.started(trial)
        progress.epoch(trial, 20, Epoch(0.5, 97.25, 1.0))
        progress.bars.refresh()
    shown = text.getvalue()
    assert "0/1 trials" in shown
    assert "external_attention, seed 1" in shown
    assert "epoch 20/30  loss 0.500  top-1 97.25%" in shown
    assert max(len(re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line)) for line in shown.splitlines()) <= 100


def axes() -> Axes:
    figure = Figure(figsize=(3.6, 3.3), dpi=72)
    FigureCanvasAgg(figure)
    result = figure.subplots()
    result.set(xlim=(0, 10), ylim=(90, 100))
    figure.draw_without_rendering()
    return result


def test_points_stand_side_by_side() -> None:
    plot = axes()
    pixel = 10 / plot.get_window_extent().width
    moved = side_by_side(plot, [5.0, 5.0, 5.0, 8.0], gap=9)
    assert moved == pytest.approx([5 - 9 * pixel, 5, 5 + 9 * pixel, 8])
    assert side_by_side(plot, [1.0, 9.0]) == [1.0, 9.0]


def test_names_cover_neither_points_nor_one_another() -> None:
    plot = axes()
    names = ["plain", "se", "eca", "cbam", "simam", "coord", "external"]
    spots = [(3 + 0.4 * i, 95 + 0.3 * (i % 3)) for i in range(len(names))]
    name_points(plot, [Point(name, x, y, 0.0, "black") for name, (x, y) in zip(names, spots, strict=True)])
    boxes = [text.get_window_extent() for text in plot.texts]
    assert [text.get_text() for text in plot.texts] == names
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    pixels = [plot.transData.transform(spot) for spot in spots]
    assert not any(box.contains(x, y) for box in boxes for x, y in pixels)


def test_words() -> None:
    assert [words.count(n) for n in (7, 999, 2_520_000, 40_600_000, 999_600, 4.119e9)] == [
        "7",
        "999",
        "2.52 M",
        "40.6 M",
        "1.00 M",
        "4.12 G",
    ]
    assert [words.duration(s) for s in (0.04, 8.12, 59.97, 133, 3790)] == [
        "0.0 s",
        "8.1 s",
        "1 min 00 s",
        "2 min 13 s",
        "1 h 03 min",
    ]
    assert [words.plural(n, "seed") for n in (1, 2)] == ["1 seed", "2 seeds"]
