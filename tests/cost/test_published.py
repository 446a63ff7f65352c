"""Ours beside the published costs, and the line that says why there is nothing to compare with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.cost.counters import Count, CrossCheck
from bench.cost.published import Check, _check, _verdict, check_costs
from bench.report.plans import checks_sheet
from bench.zoo.complexity import Complexity
from bench.zoo.entry import Published
from bench.zoo.registry import model_entry, model_names

FIGURES = Published(100.0, 1000.0, 3, 224, 9, "a paper")


@pytest.mark.parametrize(
    ("params", "macs", "said"),
    [
        (100, 1000, "agrees"),
        (101.9, 1049, "agrees"),
        (102.1, 1000, "differs"),
        (100, 940, "differs"),
    ],
)
def test_two_percent_of_the_params_and_five_of_the_macs(params: float, macs: float, said: str) -> None:
    entry = replace(model_entry("unet"), published=FIGURES)
    scaled = replace(entry, published=replace(FIGURES, params=100e6, macs=1000e6))
    assert _verdict(scaled, int(params * 1e6), int(macs * 1e6)) == said
    without = replace(entry, published=replace(FIGURES, params=100e6, macs=None))
    expected = "differs" if params > 102 else "agrees"
    assert _verdict(without, int(params * 1e6), 1) == f"{expected}; no MACs published"


def test_no_row_is_unexplained() -> None:
    for entry in map(model_entry, model_names()):
        if entry.published is None and entry.family != "chance":
            verdict = _verdict(entry, 1, 1)
            assert verdict != "nothing published", entry.name
            assert len(verdict) > 10


def test_what_is_in_the_paper_list_of_all_has_figures_that_were_checked() -> None:
    """Published sizes without a figure to check are left out of `all`, and say so."""
    for entry in map(model_entry, model_names()):
        if "paper" in entry.lists and entry.family not in ("proposed", "chance"):
            assert entry.published, entry.name
        if entry.published is None and entry.family in ("cnn", "transformer", "hybrid") and not entry.reduced_from:
            assert "not in `all`" in entry.note, entry.name


def test_costs_are_counted_at_the_published_input() -> None:
    check = _check(model_entry("swin_unet"), "segmentation", recount=False)
    assert (check.channels, check.image_size, check.classes) == (3, 224, 9)
    assert check.verdict == "agrees"
    assert check.params == pytest.approx(27.17e6, rel=0.02)
    assert check.counters.agrees


def test_every_network_of_a_task_and_family_is_counted_but_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.cost.published._check", lambda entry, task, recount: (entry.name, task))
    assert ("swin_unet", "segmentation") in check_costs("segmentation", "transformer")
    assert {name for name, task in check_costs("segmentation", "transformer")} <= {*model_names()} - {"unet", "chance"}
    counted = [name for name, _ in check_costs()]
    assert sorted(counted) == sorted({*model_names()} - {"chance"})


def test_figures_without_attention_s_products_are_compared_without_them() -> None:
    """EMCAD's 0.84 G: ours are 0.82 without the products of attention and 0.89 with them."""
    check = _check(model_entry("emcad_b0"), "segmentation", recount=False)
    assert check.verdict == "agrees; both without attention's products"
    assert check.macs == pytest.approx(0.822e9, rel=0.01)


@pytest.mark.parametrize(
    ("counters", "said"),
    [
        (CrossCheck(Complexity(1, 1, 10**9), {}, {"fvcore": Count(10**9, {"batch_norm": 5 * 10**7})}, {}), "agree"),
        (CrossCheck(Complexity(1, 1, 10**9, 0, "cpu"), {}, {"fvcore": Count(10**9)}, {}), "agree, cpu"),
        (CrossCheck(Complexity(1, 1, 10**9), {}, {"fvcore": Count(97 * 10**7)}, {}), "UNEXPLAINED"),
        (
            CrossCheck(Complexity(1, 1, 10**9, uncounted={"a::b": 2}), {}, {"fvcore": Count(10**9)}, {}),
            "UNCOUNTED: a::b",
        ),
        (CrossCheck(Complexity(1, 1, 10**9), {}, {}, {"fvcore": "KeyError"}), "FAILED: fvcore: KeyError"),
    ],
)
def test_the_counters_spread_stands_beside_the_published(counters: CrossCheck, said: str) -> None:
    check = Check(model_entry("unet"), 3, 224, 9, 10**6, 10**9, "agrees", counters)
    cells = checks_sheet([check]).frame.iloc[0]
    assert cells["counters"] == said
    assert cells["spread"] == f"{100 * counters.spread:.1f} %"
    assert cells["left"] == f"{100 * counters.unexplained:.1f} %"
    assert cells["verdict"] == "agrees"
