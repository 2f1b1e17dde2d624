"""Are means, intervals, tests and their correction the textbook's, and is a claim made only where they allow it?"""

import math
import random
from statistics import mean, stdev

import pytest
from scipy.integrate import quad
from scipy.stats import ttest_rel

from attnzoo.lab import stats
from attnzoo.lab.cost import Cost
from attnzoo.lab.measure.latency import Latency
from attnzoo.lab.study import Measured, Row, labels, summarise
from attnzoo.lab.trial import PLAIN, Epoch, Outcome, Trial, Variant

PLAIN20 = Variant()
SE = Variant("se", at="block")
MEASURED = Measured(Cost(100, 200, 300), Latency(1.0, (0.9, 1.1), 1.0))


def two_sided_tail(t: float, freedom: int) -> float:
    """The area of Student's density beyond t to both sides, integrated numerically."""
    scale = math.gamma((freedom + 1) / 2) / (math.sqrt(freedom * math.pi) * math.gamma(freedom / 2))
    area, _ = quad(lambda x: scale * (1 + x * x / freedom) ** (-(freedom + 1) / 2), -t, t)
    return 1 - area


def trained(variant: Variant, scores: dict[int, float], seconds: tuple[float, ...] = (1.0,)) -> list[Outcome]:
    """One trial a seed, which ends at the score."""
    return [Outcome(Trial(variant, seed), tuple(Epoch(0.1, top1, s) for s in seconds)) for seed, top1 in scores.items()]


def by_label(outcomes: list[Outcome], controls: dict[Variant, dict[str, Variant]] | None = None) -> dict[str, Row]:
    variants = dict.fromkeys(outcome.trial.variant for outcome in outcomes)
    return {row.label: row for row in summarise(outcomes, dict.fromkeys(variants, MEASURED), controls)}


def test_what_costs_more_or_lost_seeds_is_not_called_better() -> None:
    """Its difference is shown, but neither tested nor counted among those that are."""
    eca, wider = Variant("eca", at="block"), Variant(widths=((16, 30),), matches="latency of se")
    plain = {seed: 90.0 + seed / 10 for seed in range(4)}
    outcomes = trained(PLAIN20, plain) + trained(wider, plain)
    outcomes += trained(SE, {seed: top1 + 5 + seed**2 / 100 for seed, top1 in plain.items()})
    outcomes += trained(eca, {seed: plain[seed] + 5 + seed**2 / 100 for seed in range(3)})
    measured = dict.fromkeys((PLAIN20, SE, eca, wider), MEASURED)
    for share, verdict, why in ((0.95, "better", ""), (0.62, "no evidence", "at ×0.62 only")):
        rows = summarise(outcomes, measured, {SE: {"latency": wider}}, {SE: {"latency": share}}, [Trial(eca, 3)])
        se, lost = rows[1], rows[2]
        assert (se.differences["latency"].verdict, se.untested("latency")) == (verdict, why)
        assert (se.differences[PLAIN].verdict, se.differences[PLAIN].family) == ("better", 1)
        assert lost.differences[PLAIN].interval.mean == pytest.approx(5 + 5 / 300)
        assert lost.differences[PLAIN].verdict == "no evidence"
        assert (lost.failed, lost.failures, lost.untested(PLAIN)) == ((3,), "failed 1 of 4", "failed 1 of 4")


def test_interval_by_hand() -> None:
    two = stats.interval([90.0, 92.0])  # s / sqrt(2) = 1, t(1 degree of freedom) = 12.706
    assert (two.mean, round(two.half_width or 0, 3)) == (91.0, 12.706)
    five = stats.interval([1.0, 2.0, 3.0, 4.0, 5.0])  # s = 1.5811, t(4) = 2.7764
    assert (five.mean, round(five.half_width or 0, 4)) == (3.0, 1.9632)
    assert stats.interval([90.0]) == stats.Interval(90.0, None)


def test_interval_in_words() -> None:
    assert f"{stats.Interval(0.5, 1.25):+.1f}" == "+0.5 ± 1.2"
    assert f"{stats.Interval(-0.001, None):+.2f}" == "+0.00 ± -"


def test_sampling_error_by_hand() -> None:
    assert stats.sampling_error(50.0, 100) == pytest.approx(9.617, abs=1e-3)  # 196.0 * sqrt(0.25 / 103.84)
    assert stats.sampling_error(100.0, 500) == pytest.approx(0.538, abs=1e-3)  # of 501.92 in 503.84


def test_difference_by_hand() -> None:
    """Pairs cancel what a seed shares: each number moves by 10, their differences only by 0.2."""
    found = stats.difference({1: 80.6, 0: 90.4}, {0: 90.0, 1: 80.0})  # 0.4 and 0.6
    assert found is not None
    assert found.interval.mean == pytest.approx(0.5)
    assert found.interval.half_width == pytest.approx(1.2706, abs=1e-4)
    assert found.p == pytest.approx(1 - 2 * math.atan(5) / math.pi)  # t = 0.5 / 0.1 with one degree of freedom


def test_difference_pairs_only_what_both_have() -> None:
    found = stats.difference({0: 91.0, 2: 93.0, 7: 10.0}, {0: 90.0, 1: 50.0, 2: 90.0})
    assert found is not None
    assert (found.seeds, found.interval.mean) == (2, 2.0)
    assert stats.difference({0: 91.0}, {1: 90.0}) is None


@pytest.mark.parametrize("count", [2, 3, 5, 12])
def test_p_value(count: int) -> None:
    draw = random.Random(count)
    a, b = ([draw.gauss(centre, 1) for _ in range(count)] for centre in (0.8, 0.0))
    pairs = [x - y for x, y in zip(a, b, strict=True)]
    t = abs(mean(pairs)) * math.sqrt(count) / stdev(pairs)
    found = stats.p_value(pairs)
    assert found == pytest.approx(two_sided_tail(t, count - 1), abs=1e-8)
    assert found == pytest.approx(ttest_rel(a, b).pvalue)
    assert stats.p_value([-pair for pair in pairs]) == found


def test_without_spread_there_is_no_p() -> None:
    for pairs in ([1.0], [1.0, 1.0, 1.0], [90.4 - 90.0, 80.4 - 80.0], [0.0, 0.0]):
        assert stats.p_value(pairs) is None


def test_holm_by_hand() -> None:
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # as R's p.adjust
    assert stats.holm([0.2, 0.6, 0.6]) == pytest.approx([0.6, 1.0, 1.0])
    assert stats.holm([0.03]) == [0.03]
    assert stats.holm([]) == []


def test_holm_rejects_what_its_procedure_rejects() -> None:
    """Step down from the least p, each against level / (tests left), and stop at the first that does not pass."""
    draw = random.Random(0)
    for _ in range(200):
        p = [draw.random() ** 4 for _ in range(draw.randint(1, 8))]
        rejected: set[int] = set()
        for left, index in zip(range(len(p), 0, -1), sorted(range(len(p)), key=p.__getitem__), strict=True):
            if p[index] >= stats.LEVEL / left:
                break
            rejected.add(index)
        assert {i for i, corrected in enumerate(stats.holm(p)) if corrected < stats.LEVEL} == rejected


def test_a_claim_needs_a_corrected_p_below_the_level() -> None:
    def verdict(mean: float, corrected: float | None) -> str:
        return stats.Difference(stats.Interval(mean, 0.1), 5, 0.001, corrected).verdict

    assert verdict(1.0, 0.049) == "better"
    assert verdict(-1.0, 0.049) == "worse"
    assert verdict(1.0, 0.05) == verdict(-1.0, 0.9) == verdict(1.0, None) == "no evidence"


def test_a_difference_without_p_counts_in_the_family() -> None:
    same = stats.difference({0: 91.0, 1: 81.0}, {0: 90.0, 1: 80.0})
    other = stats.difference({0: 90.41, 1: 80.4, 2: 70.42}, {0: 90.0, 1: 80.0, 2: 70.0})
    assert same is not None
    assert other is not None
    first, second = stats.correct([same, other])
    assert (first.p, first.corrected, first.verdict, first.family) == (None, None, "no evidence", 2)
    assert second.corrected == pytest.approx(2 * (other.p or 0))
    assert second.verdict == "better"


def test_false_alarms_are_one_study_in_twenty() -> None:
    """Twenty modules that change nothing, three seeds each, one plain for all of them."""
    draw, alarms, uncorrected, studies = random.Random(1), 0, 0, 150
    for _ in range(studies):
        plain = {seed: draw.gauss(90, 0.2) for seed in range(3)}
        family = [stats.difference({s: draw.gauss(90, 0.2) for s in range(3)}, plain) for _ in range(20)]
        found = stats.correct([one for one in family if one is not None])
        alarms += any(one.verdict != "no evidence" for one in found)
        uncorrected += any((one.p or 1) < stats.LEVEL for one in found)
    assert alarms / studies < 0.09
    assert uncorrected / studies > 0.3


def test_rows_are_corrected_over_all_that_is_compared() -> None:
    plain = {seed: 90.0 + seed for seed in range(5)}
    gains = [0.30, 0.31, 0.33, 0.29, 0.32]
    better = {seed: plain[seed] + gain for seed, gain in enumerate(gains)}
    noise = {seed: plain[seed] + gain for seed, gain in enumerate([0.5, -0.6, 0.4, -0.4, 0.2])}
    outcomes = trained(PLAIN20, plain) + trained(SE, better) + trained(Variant("eca", at="block"), noise)
    rows = by_label(outcomes)
    assert list(rows) == ["plain", "se", "eca"]
    assert rows["plain"].differences == {}
    se, eca = (rows[name].differences[PLAIN] for name in ("se", "eca"))
    assert (se.verdict, eca.verdict, se.family, se.seeds) == ("better", "no evidence", 2, 5)
    assert (se.corrected, eca.corrected) == (pytest.approx(2 * (se.p or 0)), eca.p)


def test_a_module_is_compared_with_its_controls() -> None:
    """It beats plain; the network widened to its parameters does as well; the one as slow does better."""
    wide = Variant(widths=((16, 17),), matches="parameters of se")
    slow = Variant(widths=((16, 20),), matches="latency of se")
    gains = {SE: (1.0, 1.1, 1.05), wide: (1.0, 1.12, 1.02), slow: (2.0, 2.1, 2.02)}
    outcomes = trained(PLAIN20, {0: 90.0, 1: 91.0, 2: 89.5})
    for variant, each in gains.items():
        outcomes += trained(variant, {s: (90.0, 91.0, 89.5)[s] + gain for s, gain in enumerate(each)})
    rows = by_label(outcomes, {SE: {"parameters": wide, "latency": slow}})
    assert list(rows) == ["plain", "se", "wider (parameters of se)", "wider (latency of se)"]
    found = rows["se"].differences
    assert {kind: one.verdict for kind, one in found.items()} == {
        PLAIN: "better",
        "parameters": "no evidence",
        "latency": "worse",
    }
    assert found["latency"].interval.mean == pytest.approx(-0.99)
    assert set(rows["wider (latency of se)"].differences) == {PLAIN}
    assert found[PLAIN].family == found["latency"].family == 1
    assert rows["wider (latency of se)"].differences[PLAIN].family == 2


def test_plain_may_be_its_own_control() -> None:
    outcomes = trained(PLAIN20, {0: 90.0, 1: 91.0}) + trained(SE, {0: 90.3, 1: 91.5})
    found = by_label(outcomes, {SE: {"parameters": PLAIN20}})["se"].differences
    assert found["parameters"].interval == found[PLAIN].interval


def test_what_starts_from_a_trained_network() -> None:
    """It is compared with plain that started there too, and with the same from scratch; its time holds the base's."""
    base, again = Variant(start="base"), Variant(start="trained")
    tuned = Variant("se", at="block", start="trained")
    outcomes = trained(PLAIN20, {0: 90.0, 1: 91.0}, (1.0, 1.0)) + trained(SE, {0: 90.5, 1: 91.7}, (2.0, 2.0))
    outcomes += trained(base, {0: 80.0, 1: 81.0}, (10.0,)) + trained(again, {0: 90.2, 1: 91.1})
    outcomes += trained(tuned, {0: 91.2, 1: 92.0}, (3.0,))
    rows = by_label(outcomes)
    assert list(rows) == ["plain", "se", "plain (from trained)", "se (from trained)"]
    found = rows["se (from trained)"].differences
    assert found[PLAIN].interval.mean == pytest.approx(0.95)
    assert found["scratch"].interval.mean == pytest.approx(0.5)
    assert set(rows["plain (from trained)"].differences) == {"scratch"}
    assert set(rows["se"].differences) == {PLAIN}
    assert [row.train_seconds for row in rows.values()] == [2.0, 4.0, 11.0, 13.0]


def test_what_is_not_measured_everywhere_is_not_said() -> None:
    epochs = [Epoch(0.1, 90.0, 1.0, top5, joules) for top5, joules in ((99.0, 5.0), (99.5, 7.0), (None, None))]
    whole, part = (
        [Outcome(Trial(variant, seed), (epochs[seed + shift],)) for seed in range(2)]
        for variant, shift in ((PLAIN20, 0), (SE, 1))
    )
    rows = by_label(whole + part)
    assert (rows["plain"].top5, rows["plain"].joules) == (stats.interval([99.0, 99.5]), 6.0)
    assert (rows["se"].top5, rows["se"].joules) == (None, None)


def test_a_variant_without_trials_or_plain_is_left_out() -> None:
    outcomes = trained(SE, {0: 90.0, 1: 91.0})
    rows = summarise(outcomes, {PLAIN20: MEASURED, SE: MEASURED})
    assert [(row.label, dict(row.differences)) for row in rows] == [("se", {})]


def test_labels_say_what_varies() -> None:
    deep = Variant("se", "resnet56", "stage", "trained")
    assert list(labels([PLAIN20, SE]).values()) == ["plain", "se"]
    assert list(labels([SE, deep]).values()) == ["resnet20: se @ block", "resnet56: se @ stage (from trained)"]
    twins = [Variant(widths=((16, wide),), matches="latency of se") for wide in (18, 19)]
    assert list(labels(twins).values()) == ["wider (latency of se)", "wider (latency of se) 16→19"]
