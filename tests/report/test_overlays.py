"""`medbench show`: which cases, which slice, where errors lie, and what a classifier's answer rests on."""

from __future__ import annotations

import base64
import copy
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from trained_runs import results_of

from bench.analysis.asked_runs import Asked, _titles
from bench.analysis.gallery import Gallery, gallery
from bench.cli.main import main
from bench.errors import UserError
from bench.records import store
from bench.records.choice import Choice
from bench.records.predicted import read_predictions
from bench.report.overlays import error_distances, scene_figure
from bench.report.page.case_pictures import picture_parts
from bench.report.render import results_tables
from bench.runs.occlusion import occlusion_map
from bench.runs.trained import load_trained


@pytest.fixture(scope="module")
def results(user_data: Path) -> Path:
    """Hearts by two models, chests by one."""
    return results_of(user_data)


def of(results: Path, user_data: Path, dataset: str = "acdc-phantom", **asked: Any) -> Gallery:
    return gallery(results, Asked(dataset, **asked), user_data / "medbench")


@pytest.mark.slow
def test_a_page_has_the_worst_best_and_median_cases_as_pictures(results: Path, user_data: Path) -> None:
    (table,) = results_tables(results, choice=Choice(dataset="acdc-phantom"), kept=None)[0]
    (several,) = picture_parts([table], results, 3, str(user_data / "medbench"))
    assert len({figure.caption.split(": ")[1].split(",")[0] for figure in several.figures}) == 4, (
        "of four cases each once"
    )
    (part,) = picture_parts([table], results, 1, str(user_data / "medbench"))
    assert [figure.caption.split(":")[0] for figure in part.figures] == ["Worst 1", "Best 1", "Median 1"]
    for figure in part.figures:
        (data,) = re.findall(r'^<img src="data:image/png;base64,([\w+/=]+)" alt="', figure.element)
        words = figure.element.partition('alt="')[2]
        assert base64.b64decode(data).startswith(b"\x89PNG")
        assert len(data) < 400_000
        assert words.startswith(f"{figure.caption} {table.sure.reference or table.frame['Model'].iloc[0]}: Dice ")
    assert "Chance" not in str(part.words)
    (missing,) = picture_parts([table], results, 2, str(user_data / "elsewhere"))
    assert missing.words[0].startswith("No pictures of cases: ")
    assert not missing.figures


def show(results: Path, user_data: Path, *arguments: str) -> Result:
    options = ["--results", str(results), "--data-root", str(user_data / "medbench"), *arguments]
    return CliRunner().invoke(main, ["show", *options])


def test_the_slice_with_most_wrong_pixels_of_the_worst_cases_is_shown(results: Path, user_data: Path) -> None:
    shown = of(results, user_data, models="*", worst=2)
    assert [shot.title for shot in shown.scenes[0].shots] == ["Chance (all background)", shown.scenes[0].shots[1].title]
    means = shown.figures.mean(axis=1).tolist()
    assert means == sorted(means)
    everything = of(results, user_data, models="*", worst=100).figures.mean(axis=1)
    assert means == sorted(everything)[:2]
    assert of(results, user_data, models="*", best=1).figures.mean(axis=1).item() == max(everything)
    data, scene = shown.data, shown.scenes[0]
    truth = np.asarray(data.label(scene.index))
    wrong = np.zeros(len(truth), int)
    for shot in scene.shots:
        kept = read_predictions(shot.folder, store.read_record(shot.folder) or {})
        assert kept is not None
        wrong += (kept.of(scene.case) != truth).sum(axis=(1, 2))
    np.testing.assert_array_equal(scene.truth, truth[wrong.argmax()])
    assert f"slice {wrong.argmax() + 1} of {len(truth)}" in scene.place


def test_pictures_have_the_titles_of_tables(results: Path, tmp_path: Path) -> None:
    """Two versions of an edited network are two models, and a title that was given later holds for both."""
    _, first = next(found for found in store.read_records(results).records if found[1]["model"]["name"] == "chance")
    edited = copy.deepcopy(first)
    edited["cell"]["model"]["version"] += 1
    edited["key"] = "0" * 12
    titles, unread = _titles([first, edited], tmp_path)
    version = first["cell"]["model"]["version"]
    assert list(titles.values()) == [f"Chance (all background) v{version}", f"Chance (all background) v{version + 1}"]
    (tmp_path / "titles.json").write_text(
        json.dumps({"schema": 1, "titles": {"chance": {"title": "All background", "from": "user"}}})
    )
    assert _titles([first], tmp_path) == ({first["key"]: "All background"}, [])
    assert unread == []


def test_figures_in_the_title_are_those_of_cases_csv(results: Path, user_data: Path) -> None:
    scene = of(results, user_data, models="chance", worst=1).scenes[0]
    assert scene.shots[0].figures.startswith("Dice 0.0 %, HD95 ")
    scene = of(results, user_data, "large-covid-ct-phantom", worst=1).scenes[0]
    answer = scene.shots[0].answer
    assert scene.shots[0].figures == f"says {scene.classes[answer.argmax()]} {100 * answer.max():.0f} %"


def test_errors_are_as_far_as_the_reference_s_border() -> None:
    truth, answer = np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8)
    truth[2:7, 2:7] = 1
    answer[2:7, 2:7] = 1
    answer[4, 4] = 0  # a hole in the middle
    answer[4, 8] = 1  # an island
    answer[2, 2] = 2  # another class, at the border
    errors = error_distances(answer, truth, None)
    assert (errors[4, 4], errors[4, 8], errors[2, 2]) == (-3.0, 2.0, 1.0)
    assert np.count_nonzero(errors) == 3
    assert error_distances(answer, truth, (2.0, 0.5))[4, 8] == pytest.approx(1.0)
    assert error_distances(answer, np.zeros_like(truth), None)[4, 8] == np.inf


def test_a_figure_has_a_panel_for_every_model_however_many(results: Path, user_data: Path) -> None:
    scene = of(results, user_data, models="*", worst=1).scenes[0]
    for count in (1, 4, 5, 11):
        shots = tuple(replace(scene.shots[1], title=f"Model {k}") for k in range(count))
        figure = scene_figure(replace(scene, shots=shots), "caption", {})
        titles = [axis.get_title() for axis in figure.axes]
        assert [f"Model {k}" in " ".join(titles) for k in range(count)] == [True] * count
    empty = replace(scene, truth=np.zeros_like(scene.truth), shots=scene.shots[1:])
    assert "Reference: nothing here" in [axis.get_title() for axis in scene_figure(empty, "caption", {}).axes]


class LooksAt(torch.nn.Module):
    """Class 1 is as likely as one place is bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x[:, :, 4:8, 20:24].mean(dim=(1, 2, 3))
        return torch.stack([torch.zeros_like(bright), bright], dim=1)


def test_an_occlusion_map_shows_the_place_that_an_answer_rests_on(results: Path) -> None:
    (folder,) = (f for f, r in store.read_records(results).records if r["dataset"]["name"].startswith("large"))
    trained = replace(load_trained(folder), model=LooksAt())
    image = np.zeros((1, 32, 32), np.uint8)
    image[0, 4:8, 20:24] = 255
    found = occlusion_map(trained, image, 1)
    assert found.shape == (32, 32)
    assert np.unravel_index(found.argmax(), found.shape)[0] in range(3, 9)
    assert np.unravel_index(found.argmax(), found.shape)[1] in range(19, 25)
    assert np.abs(found[20:, :10]).max() < 1e-6, "what it does not look at changes nothing"


def test_show_writes_a_picture_of_each_case_and_a_table(results: Path, user_data: Path, tmp_path: Path) -> None:
    result = show(results, user_data, "large-covid-ct-phantom", "--worst", "1", "--output", str(tmp_path))
    assert result.exit_code == 0, result.output
    (picture,) = tmp_path.iterdir()
    assert picture.name in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "Probability of the true class %" in " ".join(result.output.split())


def test_what_cannot_be_shown_ends_in_a_line(results: Path, user_data: Path, tmp_path: Path) -> None:
    for arguments, said in (
        (["acdc"], "Unknown dataset among the records 'acdc'. Did you mean: acdc-phantom"),
        (["acdc-phantom", "--worst", "1", "--best", "2"], "Expected one of --worst, --best, --median and --case"),
        (["acdc-phantom", "--case", "patient1"], "Unknown test case 'patient1'. Did you mean: patient"),
        (["acdc-phantom", "--models", "unet"], "Unknown model among the records 'unet'"),
        (["acdc-phantom", "--seed", "7"], "Expected a seed that all models have with predictions (0), but got 7."),
        (["acdc-phantom", "--preset", "paper"], "No finished runs of acdc-phantom have that preset and split."),
    ):
        result = show(results, user_data, *arguments, "--output", str(tmp_path / "out"))
        assert (result.exit_code, said in result.output) == (2, True), result.output
    (tmp_path / "damaged" / "runs" / "a").mkdir(parents=True)
    (tmp_path / "damaged" / "runs" / "a" / "record.json").write_text("{")
    result = show(tmp_path / "damaged", user_data, "acdc", "--output", str(tmp_path / "out"))
    assert "record.json is cut short" in result.output, "no records, and why"
    assert not (tmp_path / "out").exists()


def test_runs_without_predictions_are_counted_and_damaged_ones_named(
    results: Path, user_data: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(results, tmp_path / "copy"))
    (chance,) = copy.glob("runs/phantom/acdc-phantom/chance/*/predictions.npz")
    whole = chance.read_bytes()
    chance.write_bytes(whole[:50])
    notes = of(copy, user_data, models="*", worst=1).notes
    assert any("predictions.npz cannot be read" in note for note in notes)
    for path in copy.rglob("predictions.npz"):
        path.unlink()
    with pytest.raises(UserError, match="None of the 2 runs of acdc-phantom keeps its predictions"):
        of(copy, user_data, models="*", worst=1)
