"""Figures of a table: they show the table's own figures, no text lies on another, and names are text."""

from __future__ import annotations

import itertools
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from few_records import copy_comparison
from test_certainty import table as table_of
from test_certainty import three

from bench.analysis.behind import class_points, cost_points, unbeaten
from bench.analysis.comparison import Table
from bench.analysis.learning import Learning, learning_curves
from bench.metrics.classification import auc, reliability, roc
from bench.records.histories import find_folders, read_history
from bench.records.sweeps import load_sweeps
from bench.report.arrange import with_columns
from bench.report.drawing.probabilities import _at_grid
from bench.report.drawing.style import COLUMN, _log_ticks, named
from bench.report.drawing.training import training_curves
from bench.report.figures import Drawing, speed_drawings, table_drawings
from bench.report.render import results_tables

EXAMPLE = Path(__file__).parents[2] / "results" / "example"
KINDS = ["differences", "cost", "classes", "training", "reliability", "roc", "confusion"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models of three seeds each on one split of MSLD."""
    models = ("mednext_tiny", "resnet10t", "deit_tiny")
    return copy_comparison(tmp_path_factory.mktemp("results"), "ff006374aa7c", models)


@pytest.fixture(scope="module")
def table(results: Path) -> Table:
    (table,) = results_tables(results)[0]
    return table


@pytest.fixture(scope="module")
def folders(results: Path, table: Table) -> dict[str, Path]:
    return find_folders(results, set(table.cells["key"]))


@pytest.fixture(scope="module")
def drawings(table: Table, folders: dict[str, Path]) -> dict[str, Drawing]:
    return {drawing.kind: drawing for drawing in table_drawings(table, folders)}


def test_every_kind_is_drawn_that_the_records_allow(drawings: dict[str, Drawing], table: Table) -> None:
    assert list(drawings) == KINDS, "a short budget has no ranks"
    assert {drawing.name for drawing in drawings.values()} == {f"msld-{table.key[:8]}-{kind}" for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_is_a_column_wide_and_no_text_is_cut_off_or_lies_on_another(
    drawings: dict[str, Drawing], kind: str
) -> None:
    from matplotlib.text import Text

    figure = drawings[kind].figure
    figure.canvas.draw()
    assert figure.get_figwidth() == pytest.approx(COLUMN)
    hidden = {id(text) for axis in figure.axes if not axis.get_visible() for text in axis.findobj(Text)}
    hidden |= _not_drawn_as_lines(figure)
    shown = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible() and id(text) not in hidden]
    boxes = [(text, text.get_window_extent()) for text in shown]
    assert len(boxes) > 5
    for (one, box), (other, of_other) in itertools.combinations(boxes, 2):
        assert not box.overlaps(of_other), (one, other)
    for text, box in boxes:
        assert text.get_fontsize() >= 5.5
        assert box.x0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y0 >= -1, text
        assert box.y1 <= figure.bbox.y1 + 1, text


def _not_drawn_as_lines(figure: Any) -> set[int]:
    """Labels of ticks beyond an axis's ends, which are never drawn, slanted ones, and numbers on points."""
    left_out = set()
    for axis in figure.axes:
        left_out |= {id(text) for text in axis.texts}
        for k, (own, ends) in enumerate(((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim()))):
            for label in (label for tick in (*own.majorTicks, *own.minorTicks) for label in (tick.label1, tick.label2)):
                if label.get_rotation() or not min(ends) <= label.get_position()[k] <= max(ends):
                    left_out.add(id(label))
    return left_out


def test_the_front_is_of_points_that_none_beats_in_both() -> None:
    costs, scores = np.array([3.0, 1.0, 2.0, 2.0, 4.0]), np.array([70.0, 50.0, 60.0, 65.0, 70.0])
    assert unbeaten(costs, scores).tolist() == [1, 3, 0]


def test_costs_are_the_table_s_and_seconds_the_mean_of_its_runs(table: Table) -> None:
    points = cost_points(table).set_index("title")
    assert points["score"].to_dict() == dict(
        zip(table.frame["Model"], table.frame[table.columns[0].header], strict=True)
    )
    of_model = table.cells[table.cells["shown_as"] == points.index[0]]
    assert len(of_model) == 3
    assert points["seconds"].iloc[0] == pytest.approx(of_model["seconds"].mean())
    gap = table.sure.figures[points.index[0]]
    assert (points["low"].iloc[0], points["high"].iloc[0]) == (gap.low, gap.high)


@pytest.mark.parametrize("names", [["hd95", "dice"], ["params", "dice"], ["params"]])
def test_a_choice_of_columns_leaves_the_figures_what_they_are_of(names: list[str], table: Table) -> None:
    volumes = table_of(*three("a", 0.9), *three("ours", 0.8, family="proposed"))
    of_images = ["accuracy" if name == "dice" else "auc" if name == "hd95" else name for name in names]
    for whole, chosen in ((volumes, names), (table, of_images)):
        (cut,) = with_columns([whole], chosen)
        assert cost_points(cut).equals(cost_points(whole))
        assert class_points(cut).means == class_points(whole).means
        drawn = {one.kind: one.figure for one in table_drawings(cut, {})}
        assert drawn["cost"].axes[0].get_ylabel() == whole.main.header == whole.columns[0].header
        assert "classes" in drawn
        points = cost_points(cut)
        assert ((points["low"] <= points["score"]) & (points["score"] <= points["high"])).all()


def test_every_test_image_is_a_point_and_the_mean_is_the_table_s(table: Table) -> None:
    found = class_points(table)
    assert found.classes == ("Others", "Monkeypox")
    cases = table.scores["case"].nunique()
    assert found.points.groupby("title").size().to_dict() == dict.fromkeys(table.frame["Model"], cases)
    one = found.points.iloc[0]
    rows = table.scores[(table.scores["case"] == one["case"]) & (table.scores["shown_as"] == one["title"])]
    assert one["value"] == pytest.approx(100 * rows.loc[rows["reference"] == 1, "probability"].mean())
    right = (
        table.scores[table.scores["reference"].astype(float) == 1].groupby(["shown_as", "class"])["predicted"].mean()
    )
    for place, value in found.means.items():
        assert value == pytest.approx(100 * right[place])


def test_learning_curves_have_the_range_of_all_seeds_over_images_or_steps(
    table: Table, folders: dict[str, Path]
) -> None:
    curves = learning_curves(table, folders)
    assert [curve.title for curve in curves] == list(table.frame["Model"])
    first = curves[0]
    own = [read_history(folders[key]) for key in table.cells.loc[table.cells["shown_as"] == first.title, "key"]]
    assert first.values["train_loss"].tolist() == [run["train_loss"] for run in own]
    for over, factor in (("images", first.batch), ("steps", 1)):
        figure = training_curves(table, curves, over)
        assert figure is not None
        line = next(line for line in figure.axes[0].lines if line.get_label() == named(first.title))
        assert line.get_xdata()[-1] == first.steps[-1] * factor  # type: ignore[index]
    assert first.batch == 8
    assert learning_curves(table, {}) == []


def test_one_rate_of_several_networks_is_one_line_with_their_names(table: Table, folders: dict[str, Path]) -> None:
    tuned = learning_curves(table, folders)
    assert len(tuned) > 2
    alone = tuned[0].values["lr"][0]

    def at(curve: Learning, rates: np.ndarray) -> Learning:
        return replace(curve, values={**curve.values, "lr": np.tile(rates, (len(curve.values["lr"]), 1))})

    def rates(curves: list[Learning]) -> tuple[list[list[float]], list[str]]:
        figure = training_curves(table, curves)
        assert figure is not None
        axis = figure.axes[2]
        return [list(line.get_ydata()) for line in axis.lines], [text.get_text() for text in axis.texts]  # type: ignore[arg-type]

    first, *others = (at(curve, alone) for curve in tuned)
    lines, texts = rates([first, *others])
    assert (len(lines), texts) == (1, ["all"])
    assert lines[0] == pytest.approx(alone)
    lines, texts = rates([at(first, alone / 2), *others])
    assert [line[0] for line in lines] == pytest.approx([alone[0] / 2, alone[0]])
    assert texts == [f"all but {named(first.title)}"]
    lines, texts = rates([at(first, alone * np.nan), *others])
    assert len(lines) == len(texts) == 1
    each_run = replace(first, values={**first.values, "lr": first.values["lr"] * [[1.0], [0.5], [0.25]]})
    assert (len(rates([each_run, *others])[0]), rates([each_run, each_run])[1]) == (2, []), "its runs have several"


def test_a_history_that_is_cut_or_odd_takes_no_curve_away(results: Path, table: Table, tmp_path: Path) -> None:
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    cut, gone, *_ = sorted(copy.rglob("history.csv"))
    cut.write_text("step,lr\n1,\x00\n")
    gone.unlink()
    folders = find_folders(copy, set(table.cells["key"]))
    assert [len(read_history(folder)) for folder in folders.values()].count(0) <= 2
    assert learning_curves(table, folders)


def test_reliability_and_roc_by_hand() -> None:
    reference = np.array([0, 0, 1, 1])
    given = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.1, 0.9]])
    images, sure, right = reliability(reference, given, 2)
    assert images.tolist() == [0, 4]
    assert math.isnan(sure[0])
    assert (sure[1], right[1]) == (pytest.approx(0.775), pytest.approx(0.75))
    x, y = roc(reference == 1, given[:, 1])
    assert (x.tolist(), y.tolist()) == ([0.0, 0.0, 0.0, 1.0], [0.0, 0.5, 1.0, 1.0])
    rng = np.random.default_rng(0)
    noisy, labels = rng.dirichlet([1, 1], 400), rng.integers(0, 2, 400)
    drawn = np.trapezoid(_at_grid(labels == 1, noisy[:, 1]), np.linspace(0, 1, 101))
    assert drawn == pytest.approx(auc(labels, noisy), abs=0.01)


@pytest.mark.parametrize(("low", "high"), [(1.4, 3.4), (0.1, 0.4), (60.0, 460.0), (1.0, 1e6), (2.1, 2.2)])
def test_a_logarithmic_axis_has_two_to_six_plain_ticks(low: float, high: float) -> None:
    ticks = _log_ticks(low, high)
    assert 2 <= len(ticks) <= 6
    assert all(low <= tick <= high for tick in ticks)


def test_names_are_text_and_long_ones_break_at_commas(table: Table, folders: dict[str, Path]) -> None:
    odd = r"A $\frac{x}$ <script> & net"
    long = "net [laffn=none,sem=none,widths=24-57-145-259]"
    assert named(long) == "net [laffn=none,sem=none,\nwidths=24-57-145-259]"
    titles = {table.frame["Model"].iloc[0]: odd}
    renamed = replace(
        table,
        frame=table.frame.replace({"Model": titles}),
        figures=table.figures.replace({"title": titles}),
        scores=table.scores.replace({"shown_as": titles}),
        cells=table.cells.replace({"shown_as": titles}),
    )
    for drawing in table_drawings(renamed, folders):
        drawing.figure.canvas.draw()
        if drawing.kind == "cost":
            legend = drawing.figure.legends[0].get_texts()
            assert odd in legend[0].get_text()


def test_speeds_are_drawn_by_machine_and_input_without_arms() -> None:
    from bench.records.profiles import load_profiles

    found = list(speed_drawings(load_profiles(EXAMPLE), load_sweeps(EXAMPLE)))
    assert {drawing.kind for drawing in found} == {"latency", "memory"}
    largest = next(drawing for drawing in found if drawing.name.startswith("memory-segmentation"))
    names = [label.get_text() for label in largest.figure.axes[0].get_yticklabels()]
    assert "U-Net (reduced)" in names
    assert not any(name.replace("\n", " ").endswith("[sem=none]") for name in names)
