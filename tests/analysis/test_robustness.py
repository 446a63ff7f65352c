"""Trained networks elsewhere: classes by name, tables of both kinds, and nothing that is trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from trained_runs import folders_of, results_of

from bench.analysis.robustness import (
    Elsewhere,
    _check_alike,
    _corruption_sheet,
    _in_units,
    _transfer_sheet,
    judge_elsewhere,
)
from bench.analysis.sheet import Sheet
from bench.cli.main import main
from bench.errors import UserError
from bench.records import store
from bench.report.screen import fit
from bench.report.sheets import to_screen
from bench.runs.trained import load_trained
from bench.runs.transfer import data_elsewhere, has_own_images, own_units, score_elsewhere, shared_classes
from bench.zoo.registry import dataset_spec

WAYS = [
    (("--run", "r", "--corruptions", "--classes", "a,b"), "--classes means nothing with --run: leave it out."),
    (("--run", "r", "--dataset", "acdc", "--tests"), "--tests means nothing with --run"),
    (("--run", "r", "--dataset", "acdc", "--missing", "skip"), "--missing means nothing with --run"),
    (("--pred", "p", "--label", "l", "--device", "cuda"), "--device means nothing with --pred"),
    (("--pred", "p", "--label", "l", "--map", "x=y"), "--map means nothing with --pred"),
    (("--pred", "p", "--label", "l", "--tests"), "--tests means nothing with --pred without --versus"),
    (("--run", "r", "--corruptions", "--map", "x=y"), "--map means nothing with --corruptions"),
    (("--run", "r", "--corruptions", "--data", "real"), "--data means nothing with --corruptions"),
]


@pytest.mark.parametrize(("arguments", "said"), WAYS)
def test_an_option_of_the_other_way_is_refused(arguments: tuple[str, ...], said: str) -> None:
    done = evaluate(*arguments)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def test_runs_that_are_no_seeds_of_one_network_are_not_averaged() -> None:
    def run(key: str, comparison: str, **fields: Any) -> Any:
        cell = SimpleNamespace(comparison=comparison, model={"name": "unet_s"})
        return SimpleNamespace(**{"title": "U-Net", "dataset": "acdc", "key": key, "cell": cell, **fields})

    _check_alike([run("a", "c1"), run("b", "c1"), run("c", "c2", dataset="msld"), run("d", "c3", title="Other")])
    with pytest.raises(UserError, match=r"runs of U-Net on acdc \(a, b\) of one config, protocol and split"):
        _check_alike([run("a", "c1"), run("b", "c2")])
    with pytest.raises(UserError, match="Expected distinct runs of U-Net on acdc"):
        _check_alike([run("a", "c1"), run("a", "c1")])


@pytest.mark.slow
def test_classes_are_the_same_by_name_or_as_the_user_says(user_data: Path) -> None:
    hearts, chests = (load_trained(folder) for folder in folders_of(user_data).values())
    assert shared_classes(hearts, ("background", "lv", "Scar", "MYO"), {}) == {3: 1, 2: 3}
    assert shared_classes(hearts, ("background", "left ventricle"), {"left ventricle": "LV"}) == {3: 1}
    assert shared_classes(chests, ("covid", "Normal"), {}) == {1: 0, 0: 1}
    assert shared_classes(chests, ("non-COVID", "COVID"), {"non-COVID": "normal"}) == {0: 0, 1: 1}
    for trained, classes, given, said in (
        (hearts, ("background", "liver"), {}, "No class in common"),
        (chests, ("non-COVID", "COVID"), {}, "does not know the class non-COVID"),
        (chests, ("non-COVID", "COVID"), {"healthy": "normal"}, "Expected --map THEIRS=OURS of the data set's classes"),
        (hearts, ("background", "LV", "scar"), {"scar": "LV"}, "but both LV and scar are LV: mend --map"),
    ):
        with pytest.raises(UserError, match=said):
            shared_classes(trained, classes, given)


def test_a_sign_at_the_end_of_a_class_tells_it_from_another() -> None:
    def network(task: str, *classes: str) -> Any:
        return SimpleNamespace(task=task, classes=classes, folder="r")

    cells = network("segmentation", "background", "Ki67+", "Ki67-")
    assert shared_classes(cells, ("background", "Ki67+"), {}) == {1: 1}
    assert shared_classes(cells, ("background", "ki67-", "KI67 +"), {}) == {1: 2, 2: 1}
    tumours = network("classification", "HER2-", "HER2+")
    assert shared_classes(tumours, ("HER2+", "HER2-"), {}) == {0: 1, 1: 0}
    with pytest.raises(UserError, match=r"does not know the class HER2\+"):
        shared_classes(network("classification", "HER2-", "other"), ("HER2+", "other"), {})
    twins = network("segmentation", "background", "left kidney", "left_kidney")
    assert shared_classes(twins, ("background", "left kidney"), {}) == {1: 1}
    with pytest.raises(UserError, match="Left Kidney may be left kidney or left_kidney of the network"):
        shared_classes(twins, ("background", "Left Kidney"), {})


def test_on_its_own_data_set_a_run_has_its_own_figures(user_data: Path) -> None:
    for dataset, folder in folders_of(user_data).items():
        trained = load_trained(folder)
        data = data_elsewhere(trained, dataset, "phantom", user_data / "medbench")
        rows = score_elsewhere(trained, data)
        record = store.read_record(folder)
        assert record is not None
        stored = store.read_cases(folder, record)
        assert stored is not None
        own = stored[(stored["part"] == "test") & (stored["weights"] == "best-val")].reset_index(drop=True)
        found = pd.DataFrame(rows)
        column = "dice_strict" if data.spec.task == "segmentation" else "probability"
        assert found[["case", "class"]].equals(own[["case", "class"]])
        pd.testing.assert_series_equal(found[column].astype(float), own[column].astype(float), rtol=1e-6)


def test_a_run_s_own_images_are_not_scored_as_another_data_set_s(user_data: Path) -> None:
    folder = folders_of(user_data)["large-covid-ct"]
    for name in ("large-covid-ct", "large-covid-ct-2class"):
        result = evaluate(
            "--run", folder, "--dataset", name, "--data", "phantom", "--data-root", user_data / "medbench"
        )
        said = " ".join(result.output.split())
        assert result.exit_code == 2, result.output
        assert f"Nothing to score: {name} is what each run was trained on, or another view of its images" in said
        assert "own figures are in `medbench report`" in said
        assert "--corruptions or another data set" in said


def test_the_same_images_are_known_by_their_data_set_and_kind(user_data: Path) -> None:
    trained = load_trained(folders_of(user_data)["large-covid-ct"])
    data = data_elsewhere(trained, "large-covid-ct-2class", "phantom", user_data / "medbench")
    assert data.fingerprint != trained.cell.fingerprint
    assert has_own_images(trained, data)
    assert not has_own_images(trained, replace(data, kind="real"))
    assert not has_own_images(trained, replace(data, spec=dataset_spec("sars-cov2-ct")))
    gone = replace(trained, cell=replace(trained.cell, dataset="mine"))
    assert not has_own_images(gone, data), "a data set that is not known here has its name alone"


@pytest.mark.slow
def test_a_table_of_trained_on_and_tested_on(user_data: Path) -> None:
    names = "large-covid-ct,large-covid-ct-2class,sars-cov2-ct"
    place: dict[str, Any] = {"data": "phantom", "data_root": user_data / "medbench"}
    asked = Elsewhere([folders_of(user_data)["large-covid-ct"]], names, mapping=["non-COVID=normal"], **place)
    judged = judge_elsewhere(asked)
    (sheet,) = judged.sheets
    (row,) = sheet.frame.to_dict("records")
    assert row["on large-covid-ct-phantom"].endswith("] (its own)")
    assert "[" in row["on sars-cov2-ct-phantom"]
    assert row["on large-covid-ct-2class-phantom"] == ""
    assert any(note.startswith("large-covid-ct-2class-phantom is not scored of a run on") for note in sheet.notes)
    assert set(judged.rows["tested_on"]) == {"large-covid-ct-phantom", "sars-cov2-ct-phantom"}
    assert judged.rows.groupby(["tested_on", "case", "class"]).size().max() == 1, "its own part stands once"
    elsewhere = judged.rows[judged.rows["tested_on"] == "sars-cov2-ct-phantom"]
    assert set(elsewhere["class"]) == {"non-COVID", "COVID"}
    assert elsewhere.groupby("case")["probability"].sum().to_numpy() == pytest.approx(1.0)


def test_corruptions_are_scored_beside_the_clean_images(user_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.runs.transfer.corruptions_of", lambda modality: ("brightness down", "noise"))
    monkeypatch.setattr("bench.runs.transfer.SEVERITIES", (1, 5))
    folders = folders_of(user_data)
    for dataset, what in (("acdc", "Dice % by severity"), ("large-covid-ct", "Balanced error % by severity")):
        judged = judge_elsewhere(Elsewhere([folders[dataset]], corruptions=True, data_root=user_data / "medbench"))
        (sheet,) = judged.sheets
        assert what in sheet.caption
        assert list(sheet.frame["Corruption"]) == ["brightness down", "noise", "mean"]
        assert set(judged.rows.groupby(["corruption", "severity"]).size()) == {len(judged.rows) // 5}


def rows_of(values: dict[tuple[str, int], list[float]]) -> pd.DataFrame:
    return pd.DataFrame(
        {"corruption": name, "severity": level, "case": f"c{k}", "patient": f"p{k}", "class": "a", "value": value}
        | {"model": "m", "trained_on": "d", "seed": 0, "unit": f"p{k}", "units": "patients"}
        for (name, level), of_cases in values.items()
        for k, value in enumerate(of_cases)
    )


def line_of(values: dict[tuple[str, int], list[float]], task: str, name: str) -> dict[str, Any]:
    frame = _corruption_sheet(rows_of(values), "m", "d", task).frame.set_index("Corruption")
    return frame.loc[name].to_dict()


def test_relative_figures_are_shares_of_the_clean_one() -> None:
    halved = {("clean", 0): [0.8, 0.8, 0.8], ("blur", 1): [0.4, 0.4, 0.4], ("noise", 1): [0.8, 0.8, 0.8]}
    blur = line_of(halved, "segmentation", "blur")
    assert blur == {
        "severity 1": "40.0",
        "Less clean [95 %]": "-40.0 [-40.0, -40.0]",
        "Relative % [95 %]": "50.0 [50.0, 50.0]",
    }
    assert line_of(halved, "segmentation", "mean")["Relative % [95 %]"] == "75.0 [75.0, 75.0]"
    assert line_of(halved, "segmentation", "noise")["Less clean [95 %]"] == "0.0 [0.0, 0.0]"
    wrong = {("clean", 0): [1.0, 1.0, 1.0, 0.0], ("blur", 1): [1.0, 1.0, 0.0, 0.0]}
    blur = line_of(wrong, "classification", "blur")
    assert (blur["severity 1"], blur["Less clean [95 %]"].split()[0]) == ("50.0", "25.0"), "an error that rises"
    assert blur["Relative % [95 %]"].split()[0] == "200.0"
    perfect = {("clean", 0): [1.0, 1.0], ("blur", 1): [1.0, 0.0]}
    assert line_of(perfect, "classification", "blur")["Relative % [95 %]"] == "", "no share of an error of 0"


def test_a_narrow_terminal_loses_columns_from_the_right_and_no_severity_between() -> None:
    values = {("brightness down", k): [0.9 - k / 9, 0.8, 0.7 - k / 9] for k in range(1, 6)}
    rows = rows_of({("clean", 0): [0.9, 0.8, 0.7], **values})
    table = to_screen(_corruption_sheet(rows, "m", "d", "segmentation"))
    names = [column.name for column in table.columns]
    assert names[1:6] == [f"severity {k}" for k in range(1, 6)]
    kept = {w: [n for n, shown in zip(names, fit(table, w), strict=True) if shown] for w in (160, 80, 60, 40, 30)}
    assert kept == {160: names, 80: names[:7], 60: names[:6], 40: names[:5], 30: names[:3]}


@pytest.mark.parametrize("kept", [True, False])
def test_intervals_are_over_what_stands_for_a_patient(tmp_path: Path, kept: bool) -> None:
    folder = tmp_path / "runs" / "d" / "m" / "0-k"
    trained: Any = SimpleNamespace(folder=folder, dataset="d", cell=SimpleNamespace(fingerprint="f", dataset="none"))
    if kept:
        cases = {f"c{k}": f"c{k - k % 4}" for k in range(12)}
        store.write_units(tmp_path, {"dataset": "d", "fingerprint": "f", "unit": "blocks", "cases": cases})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.runs.transfer.cases_of_test", raises_user_error)
        table = own_units(trained)
    right = [1.0] * 4 + [0.0] * 4 + [1.0] * 4
    rows = rows_of({("clean", 0): [1.0] * 12, ("blur", 1): right}).drop(columns=["unit", "units"])
    rows = _in_units(rows.assign(patient=rows["case"]), table, "classification")
    sheet = _corruption_sheet(rows, "m", "d", "classification")
    assert f"over {'3 blocks' if kept else '12 images (patients unknown: too narrow'}" in sheet.notes[1]
    own = rows.assign(predicted=rows["value"], reference=1, tested_on="d")
    whole = own[own["corruption"] == "blur"]
    transfer = _transfer_sheet(whole, "classification", {})
    assert f"d: 12 test cases, {'3 blocks' if kept else '12 images'}" in transfer.notes[0]
    low = float(transfer.frame["on d"].iloc[0].partition("[")[2].partition(",")[0])
    assert (low < 20) == kept, "a block is right or wrong together"


def raises_user_error(*_: object) -> None:
    raise UserError("no data here")


def test_what_cannot_be_judged_ends_in_a_line(user_data: Path) -> None:
    hearts, chests = folders_of(user_data).values()
    root = ["--data", "phantom", "--data-root", user_data / "medbench"]
    for arguments, said in (
        (["--run", hearts], "Expected --run with one of --dataset and --corruptions"),
        (["--corruptions"], "Expected --dataset and --corruptions with --run RUN"),
        (["--run", hearts, "--corruptions", "--pred", "p"], "but got both"),
        (["--run", hearts, "--dataset", "large-covid-ct", *root], "takes task segmentation, but large-covid-ct has"),
        (["--run", chests, "--dataset", "msld", *root], "takes channels 1, but msld has 3"),
        (["--run", hearts, "--run", chests, "--corruptions", *root[2:]], "Expected runs of one task"),
        (["--run", hearts, "--dataset", "acdc", "--map", "LV", *root], "Expected --map THEIRS=OURS, but got 'LV'"),
        (["--label", "l"], "Missing option '--pred' (or '--run')"),
        (["--run", results_of(user_data), "--corruptions"], "Expected the folder of a finished run"),
    ):
        result = evaluate(*arguments)
        assert (result.exit_code, said in " ".join(result.output.split())) == (2, True), result.output


def test_tables_of_a_run_elsewhere_are_json_where_that_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet = Sheet(
        "Trained on x tested on", pd.DataFrame([{"Model": "A", "on b": "80.0"}]), ("A note.",), name="transfer"
    )
    judged = SimpleNamespace(sheets=[sheet], rows=pd.DataFrame())
    monkeypatch.setattr("bench.analysis.robustness.judge_elsewhere", lambda *_: judged)
    result = evaluate("--run", tmp_path, "--dataset", "b", "--format", "json")
    assert result.exit_code == 0, result.output
    (table,) = json.loads(result.stdout)["tables"]
    assert (table["name"], table["rows"]) == ("transfer", [{"Model": "A", "on b": "80.0"}])
