"""The figure of a curve: the proposed model stands out, lines differ without colour, no text lies on another."""

from __future__ import annotations

import itertools
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from few_records import copy_example
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from stored_records import a_record_of, change, change_cell

from bench.analysis.curves import Curve, Line, Point, _in_one_place, _versions, stored_curves
from bench.analysis.statistics import Interval
from bench.cli.main import main
from bench.errors import UserError
from bench.report.curves import curve_figure, curve_sheet, draw_curves
from bench.report.drawing.style import looks, new_figure

PLACES = (4_000, 16_000, 17_000, 48_000)


def curve(lines: int = 14, places: tuple[int, ...] = PLACES, dataset: str = "acdc") -> Curve:
    found = []
    for k in range(lines):
        family = "proposed" if k == 1 else "cnn"
        title = "MedNeXt-T (reconstr.) [laffn=none,sem=none]" if k == 1 else f"Another long network {k} (reduced)"
        points = {
            place: Point(Interval(60.0 + 8 * i - k, 58.0 - k, 61.0 + 9 * i), "3") for i, place in enumerate(places)
        }
        found.append(Line(f"m{k}", title, family, points))
    title = "ACDC (acdc), split ssl4mis, partial, preset standard with image_size=96, batch_size=4, seeds 0, 1, 2"
    name = f"{dataset} ssl4mis images_seen standard"
    return Curve(
        "images_seen", dataset, "ssl4mis", "standard", name, "c.", title, "Dice %", 2, places, tuple(found), ()
    )


@pytest.mark.parametrize("lines", [2, 14])
def test_no_text_lies_on_another_and_none_is_cut_off(lines: int) -> None:
    from matplotlib.text import Text

    figure = curve_figure(curve(lines))
    figure.canvas.draw()
    low, high = figure.axes[0].get_ylim()
    beyond = [label for label in figure.axes[0].get_yticklabels() if not low <= label.get_position()[1] <= high]
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible() and text not in beyond]
    boxes = {text.get_text(): text.get_window_extent() for text in texts}
    assert len(boxes) > lines + 5
    for (one, box), (other, of_other) in itertools.combinations(boxes.items(), 2):
        assert not box.overlaps(of_other), (one, other)
    for text, box in boxes.items():
        assert figure.bbox.x0 - 1 <= box.x0, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert figure.bbox.y0 - 1 <= box.y0, text
        assert box.y1 <= figure.bbox.y1 + 1, text
    assert "17,000" in boxes
    assert "16,000" not in boxes, "it has no room beside 17,000"


def test_the_proposed_model_is_thickest_and_lines_differ_without_colour() -> None:
    drawn = [line for line in curve_figure(curve()).axes[0].lines if not line.get_label().startswith("_")]
    proposed, *others = sorted(drawn, key=lambda line: -line.get_linewidth())
    assert proposed.get_label().startswith("MedNeXt-T (reconstr.)")
    assert proposed.get_linewidth() > 2 * others[0].get_linewidth()
    assert proposed.get_zorder() < min(line.get_zorder() for line in others), "it hides none"
    looks = {(line.get_marker(), str(line._unscaled_dash_pattern)) for line in drawn}  # type: ignore[attr-defined]
    assert len(looks) == len(drawn)


def colours_of(figure: Figure, axis: Axes) -> set[str]:
    """Which lines' colours are seen in an axis."""
    figure.canvas.draw()
    shown = np.asarray(figure.canvas.buffer_rgba())[..., :3].reshape(-1, 3).astype(int)  # type: ignore[attr-defined]
    lines = {str(line.get_label()): to_rgb(line.get_color()) for line in axis.lines if line.get_label()[0] != "_"}
    return {
        label for label, colour in lines.items() if (np.abs(shown - 255 * np.array(colour)).max(axis=1) < 40).sum() > 20
    }


def test_lines_that_lie_at_one_place_are_all_seen() -> None:
    families = {"ours": "proposed", "a": "cnn", "b": "cnn", "c": "cnn", "d": "cnn", "chance": "chance"}
    for order in (list(families), list(reversed(families))):
        styles = looks(families)
        figure, axis = new_figure(2.0, "")
        figure.set_dpi(300)
        for name in order:
            axis.plot([0, 1], [0, 1], label=name, **{**styles[name], "marker": None})
        axis.axis("off")
        assert colours_of(figure, axis) >= {"a", "b", "c", "d"}
        assert styles["ours"]["zorder"] < styles["chance"]["zorder"] < styles["a"]["zorder"]


def test_a_place_that_failed_is_said_in_the_table_and_left_out_of_the_figure() -> None:
    given = curve(2)
    given.lines[0].points[16_000] = Point(Interval(math.nan, math.nan, math.nan), "failed (3 of 3 seeds)")
    given.lines[1].points[16_000] = Point(Interval(70.0, math.nan, math.nan), "2 of 3; failed (1 of 3 seeds)")
    del given.lines[1].points[17_000]
    row, other = curve_sheet(given).frame.to_dict("records")
    assert row["16,000 images"] == "(failed (3 of 3 seeds))"
    assert other["16,000 images"] == "70.00 (2 of 3; failed (1 of 3 seeds))"
    assert other["17,000 images"] == ""
    first, second = (line for line in curve_figure(given).axes[0].lines if not line.get_label().startswith("_"))
    assert (len(first.get_xdata()), len(second.get_xdata())) == (3, 3)


def test_one_curve_has_the_file_s_name_and_several_say_of_what_each_is(tmp_path: Path) -> None:
    assert draw_curves([curve(2)], tmp_path / "one.png") == [tmp_path / "one.png"]
    both = draw_curves([curve(2), curve(2, dataset="synapse")], tmp_path / "two.pdf")
    assert [path.name for path in both] == [f"two-{d}-ssl4mis-images-seen-standard.pdf" for d in ("acdc", "synapse")]
    assert all(path.is_file() for path in both)


def test_no_two_curves_of_a_folder_share_a_file(tmp_path: Path) -> None:
    for patients, steps in itertools.product((5, 15), (100, 200)):
        copy = shutil.copytree(a_record_of("segmentation"), tmp_path / "runs" / "acdc" / "m" / f"{patients}-{steps}")
        change_cell(copy / "record.json", "train_patients", to=patients)
        change_cell(copy / "record.json", "protocol", "steps", to=steps)
        change(copy / "record.json", "preset", to=f"quick with steps={steps}")
    curves, _ = stored_curves(tmp_path)
    assert sorted(c.axis for c in curves) == ["images_seen"] * 2 + ["train_patients"] * 2
    assert len(draw_curves(curves, tmp_path / "a.svg")) == len({*tmp_path.glob("a-*.svg")}) == 4
    assert {f"a-{curve_sheet(curve).name}" for curve in curves} == {path.stem for path in tmp_path.glob("a-*.svg")}


def test_the_caption_says_which_of_several_versions_is_shown() -> None:
    rows = [("net", 1, "Net"), ("net[width=8]", 3, "Net [width=8]"), ("net", 2, "Net"), ("other", 5, "Other")]
    cells = pd.DataFrame(rows, columns=["model", "version", "title"])
    assert _versions(cells) == " Versions shown: Net v3 (not v1, v2)."
    assert _versions(cells[cells["version"] >= 3]) == ""


def test_folds_of_unequal_size_are_one_place_and_no_curve(tmp_path: Path) -> None:
    for fold, patients in enumerate((9, 8)):
        copy = shutil.copytree(a_record_of("segmentation"), tmp_path / "runs" / "acdc" / "m" / f"{fold}")
        change(copy / "record.json", "dataset", "counts", "train", "present_patients", to=patients)
        change_cell(copy / "record.json", "split", to="ssl4mis/2")
        change_cell(copy / "record.json", "fold", to=fold)
    with pytest.raises(UserError, match="No model has cells at two budgets or more"):
        stored_curves(tmp_path)
    cells = pd.DataFrame({"comparison": [*"aaab"], "place": [9.0, 8.0, 8.0, 4.0]})
    assert _in_one_place(cells)["place"].to_list() == [8, 8, 8, 4]


def test_the_seeds_of_a_null_arm_leave_another_network_its_interval(tmp_path: Path) -> None:
    models = ("mednext_tiny", "mednext_tiny[sem=none]", "unet_s")
    example = copy_example(tmp_path / "example", models)
    done = CliRunner().invoke(
        main, ["report", "--results", str(example), "--budgets", "--dataset", "acdc", "--format", "markdown"]
    )
    assert done.exit_code == 0, done.output
    row = next(line for line in done.output.splitlines() if line.startswith("| U-Net"))
    assert row.count("[") == 3, "an interval at each of three budgets"
    assert "=none" not in done.output
    assert "Seeds that not all rows have are left out: MedNeXt-T (reconstr.) 3" in done.output


def test_what_runs_differ_in_along_a_curve_is_said_with_its_places() -> None:
    example = Path(__file__).parents[2] / "results" / "example"
    done = CliRunner().invoke(
        main, ["report", "--results", str(example), "--budgets", "--dataset", "sars-cov2-ct", "--format", "markdown"]
    )
    lines = [line for line in done.output.splitlines() if line.startswith("- Along the curves runs differ in device: ")]
    assert any("cpu at 8,000 and 32,000" in line and " at 147,600" in line for line in lines), done.output
