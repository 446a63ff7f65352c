"""Intervals and tests: figures by hand, coverage by simulation, and the cases where nothing may be claimed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from bench.analysis.simulation import smallest_difference, unit_parts, variances
from bench.analysis.statistics import (
    Scores,
    average_ranks,
    bootstrap,
    contrast,
    critical_difference,
    difference,
    figure,
    friedman,
    holm,
    interval,
    mcnemar,
    rank_frequencies,
    unit_means,
    wilcoxon,
)


def plain(values: np.ndarray) -> Scores:
    """(S, P) values of one class, a case each."""
    return Scores(values[:, :, None], np.ones((*values.shape, 1)))


def drawn(
    rng: np.random.Generator, patients: np.ndarray, seeds: int, run: float, rest: float, mean: float = 0
) -> Scores:
    """Patient effect + run effect + rest, in points of Dice."""
    shape = (seeds, len(patients))
    return plain(mean + patients + rng.normal(0, run, (seeds, 1)) + rng.normal(0, rest, shape))


def test_figure_is_the_mean_over_classes_of_means_over_cases_then_over_seeds() -> None:
    sums = np.array([[[2.0, 3.0], [1.0, 0.0]], [[4.0, 1.0], [2.0, 0.0]]])  # seeds x patients x classes
    counts = np.array([[[2, 1], [1, 0]], [[2, 1], [2, 0]]])
    scores = Scores(sums, counts)
    first, second = ((2 + 1) / 3 + 3 / 1) / 2, ((4 + 2) / 4 + 1 / 1) / 2
    assert figure(scores) == pytest.approx((first + second) / 2)
    by_unit = [(2 / 2 + 3) / 2, 1.0], [(4 / 2 + 1) / 2, 1.0]
    assert unit_means(scores) == pytest.approx(np.mean(by_unit, axis=0))


def test_a_class_that_no_unit_has_is_left_out_and_nothing_is_nan() -> None:
    scores = Scores(np.array([[[1.0, 0.0], [3.0, 0.0]]] * 2), np.array([[[1, 0], [1, 0]]] * 2))
    assert figure(scores) == 2.0
    assert np.isfinite(bootstrap({"a": scores}, 50)["a"]).all()


def test_the_interval_is_reproducible_holds_the_figure_and_shrinks_with_more_patients() -> None:
    rng = np.random.default_rng(0)
    few, many = (interval(drawn(rng, rng.normal(0, 5, n), 3, 0.3, 1.0, 80)) for n in (8, 80))
    assert few.low < few.value < few.high
    assert few.high - few.low > 2 * (many.high - many.low)
    scores = plain(np.arange(12.0).reshape(3, 4))
    assert interval(scores) == interval(scores)


def test_with_one_patient_s_noise_alone_the_interval_is_that_of_student_s_t() -> None:
    """Equal seeds: what is left is the mean of 30 patients, whose interval is known."""
    values = np.random.default_rng(1).normal(70, 6, 30)
    found = interval(plain(np.stack([values] * 3)))
    half = stats.t.ppf(0.975, 29) * values.std(ddof=1) / 30**0.5
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.06)


def test_with_seed_s_noise_alone_too() -> None:
    runs = np.array([70.0, 71.0, 73.0, 74.0, 76.0])
    found = interval(plain(np.stack([runs] * 20, axis=1)))
    half = stats.t.ppf(0.975, 4) * runs.std(ddof=1) / 5**0.5
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.25), "five seeds give coarse percentiles"


def test_differences_are_paired_over_patients() -> None:
    rng = np.random.default_rng(2)
    patients = rng.normal(0, 15, 15)
    one, other = (drawn(rng, patients, 5, 0.1, 0.5, mean) for mean in (83, 80))
    gap = difference(one, other)
    assert gap.excludes_zero
    assert gap.value == pytest.approx(3, abs=0.7)
    assert gap.high - gap.low < 0.2 * (interval(one).high - interval(one).low)
    back = difference(other, one)
    assert back.value == pytest.approx(-gap.value)
    assert back.excludes_zero


def factorial(seed: int, seeds: int = 3, noise: float = 0.2) -> dict[str, Scores]:
    """Arms of two factors: a adds 2 points, b 1, both together 3 more; each seed shifts all arms alike."""
    rng = np.random.default_rng(seed)
    patients, common = rng.normal(0, 6, 15), rng.normal(0, 4, (seeds, 1))
    effects = {"none": 0, "a": 2, "b": 1, "ab": 6}
    return {
        arm: plain(80 + mean + patients + common + rng.normal(0, noise, (seeds, 15))) for arm, mean in effects.items()
    }


def test_a_difference_is_a_contrast_of_one_and_minus_one() -> None:
    arms = factorial(0)
    assert contrast(arms, {"a": 1, "b": -1}) == difference(arms["a"], arms["b"])
    assert contrast(arms, {"ab": 1}) == interval(arms["ab"])


def test_contrasts_give_main_effects_and_interactions() -> None:
    arms = factorial(1)
    main = contrast(arms, {"a": 0.5, "ab": 0.5, "none": -0.5, "b": -0.5}, paired_seeds=True)
    assert main.value == pytest.approx(3.5, abs=0.3)
    assert main.excludes_zero
    interaction = contrast(arms, {"ab": 1, "a": -1, "b": -1, "none": 1}, paired_seeds=True)
    assert interaction.value == pytest.approx(3, abs=0.5)
    assert interaction.excludes_zero
    doubled = contrast(arms, {"a": 2, "b": -2}, paired_seeds=True)
    single = contrast(arms, {"a": 1, "b": -1}, paired_seeds=True)
    assert doubled.low == pytest.approx(2 * single.low)
    assert doubled.high == pytest.approx(2 * single.high)


def test_what_a_seed_does_to_all_arms_cancels_where_seeds_are_paired() -> None:
    arms = factorial(2)
    paired, own = (contrast(arms, {"a": 1, "none": -1}, paired_seeds=p) for p in (True, False))
    assert paired.value == own.value
    assert paired.high - paired.low < 0.1 * (own.high - own.low)
    shifted = {name: plain(arms[name].sums[:, :, 0] + np.array([[0], [50], [-9]])) for name in ("a", "none")}
    moved = contrast(shifted, {"a": 1, "none": -1}, paired_seeds=True)
    assert (moved.low, moved.high) == pytest.approx((paired.low, paired.high))


def test_paired_seeds_alone_give_student_s_t_of_the_contrasts_by_seed() -> None:
    runs = np.array([70.0, 71.0, 73.0, 74.0, 76.0])
    arms = {"a": plain(np.tile(runs[:, None], (1, 20))), "b": plain(np.tile((runs % 2)[:, None], (1, 20)))}
    found = contrast(arms, {"a": 1, "b": -1}, paired_seeds=True)
    half = stats.t.ppf(0.975, 4) * (runs - runs % 2).std(ddof=1) / 5**0.5
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.25)


def test_contrasts_that_cannot_be_formed_say_why() -> None:
    arms = {"a": plain(np.ones((3, 4))), "b": plain(np.ones((2, 4)))}
    with pytest.raises(ValueError, match=r"weights of some of \['a', 'b'\], but got \['c'\]"):
        contrast(arms, {"c": 1})
    with pytest.raises(ValueError, match="but got \\[\\]"):
        contrast(arms, {})
    with pytest.raises(ValueError, match=r"as many for each model, but got \[3, 2\]"):
        contrast(arms, {"a": 1, "b": -1}, paired_seeds=True)


@pytest.mark.parametrize("shape", [(1, 10), (3, 1)])
def test_one_seed_or_one_patient_makes_no_interval(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least two seeds and two units"):
        interval(plain(np.ones(shape)))
    with pytest.raises(ValueError, match="the same for all"):
        difference(plain(np.ones((3, 4))), plain(np.ones((3, 5))))
    with pytest.raises(ValueError, match=r"sums and counts \(S, P, C\)"):
        Scores(np.ones((2, 3)), np.ones((2, 3)))


def test_rank_frequencies_by_hand() -> None:
    grids = {name: plain(np.full((3, 6), value)) for name, value in (("a", 1.0), ("b", 3.0), ("c", 3.0))}
    assert rank_frequencies(grids).tolist() == [[0, 0, 1], [1, 0, 0], [1, 0, 0]], "ties share the better rank"
    assert rank_frequencies(grids, higher=False)[0].tolist() == [1, 0, 0]
    unknown = {"none": Scores(np.zeros((3, 6, 1)), np.zeros((3, 6, 1))), **grids}
    assert rank_frequencies(unknown)[0].tolist() == [0, 0, 0, 1], "what is not defined is never first"
    assert np.isnan(list(vars(interval(unknown["none"])).values())).all()
    rng = np.random.default_rng(4)
    equal = {name: drawn(rng, np.zeros(20), 5, 1.0, 1.0) for name in "ab"}
    assert rank_frequencies(equal).sum(axis=1) == pytest.approx([1, 1])


def test_units_are_drawn_within_their_stratum() -> None:
    """A network that calls all images ill has half of them right, whatever units are drawn."""
    right = np.repeat([[100.0] * 4 + [0.0] * 4], 3, axis=0)
    strata = np.repeat([0, 1], 4)
    found = interval(Scores(right[:, :, None], np.ones((3, 8, 1)), strata))
    assert (found.value, found.low, found.high) == pytest.approx((50, 50, 50))
    loose = interval(plain(right))
    assert loose.high - loose.low > 50
    with pytest.raises(ValueError, match="two units in each stratum"):
        interval(Scores(right[:, :, None], np.ones((3, 8, 1)), np.array([0] * 7 + [1])))
    with pytest.raises(ValueError, match="a stratum for each of 8 units"):
        Scores(right[:, :, None], np.ones((3, 8, 1)), strata[:5])


def test_the_interval_of_a_stratified_mean_is_that_of_student_s_t() -> None:
    values = np.concatenate([np.random.default_rng(k).normal(70 + 20 * k, 5, 30) for k in (0, 1)])
    found = interval(Scores(np.tile(values, (3, 1))[:, :, None], np.ones((3, 60, 1)), np.repeat([0, 1], 30)))
    half = stats.t.ppf(0.975, 58) * np.sqrt(sum(values[k : k + 30].var(ddof=1) / 30 for k in (0, 30))) / 2
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.06)


def test_what_strata_differ_by_does_not_raise_the_smallest_difference() -> None:
    rng = np.random.default_rng(6)
    strata, gaps = np.repeat([0, 1], 20), np.repeat([10.0, -10.0], 20)
    models = [drawn(rng, np.zeros(40) + k * gaps, 3, 0.5, 0.5, 80) for k in range(2)]
    held = [Scores(one.sums, one.counts, strata) for one in models]
    assert smallest_difference(held, 3, 40) < 0.5 * smallest_difference(models, 3, 40)


def test_critical_differences_are_those_of_demsar() -> None:
    """Table 5 and the examples of JMLR 7 (2006) 1: four classifiers on 14 data sets."""
    q = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 10: 3.164}
    for models, value in q.items():
        found = critical_difference(models, 14)
        assert found == pytest.approx(value * (models * (models + 1) / (6 * 14)) ** 0.5, abs=2e-3)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(4, 14, 0.10) == pytest.approx(1.12, abs=0.005)


def test_friedman_s_test_is_demsar_s_example() -> None:
    """Table 6 there: AUC of C4.5 and three variants of it on 14 data sets; F = 3.69, ranks as printed."""
    auc = np.array(
        [
            [0.763, 0.768, 0.771, 0.798],
            [0.599, 0.591, 0.590, 0.569],
            [0.954, 0.971, 0.968, 0.967],
            [0.628, 0.661, 0.654, 0.657],
            [0.882, 0.888, 0.886, 0.898],
            [0.936, 0.931, 0.916, 0.931],
            [0.661, 0.668, 0.609, 0.685],
            [0.583, 0.583, 0.563, 0.625],
            [0.775, 0.838, 0.866, 0.875],
            [1.000, 1.000, 1.000, 1.000],
            [0.940, 0.962, 0.965, 0.962],
            [0.619, 0.666, 0.614, 0.669],
            [0.972, 0.981, 0.9751, 0.975],
            [0.957, 0.978, 0.946, 0.970],
        ]
    )
    assert average_ranks(auc) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=1e-3)
    assert friedman(auc) == pytest.approx(stats.f.sf(3.69, 3, 39), rel=0.01)
    assert friedman(np.tile([1.0, 2.0, 3.0], (6, 1))) == 0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_paired_tests_by_hand() -> None:
    one, other = np.array([True] * 9 + [False]), np.array([True, *[False] * 9])
    assert mcnemar(one, other) == pytest.approx(2 * 0.5**8)
    assert mcnemar(one, one) == 1.0
    assert wilcoxon(np.arange(1.0, 7), np.zeros(6)) == pytest.approx(2 / 2**6)
    assert wilcoxon(np.ones(5), np.ones(5)) == 1.0


def test_gaps_that_differ_in_their_last_bits_are_ties() -> None:
    """Means over three seeds of shares of images: held to whole numbers, in which such gaps are exact."""
    rng = np.random.default_rng(4)
    right = rng.integers(0, 6, (2, 3, 15))  # of 5 images a unit has, by model and seed
    means = (right / 5).mean(axis=1)
    whole = right.sum(axis=1)
    assert len(set(means[0] - means[1])) > len(set(whole[0] - whole[1])), "the draw has such gaps"
    assert wilcoxon(*means) == stats.wilcoxon(whole[0] - whole[1]).pvalue


@pytest.mark.slow
def test_the_smallest_difference_shrinks_with_seeds_and_patients_and_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(5)
    patients = rng.normal(0, 5, 40)
    models = [drawn(rng, patients, 10, 0.8, 1.0, 80) for _ in range(6)]
    sizes = {(s, p): smallest_difference(models, s, p) for s, p in itertools.product((3, 12), (10, 40))}
    assert sizes[3, 10] > sizes[12, 10] > sizes[12, 40]
    assert sizes[3, 10] > sizes[3, 40]
    tries, size, shown = 100, sizes[3, 10], 0
    for _ in range(tries):
        pair = [drawn(rng, patients[:10], 3, 0.8, 1.0, 80 + more) for more in (size, 0)]
        shown += difference(*pair, resamples=200, paired_seeds=True).low > 0
    assert 0.65 <= shown / tries <= 0.95, f"{size:.2f} points"


def test_units_have_parts_of_a_figure_whose_variances_are_found_again() -> None:
    sums = np.array([[[2.0, 3.0], [1.0, 0.0]], [[4.0, 1.0], [2.0, 0.0]]])
    scores = Scores(sums, np.array([[[2, 1], [1, 0]], [[2, 1], [2, 0]]]))
    assert unit_parts(scores).mean() == pytest.approx(figure(scores))
    values = np.random.default_rng(8).normal(size=(3, 9))
    assert unit_parts(plain(values)) == pytest.approx(values)
    rng = np.random.default_rng(7)
    patients = rng.normal(0, 8, 60)
    models = [drawn(rng, patients + rng.normal(0, 2, 60), 12, 0.6, 1.0, 80) for _ in range(20)]
    of_seeds, of_units, rest = variances(models)  # of differences: twice a model's own
    assert of_seeds == pytest.approx(2 * 0.36, rel=0.25)
    assert of_units == pytest.approx(2 * 4, rel=0.25)
    assert rest == pytest.approx(2 * 1, rel=0.1)
    with pytest.raises(ValueError, match="two models of the same units and seeds"):
        smallest_difference([models[0], plain(np.ones((3, 60)))], 3, 60)


@pytest.mark.slow
@pytest.mark.parametrize("patients", [6, 12, 20])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_smallest_difference_is_shown_four_times_in_five(seeds: int, patients: int) -> None:
    rng = np.random.default_rng([seeds, patients])

    def model(seeds: int, effect: np.ndarray, mean: float = 80.0) -> Scores:
        """A run's effect of 0.6 points, 2 of what a patient suits one model more than another, and a rest of 1."""
        return drawn(rng, effect + rng.normal(0, 2, len(effect)), seeds, 0.6, 1.0, mean)

    effect = rng.normal(0, 8, 40)
    size = smallest_difference([model(10, effect) for _ in range(30)], seeds, patients)
    tries, shown = 600, 0
    for _ in range(tries):
        effect = rng.normal(0, 8, patients)
        gap = difference(model(seeds, effect, 80 + size), model(seeds, effect), resamples=600, paired_seeds=True)
        shown += gap.low > 0
    assert 0.75 <= shown / tries <= 0.85, f"{size:.2f} points"


def rejections(patients: int, seeds: int, run: float, rest: float, tries: int, gap: float = 0.0) -> float:
    rng = np.random.default_rng(abs(hash((patients, seeds, run, rest))) % 2**32)
    count = 0
    for _ in range(tries):
        effect = rng.normal(0, 8, patients)
        pair = [drawn(rng, effect, seeds, run, rest, 80 + mean) for mean in (0, gap)]
        count += difference(*pair, resamples=800).excludes_zero
    return count / tries


def test_a_large_difference_is_found() -> None:
    assert rejections(12, 5, 0.5, 1.0, 40, gap=4.0) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("patients", [12, 20])
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("run", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("rest", [0.3, 1.0, 3.0])
def test_equals_are_called_different_in_at_most_eight_percent(
    patients: int, seeds: int, run: float, rest: float
) -> None:
    assert rejections(patients, seeds, run, rest, 500) <= 0.08


@pytest.mark.slow
@pytest.mark.parametrize("patients", [12, 20])
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize(("run", "rest"), [(0.3, 0.3), (0.6, 1.0), (1.0, 0.1), (1.0, 1.0), (1.0, 3.0)])
@pytest.mark.parametrize("weights", [(1, -1), (1, -1, -1, 1)])
def test_equal_arms_with_paired_seeds_are_called_different_in_at_most_eight_percent(
    patients: int, seeds: int, run: float, rest: float, weights: tuple[int, ...]
) -> None:
    """Half of a run's variance is its seed's, the same in all arms."""
    rng = np.random.default_rng(abs(hash((patients, seeds, run, rest, weights))) % 2**32)
    tries, count = 1500, 0
    for _ in range(tries):
        both = rng.normal(0, 8, patients) + rng.normal(0, run * 0.5**0.5, (seeds, 1))
        arms = {
            str(k): plain(80 + both + drawn(rng, np.zeros(patients), seeds, run * 0.5**0.5, rest).sums[:, :, 0])
            for k in range(len(weights))
        }
        count += contrast(arms, dict(zip(arms, weights, strict=True)), resamples=400, paired_seeds=True).excludes_zero
    assert count / tries <= 0.08


@pytest.mark.slow
@pytest.mark.parametrize("patients", [6, 12, 20])
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize(("run", "rest", "own"), [(0.3, 0.3, 0), (1.0, 0.1, 0), (1.0, 1.0, 0), (1.0, 0.1, 2.0)])
def test_equal_models_in_pairs_of_seeds_that_share_nothing_are_called_different_in_at_most_eight_percent(
    patients: int, seeds: int, run: float, rest: float, own: float
) -> None:
    """As the main table takes them; `own` is what patients suit one model more than the other, 0 on average."""
    rng = np.random.default_rng([patients, seeds, int(10 * run), int(10 * rest), int(own)])
    tries, count = 1000, 0
    for _ in range(tries):
        effect = rng.normal(0, 8, patients)
        pair = [drawn(rng, effect + rng.normal(0, own, patients), seeds, run, rest, 80) for _ in range(2)]
        count += difference(*pair, resamples=400, paired_seeds=True).excludes_zero
    assert count / tries <= 0.08


@pytest.mark.slow
@pytest.mark.parametrize("units", [(4, 4), (10, 10)])
@pytest.mark.parametrize(("run", "block"), [(1, 10), (5, 10), (5, 1)])
def test_equals_over_few_blocks_of_two_classes_are_called_different_in_at_most_eight_percent(
    units: tuple[int, int], run: float, block: float
) -> None:
    """What a network has right hangs together in a block; one network prefers one class, the other the other."""
    rng = np.random.default_rng(1)
    strata, preference = np.repeat([0, 1], units), np.repeat([10.0, -10.0], units)
    tries, count = 500, 0
    for _ in range(tries):
        models = []
        for sign in (1, -1):
            of_blocks = 70 + sign * preference + rng.normal(0, block, len(strata))
            values = of_blocks + rng.normal(0, run, (3, 1)) + rng.normal(0, 1, (3, len(strata)))
            models.append(Scores(values[:, :, None], np.ones((3, len(strata), 1)), strata))
        count += difference(*models, resamples=400).excludes_zero
    assert count / tries <= 0.08
