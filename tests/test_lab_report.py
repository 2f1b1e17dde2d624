"""Does what a study reports hold its numbers, say how far to trust them, and fit where it is read?"""

import csv
import itertools
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console

from attnzoo import AttnzooError
from attnzoo.lab import console, report, stats, words
from attnzoo.lab.columns import columns
from attnzoo.lab.cost import Cost
from attnzoo.lab.measure.latency import Latency
from attnzoo.lab.report import emphasis, limits, record, scatter, tables
from attnzoo.lab.report.differences import differences
from attnzoo.lab.report.labels import Point, name_points, side_by_side
from attnzoo.lab.report.page import render
from attnzoo.lab.study import Measured, Study, summarise
from attnzoo.lab.trial import PLAIN, Epoch, Outcome, Trial, Variant

HERE = {"device": "CPU of the test", "torch": "2.99"}
FINAL = {"plain": (90.0, 91.0), "se": (91.0, 92.5), "external_attention": (89.0, 90.0)}
SETTINGS = {
    "data": "digits",
    "shape": [1, 8, 8],
    "classes": 10,
    "train_images": 1297,
    "test_images": 500,
    "pixels": "0123",
    "device": "cpu",
    "epochs": 3,
    "batch_size": 64,
    "learning_rate": 0.05,
    "momentum": 0.9,
}
RESCALED = "Times of folder1 are ratios to its own plain network, times what that takes in folder0."
Scores = dict[str, tuple[float, ...]]


def variant(name: str) -> Variant:
    """'plain', 'se', or a control such as 'latency of se'."""
    if " of " in name:
        return Variant(widths=((16, 17 + len(name)),), matches=name)
    return Variant(name, at="" if name == PLAIN else "layer*.*.bn2")


def study(final: Scores = FINAL, first_seed: int = 0, top5: float | None = None, **changed: Any) -> Study:
    """A study in which every variant has a trial for each score, and modules the controls that there are."""
    outcomes = tuple(
        Outcome(
            Trial(variant(name), first_seed + seed),
            (Epoch(2.0, 10.0, 3.0), Epoch(0.5, 50.0, 1.0), Epoch(0.25, top1, 1.0, top5, 40.0)),
        )
        for name, scores in final.items()
        for seed, top1 in enumerate(scores)
    )
    measured = {
        variant(name): Measured(
            Cost(269_434 + 27 * i, 2_520_000, 4_160_000),
            forward=Latency(0.75 + 0.5 * i, (0.7, 0.9 + 0.5 * i), 1 + i / 2),
            batch=Latency(20.0, (19.0, 21.0), 1.0, 64),
            step=Latency(64.0, (60.0, 70.0), 1.0, 64),
        )
        for i, name in enumerate(final)
    }
    controls = {
        variant(name): {kind: variant(f"{kind} of {name}") for kind in ("parameters", "latency")}
        for name in final
        if f"latency of {name}" in final
    }
    rows = summarise(outcomes, measured, controls)
    date, made_on = "2026-11-20T12:00:00+00:00", (HERE,) * len(outcomes)
    return Study(SETTINGS | changed, HERE, date, outcomes, made_on, rows)


CONTROLLED = {
    "plain": (90.0, 91.0, 90.5, 90.2),
    "se": (91.0, 92.1, 91.5, 91.3),
    "parameters of se": (91.1, 92.0, 91.4, 91.4),
    "latency of se": (92.0, 93.0, 92.45, 92.3),
}


def many(modules: int) -> Study:
    """So many modules with controls and three seeds, of which m00 is far better than plain."""
    final = {"plain": (90.0, 91.0, 90.5)}
    for i in range(modules):
        gain = 5.0 if i == 0 else (i % 7 - 3) / 10
        for name in (f"m{i:02}", f"parameters of m{i:02}", f"latency of m{i:02}"):
            final[name] = tuple(p + gain + (i + s) % 3 / 1000 for s, p in enumerate(final["plain"]))
    return study(final)


def printed(study: Study, width: int = 100) -> str:
    text = StringIO()
    console.show(study, [Path("runs/demo/report.html")], Console(file=text, width=width))
    return text.getvalue()


def test_what_did_not_train_to_the_end_is_told_and_stays_in_every_table(tmp_path: Path) -> None:
    """One seed of three of se, all of eca, which has no mean; and a control that falls short says how far it came."""
    plain = (90.0, 91.0, 90.5)
    known = study({"plain": plain, "se": (95.0, 96.1), "simam": (95.0, 96.1, 95.3), "latency of simam": plain})
    measured = {row.variant: row.measured for row in known.rows}
    controls = {variant("simam"): {"latency": variant("latency of simam")}}
    failed = (Trial(variant("se"), 2), *(Trial(variant("eca"), seed) for seed in range(3)))
    reached = {variant("simam"): {"latency": 0.62}}
    found = replace(known, rows=summarise(known.outcomes, measured, controls, reached, failed), failed=failed)
    said = words.findings(found)
    assert said[0] == "Against plain: simam better; not tested se (paired t-test)."
    assert "Against plain widened to the same latency: not tested simam." in said
    assert said[-1] == "Did not train to the end: se 1 of 3 seeds, eca 3 of 3 seeds."
    report.write(found, tmp_path)
    again = record.read(tmp_path)
    assert again.lost == found.lost == {"eca": 3}
    assert again.rows == found.rows
    studies = {"one": found}
    for text in (tables.as_markdown(studies), tables.as_latex(studies), render(studies), printed(found, 200)):
        for said_in in ("failed 1 of 3", "failed 3 of 3", "0.62 only"):
            assert said_in in text
    last = list(csv.DictReader(StringIO(tables.as_csv(studies))))[-1]
    assert (last["variant"], last["seeds"], last["failed_seeds"], last["top1_percent"]) == ("eca", "0", "3", "")


def render_one(study: Study) -> str:
    return render({words.title(study): study})


@cache
def demo_page() -> str:
    """The page of `study()`."""
    return render_one(study())


def saved(study: Study, folder: Path) -> Path:
    """The folder, with the study's results.json alone."""
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(report.record.as_json(study)))
    return folder


def test_files(tmp_path: Path) -> None:
    files = report.write(study(), tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in files)
    assert files.html.read_text() == demo_page()
    assert json.loads(files.json.read_text()) == json.loads(json.dumps(report.record.as_json(study())))
    content = report.record.as_json(study())
    assert (content["environment"], content["date"]) == (HERE, "2026-11-20T12:00:00+00:00")
    assert content["settings"]["epochs"] == 3
    names = [(trial["trial"]["variant"]["module"], trial["trial"]["seed"]) for trial in content["trials"]]
    assert names == [(name, seed) for name in FINAL for seed in range(2)]
    assert [epoch["top1"] for epoch in content["trials"][3]["epochs"]] == [10.0, 50.0, 92.5]
    se = content["summary"][1]
    assert (se["top1_percent"], se["to_plain_points"], se["parameters"], se["seeds"]) == (91.75, 1.25, 269_461, 2)
    assert se["to_plain_half_width"] == pytest.approx(0.25 * 12.7062, abs=1e-4)
    assert se["to_plain_verdict"] == "no evidence"
    assert (se["step_images_per_second"], se["joules_per_epoch"]) == (1000.0, None)
    assert se["train_seconds"] == 3.0  # three epochs at the median of 3, 1, 1, 3, 1, 1


def test_csv() -> None:
    plain, se, external = csv.DictReader(StringIO(tables.as_csv({"resnet20 on digits": study()})))
    assert (plain["study"], plain["variant"]) == ("resnet20 on digits", "plain")
    assert (plain["to_plain_points"], plain["to_plain_half_width"]) == ("", "")
    assert (se["variant"], se["seeds"], float(se["forward_ms"]), float(se["forward_ratio"])) == ("se", "2", 1.25, 1.5)
    assert float(external["to_plain_points"]) == -1.0


@pytest.mark.parametrize("name", ["=1+1", "+cmd", "-2", "@SUM(A1)", "\tx", 'a,b\n"c"'])
def test_csv_cells_are_no_formulas(name: str) -> None:
    [row, *_] = csv.DictReader(StringIO(tables.as_csv({name: study()})))
    assert row["study"] == (name if name.startswith("a") else f"'{name}")


def test_a_study_is_read_back_whole(tmp_path: Path) -> None:
    for number, one in enumerate((study(), study(CONTROLLED, top5=99.0), many(3))):
        made = replace(
            one,
            notes=("eca: does not fit.",),
            failed=(Trial(variant("eca"), 7),),
            made_on=({"device": "GPU"}, *one.made_on[1:]),
        )
        assert report.record.read(saved(made, tmp_path / str(number))) == made


def changed(edit: Callable[[Any], Any]) -> Callable[[str], str]:
    def apply(text: str) -> str:
        raw = json.loads(text)
        edit(raw)
        return json.dumps(raw)

    return apply


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: '{"a": ' + "9" * 5000 + "}",
        lambda text: text.replace("attnzoo study", "other study"),
        lambda text: text.replace('"top1": 92.5', '"top1": NaN'),
        lambda text: text.replace('"top1": 92.5', '"top1": 1e999'),
        lambda text: text.replace('"top1": 92.5', '"top1": 101'),
        lambda text: text.replace('"top1": 92.5', '"top1": "92.5"'),
        lambda text: text.replace('"top1": 92.5', '"top1": null'),
        lambda text: text.replace('"seed": 1', '"seed": 0'),
        lambda text: text.replace('"seed": 1', '"seed": true'),
        lambda text: text.replace('"milliseconds": 0.75', '"milliseconds": -1'),
        lambda text: text.replace('"milliseconds": 0.75', '"milliseconds": 0'),
        lambda text: text.replace('"module": "se"', '"module": ["se"]'),
        lambda text: text.replace('"module": "se"', '"module": "\\u001b[2Jse"'),
        lambda text: text.replace('"test_images": 500', '"test_images": 0'),
        changed(lambda raw: raw.pop("trials")),
        changed(lambda raw: raw["trials"].pop() and raw["trials"].pop()),
        changed(lambda raw: raw["trials"][0]["epochs"].pop()),
        changed(lambda raw: raw["trials"][0].update(epochs=[])),
        changed(lambda raw: raw["variants"].clear()),
        changed(lambda raw: raw["variants"].append(raw["variants"][0])),
        changed(lambda raw: raw["variants"][1]["measured"]["forward"].update(quartiles=[1])),
        changed(lambda raw: raw["variants"][1].update(controls={"speed": raw["variants"][0]["variant"]})),
        changed(lambda raw: raw["settings"].pop("batch_size")),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, damage: Callable[[str], str]) -> None:
    file = saved(study(), tmp_path / "bad") / "results.json"
    text = file.read_text()
    assert damage(text) != text
    file.write_text(damage(text))
    with pytest.raises(AttnzooError, match=r"bad/results\.json: expected the results of a comparison.*--skip-broken"):
        report.leaderboard([file.parent], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_broken_folders_are_skipped_only_on_request(tmp_path: Path) -> None:
    good, bad = saved(study(), tmp_path / "good"), saved(study(), tmp_path / "bad")
    (bad / "results.json").write_text("{}")
    with pytest.raises(AttnzooError, match=r"bad/results\.json"):
        report.leaderboard([good, bad], tmp_path / "out")
    found = report.leaderboard([good, bad, good], tmp_path / "out", skip_broken=True)
    assert [(len(one.rows), one.notes) for one in found.studies.values()] == [(3, ())]
    [note] = found.notes
    assert "bad/results.json" in note
    assert note in Page(found.files.html.read_text()).words
    assert json.loads(found.files.json.read_text())["notes"] == [note]


def test_folders_without_results_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder, complaint in ((tmp_path, "holds no results.json"), (tmp_path / "file", "cannot be read")):
        with pytest.raises(AttnzooError, match=complaint):
            report.leaderboard([folder], tmp_path / "out")
        with pytest.raises(AttnzooError, match=f"no study to report.*{complaint}"):
            report.leaderboard([folder], tmp_path / "out", skip_broken=True)
    with pytest.raises(AttnzooError, match="no study to report"):
        report.leaderboard([], tmp_path / "out")


def merged(*studies: Study) -> dict[str, Study]:
    return report.merge({f"folder{number}": one for number, one in enumerate(studies)})


def test_seeds_of_equal_studies_are_joined() -> None:
    """Two seeds of plain and se, and two others of them and of eca."""
    more = {"plain": (90.5, 90.2), "se": (91.5, 91.2), "eca": (90.0, 90.1)}
    [one] = merged(study({name: FINAL[name] for name in ("plain", "se")}), study(more, first_seed=2)).values()
    seeds = {row.label: row.seeds for row in one.rows}
    assert seeds == {"plain": (0, 1, 2, 3), "se": (0, 1, 2, 3), "eca": (2, 3)}
    se, eca = (row.differences[PLAIN] for row in one.rows[1:])
    assert (se.interval.mean, se.seeds) == (pytest.approx((1 + 1.5 + 1 + 1) / 4), 4)
    assert (eca.interval.mean, eca.seeds) == (pytest.approx(-0.3), 2)
    assert one.notes == (RESCALED,)
    assert words.runs(one) == "3 variants, 2 to 4 seeds, 10 trainings"
    assert "over 2 to 4 seeds, which stretches the standard error 3.2 to 12.7 times:" in words.caveats(one)[0]
    [single] = merged(study(), study({"plain": (90.0, 91.0, 92.0), "eca": (91.0,)})).values()
    assert "over 1 to 3 seeds" in words.caveats(single)[0]
    assert "4.3 to 12.7 times; a variant with one seed has none:" in words.caveats(single)[0]


def test_the_same_trial_counts_once_and_a_contradiction_is_told() -> None:
    [one] = merged(study(), study()).values()
    assert (len(one.outcomes), one.notes) == (6, ())
    [one] = merged(study(), study({**FINAL, "se": (91.0, 80.0)})).values()
    assert (len(one.outcomes), one.rows[1].top1.mean) == (6, 91.75)
    [note] = one.notes
    assert re.search(r"se at layer\*.*seed 1: top-1 92.50% in folder0, 80.00% in folder1; the first counts", note)
    assert note in words.caveats(one)


def test_a_failure_that_another_folder_mended_is_not_told() -> None:
    whole = study()
    lost, kept = (outcome.trial for outcome in whole.outcomes[2:4])
    notes = tuple(f"Failed, and so missing here: {trial} (out of memory)." for trial in (lost, replace(kept, seed=9)))
    failed = replace(study({"plain": FINAL["plain"]}), failed=(lost, replace(kept, seed=9)), notes=notes)
    [one] = merged(failed, whole).values()
    assert (one.failed, one.notes) == ((replace(kept, seed=9),), (*notes[1:], RESCALED))


def test_controls_that_only_a_later_folder_has_count() -> None:
    [one] = merged(study({name: CONTROLLED[name] for name in ("plain", "se")}), study(CONTROLLED)).values()
    assert one.rows[1].controls == {kind: variant(f"{kind} of se") for kind in ("parameters", "latency")}
    assert set(one.rows[1].differences) == {PLAIN, "parameters", "latency"}


def test_different_studies_stay_apart() -> None:
    elsewhere = replace(study(), environment={**HERE, "device": "GPU of the test"})
    others = [study(epochs=4), study(data="cifar10-jpeg"), study(pixels="4567"), elsewhere]
    found = merged(study(), *others)
    assert list(found) == [
        "resnet20 on digits, device=CPU of the test, epochs=3",
        "resnet20 on digits, device=CPU of the test, epochs=4",
        "resnet20 on cifar10-jpeg",
        "resnet20 on digits, device=CPU of the test, epochs=3 (2)",
        "resnet20 on digits, device=GPU of the test, epochs=3",
    ]
    assert all(row.differences[PLAIN].family == 2 for one in found.values() for row in one.rows[1:])


def test_times_of_several_runs_on_a_cpu_are_compared_by_their_ratios() -> None:
    """The second run found everything three times as slow; on a GPU the times stay as they were measured."""
    slow = study({"plain": FINAL["plain"], "eca": FINAL["se"]})
    times = Latency(3 * 1.25, (3 * 1.2, 3 * 1.4), 1.5)
    rows = [replace(row, measured=replace(row.measured, forward=times)) for row in slow.rows]
    slow = replace(slow, rows=(slow.rows[0], rows[1]))
    quick = study({name: FINAL[name] for name in ("plain", "se")})
    [found] = merged(quick, slow).values()
    eca = next(row.measured.forward for row in found.rows if row.label == "eca")
    plain = found.rows[0].measured.forward
    assert eca.milliseconds == pytest.approx(1.5 * plain.milliseconds)
    assert eca.quartiles == pytest.approx((1.5 * 0.75 / 1.25 * 1.2, 1.5 * 0.75 / 1.25 * 1.4))
    assert eca.ratio == 1.5
    (note,) = found.notes
    assert note == RESCALED
    on_gpu = [replace(one, settings=one.settings | {"device": "cuda"}) for one in (quick, slow)]
    [found] = merged(*on_gpu).values()
    assert next(row.measured.forward for row in found.rows if row.label == "eca") == times
    assert not found.notes


def test_one_bad_network_does_not_squeeze_the_others() -> None:
    """What lies far from all else is an arrow at the frame with its number; the rest fills the chart."""
    final = {f"m{i}": (90.0 + i / 10, 90.1 + i / 10) for i in range(7)}
    found = study({"plain": (90.0, 90.1), **final, "bad": (12.0, 13.0)})
    svg = scatter.against(found, "a", "parameters, millions", emphasis.parameters)
    assert "bad 12.5%" in svg
    ticks = [float(y) for y in re.findall(r">(\d\d(?:\.\d+)?)</text>", svg)]
    assert min(ticks) >= 89
    svg = differences(found, "a")
    assert "-78</text>" in svg.replace("\N{MINUS SIGN}", "-")
    ticks = [float(x.replace("\N{MINUS SIGN}", "-")) for x in re.findall(r">([−-]?\d\.\d+)</text>", svg)]
    assert ticks
    assert min(ticks) > -2
    assert limits.usual([1.0, 2.0, 3.0, 4.0, 50.0]) == (1.0, 4.0)
    assert limits.usual([1.0, 1.0, 1.0, 1.0, 2.0]) == (1.0, 2.0)
    assert limits.usual([5.0]) == (5.0, 5.0)


def test_leaderboard(tmp_path: Path) -> None:
    """Two folders of one study and one of another."""
    studies = [study(), study(first_seed=2), study(data="cifar10-jpeg")]
    folders = [saved(one, tmp_path / str(number)) for number, one in enumerate(studies)]
    found = report.leaderboard(folders, tmp_path / "out")
    names = ["resnet20 on digits", "resnet20 on cifar10-jpeg"]
    assert list(found.studies) == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"leaderboard.{kind}" for kind in ("csv", "html", "json", "md", "tex")
    ]
    with found.files.csv.open() as file:
        rows = [(row["study"], row["variant"], row["seeds"]) for row in csv.DictReader(file)]
    assert rows == [(name, label, seeds) for name, seeds in zip(names, "42", strict=True) for label in FINAL]
    text = found.files.html.read_text()
    assert re.findall(r'<tbody><tr class="study"><th[^>]*>(.*?)</th>', text) == names
    assert re.findall(r"<h2>(.*?)</h2>", text) == names
    assert list(json.loads(found.files.json.read_text())["studies"]) == names


def test_leaderboard_on_the_terminal(tmp_path: Path) -> None:
    files = report.Files(*(tmp_path / name for name in "abcde"))
    found = report.Leaderboard({"one": study(), "two": study(epochs=4)}, ("left out: x",), files)
    text = StringIO()
    console.show_leaderboard(found, Console(file=text, width=100))
    lines = [line.strip() for line in text.getvalue().splitlines()]
    assert [line for line in lines if line.endswith(", 2 seeds")] == ["one, 2 seeds", "two, 2 seeds"]
    assert lines[-6:] == ["left out: x", *(f"wrote {file}" for file in files)]


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
        if tag not in {"meta", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words += data


@pytest.mark.parametrize("studies", [[study()], [study(CONTROLLED, top5=99.0), study(epochs=4)]])
def test_page_is_whole_and_needs_nothing_else(studies: list[Study]) -> None:
    text = render({str(number): one for number, one in enumerate(studies)})
    parsed = Page(text)
    assert not parsed.open
    assert len(parsed.ids) == len(set(parsed.ids))
    assert not parsed.tags & {"link", "img", "iframe", "image", "object"}
    assert not re.findall(r"(?:src|href)=\"(?!#)|url\((?!#)|@import|fetch\(|import\(", text)
    charts = re.findall(r"<svg [^>]*width=.*?</svg>", text, re.DOTALL)
    assert len(charts) == 7 * len(studies)
    for chart in charts:
        ET.fromstring(chart)
    assert not re.search("#01020[0-9]", text)  # ink that follows light and dark


def test_every_point_says_its_numbers_and_every_name_stands_there() -> None:
    text = demo_page()
    charts = re.findall(r"<svg [^>]*width=.*?</svg>", text, re.DOTALL)
    for name in FINAL:
        assert sum(f">{name}</text>" in chart for chart in charts) == (3 if name == "plain" else 4)
    assert "<title>se: top-1 91.75 ± 9.53%, parameters, millions 0.269</title>" in text
    assert "<title>se, seed 1: 92.50%, plain 91.00%</title>" in text
    assert "<title>se: +1.25 ± 3.18 points over 2 pairs, no evidence</title>" in text


def test_page_says_the_numbers_and_their_limits() -> None:
    said = " ".join(Page(demo_page()).words.split())
    assert "3 variants, 2 seeds, 6 trainings" in said
    for cell in (
        "91.75 ± 9.53",
        "+1.25 ± 3.18",
        "-1.00 ± 0.00",
        "269,461",
        "2.52 M",
        "1.25 (×1.50)",
        "3.0 s",
        "1.00 k",
    ):
        assert cell in said
    assert "Against plain: no evidence for se, external_attention (paired t-test, 2 tests corrected by Holm)." in said
    assert "over 2 seeds, which stretches the standard error 12.7 times" in said
    assert "among 2 compared (Holm's correction) must exceed 25.5 standard errors. With so few seeds hardly any" in said
    assert "500 of them pin a top-1 of 91.8% down to ± 2.4 points only" in said
    assert "another environment" not in said
    assert "JPEG" not in said
    elsewhere = ({**HERE, "device": "GPU"}, *(HERE,) * 5)
    assert "another environment" in Page(render_one(replace(study(), made_on=elsewhere))).words
    assert "went through lossy JPEG compression" in Page(render_one(study(data="cifar10-jpeg"))).words


def test_the_table_can_be_sorted_and_filtered_by_hand_and_keyboard() -> None:
    text = render_one(study(CONTROLLED))
    heads = re.findall(r"<th scope=\"col\"[^>]*?aria-sort=\"(\w+)\"><button type=\"button\">(.*?)</button>", text)
    assert [name for sort, name in heads if sort != "none"] == ["top-1 %"]
    assert text.count('<th scope="col"') == len(heads)
    rows = re.findall(r"<tr[^>]*data-name=\"(.*?)\" data-study=\"resnet20 on digits\">(.*?)</tr>", text)
    assert [name for name, _ in rows] == ["wider (latency of se)", "se", "wider (parameters of se)", "plain"]
    for _, row in rows:
        assert row.count("<td") == len(heads) - 1
    assert '<label for="filter">' in text


def test_only_what_passes_the_test_is_called_better() -> None:
    five = {"plain": (90.0,) * 5, "se": (91.0, 91.1, 91.2, 91.1, 91.0), "eca": (89.0, 91.2, 90.0, 90.1, 90.0)}
    text = render_one(study(five))
    found = re.findall(r'<span class="(up|down|none)">([+-][\d.]+) .*?<small>(.*?)</small>', text)
    assert found == [("up", "+1.08", "better, p &lt; 0.001"), ("none", "+0.06", "no evidence")]


def test_the_report_answers_whether_wider_is_as_good() -> None:
    said = Page(render_one(study(CONTROLLED))).words
    assert "Against plain: se better (paired t-test)." in said
    wider = "wider (parameters of se), wider (latency of se) better (paired t-test, 2 tests"
    assert f"Widened networks against plain: {wider}" in said
    assert "Against plain widened to the same parameters: no evidence for se (paired t-test)." in said
    assert "Against plain widened to the same latency: se worse (paired t-test)." in said


def test_page_escapes_names() -> None:
    text = render_one(study(data="<script>alert('&')</script>"))
    assert text.count("<script") == 1
    assert "&lt;script&gt;alert(" in text


def test_many_variants_stay_readable() -> None:
    """Most are grey, and only the best are named; controls leave the chart of differences."""
    one = many(30)
    marked = emphasis.marks(one)
    assert len(marked) <= 9
    assert variant("m00") in marked
    text = render_one(one)
    differences, latency, *_ = re.findall(r"<svg [^>]*width=.*?</svg>", text, re.DOTALL)
    assert differences.count(">m") >= 30
    assert "latency of" not in "".join(re.findall(r">([^<]*)</text>", differences + latency))
    assert len(re.findall(r">m\d\d</text>", latency)) <= 9
    for row in one.rows:
        assert f"<title>{row.label}: top-1" in latency
    said = Page(text).words
    assert "30 tests corrected by Holm" in said
    assert "60 tests corrected by Holm" in said


def test_front() -> None:
    rows = study({"plain": (90.0,), "a": (92.0,), "b": (91.0,), "c": (92.0,), "d": (93.0,)}).rows
    assert [row.label for row in emphasis.front(rows, emphasis.latency)] == ["plain", "a", "d"]
    assert [row.label for row in emphasis.front(rows, emphasis.memory)] == ["d"]


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    alone = study({"plain": (90.0,), "se": (91.0,)})
    said = Page(render_one(alone)).words
    assert "+1.00 ± -" in said
    assert "One seed says nothing about its own spread" in said
    assert "Against plain: no evidence for se" in said
    assert report.record.read(saved(alone, tmp_path / "one")).rows[1].top1 == stats.Interval(91.0, None)
    assert "91.00 ± -" in printed(alone)
    assert "nan" not in (said + printed(alone)).lower()


def test_a_study_without_plain_is_shown() -> None:
    """Its trials failed, say: there is nothing to compare with, and nothing is."""
    alone = study({"se": (91.0, 92.0), "eca": (90.0, 91.0)})
    assert "Against plain" not in Page(render_one(alone)).words
    assert "to plain" not in printed(alone).splitlines()[1]


def test_markdown() -> None:
    text = tables.as_markdown({"one": study(CONTROLLED)})
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert len(table) == 2 + 4
    assert "| se | 4 | 91.47 ± 0.74 | +1.05 ± 0.09 ↑ |" in text
    assert "- Against plain widened to the same latency: se worse" in text
    hostile = tables.as_markdown({"a|b <i> [x](y)": study()})
    assert "## a\\|b \\<i\\> \\[x\\](y)" in hostile


def test_latex() -> None:
    text = tables.as_latex({"one": study(CONTROLLED)})
    assert text.startswith("% Needs \\usepackage{booktabs}\n\\begin{tabular}{@{}lrr")
    lines = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(lines) == 1 + 4
    assert len({line.count(" & ") for line in lines}) == 1
    assert r"se & 91.47 $\pm$ 0.74 & +1.05 $\pm$ 0.09 $\uparrow$ &" in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}")] == [1, 1, 1, 1]
    longer = tables.as_latex({"": many(15)})
    assert r"\begin{longtable}" in longer
    assert r"\endhead" in longer


def test_latex_prints_what_is_written() -> None:
    name = r"50% of_all & #1 \input{x} ^~$ <a> [b] *"
    head = tables.as_latex({name: study(), "b": study()}).splitlines()[5]
    assert head == (
        r"\multicolumn{5}{@{}l}{\emph{50\% of\_all \& \#1 \textbackslash{}input\{x\} \textasciicircum{}"
        r"\textasciitilde{}\$ \textless{}a\textgreater{} {[}b] {*}}} \\"
    )


def test_table_fits_the_terminal() -> None:
    for width in (60, 80, 100, 120, 200):
        lines = printed(study(CONTROLLED), width).splitlines()
        [line] = [line for line in lines if line.startswith("se ")]
        assert re.match(r"se +(4 +)?91.47 ± 0.74 +\+1.05 ± 0.09 ↑ +\+0.00 ± 0.18 +-0.96 ± 0.08 ↓", line)  # never cut
        if width >= 100:
            assert max(map(len, lines)) <= width
    text = printed(study(), 80)
    assert "latency ms" in text
    assert re.search(r"The files\s+have\s+besides: .*training", text, re.DOTALL)
    assert "have besides" not in printed(study(), 250)
    lines = printed(study()).splitlines()
    [line] = [line for line in lines if line.startswith("external_attention ")]
    assert re.match("external_attention 89.50 ± 6.35 -1.00 ± 0.00 269,488 2.52 M", " ".join(line.split()))
    assert "wrote runs/demo/report.html" in lines
    assert "no evidence that a module helps or harms" in " ".join(" ".join(lines).split())


def progress(width: int = 100, terminal: bool = False) -> tuple[console.Progress, StringIO]:
    text = StringIO()
    return console.Progress(Console(file=text, width=width, force_terminal=terminal, color_system=None)), text


def test_progress_without_a_terminal_is_one_line_a_trial() -> None:
    trials = [Trial(variant(name), 0) for name in ("plain", "se", "eca")]
    epoch = Epoch(0.1234, 98.5, 61.0)
    bars, text = progress()
    with bars:
        bars.planned(dict.fromkeys(trials, 1), trials[:1])
        bars.matching("se")
        bars.started(trials[1])
        bars.started(trials[2])
        bars.epoch(trials[1], 1, epoch)
        bars.finished(trials[1], Outcome(trials[1], (epoch,)))
        bars.failed(trials[2], "the training loss became nan")
        bars.measuring()
    found, done, failed = text.getvalue().splitlines()
    assert found == "1 trial of 3 found finished"
    assert done.split() == f"2/3 top-1 98.50% loss 0.1234 trained in 1 min 01 s {trials[1]}".split()
    assert failed == f"failed: {trials[2]}: the training loss became nan"


def test_progress_on_a_terminal_shows_every_running_trial() -> None:
    trials = [Trial(variant(name), 1) for name in ("se", "eca")]
    bars, text = progress(width=140, terminal=True)
    with bars:
        bars.planned({trials[0]: 30, trials[1]: 25}, [])
        for number, trial in enumerate(trials):
            bars.started(trial)
            bars.epoch(trial, 20 + number, Epoch(0.5, 97.25, 1.0))
        assert bars.bars.tasks[2].fields["state"] == "epoch 21/25  loss 0.500  top-1 97.25%"
        bars.started(trials[1])  # again: the process that ran it died
        bars.bars.refresh()
        study_bar, first, second = bars.bars.tasks
        assert (study_bar.completed, study_bar.total, first.completed, second.completed) == (20, 55, 20, 0)
        bars.finished(trials[0], Outcome(trials[0], (Epoch(0.5, 97.25, 1.0),)))
        bars.failed(trials[1], "lost")
        bars.epoch(trials[1], 22, Epoch(0.5, 97.25, 1.0))
        assert [task.description for task in bars.bars.tasks] == ["study"]
        assert (bars.bars.tasks[0].completed, bars.bars.tasks[0].fields["state"]) == (55, "1/2 trials, 1 failed")
    shown = text.getvalue()
    assert f"{trials[0]}" in shown
    assert "epoch 20/30  loss 0.500  top-1 97.25%" in shown


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


def test_many_notes_are_folded_away_but_there() -> None:
    notes = tuple(f"Left out: number {number}." for number in range(9))
    page = render_one(replace(study(), notes=notes))
    hidden = page[page.index("more notes</summary>") :]
    assert ["number 0" in hidden, "number 8" in hidden] == [False, True]
    assert "more notes" not in render_one(study())


def test_trials_that_ran_at_once_are_told() -> None:
    one = study()
    beside = replace(one, made_on=({**HERE, "trials at once": "2"}, *one.made_on[1:]))
    told = "Up to 2 trials ran at once: their training times and energy hold what they cost each other."
    assert told in words.caveats(beside)
    assert "another environment" not in Page(render_one(beside)).words
    assert not any("at once" in line for line in words.caveats(one))


def test_the_share_of_the_peak() -> None:
    """64 images in 64 ms are 1000 a second, of 6 x 2.52 M operations each."""
    one = study()
    fast = replace(one, rows=tuple(replace(row, measured=replace(row.measured, peak=1e12)) for row in one.rows))
    assert fast.rows[0].measured.used == pytest.approx(0.01512)
    [column] = [column for column in columns(fast.rows) if column.heading == "of peak %"]
    assert column.text(fast.rows[0]) == "1.5"
    assert "of peak %" not in [column.heading for column in columns(one.rows)]
