"""Figures of a report: what is drawn, what is left out and why, and when data sets are ranked together."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from test_certainty import rows, three
from test_comparison import cell

from bench.analysis.comparison import Table, summarise
from bench.analysis.rankings import rankings
from bench.cli.main import main
from bench.errors import UserError
from bench.report.drawing import style
from bench.report.drawing.forest import differences
from bench.report.drawing.ranking import cliques, critical, rank_map
from bench.report.figures import draw_report, ranking_drawings
from bench.report.sheets import to_markdown
from bench.report.table_sheets import rank_sheet

MODELS = ("ours", "a", "b")
DATASETS = ("acdc", "synapse", "msld", "sars-cov2-ct", "large-covid-ct", "other")


def tables(datasets: tuple[str, ...], seeds: int = 3, models: tuple[str, ...] = MODELS, **fields: Any) -> list[Table]:
    """Of each data set a table of three models, ours the best, but on the last of five."""
    pairs = []
    for name, (k, model) in itertools.product(datasets, enumerate(models)):
        mean = 0.5 + (0.1 * k if name == DATASETS[4] else -0.1 * k)
        family = "proposed" if model == "ours" else "cnn"
        for seed in range(seeds):
            own = {
                "dataset": name,
                "dataset_title": name.upper(),
                "comparison": f"{name}-{len(fields)}",
                "family": family,
            }
            pairs.append((cell(model, seed, "MedNeXt-T (reconstr.)" if k == 0 else None, **{**own, **fields}), mean))
    frame = pd.DataFrame([row for one, mean in pairs for row in rows(one, mean)])
    return summarise(pd.DataFrame([one for one, _ in pairs]), frame)


def texts(figure: Any) -> str:
    """All that is written in a figure."""
    from matplotlib.text import Text

    return " | ".join(found.get_text() for found in figure.findobj(Text) if found.get_text())


def test_differences_and_ranks_say_what_they_are_of() -> None:
    (table,) = tables(("acdc",), source="phantom", preset="smoke")
    forest, ranks = texts(differences(table)), texts(rank_map(table))
    for shown in (forest, ranks):
        assert "PHANTOM images, ACDC (acdc), preset smoke, split mtunet" in shown.replace("\n", " ")
    assert "MedNeXt-T (reconstr.) less the model, Dice % (strict)" in forest.replace("\n", " ")
    assert "8 patients and 3 seeds" in forest.replace("\n", " ")
    assert "MedNeXt-T (reconstr.)" in ranks
    assert "100" in ranks
    line = next(line for line in to_markdown(rank_sheet(table)).splitlines() if line.startswith("| MedNeXt"))
    assert line == "| MedNeXt-T (reconstr.) | 100 | 0 | 0 |"


def test_the_forest_draws_each_interval_where_it_is() -> None:
    (table,) = tables(("acdc",))
    axis = differences(table).axes[0]
    drawn = {(line.get_xdata()[0], line.get_xdata()[1]) for line in axis.lines if len(line.get_xdata()) == 2}
    assert {(gap.low, gap.high) for gap in table.sure.gaps.values()} <= drawn
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["A", "B"]


@pytest.mark.parametrize("draw", [differences, rank_map])
def test_nothing_is_cut_off(draw: Any) -> None:
    (table,) = tables(("acdc",), models=("ours", "a" * 40, "b"))
    figure = draw(table)
    figure.canvas.draw()
    whole, axis = figure.bbox, figure.axes[0]
    for text in (*figure.texts, *axis.texts, axis.xaxis.label, *axis.get_yticklabels()):
        if text.get_text():
            box = text.get_window_extent()
            assert box.x0 >= whole.x0 - 1, text
            assert box.x1 <= whole.x1 + 1, text
            assert box.y0 >= whole.y0 - 1, text
            assert box.y1 <= whole.y1 + 1, text


@pytest.mark.slow
def test_the_same_tables_give_the_same_files(tmp_path: Path) -> None:
    once = tables(("acdc",))
    written = draw_report(once, tmp_path)[0]
    assert [path.name for path in written] == [
        f"acdc-acdc-0-{kind}.{form}"
        for kind in ("differences", "ranks", "cost", "classes")
        for form in ("png", "pdf", "svg")
    ]
    again = style.save(rank_map(once[0]), tmp_path / "again" / "acdc-acdc-0-ranks")
    for path in again:
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


@pytest.mark.slow
def test_what_is_not_drawn_is_said(tmp_path: Path) -> None:
    written, notes = draw_report(tables(("acdc",), seeds=1), tmp_path)
    assert {path.stem for path in written} == {"acdc-acdc-0-cost", "acdc-acdc-0-classes"}
    assert notes[0].endswith("no figure of differences. No claim about a method is made: 1 seed, 8 patients.")
    assert notes[1] == (
        "No critical-difference figure: it needs 5 data sets of real images with the same ranked models; there: 0."
    )
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Cannot write .*acdc.*png"):
        draw_report(tables(("acdc",)), tmp_path / "file")


def test_from_five_data_sets_on_their_ranks_are_drawn() -> None:
    assert not list(ranking_drawings(tables(DATASETS[:4])))
    five = tables(DATASETS[:5])
    (drawing,) = ranking_drawings(five)
    assert drawing.name == f"critical-difference-quick-5-{'-'.join(sorted(DATASETS[:5]))}"
    (ranking,) = rankings(five)
    assert ranking.models == ("MedNeXt-T (reconstr.)", "A", "B")
    assert ranking.figures.shape == (5, 3)
    shown = texts(critical(ranking)).replace("\n", " ")
    assert "Mean ranks over 5 data sets (acdc, large-covid-ct, msld, sars-cov2-ct, synapse), preset quick" in shown
    assert "MedNeXt-T (reconstr.)  1.40" in shown, "first on four, third on the last"
    assert "critical difference 1.48" in shown, "2.343 * sqrt(3 * 4 / 30)"


@pytest.mark.slow
def test_only_real_whole_and_trusted_comparisons_of_one_setting_are_ranked_together() -> None:
    for fields in ({"source": "phantom"}, {"split_flag": "leaks"}, {"fold": 1}):
        assert not rankings(tables(DATASETS[:5], **fields)), fields
    mixed = [*tables(DATASETS[:3]), *tables(DATASETS[3:5], preset="paper")]
    assert sorted(len(ranking.datasets) for ranking in rankings(mixed)) == [2, 3]
    pretrained = tables(DATASETS[3:5], init="timm/x")
    assert {r.setting for r in rankings([*tables(DATASETS[:3]), *pretrained])} == {"quick", "quick, pretrained"}
    (partial,) = rankings(tables(DATASETS[:1], partial=True))
    assert partial.datasets == ("acdc (partial)",)
    variant = rankings([*tables(("large-covid-ct",)), *tables(("large-covid-ct-2class",))])
    assert [ranking.datasets for ranking in variant] == [("large-covid-ct",)]


def test_the_newest_version_stands_for_a_model() -> None:
    both = [cell("a", seed, version=version, key=f"{seed}{version}") for seed in range(3) for version in (1, 2)]
    pairs = [*((one, 0.9 if one["version"] == 1 else 0.6) for one in both), *three("b", 0.5)]
    frame = pd.DataFrame([row for one, mean in pairs for row in rows(one, mean)])
    (ranking,) = rankings(summarise(pd.DataFrame([one for one, _ in pairs]), frame))
    assert ranking.models == ("A", "B")
    assert ranking.figures[0] == pytest.approx([60, 50], abs=3)


def test_cliques_by_hand() -> None:
    assert cliques(np.array([1.0, 1.5, 3.0, 3.2]), 1.6) == [(0, 1), (1, 2), (2, 3)]
    assert cliques(np.array([1.0, 2.0, 3.0]), 5.0) == [(0, 2)]
    assert cliques(np.array([1.0, 2.0, 3.0]), 0.5) == []


def test_the_command_draws_and_prints_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = tables(("acdc",))
    monkeypatch.setattr("bench.report.selection.results_tables", lambda *_, **__: (found, ()))
    monkeypatch.setattr("bench.report.figures.save", lambda _, stem: [stem.with_suffix(".png")])
    done = CliRunner().invoke(main, ["report", "--figures", str(tmp_path / "f")])
    assert done.exit_code == 0
    assert done.output.splitlines()[0] == str(tmp_path / "f" / "acdc-acdc-0-differences.png")
    assert done.output.count("\n") == 4 + 1
    assert style.RASTER >= 150
    shown = CliRunner().invoke(main, ["report", "--ranks", "--format", "markdown"])
    assert shown.output == to_markdown(rank_sheet(found[0]))
    assert CliRunner().invoke(main, ["report", "--ranks", "--trials"]).exit_code == 2
