"""The ratio of two networks timed by turns, on synthetic samples: no network, no clock."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bench.cost.rounds import LEAST_ROUNDS, PRECISION, Samples, alternate, figures, ratio, together


class Bench:
    """A fake clock, and timers that advance it: a pass takes `seconds`, times noise, times a drift common to both."""

    def __init__(self, noise: float = 0.0, drift: float = 0.0, second_is_slower: float = 0.0) -> None:
        self.now, self.noise, self.drift, self.second = 0.0, noise, drift, second_is_slower
        self.rng = np.random.default_rng(7)
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.now

    def timer(self, name: str, seconds: float) -> Callable[[], float]:
        def block() -> float:
            factor = np.exp(self.rng.normal(0, self.noise) + self.drift * np.sin(self.now / 5))
            if len(self.calls) % 2:
                factor *= 1 + self.second
            self.calls.append(name)
            self.now += 0.2
            return float(seconds * factor)

        return block

    def run(self, candidate: float, reference: float, budget: float = 60.0) -> Samples:
        timers = self.timer("candidate", candidate), self.timer("reference", reference)
        return alternate(*timers, budget, self.clock)


def samples(candidate: np.ndarray, reference: np.ndarray) -> Samples:
    count = len(candidate)
    return Samples(candidate.tolist(), reference.tolist(), [True, False] * (count // 2), [0] * count, 1.0)


def test_the_order_is_swapped_each_round() -> None:
    bench = Bench()
    found = bench.run(1.0, 2.0)
    pair = ["candidate", "reference", "reference", "candidate"]
    assert bench.calls == pair * (LEAST_ROUNDS // 2)
    assert found.candidate_first == [True, False] * (LEAST_ROUNDS // 2)


def test_constant_times_end_after_the_least_rounds_with_the_exact_ratio() -> None:
    found = Bench().run(0.004, 0.010)
    shown = figures(found, batch=8)
    assert shown["rounds"] == LEAST_ROUNDS
    assert (shown["ratio"], shown["low"], shown["high"]) == (2.5, 2.5, 2.5)
    assert not shown["flagged"]
    assert shown["candidate"]["images_per_second"] == pytest.approx(2000)
    assert shown["candidate"]["ms_per_batch"] == pytest.approx(4)
    assert shown["reference"]["images_per_second"] == pytest.approx(800)
    assert shown["seconds"] == pytest.approx(0.4 * LEAST_ROUNDS)


def test_a_twice_as_fast_candidate_has_twice_the_images() -> None:
    assert ratio(samples(np.full(10, 1.0), np.full(10, 2.0))).value == 2


def test_noise_is_averaged_away_until_the_interval_is_narrow() -> None:
    bench = Bench(noise=0.05)
    found = bench.run(0.010, 0.025)
    shown = figures(found, batch=8)
    assert shown["rounds"] > LEAST_ROUNDS
    assert shown["rounds"] % 2 == 0
    assert shown["half_width"] <= PRECISION
    assert not shown["flagged"]
    assert shown["low"] < shown["ratio"] < shown["high"]
    assert shown["ratio"] == pytest.approx(2.5, rel=0.03)
    assert bench.now < 60


def test_a_drift_common_to_both_leaves_the_ratio_alone() -> None:
    """The machine becomes up to four times slower and faster again; absolute speeds say so, the ratio does not."""
    drift = np.exp(0.7 * np.sin(np.linspace(0, 9, 40)))
    noise = np.exp(np.random.default_rng(0).normal(0, 0.01, (2, 40)))
    found = figures(samples(0.010 * drift * noise[0], 0.025 * drift * noise[1]), batch=1)
    assert found["ratio"] == pytest.approx(2.5, rel=0.01)
    assert found["high"] - found["low"] < 0.05
    assert found["candidate"]["ms_p75"] / found["candidate"]["ms_p25"] > 1.5


def test_who_comes_second_being_slower_cancels() -> None:
    found = ratio(Bench(second_is_slower=0.1).run(1.0, 1.0, budget=8))
    assert found.low < 1 < found.high
    assert found.value == pytest.approx(1, abs=0.01)


def test_one_stall_of_a_hundredfold_hardly_moves_the_ratio() -> None:
    noise = np.exp(np.random.default_rng(1).normal(0, 0.02, (2, 30)))
    candidate, reference = noise[0], 2 * noise[1]
    before = ratio(samples(candidate, reference))
    candidate[11] *= 100
    after = ratio(samples(candidate, reference))
    assert after.value == pytest.approx(before.value, rel=0.01)
    assert after.half_width < 1.5 * before.half_width


def test_what_is_too_noisy_for_its_time_is_flagged() -> None:
    bench = Bench(noise=0.5)
    found = figures(bench.run(0.01, 0.01, budget=10), batch=8)
    assert found["flagged"]
    assert found["half_width"] > PRECISION
    assert 10 <= bench.now < 10.9
    assert found["rounds"] % 2 == 0


def test_there_are_ten_rounds_of_a_process_even_without_time() -> None:
    assert len(Bench(noise=0.5).run(1.0, 1.0, budget=0).candidate) == LEAST_ROUNDS == 10
    bench = Bench()
    assert len(alternate(bench.timer("a", 1.0), bench.timer("b", 1.0), 0.0, bench.clock, least=6).candidate) == 6


def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(3), 0
    for _ in range(300):
        noise = np.exp(rng.normal(0, 0.1, (2, 40)))
        found = ratio(samples(noise[0], 3 * noise[1]))
        hits += found.low <= 3 <= found.high
    assert 0.91 <= hits / 300 <= 0.99


def test_equal_samples_give_equal_intervals() -> None:
    noise = np.exp(np.random.default_rng(5).normal(0, 0.1, (2, 20)))
    assert ratio(samples(noise[0], noise[1])) == ratio(samples(noise[0], noise[1]))


def processes(rng: np.random.Generator, count: int, between: float, within: float = 0.02) -> Samples:
    """Processes whose ratios lie around 3, each with its own shift, and ten noisy rounds within each."""
    shifts, noise = np.exp(rng.normal(0, between, count)), np.exp(rng.normal(0, within, (count, 10)))
    return together([samples(noise[p] / shifts[p], np.full(10, 3.0)) for p in range(count)])


def test_rounds_of_processes_are_told_apart() -> None:
    two = together([samples(np.full(4, 1.0), np.full(4, 2.0)), samples(np.full(2, 1.0), np.full(2, 3.0))])
    assert two.process == [0, 0, 0, 0, 1, 1]
    assert (len(two.reference), two.seconds) == (6, 2.0)
    shown = figures(two, batch=1)
    assert (shown["processes"], shown["rounds"]) == (2, 6)
    assert (shown["ratio"], shown["low"], shown["high"]) == (2.5, 2.0, 3.0)
    three = together([samples(np.full(n, 1.0), np.full(n, r)) for r, n in ((9.0, 100), (2.0, 10), (2.1, 10))])
    assert ratio(three).value == 2.1, "a process counts as one, whatever its rounds"
    old = Samples([1.0] * 4, [2.0] * 4, [True, False] * 2)
    assert ratio(old).value == 2.0, "samples from before there were processes"


@pytest.mark.slow
def test_the_interval_covers_what_other_processes_would_give() -> None:
    """Shifts of 1.2 % between processes, as were measured here; and the rounds of one alone cover far less."""
    rng = np.random.default_rng(11)
    found = [ratio(processes(rng, 5, between=0.012)) for _ in range(200)]
    alone = [ratio(processes(rng, 1, between=0.012)) for _ in range(200)]
    assert 0.94 <= np.mean([f.low <= 3 <= f.high for f in found]) <= 0.995
    far = [ratio(processes(rng, 5, between=0.025)) for _ in range(200)]
    assert 0.90 <= np.mean([f.low <= 3 <= f.high for f in far]) <= 0.98
    assert np.mean([f.low <= 3 <= f.high for f in alone]) < 0.75


@pytest.mark.slow
def test_two_measurements_of_several_processes_overlap_and_two_of_one_often_do_not() -> None:
    rng, overlaps = np.random.default_rng(12), {1: 0, 5: 0}
    for count in overlaps:
        for _ in range(100):
            first, second = (ratio(processes(rng, count, between=0.025)) for _ in range(2))
            overlaps[count] += first.low <= second.high and second.low <= first.high
    assert overlaps[5] >= 97
    assert overlaps[1] <= 75
